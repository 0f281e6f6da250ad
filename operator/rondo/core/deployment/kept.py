"""Revisions that ModelGraphs ask by name: each has a Service, and pods of its own while another is rolled out.

A graph that makes releases names in its status what it asks (`modelgraph.versions`). Before the Deployment leaves such
a revision, a second one, `NAME-HASH`, has its pods; when the Deployment has come back to it, or no graph asks it any
more, that goes. The Service `NAME-HASH` leads to the pods of both, and the Service `NAME` to none of the second.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from rondo.api.modeldeployment import KeptRevision, ModelDeploymentSpec
from rondo.core import names
from rondo.core.conditions import shorten
from rondo.core.deployment.diagnosis import why_unready
from rondo.core.deployment.finding import Finding, Reason
from rondo.core.deployment.objects import Change, compare
from rondo.core.deployment.render import build_deployment, build_service, labels
from rondo.core.deployment.revision import REVISION, Revision, rolled_out
from rondo.core.deployment.snapshot import DeploymentSnapshot, is_ready, pod_revision
from rondo.core.plan import Action, Delete, Object, Resource
from rondo.core.resources import DEPLOYMENT, SERVICE


@dataclass(frozen=True)
class Kept:
    """What is to be done for revisions that graphs ask.

    Attributes:
        actions: In order.
        blocked: Why the Deployment cannot leave its revision yet; None if it can.
    """

    actions: tuple[Action, ...] = ()
    blocked: Finding | None = None


def plan_kept(snapshot: DeploymentSnapshot, spec: ModelDeploymentSpec, wanted: Revision, *, complete: bool) -> Kept:
    """Say what to do for the revisions that graphs ask.

    Args:
        snapshot: One look at the deployment.
        spec: Its spec.
        wanted: The revision that the Deployment has, or shall have.
        complete: Whether the Deployment has it, with all pods.
    """
    changes = [change for revision in asked(snapshot) for change in _changes(snapshot, spec, revision, wanted)]
    applies = (change.apply for change in changes if change.apply is not None)
    return Kept((*applies, *_superfluous(snapshot, wanted, complete=complete)), _blocked(snapshot, spec, wanted))


def asked(snapshot: DeploymentSnapshot) -> list[Revision]:
    """Give the revisions that graphs ask, oldest first."""
    return sorted((r for r in snapshot.revisions if r.name in snapshot.pins), key=lambda revision: revision.number)


def kept_status(snapshot: DeploymentSnapshot) -> list[KeptRevision]:
    """Say how the revisions are that have a Service of their own, or cannot have one."""
    found = []
    for revision in asked(snapshot):
        graphs = sorted(snapshot.pins[revision.name])
        if revision.hash not in snapshot.kept[SERVICE]:
            failure = snapshot.memory.failures.get(snapshot.ref(SERVICE, revision.name))
            if failure is not None:
                found.append(KeptRevision(hash=revision.hash, graphs=graphs, message=shorten(failure.message, 256)))
            continue
        pods = [pod for pod in (*snapshot.pods, *snapshot.kept_pods) if pod_revision(pod) == revision.hash]
        ready = sum(is_ready(pod) for pod in pods)
        message = "" if ready else shorten(_why_unready(pods), 256)
        found.append(KeptRevision(hash=revision.hash, graphs=graphs, ready=ready, message=message))
    return found


def _changes(
    snapshot: DeploymentSnapshot, spec: ModelDeploymentSpec, revision: Revision, wanted: Revision
) -> Iterator[Change]:
    declared: dict[Resource, Mapping[str, Any]] = {SERVICE: _service(snapshot.owner, revision)}
    if revision.hash != wanted.hash:
        declared[DEPLOYMENT] = _deployment(snapshot.owner, spec, revision)
    for resource, body in declared.items():
        ref, found = snapshot.ref(resource, revision.name), snapshot.kept[resource].get(revision.hash)
        change = compare(ref, body, found, ours=True, failure=snapshot.memory.failures.get(ref))
        if change is not None:
            yield change


def _superfluous(snapshot: DeploymentSnapshot, wanted: Revision, *, complete: bool) -> Iterator[Delete]:
    """Remove what no graph asks any more, and the second Deployment of what the first has again."""
    for resource, known in snapshot.kept.items():
        for hash_, thing in known.items():
            name, uid = thing["metadata"]["name"], thing["metadata"]["uid"]
            back = resource == DEPLOYMENT and hash_ == wanted.hash and complete
            if (name not in snapshot.pins or back) and "deletionTimestamp" not in thing["metadata"]:
                yield Delete(snapshot.ref(resource, name), uid)


def _blocked(snapshot: DeploymentSnapshot, spec: ModelDeploymentSpec, wanted: Revision) -> Finding | None:
    """Say that the pods of the revision that the Deployment is about to leave are not there a second time yet."""
    deployment = snapshot.own_deployment
    leaving = "" if deployment is None else rolled_out(deployment)
    revision = next((each for each in asked(snapshot) if each.hash == leaving), None)
    if revision is None or revision.hash == wanted.hash:
        return None
    # As many as answer now: a revision of which no pod does loses nothing, and must not stand in the way of its repair.
    needed = min(spec.replicas, sum(is_ready(pod) for pod in snapshot.pods_of(revision)))
    second = snapshot.kept[DEPLOYMENT].get(revision.hash)
    if not needed or (second is not None and _is_available(second, needed)):
        return None
    pods = [pod for pod in snapshot.kept_pods if pod_revision(pod) == revision.hash]
    counted = f"{sum(is_ready(pod) for pod in pods)}/{needed} pods answer"
    failure = snapshot.memory.failures.get(snapshot.ref(DEPLOYMENT, revision.name))
    why = failure.message if failure is not None else _why_unready(pods)
    words = (
        f"ModelGraph {', '.join(sorted(snapshot.pins[revision.name]))} asks revision {revision.hash}: it goes on in "
        f"Deployment {revision.name} before {wanted.hash} is rolled out; {counted}{f': {why}' if why else ''}"
    )
    return Finding(Reason.KEEPING_REVISION, words, normal=failure is None)


def _is_available(deployment: Object, replicas: int) -> bool:
    status: Mapping[str, Any] = deployment.get("status", {})
    seen = status.get("observedGeneration", -1) >= deployment["metadata"]["generation"]
    enough = status.get("availableReplicas", 0) >= replicas
    return seen and enough and "deletionTimestamp" not in deployment["metadata"]


def _why_unready(pods: Iterable[Object]) -> str:
    causes = sorted(cause.message for pod in pods if (cause := why_unready(pod)) is not None)
    return causes[0] if causes else ""


# Objects -------------------------------------------------------------------------------------------------------------


def _service(owner: Object, revision: Revision) -> dict[str, Any]:
    """Build the Service of a revision: to its pods, whichever Deployment they belong to."""
    body = build_service(owner)
    own = labels(owner["metadata"]["name"])
    selector = {key: own[key] for key in _COMMON} | {REVISION: revision.hash}
    return {**body, "metadata": _metadata(body, revision), "spec": {**body["spec"], "selector": selector}}


def _deployment(owner: Object, spec: ModelDeploymentSpec, revision: Revision) -> dict[str, Any]:
    """Build the second Deployment of a revision; its pods are not the ModelDeployment's as its Service sees them."""
    body, name = build_deployment(owner, spec, revision), owner["metadata"]["name"]
    template = {**revision.template, "metadata": _relabelled(revision.template["metadata"], name)}
    selector = {names.MANAGED_BY: names.MANAGER, names.KEPT: name, REVISION: revision.hash}
    rest = {**body["spec"], "selector": {"matchLabels": selector}, "template": template}
    return {**body, "metadata": _metadata(body, revision), "spec": rest}


def _metadata(body: Object, revision: Revision) -> dict[str, Any]:
    metadata = _relabelled(body["metadata"], body["metadata"]["name"])
    metadata["labels"] |= {REVISION: revision.hash}
    return {**metadata, "name": revision.name}


def _relabelled(metadata: Mapping[str, Any], deployment: str) -> dict[str, Any]:
    rest = {key: value for key, value in metadata.get("labels", {}).items() if key != names.MODEL_DEPLOYMENT}
    return {**metadata, "labels": {**rest, names.KEPT: deployment}}


_COMMON: Final = ("app.kubernetes.io/name", "app.kubernetes.io/instance", names.MANAGED_BY)
"""Labels that the pods of both Deployments have."""
