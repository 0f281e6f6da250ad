"""When a namespace's claim is swept, and what is said of it.

A sweep is a Job of the operator's image that mounts the claim: nobody else can. The Jobs themselves are the memory: the
newest says when the last sweep was, and one that has ended is told as an Event on the claim.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from rondo.api.pipeline import AccessMode
from rondo.artifacts.config import MARKS_FILE, Config, Sweep
from rondo.core import causes, names
from rondo.core.artifacts import ArtifactStore, together
from rondo.core.durations import parse_time
from rondo.core.garbage.marks import UnsettledError, take_marks
from rondo.core.plan import (
    Action,
    Create,
    Delete,
    EventDraft,
    EventType,
    ListLive,
    Memory,
    Object,
    Plan,
    Ref,
)
from rondo.core.render.container import pod_security
from rondo.core.render.helper import build_helper
from rondo.core.resources import (
    CONTROLLER_REVISION,
    JOB,
    MODEL_DEPLOYMENT,
    PERSISTENT_VOLUME_CLAIM,
    PIPELINE,
    PIPELINE_RUN,
    POD,
)
from rondo.core.run.attempt import condition
from rondo.core.settings import PlannerSettings
from rondo.core.view import Key, View

MARKS_LIMIT: Final = 200_000
"""Bytes of packed marks: an object's annotations have 256 KiB in all. That is enough for some 8,000 runs."""

NEWS: Final = timedelta(minutes=2)
"""For so long the end of a sweep is worth an Event."""

AGAIN: Final = 60.0
"""Seconds until the next look where it could not be told what stays."""


@dataclass(frozen=True)
class ClaimSnapshot:
    """One look at a namespace's claim for artifacts.

    Attributes:
        claim: The PersistentVolumeClaim.
        jobs: Its sweeps.
        pods: Their pods.
        memory: What this process remembers.
        settings: The installation's settings.
    """

    claim: Object
    jobs: Sequence[Object]
    pods: Sequence[Object]
    memory: Memory
    settings: PlannerSettings

    @property
    def namespace(self) -> str:
        """Namespace of the claim."""
        namespace: str = self.claim["metadata"]["namespace"]
        return namespace


def observe_claim(view: View, key: Key, settings: PlannerSettings) -> ClaimSnapshot | None:
    """Look at a claim; None if it is not there, or not the one for artifacts."""
    claim = view.get(Ref(PERSISTENT_VOLUME_CLAIM, key.namespace, key.name))
    if claim is None or not is_store(claim, settings):
        return None
    uid = claim["metadata"]["uid"]
    jobs = [job for job in view.children(JOB, key) if names.controller_uid(job) == uid]
    return ClaimSnapshot(claim, jobs, tuple(view.children(POD, key)), view.memory(key), settings)


def is_store(claim: Object, settings: PlannerSettings) -> bool:
    """Tell whether a claim is its namespace's for artifacts."""
    store = settings.store
    return isinstance(store, ArtifactStore) and claim["metadata"]["name"] == store.claim


def claim_of_sweep(child: Object) -> Iterable[Key]:
    """Give the claim that a Job or pod sweeps."""
    name = child["metadata"].get("labels", {}).get(names.SWEEP)
    if name:
        yield Key(PERSISTENT_VOLUME_CLAIM, child["metadata"]["namespace"], name)


def plan_claim(snapshot: ClaimSnapshot, now: datetime) -> Plan:
    """Plan the sweeps of a claim.

    Args:
        snapshot: The claim and its sweeps.
        now: The time.
    """
    collect = snapshot.settings.collect
    if collect is None or "deletionTimestamp" in snapshot.claim["metadata"]:
        return Plan()
    jobs = sorted(snapshot.jobs, key=lambda job: str(job["metadata"]["creationTimestamp"]))
    newest = jobs[-1] if jobs else None
    if newest is not None and _ended(newest) is None:
        return Plan()
    events = () if newest is None else _tell(snapshot, newest, now)
    old: tuple[Action, ...] = tuple(_delete(snapshot.namespace, job) for job in jobs[:-1])
    last = newest if newest is not None else snapshot.claim
    due = parse_time(last["metadata"]["creationTimestamp"]) + _pause(snapshot)
    if now < due:
        return Plan(actions=old, events=events, requeue_after=(due - now).total_seconds())
    return _begin(snapshot, newest, collect.age, now)


def _pause(snapshot: ClaimSnapshot) -> timedelta:
    """Give the time between two sweeps, longer by up to a tenth for each namespace, so that not all begin at once."""
    collect = snapshot.settings.collect
    assert collect is not None  # noqa: S101 - asked before
    share = int(names.short_hash(snapshot.claim["metadata"]["uid"]), 16) / 2**32
    return collect.every * (1 + share / 10)


