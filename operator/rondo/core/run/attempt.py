"""One total decision: what the Job and the pods of an attempt say about it.

Every combination of Job and pod gives exactly one verdict, so no run waits for a second signal that may be lost.
Success is decided by the pod at once, because the Job controller takes a second or more to follow. Failure is decided
by the pod only where nothing but the program itself can have caused it; in doubt the Job decides.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from rondo.api.base import Json
from rondo.api.pipeline import Stage
from rondo.api.pipelinerun import StoredOutput
from rondo.core import causes, names
from rondo.core.causes import Cause, Reason
from rondo.core.plan import Object
from rondo.core.run import results

KILLED_FROM_OUTSIDE: Final = frozenset({137, 143})
"""Exit codes of SIGKILL and SIGTERM. A suspended or deleted pod shows them too, before any mark says why."""


RUNNING: Final = "Running"
"""The reason of an attempt whose program runs and that nothing threatens."""


@dataclass(frozen=True, slots=True)
class Held:
    """It has not started yet, or is held up.

    Attributes:
        cause: Why.
        pod: The pod, if there is one.
        stuck: Waiting longer is of no use.
    """

    cause: Cause
    pod: Object | None = None
    stuck: bool = False


@dataclass(frozen=True, slots=True)
class Runs:
    """The main container runs, or has ended and its outputs are being stored.

    Attributes:
        message: What it does.
        reason: Running, or the disruption that is about to end it: its pod may be gone before anything else tells.
    """

    message: str
    reason: str = RUNNING


@dataclass(frozen=True, slots=True)
class Done:
    """It succeeded, with these results and outputs."""

    results: Mapping[str, Json] = field(default_factory=dict)
    outputs: Mapping[str, StoredOutput] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Ended:
    """It ended without success."""

    cause: Cause


Verdict: TypeAlias = Held | Runs | Done | Ended


def judge(stage: Stage, job: Object, pods: Iterable[Object], place: str, *, told: str = "") -> Verdict:
    """Decide how an attempt is.

    Args:
        stage: The stage, for the results and outputs that it declares.
        job: The attempt's Job.
        pods: The pods whose controller owner is that Job.
        place: URI of the folder that its outputs go to.
        told: The reason that status gives for the attempt so far: a disrupted pod is often gone before its Job has
        failed.
    """
    pod = current_pod(job, pods)
    if pod is not None and _phase(pod) == "Succeeded":
        return judge_success(stage, pod, place)
    if condition(job, "Complete"):
        return _complete_without_pod(stage, job)
    if condition(job, "Failed"):
        return Ended(_why_job_failed(job, pod, told))
    return _held_by_job(job, pod, told) if pod is None or _on_hold(job) else _unfinished(pod)


def current_pod(job: Object, pods: Iterable[Object]) -> Object | None:
    """Choose the pod that speaks for the attempt: one that succeeded, else the newest.

    A pod that is older than the Job's start is of the time before it was suspended and resumed.
    """
    start = job.get("status", {}).get("startTime", "")
    mine = [pod for pod in pods if names.controller_uid(pod) == job["metadata"]["uid"]]
    succeeded = [pod for pod in mine if _phase(pod) == "Succeeded"]
    fresh = [pod for pod in mine if _phase(pod) != "Failed" or pod["metadata"]["creationTimestamp"] >= start]
    candidates: Sequence[Object] = succeeded or fresh
    return max(candidates, key=lambda pod: str(pod["metadata"]["creationTimestamp"]), default=None)


def is_over(job: Object) -> bool:
    """Tell whether a Job has ended, well or not."""
    return condition(job, "Complete") is not None or condition(job, "Failed") is not None


def says_how_it_ended(stage: Stage, job: Object, pod: Object | None) -> bool:
    """Tell whether a pod that is known speaks for a Job that is over, or none is needed."""
    if condition(job, "Complete"):
        return not (stage.results or stage.outputs) or (pod is not None and _phase(pod) == "Succeeded")
    return pod is not None and _phase(pod) in {"Succeeded", "Failed"}


def condition(job: Object, type_: str) -> Mapping[str, Any] | None:
    """Give a Job's condition of a type if it is True."""
    conditions = job.get("status", {}).get("conditions", ())
    return next((c for c in conditions if c["type"] == type_ and c["status"] == "True"), None)


def _on_hold(job: Object) -> bool:
    return "deletionTimestamp" in job["metadata"] or bool(job["spec"].get("suspend"))


