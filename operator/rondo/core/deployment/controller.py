"""How deployments are looked at: which objects concern which deployment, what is kept of them, and the snapshot."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from rondo.api.modeldeployment import ModelDeploymentStatus
from rondo.core import names
from rondo.core.deployment import revision
from rondo.core.deployment.snapshot import DeploymentSnapshot
from rondo.core.modelgraph.versions import pinned_in
from rondo.core.plan import Object, Ref, Resource
from rondo.core.resources import (
    CONTROLLER_REVISION,
    DEPLOYMENT,
    MODEL_DEPLOYMENT,
    MODEL_GRAPH,
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
    frozen = (thing for thing in view.children(CONTROLLER_REVISION, key) if names.controller_uid(thing) == uid)
    pods = [pod for pod in view.children(POD, key) if "deletionTimestamp" not in pod["metadata"]]
    return DeploymentSnapshot(
        owner=owner,
        status=ModelDeploymentStatus.model_validate(owner.get("status", {})),
        runtime=runtime,
        runtimes=tuple(thing["metadata"]["name"] for thing in known),
        deployment=view.get(Ref(DEPLOYMENT, key.namespace, key.name)),
        service=view.get(Ref(SERVICE, key.namespace, key.name)),
        pods=tuple(pod for pod in pods if not _is_kept(pod)),
        revisions=tuple(revision.read(thing) for thing in frozen),
        memory=view.memory(key),
        settings=settings,
        pins=_pins(view, key.namespace),
        kept={resource: _kept(view, resource, key, uid) for resource in (SERVICE, DEPLOYMENT)},
        kept_pods=tuple(pod for pod in pods if _is_kept(pod)),
    )


def _pins(view: View, namespace: str) -> dict[str, frozenset[str]]:
    """Give the graphs that ask revisions, by the names of these."""
    found: dict[str, frozenset[str]] = {}
    for graph in view.select(MODEL_GRAPH, namespace):
        if "deletionTimestamp" not in graph["metadata"]:
            for name in pinned_in(graph):
                found[name] = found.get(name, frozenset()) | {graph["metadata"]["name"]}
    return found


def _kept(view: View, resource: Resource, key: Key, uid: str) -> dict[str, Object]:
    things = (t for t in view.children(resource, key) if _is_kept(t) and names.controller_uid(t) == uid)
    return {thing["metadata"]["labels"].get(revision.REVISION, ""): thing for thing in things}


def _is_kept(thing: Object) -> bool:
    return names.KEPT in thing["metadata"].get("labels", {})


def deployment_of_child(child: Object) -> Iterable[Key]:
    """Give the deployment that a Deployment, Service, pod or ControllerRevision belongs to by its labels.

    Whether it really does the planner checks by uid.
    """
    labels = child["metadata"].get("labels", {})
    name: str = labels.get(names.MODEL_DEPLOYMENT) or labels.get(names.KEPT, "")
    if name:
        yield Key(MODEL_DEPLOYMENT, child["metadata"]["namespace"], name)


def deployments_of_graph(graph: Object, view: View) -> Iterable[Key]:
    """Give the deployments of which a graph asks other revisions than they keep for it.

    Nearly all that the status of a graph tells in a release is numbers, which wake nobody.
    """
    metadata = graph["metadata"]
    there = view.get(Ref(MODEL_GRAPH, metadata["namespace"], metadata["name"]))
    asks = there is not None and "deletionTimestamp" not in there["metadata"]
    pinned = pinned_in(graph) if asks else frozenset()
    for thing in view.select(MODEL_DEPLOYMENT, metadata["namespace"]):
        name, status = thing["metadata"]["name"], thing.get("status", {})
        kept = {each["hash"] for each in status.get("kept", ()) if metadata["name"] in each.get("graphs", ())}
        known = kept | {each["hash"] for each in status.get("revisions", ())}
        if {hash_ for hash_ in known if revision.name_of(name, hash_) in pinned} != kept:
            yield Key(MODEL_DEPLOYMENT, metadata["namespace"], name)


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
