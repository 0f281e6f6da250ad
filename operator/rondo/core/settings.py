"""What the operator's installation decides and planners have to know."""

from __future__ import annotations

from collections.abc import Mapping
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
class RouterSettings:
    """How the routers of graphs are run.

    Attributes:
        image: Their image.
        replicas: Pods of each; with an autoscaler the fewest.
        max_replicas: With more than `replicas` each has an autoscaler.
        resources: Requests and limits of a pod.
    """

    image: str = "rondo-router:dev"
    replicas: int = 2
    max_replicas: int = 0
    resources: Mapping[str, Mapping[str, str]] = field(
        default_factory=lambda: {"requests": {"cpu": "50m", "memory": "32Mi"}, "limits": {"memory": "256Mi"}}
    )


@dataclass(frozen=True, slots=True)
class PlannerSettings:
    """Settings of the installation.

    Attributes:
        image: The operator's own image, which also fetches and pushes artifacts in the pods of stages.
        image_pull_policy: Its pull policy.
        store: The default artifact store of each namespace.
        collect: When artifacts of claims that nothing refers to are removed; None for never.
        router: How the routers of graphs are run.
    """

    image: str = "rondo-operator:dev"
    image_pull_policy: str = "IfNotPresent"
    store: AnyStore = field(default_factory=ArtifactStore)
    collect: Collect | None = None
    router: RouterSettings = field(default_factory=RouterSettings)
