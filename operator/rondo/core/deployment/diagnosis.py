"""Why a rollout is not complete: the root cause, from the Deployment's counts and the pods of the revision.

Only pods of the revision that is rolled out are asked, so that old pods which still answer hide nothing. A rollout is
complete only if the Deployment controller has seen the newest generation and every pod is new and available.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Final

from rondo.artifacts.errors import ExitCode
from rondo.core import causes
from rondo.core.causes import Cause
from rondo.core.deployment.finding import Finding, Reason, from_cause
from rondo.core.deployment.model import FETCH, VERIFY
from rondo.core.deployment.revision import Revision
from rondo.core.deployment.snapshot import DeploymentSnapshot, is_ready
from rondo.core.durations import parse_time
from rondo.core.plan import EventsAbout, Object

QUIET: Final = timedelta(seconds=3)
"""A pod that has not started or is not ready for so long may have a reason that only Events tell."""

_MILD: Final = {causes.Reason.UNSCHEDULABLE: 1, causes.Reason.NOT_READY: 2, causes.Reason.STARTING: 3}
"""Causes that say less than others, in the order in which they give way."""


def diagnose(
    snapshot: DeploymentSnapshot, deployment: Object, revision: Revision, replicas: int, now: datetime
) -> Finding | EventsAbout | None:
    """Say why a rollout is not complete; None if it is; a read that has to be answered first.

    Args:
        snapshot: One look at the deployment.
        deployment: Its Deployment, as declared.
        revision: The revision that is rolled out.
        replicas: How many pods are wanted.
        now: The time of this look, timezone-aware UTC.
    """
    status: Mapping[str, Any] = deployment.get("status", {})
    if status.get("observedGeneration", -1) < deployment["metadata"]["generation"]:
        return Finding(
            Reason.ROLLING_OUT, f"Deployment {snapshot.name} was changed and is not observed yet", normal=True
        )
    if all(status.get(key, 0) == replicas for key in ("replicas", "updatedReplicas", "availableReplicas")):
        return None
    cause = find_cause(snapshot, status, snapshot.pods_of(revision), now)
    if isinstance(cause, EventsAbout):
        return cause
    ready = sum(is_ready(pod) for pod in snapshot.pods_of(revision))
    words = f"{ready}/{replicas} pods of revision {revision.hash} ready"
    others = status.get("replicas", 0) - status.get("updatedReplicas", 0)
    if others > 0:
        words += f", {others} of earlier ones left"
    return in_context(words, cause or Finding(Reason.ROLLING_OUT, "", normal=True), status)


def find_cause(
    snapshot: DeploymentSnapshot, status: Mapping[str, Any], pods: Iterable[Object], now: datetime
) -> Finding | EventsAbout | None:
    """Say why pods of a Deployment are missing or do not answer; None if nothing tells; or a read to be made first.

    Args:
        snapshot: One look at the deployment.
        status: Status of the Deployment.
        pods: Its pods that matter.
        now: The time of this look, timezone-aware UTC.
    """
    return _not_created(status) or _pods_cause(snapshot, pods, now)


def in_context(words: str, finding: Finding, status: Mapping[str, Any]) -> Finding:
    """Put a cause behind how far a Deployment is, and tell one that has stopped from one that goes on."""
    late = _condition(status, "Progressing").get("reason") == Reason.PROGRESS_DEADLINE_EXCEEDED
    if late:
        words += ", no progress within spec.rollout.timeout"
        reason = Reason.PROGRESS_DEADLINE_EXCEEDED if finding.normal else finding.reason
        finding = replace(finding, reason=reason, stalled=True, normal=False)
    return replace(finding, message=f"{words}: {finding.message}" if finding.message else words)


def _not_created(status: Mapping[str, Any]) -> Finding | None:
    """Say why pods cannot be created at all: quota, admission."""
    failure = _condition(status, "ReplicaFailure")
    return from_cause(causes.refusal(failure.get("message", ""))) if failure.get("status") == "True" else None


def _pods_cause(snapshot: DeploymentSnapshot, pods: Iterable[Object], now: datetime) -> Finding | EventsAbout | None:
    """Give the cause of the pod that says most."""
    found = find_worst(pods)
    if found is None:
        return None
    cause, pod = found
    waited = now - parse_time(pod["metadata"]["creationTimestamp"])
    if cause.reason not in {causes.Reason.STARTING, causes.Reason.NOT_READY}:
        return _name_model(pod) or from_cause(cause, stalled=causes.fatal_wait(cause, pod))
    pause = min(max(QUIET.total_seconds(), waited.total_seconds() / 4), 60.0)
    if waited < QUIET:
        return from_cause(cause, look_again=pause)
    read = EventsAbout(snapshot.namespace, pod["metadata"]["uid"])
    result = snapshot.memory.reads.get(read)
    if result is None:
        return read
    return from_cause(_told_by_events(cause, pod, result.value or ()), look_again=pause)


def find_worst(pods: Iterable[Object]) -> tuple[Cause, Object] | None:
    """Give the pod that says most about why it does not answer, with what it says; None if all answer."""
    found = [(cause, pod) for pod in pods if (cause := why_unready(pod)) is not None]
    return min(found, key=lambda pair: (_MILD.get(pair[0].reason, 0), pair[1]["metadata"]["name"]), default=None)


def why_unready(pod: Object) -> Cause | None:
    """Say why a pod of a server does not answer, or None if it does.

    A server is started again and again, so what ended it stands in `lastState` while it runs anew or waits to.
    """
    if is_ready(pod):
        return None
    if pod.get("status", {}).get("phase") == "Failed":
        return causes.why_failed(pod)
    waiting = causes.why_waiting(pod)
    ended = _last_end(pod)
    if ended is None or (waiting is not None and waiting.reason not in _HIDES_ENDS):
        return waiting or Cause(causes.Reason.NOT_READY, f"{causes.describe(pod)} is not ready")
    oom = ended.reason is causes.Reason.OOM_KILLED
    message = waiting.message if waiting is not None and waiting.reason is causes.Reason.CRASH_LOOP else ended.message
    return Cause(causes.Reason.OOM_KILLED if oom else causes.Reason.CRASH_LOOP, message, ended.exit_code)


_HIDES_ENDS: Final = {causes.Reason.CRASH_LOOP, causes.Reason.NOT_READY, causes.Reason.STARTING}


def _last_end(pod: Object) -> Cause | None:
    """Say why a container of a pod last ended, if that was no success and it has not become ready since."""
    status = pod.get("status", {})
    ended = [
        {**container, "state": {"terminated": end}}
        for container in (*status.get("initContainerStatuses", ()), *status.get("containerStatuses", ()))
        if (end := _bad_end(container)) is not None
    ]
    if not ended:
        return None
    return causes.why_failed({**pod, "status": {"phase": "Failed", "containerStatuses": ended}})


def _bad_end(container: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Give how a container ended last, unless well or overtaken by events."""
    state, last = container.get("state", {}), container.get("lastState", {})
    end: Mapping[str, Any] | None = state.get("terminated") or last.get("terminated")
    if end is None or end.get("exitCode", 0) == 0 or container.get("ready", False):
        return None
    return end