def _begin(snapshot: ClaimSnapshot, newest: Object | None, age: timedelta, now: datetime) -> Plan:
    """List all that may refer to an artifact, and sweep what nothing does; whatever fails, nothing is removed."""
    namespace = snapshot.namespace
    ours = ((names.MANAGED_BY, names.MANAGER),)
    reads = {
        resource: ListLive(resource, namespace, labels)
        for resource, labels in (
            (PIPELINE_RUN, ()),
            (PIPELINE, ()),
            (MODEL_DEPLOYMENT, ()),
            (CONTROLLER_REVISION, ours),
            (JOB, ours),
        )
    }
    found = {resource: snapshot.memory.reads.get(read) for resource, read in reads.items()}
    if any(result is None for result in found.values()):
        return Plan(reads=tuple(reads.values()))
    lists = {resource: result.value for resource, result in found.items() if result is not None and not result.error}
    if len(lists) < len(reads):
        return Plan(requeue_after=AGAIN)
    others = (*lists[MODEL_DEPLOYMENT], *(job for job in lists[JOB] if names.SWEEP not in job["metadata"]["labels"]))
    name: str = snapshot.claim["metadata"]["name"]
    try:
        marks = take_marks(
            name,
            age.total_seconds(),
            now,
            runs=lists[PIPELINE_RUN],
            pipelines=lists[PIPELINE],
            revisions=lists[CONTROLLER_REVISION],
            others=others,
        )
    except UnsettledError:
        return Plan(requeue_after=AGAIN)
    packed = marks.pack()
    if len(packed) > MARKS_LIMIT:
        words = (
            f"nothing is swept: what stays takes {len(packed)} bytes to name, and {MARKS_LIMIT} fit; delete old runs"
        )
        return Plan(events=(EventDraft(EventType.WARNING, "SweepImpossible", "Sweep", words),), requeue_after=3600.0)
    before = "" if newest is None else newest["metadata"]["uid"]
    ref = Ref(JOB, namespace, f"{name[:40]}-sweep-{names.short_hash(snapshot.claim['metadata']['uid'], before)}")
    return Plan(actions=(Create(ref, build_sweep(snapshot, ref, marks, packed)),))


def build_sweep(snapshot: ClaimSnapshot, ref: Ref, marks: Sweep, packed: str) -> dict[str, Any]:
    """Build the Job of a sweep.

    Args:
        snapshot: The claim.
        ref: The Job.
        marks: What stays.
        packed: The same as the pod reads it.
    """
    claim, store = snapshot.claim["metadata"], snapshot.settings.store
    folder = f"/rondo/claims/{claim['name']}"
    mounts = [{"name": "claim", "mountPath": folder}, {"name": "marks", "mountPath": MARKS_FILE.rpartition("/")[0]}]
    helper = build_helper("sweep", snapshot.settings, Config(claims={claim["name"]: folder}), mounts)
    item = {"path": "marks", "fieldRef": {"fieldPath": f"metadata.annotations['{names.MARKS}']"}}
    labels = {names.MANAGED_BY: names.MANAGER, names.SWEEP: claim["name"]}
    pod: dict[str, Any] = {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": pod_security(),
        "containers": [helper],
        "volumes": [
            {"name": "claim", "persistentVolumeClaim": {"claimName": claim["name"]}},
            {"name": "marks", "downwardAPI": {"items": [item]}},
        ],
    }
    if isinstance(store, ArtifactStore) and store.access_mode is AccessMode.READ_WRITE_ONCE:
        together(pod, {names.ARTIFACTS: store.claim})
        labels[names.ARTIFACTS] = store.claim
    owner = {key: value for key, value in names.owner_reference(snapshot.claim).items() if key != "blockOwnerDeletion"}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": ref.name, "namespace": ref.namespace, "labels": labels, "ownerReferences": [owner]},
        "spec": {
            "backoffLimit": 0,
            "activeDeadlineSeconds": max(int(marks.age / 2), 1),
            "template": {"metadata": {"labels": labels, "annotations": {names.MARKS: packed}}, "spec": pod},
        },
    }


def _ended(job: Object) -> Mapping[str, Any] | None:
    """Give the condition that says that a Job has ended."""
    return condition(job, "Complete") or condition(job, "Failed")


def _tell(snapshot: ClaimSnapshot, job: Object, now: datetime) -> tuple[EventDraft, ...]:
    """Say how a sweep ended, if that is news."""
    ended = _ended(job)
    if ended is None or now - parse_time(ended["lastTransitionTime"]) > NEWS:
        return ()
    pod = next((p for p in snapshot.pods if names.controller_uid(p) == job["metadata"]["uid"]), None)
    if ended["type"] == "Failed":
        cause = f"Job {job['metadata']['name']} failed" if pod is None else causes.why_failed(pod).message
        return (EventDraft(EventType.WARNING, "SweepFailed", "Sweep", f"nothing more is removed: {cause}"),)
    said = _report(pod)
    if not said.get("removed"):
        return ()
    words = f"removed {said['removed']} artifacts, {said['size']:,} bytes, that nothing refers to; {said['kept']} stay"
    return (EventDraft(EventType.NORMAL, "Swept", "Sweep", words),)


def _report(pod: Object | None) -> Mapping[str, Any]:
    statuses = (pod or {}).get("status", {}).get("containerStatuses", ())
    message = next((s.get("state", {}).get("terminated", {}).get("message", "") for s in statuses), "")
    try:
        said: Mapping[str, Any] = json.loads(message or "{}")
    except ValueError:
        return {}
    return said


def _delete(namespace: str, job: Object) -> Delete:
    return Delete(Ref(JOB, namespace, job["metadata"]["name"]), job["metadata"]["uid"])
