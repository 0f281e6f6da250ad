"""What the operator's installation decides and planners have to know."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta

from rondo.core.artifacts import AnyStore, ArtifactStore


@dataclass(frozen=True, slots=True)
class Collect:
    """When artifact garbage is removed.

    Attributes:
        age: How old garbage has to be.
        every: Time between two sweeps of a namespace.
    """

    age: timedelta = timedelta(hours=24)
    every: timedelta = timedelta(hours=24)


@dataclass(frozen=True, slots=True)
class PlannerSettings:
    """Settings of the installation.

    Attributes:
        image: The operator's own image, which also fetches and pushes artifacts in the pods of stages.
        image_pull_policy: Its pull policy.
        store: The default artifact store of each namespace.
        collect: When artifacts of claims that nothing refers to are removed; None for never.
    """

    image: str = "rondo-operator:dev"
    image_pull_policy: str = "IfNotPresent"
    store: AnyStore = field(default_factory=ArtifactStore)
    collect: Collect | None = None
