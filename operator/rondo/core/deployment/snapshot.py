"""What the planner of model deployments sees: one deployment and what belongs to it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from rondo.api.modeldeployment import ModelDeploymentStatus
from rondo.core import names
from rondo.core.deployment.revision import REVISION, Revision
from rondo.core.plan import GetLive, Memory, Object, Ref, Resource
from rondo.core.resources import DEPLOYMENT, MODEL_DEPLOYMENT, MODEL_RUNTIME, SERVICE
from rondo.core.settings import PlannerSettings


@dataclass(frozen=True)
class DeploymentSnapshot:
    """One look at a ModelDeployment.

    Attributes:
        owner: The ModelDeployment.
        status: Its status, parsed.
        runtime: The ModelRuntime that it names, if that was seen.
        runtimes: Names of all ModelRuntimes.
        deployment: The Deployment of its name, whoever it belongs to.
        service: The Service of its name, if Rondo manages it, whoever it belongs to.
        pods: Pods that carry its label.
        revisions: The revisions that it controls.
        memory: What this process remembers.
        settings: The installation's settings.
        pins: Graphs by the names of the revisions that they ask, of all ModelDeployments of the namespace.
        kept: By kind, the second Deployments and the Services of its revisions that it controls, by hash.
        kept_pods: Pods of the second Deployments.
    """

    owner: Object
    status: ModelDeploymentStatus
    runtime: Object | None
    runtimes: tuple[str, ...]
    deployment: Object | None
    service: Object | None
    pods: tuple[Object, ...]
    revisions: tuple[Revision, ...]
    memory: Memory
    settings: PlannerSettings
    pins: Mapping[str, frozenset[str]] = field(default_factory=dict)
    kept: Mapping[Resource, Mapping[str, Object]] = field(default_factory=lambda: {SERVICE: {}, DEPLOYMENT: {}})
    kept_pods: tuple[Object, ...] = ()

    @property
    def name(self) -> str:
        """Name of the deployment."""
        name: str = self.owner["metadata"]["name"]
        return name

    @property
    def namespace(self) -> str:
        """Namespace of the deployment."""
        namespace: str = self.owner["metadata"]["namespace"]
        return namespace

    @property
    def uid(self) -> str:
        """Uid of the deployment."""
        uid: str = self.owner["metadata"]["uid"]
        return uid

    @property
    def generation(self) -> int:
        """Generation of its spec."""
        generation: int = self.owner["metadata"]["generation"]
        return generation

    @property
    def own_deployment(self) -> Object | None:
        """The Deployment, if it is this deployment's own and stays."""
        return self.deployment if self.deployment is not None and self.keeps(self.deployment) else None

    def keeps(self, child: Object) -> bool:
        """Tell whether an object is controlled by this deployment and not about to go."""
        return self.controls(child) and "deletionTimestamp" not in child["metadata"]

    def controls(self, child: Object) -> bool:
        """Tell whether an object is controlled by this deployment."""
        return names.controller_uid(child) == self.uid

    def found(self, resource: Resource) -> Object | None:
        """Give the object of this name and a kind."""
        return {DEPLOYMENT: self.deployment, SERVICE: self.service}[resource]

    def pods_of(self, revision: Revision) -> tuple[Object, ...]:
        """Give the pods of a revision that are not about to go, by name."""
        return tuple(pod for pod in self.pods if pod_revision(pod) == revision.hash)

    def ref(self, resource: Resource = MODEL_DEPLOYMENT, name: str | None = None) -> Ref:
        """Name an object of this namespace; by default of this name."""
        return Ref(resource, self.namespace, name or self.name)


def pod_revision(pod: Object) -> str:
    """Give the hash of the revision that a pod runs."""
    found: str = pod["metadata"].get("labels", {}).get(REVISION, "")
    return found


def is_ready(pod: Object) -> bool:
    """Tell whether a pod answers."""
    conditions = pod.get("status", {}).get("conditions", ())
    return any(c.get("type") == "Ready" and c.get("status") == "True" for c in conditions)


def runtime_read(name: str) -> GetLive:
    """Give the read that tells whether a ModelRuntime is really not there."""
    return GetLive(Ref(MODEL_RUNTIME, "", name))
