"""Revisions that ModelGraphs ask by name: each has a Service, and pods of its own while another is rolled out.

A graph that makes releases names in its status what it asks (`modelgraph.versions`). Before the Deployment leaves such
a revision, a second one, `NAME-HASH`, has its pods; when the Deployment has come back to it, or no graph asks it any
more, that goes. The Service `NAME-HASH` leads to the pods of both, and the Service `NAME` to none of the second.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any, Final

from rondo.api.modeldeployment import KeptRevision, ModelDeploymentSpec
from rondo.core import names
from rondo.core.conditions import shorten
from rondo.core.deployment.diagnosis import find_cause, find_worst, in_context
from rondo.core.deployment.finding import Finding, Reason, from_failure
from rondo.core.deployment.objects import Change, compare
from rondo.core.deployment.render import build_deployment, build_service, labels
from rondo.core.deployment.revision import REVISION, Revision, name_of, rolled_out
from rondo.core.deployment.snapshot import DeploymentSnapshot, is_ready, pod_revision
from rondo.core.plan import Action, Delete, EventsAbout, Object, Resource
from rondo.core.resources import DEPLOYMENT, SERVICE


def plan_kept(
    snapshot: DeploymentSnapshot, spec: ModelDeploymentSpec, wanted: Revision, *, complete: bool
) -> tuple[Action, ...]:
    """Say what to do for the revisions that graphs ask.

    Args:
        snapshot: One look at the deployment.
        spec: Its spec.
        wanted: The revision that the Deployment has, or shall have.
        complete: Whether the Deployment has it, with all pods.
    """
    changes = [change for revision in asked(snapshot) for change in _changes(snapshot, spec, revision, wanted)]
    applies = (change.apply for change in changes if change.apply is not None)
    return (*applies, *_superfluous(snapshot, wanted, complete=complete))


def find_blocked(
    snapshot: DeploymentSnapshot, spec: ModelDeploymentSpec, wanted: Revision, now: datetime
) -> Finding | EventsAbout | None:
    """Say why the Deployment cannot leave its revision yet: graphs ask it, and its pods are not there a second time.

    Args:
        snapshot: One look at the deployment.
        spec: Its spec.
        wanted: The revision that the Deployment shall have.
        now: The time of this look, timezone-aware UTC.

    Returns:
        What is in the way, by its root cause; a read that has to be answered first; None if nothing is.
    """
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
    words = (
        f"ModelGraph {', '.join(sorted(snapshot.pins[revision.name]))} asks revision {revision.hash}: it goes on in "
        f"Deployment {revision.name} before {wanted.hash} is rolled out; "
        f"{sum(is_ready(pod) for pod in pods)}/{needed} pods answer"
    )
    status = (second or {}).get("status", {})
    cause = _cause_of_second(snapshot, revision, status, pods, now)
    return cause if isinstance(cause, EventsAbout) else in_context(words, cause, status)


def _cause_of_second(
    snapshot: DeploymentSnapshot, revision: Revision, status: Mapping[str, Any], pods: Iterable[Object], now: datetime
) -> Finding | EventsAbout:
    """Say why the second Deployment of a revision has not its pods yet: what is wrong, or that it takes its time."""
    ref = snapshot.ref(DEPLOYMENT, revision.name)
    failure = snapshot.memory.failures.get(ref)
    if failure is not None:
        return from_failure(ref, failure)
    cause = find_cause(snapshot, status, pods, now) or Finding("", "", normal=True)
    if isinstance(cause, EventsAbout) or not cause.normal:
        return cause
    return replace(cause, reason=Reason.KEEPING_REVISION)


def asked(snapshot: DeploymentSnapshot) -> list[Revision]:
    """Give the revisions that graphs ask, oldest first."""
    return sorted((r for r in snapshot.revisions if r.name in snapshot.pins), key=lambda revision: revision.number)


def kept_status(snapshot: DeploymentSnapshot) -> list[KeptRevision]:
    """Say how the revisions are that have a Service of their own, or cannot have one, oldest first.

    A Service counts also without its ControllerRevision: somebody may have deleted that, and pods answer all the same.
    """
    services = {hash_ for hash_, thing in snapshot.kept[SERVICE].items() if thing["metadata"]["name"] in snapshot.pins}
    numbers = {revision.hash: revision.number for revision in snapshot.revisions}
    wanted = services | {revision.hash for revision in asked(snapshot)}
    found = (_kept_status(snapshot, hash_) for hash_ in sorted(wanted, key=lambda h: (numbers.get(h, 0), h)))
    return [each for each in found if each is not None]


def _kept_status(snapshot: DeploymentSnapshot, hash_: str) -> KeptRevision | None:
    name = name_of(snapshot.name, hash_)
    graphs = sorted(snapshot.pins[name])
    if hash_ not in snapshot.kept[SERVICE]:
        failure = snapshot.memory.failures.get(snapshot.ref(SERVICE, name))
        if failure is None:
            return None
        said = from_failure(snapshot.ref(SERVICE, name), failure)
        return KeptRevision(hash=hash_, graphs=graphs, reason=said.reason, message=shorten(said.message, 256))
    pods = [pod for pod in (*snapshot.pods, *snapshot.kept_pods) if pod_revision(pod) == hash_]
    ready = sum(is_ready(pod) for pod in pods)
    worst = None if ready else find_worst(pods)
    if worst is None:
        return KeptRevision(hash=hash_, graphs=graphs, ready=ready)
    cause, _ = worst
    return KeptRevision(hash=hash_, graphs=graphs, reason=cause.reason, message=shorten(cause.message, 256))


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


def _is_available(deployment: Object, replicas: int) -> bool:
    status: Mapping[str, Any] = deployment.get("status", {})
    seen = status.get("observedGeneration", -1) >= deployment["metadata"]["generation"]
    enough = status.get("availableReplicas", 0) >= replicas
    return seen and enough and "deletionTimestamp" not in deployment["metadata"]


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
