"""What the operator's installation decides and planners have to know."""

from __future__ import annotations

from dataclasses import dataclass, field

from rondo.core.artifacts import AnyStore, ArtifactStore


@dataclass(frozen=True, slots=True)
class PlannerSettings:
    """Settings of the installation.

    Attributes:
        image: The operator's own image, which also fetches and pushes artifacts in the pods of stages.
        image_pull_policy: Its pull policy.
        store: The default artifact store of each namespace.
    """

    image: str = "rondo-operator:dev"
    image_pull_policy: str = "IfNotPresent"
    store: AnyStore = field(default_factory=ArtifactStore)