def _name_model(pod: Object) -> Finding | None:
    """Say what the look for the model found, in its own words, if that is what failed."""
    for container in pod.get("status", {}).get("initContainerStatuses", ()):
        end = _bad_end(container) if container["name"] in {VERIFY, FETCH} else None
        if end is not None and end.get("message"):
            missing = end.get("exitCode") == ExitCode.ARTIFACT
            reason = Reason.MODEL_MISSING if missing else Reason.MODEL_UNREADABLE
            return Finding(reason, f"{causes.describe(pod)}: {end['message'].strip()}")
    return None


def _told_by_events(cause: Cause, pod: Object, events: Iterable[Object]) -> Cause:
    """Add what only Events tell: volumes that cannot be mounted, and what a probe was answered."""
    said = [event for event in events if event.get("reason") != "FailedScheduling"]
    if cause.reason is causes.Reason.STARTING:
        return causes.from_events(pod, said) or cause
    unhealthy = next((e for e in reversed(said) if e.get("reason") == "Unhealthy"), None)
    return cause if unhealthy is None else replace(cause, message=f"{cause.message}: {unhealthy.get('message', '')}")


def _condition(status: Mapping[str, Any], type_: str) -> Mapping[str, Any]:
    conditions: Iterable[Mapping[str, Any]] = status.get("conditions", ())
    return next((condition for condition in conditions if condition.get("type") == type_), {})