def _held_by_job(job: Object, pod: Object | None, told: str) -> Held:
    if "deletionTimestamp" in job["metadata"]:
        return Held(Cause(Reason.DELETED, f"{_describe(job)} is being deleted"), pod)
    if job["spec"].get("suspend"):
        return Held(Cause(Reason.SUSPENDED, f"{_describe(job)} is suspended"), pod)
    if told in causes.DISRUPTIONS:
        reason = Reason(told)
        words = f"the pod of {_describe(job)} {causes.words_for(reason)}; waiting for its Job's word"
        return Held(Cause(reason, words))
    return Held(Cause(Reason.STARTING, f"{_describe(job)} has no pod yet"))


def _unfinished(pod: Object) -> Verdict:
    if _phase(pod) == "Failed":
        cause = causes.why_failed(pod)
        if _by_itself(pod, cause):
            return Ended(cause)
        return Held(Cause(cause.reason, f"{cause.message}; waiting for its Job's word"), pod)
    if _phase(pod) == "Unknown":
        return Held(Cause(Reason.NODE_LOST, f"{causes.describe(pod)}: its node does not answer"), pod)
    stopped = causes.disruption(pod)
    if _main_state(pod, "running") is not None:
        return _running(pod, stopped)
    if _main_state(pod, "terminated") is not None:
        stores = any(s["name"] == "push" for s in pod["status"].get("initContainerStatuses", ()))
        return Runs(f"{causes.describe(pod)} has ended{' and stores its outputs' if stores else ''}")
    cause = stopped or causes.why_waiting(pod) or Cause(Reason.STARTING, f"{causes.describe(pod)} is starting")
    return Held(cause, pod, stuck=causes.fatal_wait(cause, pod))


def _running(pod: Object, stopped: Cause | None) -> Runs:
    if stopped is not None:
        return Runs(f"{stopped.message}; waiting for its end", stopped.reason.value)
    silent = causes.silent_node(pod)
    if silent is not None:
        return Runs(f"{silent.message}; it may still be running", silent.reason.value)
    return Runs(f"{causes.describe(pod)} is running")


def _by_itself(pod: Object, cause: Cause) -> bool:
    """Tell whether a failed pod's failure can only be its own."""
    if cause.reason in causes.DISRUPTIONS or "deletionTimestamp" in pod["metadata"]:
        return False
    return cause.reason is Reason.OOM_KILLED or cause.exit_code not in KILLED_FROM_OUTSIDE


def _why_job_failed(job: Object, pod: Object | None, told: str) -> Cause:
    failed = condition(job, "Failed") or {}
    if failed.get("reason") == "DeadlineExceeded":
        return Cause(Reason.DEADLINE_EXCEEDED, f"{_describe(job)} ran longer than the stage's timeout")
    if pod is None:
        reason = Reason(told) if told in causes.DISRUPTIONS else Reason.DELETED
        return Cause(reason, f"the pod of {_describe(job)} {causes.words_for(reason)}")
    disruption = causes.disruption(pod)
    if disruption is not None:
        return disruption
    if "deletionTimestamp" in pod["metadata"]:
        return Cause(Reason.DELETED, f"{causes.describe(pod)} was deleted")
    return causes.why_failed(pod)


def _complete_without_pod(stage: Stage, job: Object) -> Verdict:
    if stage.results or stage.outputs:
        message = f"{_describe(job)} succeeded, but its pod was deleted before its results were read"
        return Ended(Cause(Reason.RESULT_LOST, message))
    return Done()


def judge_success(stage: Stage, pod: Object, place: str) -> Done | Ended:
    """Decide whether a pod that succeeded left what the stage declares."""
    found = results.read_results(stage, pod)
    if isinstance(found, Cause):
        return Ended(found)
    stored = results.read_outputs(stage, pod, place)
    if isinstance(stored, Cause):
        return Ended(stored)
    return Done(found, stored)


def _main_state(pod: Object, state: str) -> Mapping[str, Any] | None:
    statuses = pod.get("status", {}).get("containerStatuses", ())
    main: Mapping[str, Any] = next((s for s in statuses if s["name"] == "main"), {})
    found: Mapping[str, Any] | None = main.get("state", {}).get(state)
    return found


def _phase(pod: Object) -> str:
    phase: str = pod.get("status", {}).get("phase", "Pending")
    return phase


def _describe(job: Object) -> str:
    return f"Job {job['metadata']['name']}"
