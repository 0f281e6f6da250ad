"""How deployments are looked at: which objects concern which deployment, what is kept of them, and the snapshot."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from rondo.api.modeldeployment import ModelDeploymentStatus
from rondo.core import names
from rondo.core.deployment import revision
from rondo.core.deployment.snapshot import DeploymentSnapshot
from rondo.core.plan import Object, Ref
from rondo.core.resources import (
    CONTROLLER_REVISION,
    DEPLOYMENT,
    MODEL_DEPLOYMENT,
    MODEL_RUNTIME,
    POD,
    SERVICE,
)
from rondo.core.settings import PlannerSettings
from rondo.core.view import Key, View

_POD_STATUS: Final = ("phase", "reason", "message", "conditions", "initContainerStatuses", "containerStatuses")
_METADATA: Final = (
    "name", "namespace", "uid", "resourceVersion", "generation", "creationTimestamp", "deletionTimestamp", "labels",
    "annotations", "ownerReferences",
)  # fmt: skip
_LAST_APPLIED: Final = "kubectl.kubernetes.io/last-applied-configuration"


def observe_deployment(view: View, key: Key, settings: PlannerSettings) -> DeploymentSnapshot | None:
    """Look at a deployment; None if it is not there."""
    owner = view.get(Ref(MODEL_DEPLOYMENT, key.namespace, key.name))
    if owner is None:
        return None
    uid = owner["metadata"]["uid"]
    named: str | None = owner["spec"].get("runtime")
    runtime = None if named is None else view.get(Ref(MODEL_RUNTIME, "", named))
    known = () if named is None or runtime is not None else view.select(MODEL_RUNTIME, "")
    kept = (thing for thing in view.children(CONTROLLER_REVISION, key) if names.controller_uid(thing) == uid)
    return DeploymentSnapshot(
        owner=owner,
        status=ModelDeploymentStatus.model_validate(owner.get("status", {})),
        runtime=runtime,
        runtimes=tuple(thing["metadata"]["name"] for thing in known),
        deployment=view.get(Ref(DEPLOYMENT, key.namespace, key.name)),
        service=view.get(Ref(SERVICE, key.namespace, key.name)),
        pods=tuple(pod for pod in view.children(POD, key) if "deletionTimestamp" not in pod["metadata"]),
        revisions=tuple(revision.read(thing) for thing in kept),
        memory=view.memory(key),
        settings=settings,
    )


def deployment_of_child(child: Object) -> Iterable[Key]:
    """Give the deployment that a Deployment, Service, pod or ControllerRevision belongs to by its labels.

    Whether it really does the planner checks by uid.
    """
    name: str = child["metadata"].get("labels", {}).get(names.MODEL_DEPLOYMENT, "")
    if name:
        yield Key(MODEL_DEPLOYMENT, child["metadata"]["namespace"], name)


def deployments_of_runtime(runtime: Object, view: View) -> Iterable[Key]:
    """Give the deployments that name a ModelRuntime; they look again when it comes, changes or goes."""
    name = runtime["metadata"]["name"]
    for thing in view.select(MODEL_DEPLOYMENT, ""):
        if thing["spec"].get("runtime") == name:
            yield Key(MODEL_DEPLOYMENT, thing["metadata"]["namespace"], thing["metadata"]["name"])


def trim_pod(pod: Object) -> Object:
    """Keep what planners read of a pod: who it is and how it is, not what it was made from."""
    status = pod.get("status", {})
    return {**trim_metadata(pod, drop="spec"), "status": {key: status[key] for key in _POD_STATUS if key in status}}


def trim_metadata(thing: Object, *, drop: str = "") -> Object:
    """Keep an object without the bookkeeping in its metadata.

    Args:
        thing: Any object.
        drop: A top-level field to leave out too.
    """
    metadata: dict[str, Any] = {key: thing["metadata"][key] for key in _METADATA if key in thing["metadata"]}
    if _LAST_APPLIED in metadata.get("annotations", {}):
        metadata["annotations"] = {k: v for k, v in metadata["annotations"].items() if k != _LAST_APPLIED}
    return {**{key: value for key, value in thing.items() if key != drop}, "metadata": metadata}
