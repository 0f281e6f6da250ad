"""Root causes: what a pod's status says about why it does not run or did not succeed, as reason and words.

Both pipelines and model deployments put these into their conditions. The reasons are a closed set, because retry
policies name them; what each means for a retry stands beside it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from signal import Signals
from typing import Any, Final, overload

from rondo.artifacts.errors import ExitCode
from rondo.core.conditions import shorten
from rondo.core.plan import Object
from rondo.core.remedies import with_remedy

LOG_LIMIT: Final = 512
"""Characters of a container's last words that go into a message."""


class Reason(StrEnum):
    """Why an attempt ended without success, or why a pod does not run."""

    USER_ERROR = "UserError"
    OOM_KILLED = "OOMKilled"
    CONFIG_ERROR = "ConfigError"
    IMAGE_PULL = "ImagePull"
    UNSCHEDULABLE = "Unschedulable"
    QUOTA = "Quota"
    ADMISSION_DENIED = "AdmissionDenied"
    VOLUME = "Volume"
    CRASH_LOOP = "CrashLoop"
    NOT_READY = "NotReady"
    STARTING = "Starting"
    SUSPENDED = "Suspended"
    DEADLINE_EXCEEDED = "DeadlineExceeded"
    PENDING_TIMEOUT = "PendingTimeout"
    INPUT_MISSING = "InputMissing"
    INPUT_DENIED = "InputDenied"
    INPUT_UNREADABLE = "InputUnreadable"
    ARTIFACT_PUSH_FAILED = "ArtifactPushFailed"
    RESULT_MISSING = "ResultMissing"
    RESULT_INVALID = "ResultInvalid"
    RESULT_TOO_LARGE = "ResultTooLarge"
    NAME_CONFLICT = "NameConflict"
    INVALID_OBJECT = "InvalidObject"
    EVICTED = "Evicted"
    PREEMPTED = "Preempted"
    NODE_LOST = "NodeLost"
    DELETED = "Deleted"
    RESULT_LOST = "ResultLost"


DISRUPTIONS: Final = frozenset({Reason.EVICTED, Reason.PREEMPTED, Reason.NODE_LOST, Reason.DELETED, Reason.RESULT_LOST})
"""Not the stage's own fault: the next attempt is free, up to `retry.maxDisruptions`."""

TROUBLES: Final = frozenset(Reason) - {Reason.STARTING}
"""Somebody should look, or wait knowing why."""

FATAL: Final = frozenset({
    Reason.CONFIG_ERROR, Reason.INPUT_MISSING, Reason.INPUT_DENIED, Reason.NAME_CONFLICT, Reason.INVALID_OBJECT,
})  # fmt: skip
"""The same spec would fail in the same way again: never retried unless `retry.reasons` names it."""


@dataclass(frozen=True, slots=True)
class Cause:
    """A root cause in words.

    Attributes:
        reason: What a retry policy and a program read.
        message: What a person reads; names the object.
        exit_code: Exit code of the container that failed, where there is one.
    """

    reason: Reason
    message: str
    exit_code: int | None = None


_IMAGE_REASONS: Final = frozenset({
    "ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull", "InvalidImageName", "RegistryUnavailable",
    "ImageInspectError", "SignatureValidationFailed",
})  # fmt: skip
_CONFIG_REASONS: Final = frozenset({
    "CreateContainerConfigError", "CreateContainerError", "RunContainerError", "PreCreateHookError",
    "PreStartHookError", "PostStartHookError",
})  # fmt: skip
_FETCH_CODES: Final[Mapping[int | None, Reason]] = {
    ExitCode.DENIED: Reason.INPUT_DENIED,
    ExitCode.NO_SPACE: Reason.INPUT_UNREADABLE,
    ExitCode.STORE: Reason.INPUT_UNREADABLE,
}
"""What the exit codes of `fetch` mean, where it is not that an input is missing."""

_BESIDE_THE_POINT: Final = re.compile(r"\. (no new claims to deallocate.*|preemption: .*|not found)$")
"""How the scheduler ends its message: what it found out about preemption and resource claims, even if none is used."""

_EVENT_REASONS: Final[Mapping[str, Reason]] = {
    "FailedMount": Reason.VOLUME,
    "FailedAttachVolume": Reason.VOLUME,
    "FailedMapVolume": Reason.VOLUME,
    "FailedCreatePodSandBox": Reason.STARTING,  # the node's trouble, not the spec's
    "NodeNotReady": Reason.NODE_LOST,
}
"""What Events about a pod that has not started mean; all else is told of the spec."""

_START_ERRORS: Final = frozenset({"StartError", "ContainerCannotRun"})
_NODE_LOST: Final = frozenset({"NodeLost", "NodeShutdown", "Terminated", "Shutdown"})
_DISRUPTION_TARGETS: Final = {
    "PreemptionByScheduler": Reason.PREEMPTED,
    "DeletionByTaintManager": Reason.NODE_LOST,
    "DeletionByPodGC": Reason.NODE_LOST,
    "EvictionByEvictionAPI": Reason.EVICTED,
    "TerminationByKubelet": Reason.EVICTED,
}


def why_waiting(pod: Object) -> Cause | None:
    """Say why a pod that has not ended is not doing its work, or None if all its containers run and are ready.

    Args:
        pod: A core/v1 Pod. Its phase should be Pending or Running.
    """
    return _with_remedy(silent_node(pod) or _unscheduled(pod) or _held_container(pod) or _unready(pod))


def silent_node(pod: Object) -> Cause | None:
    """Give the cause if the pod's node does not answer, else None; the pod may still be at work there.

    The node controller then takes back that the pod is ready, without a reason, while its containers stay as the
    kubelet last told.
    """
    ready, containers = _condition(pod, "Ready") or {}, _condition(pod, "ContainersReady") or {}
    if (ready.get("status"), containers.get("status")) != ("False", "True") or ready.get("reason"):
        return None
    return Cause(Reason.NODE_LOST, f"{describe(pod)}: its node {_node(pod)}does not answer")


def fatal_wait(cause: Cause, pod: Object) -> bool:
    """Tell whether waiting longer is of no use: the image's name itself is wrong, so no pull will ever succeed."""
    waiting = (status.get("state", {}).get("waiting", {}) for status in _container_statuses(pod))
    return cause.reason is Reason.IMAGE_PULL and any(w.get("reason") == "InvalidImageName" for w in waiting)


def why_failed(pod: Object) -> Cause:
    """Say why a pod of phase Failed failed: disruption first, then the first container that ended badly."""
    return disruption(pod) or _with_remedy(_rejected(pod) or _failed_container(pod) or _unknown_failure(pod))


def disruption(pod: Object) -> Cause | None:
    """Give the cause if the pod was stopped by the cluster and not by itself, else None.

    The DisruptionTarget condition is the API's word for it; `status.reason` is the kubelet's own, older one.
    """
    return _with_remedy(_disruption(pod))


def _disruption(pod: Object) -> Cause | None:
    target = _condition(pod, "DisruptionTarget")
    if target and target.get("status") == "True":
        reason = _DISRUPTION_TARGETS.get(target.get("reason", ""), Reason.EVICTED)
        return Cause(reason, f"{describe(pod)} {words_for(reason)}: {target.get('message', '')}".rstrip(": "))
    status = pod.get("status", {})
    if status.get("reason") == "Evicted":
        return Cause(Reason.EVICTED, f"{describe(pod)} was evicted: {status.get('message', '')}".rstrip(": "))
    if status.get("reason") in _NODE_LOST:
        return Cause(Reason.NODE_LOST, f"{describe(pod)} ended with its node: {status.get('message', '')}".rstrip(": "))
    return None


def from_events(pod: Object, events: Iterable[Object]) -> Cause | None:
    """Find in a pod's Events why its containers are not created; volumes are told about nowhere else.

    Args:
        pod: The pod.
        events: core/v1 Events about it, oldest first.
    """
    last = next((e for e in reversed(list(events)) if e.get("type") == "Warning"), None)
    if last is None:
        return None
    reason = _EVENT_REASONS.get(last.get("reason", ""), Reason.CONFIG_ERROR)
    return _with_remedy(Cause(reason, f"{describe(pod)} cannot start: {_one_line(last.get('message', ''))}"))


def creation_failure(events: Iterable[Object]) -> Cause | None:
    """Find in the Events of a Job why no pod of it could be created.

    Args:
        events: core/v1 Events about the Job, oldest first.
    """
    last = next((e for e in reversed(list(events)) if e.get("reason") == "FailedCreate"), None)
    return None if last is None else refusal(_one_line(last.get("message", "")).removeprefix("Error creating: "))


def refusal(message: str) -> Cause:
    """Classify the API server's words when it refuses to create a pod or another object."""
    reason = Reason.QUOTA if "quota" in message else Reason.ADMISSION_DENIED
    return _with_remedy(Cause(reason, shorten(message, LOG_LIMIT)))


def describe(pod: Object) -> str:
    """Name a pod as messages do: `pod NAME`."""
    return f"pod {pod['metadata']['name']}"


@overload
def _with_remedy(cause: Cause) -> Cause: ...
@overload
def _with_remedy(cause: Cause | None) -> Cause | None: ...
def _with_remedy(cause: Cause | None) -> Cause | None:
    return cause and replace(cause, message=with_remedy(cause.reason, cause.message))


def _node(pod: Object) -> str:
    name = pod.get("spec", {}).get("nodeName")
    return f"{name} " if name else ""


def _unscheduled(pod: Object) -> Cause | None:
    scheduled = _condition(pod, "PodScheduled")
    if scheduled is None or scheduled.get("status") != "False":
        return None
    words = _BESIDE_THE_POINT.sub("", _one_line(scheduled.get("message", ""))) or "no node fits"
    return Cause(Reason.UNSCHEDULABLE, f"{describe(pod)} {Reason.UNSCHEDULABLE}: {words}")


def _held_container(pod: Object) -> Cause | None:
    causes = (_waiting_container(pod, status) for status in _container_statuses(pod))
    found = [cause for cause in causes if cause is not None]
    return next((cause for cause in found if cause.reason is not Reason.STARTING), found[0] if found else None)


def _waiting_container(pod: Object, status: Mapping[str, Any]) -> Cause | None:
    waiting = status.get("state", {}).get("waiting")
    if waiting is None:
        return None
    reason, words = waiting.get("reason", ""), _one_line(waiting.get("message", ""))
    where = f"{describe(pod)}, container {status['name']}"
    if reason in _IMAGE_REASONS:
        return Cause(Reason.IMAGE_PULL, f"{where}: cannot pull image {status.get('image', '')}: {words or reason}")
    if reason in _CONFIG_REASONS:
        return Cause(Reason.CONFIG_ERROR, f"{where}: {reason}: {words}".rstrip(": "))
    if reason == "CrashLoopBackOff":
        return _crash_loop(where, status)
    return Cause(Reason.STARTING, f"{describe(pod)} is starting: {reason or 'Pending'}")


def _crash_loop(where: str, status: Mapping[str, Any]) -> Cause:
    ended = status.get("lastState", {}).get("terminated", {})
    why = _why_ended(ended)
    restarts = status.get("restartCount", 0)
    return Cause(Reason.CRASH_LOOP, f"{where} keeps failing ({restarts} restarts): {why.message}", why.exit_code)


def _unready(pod: Object) -> Cause | None:
    statuses = pod.get("status", {}).get("containerStatuses", [])
    late = next((s for s in statuses if "running" in s.get("state", {}) and not s.get("ready", False)), None)
    if late is not None:
        return Cause(Reason.NOT_READY, f"{describe(pod)}, container {late['name']} runs but is not ready yet")
    if not statuses:
        return Cause(Reason.STARTING, f"{describe(pod)} is starting: Pending")
    return None


def _rejected(pod: Object) -> Cause | None:
    """Pods that the kubelet refused before any container was made: out of a resource, affinity, admission."""
    status = pod.get("status", {})
    reason = status.get("reason", "")
    if reason == "DeadlineExceeded":
        return Cause(Reason.DEADLINE_EXCEEDED, f"{describe(pod)} ran longer than its limit")
    if reason.startswith("OutOf") or reason in {"UnexpectedAdmissionError", "NodeAffinity"}:
        return Cause(Reason.EVICTED, f"{describe(pod)} was refused by its node: {reason}: {status.get('message', '')}")
    return None


def _failed_container(pod: Object) -> Cause | None:
    for status in _container_statuses(pod):
        ended = status.get("state", {}).get("terminated")
        if ended is not None and ended.get("exitCode", 0) != 0:
            why = _why_ended(ended)
            return Cause(
                _whose(status["name"], why),
                f"{describe(pod)}, container {status['name']}: {why.message}",
                why.exit_code,
            )
    return None


def _whose(container: str, why: Cause) -> Reason:
    """Give the reason of a failure by itself; that of our own containers is not the user's program's."""
    match container:
        case "fetch" if why.reason is Reason.USER_ERROR:
            return _FETCH_CODES.get(why.exit_code, Reason.INPUT_MISSING)
        case "push" if why.reason is Reason.USER_ERROR:
            return Reason.ARTIFACT_PUSH_FAILED
        case _:
            return why.reason


def _why_ended(ended: Mapping[str, Any]) -> Cause:
    code = ended.get("exitCode", 0)
    words = _last_words(ended.get("message", ""))
    if ended.get("reason") == "OOMKilled":
        return Cause(Reason.OOM_KILLED, "killed for memory: it needed more than resources.limits.memory", code)
    if ended.get("reason") in _START_ERRORS:
        return Cause(Reason.CONFIG_ERROR, f"cannot start: {_start_error(ended.get('message', ''))}", code)
    return Cause(Reason.USER_ERROR, f"exit code {code}{_signal(code)}" + (f": {words}" if words else ""), code)


def _signal(code: int) -> str:
    """Name the signal that an exit code stands for by the custom of shells and runtimes: ` (SIGSEGV)` for 139."""
    try:
        return f" ({Signals(code - 128).name})"
    except ValueError:
        return ""


def _unknown_failure(pod: Object) -> Cause:
    status = pod.get("status", {})
    words = status.get("message") or status.get("reason") or "no container says why"
    return Cause(Reason.USER_ERROR, f"{describe(pod)} failed: {_one_line(words)}")


def words_for(reason: Reason) -> str:
    """Say what a disruption did to a pod: `was evicted`."""
    return {
        Reason.PREEMPTED: "was preempted",
        Reason.NODE_LOST: "was lost with its node",
        Reason.DELETED: "was deleted",
    }.get(reason, "was evicted")


def _container_statuses(pod: Object) -> list[Mapping[str, Any]]:
    """All container statuses, the likeliest root cause first: init containers, `main`, the others, `push` last."""
    status = pod.get("status", {})
    statuses = [*status.get("initContainerStatuses", []), *status.get("containerStatuses", [])]
    init = {s["name"] for s in status.get("initContainerStatuses", [])}
    return sorted(statuses, key=lambda s: (s["name"] == "push", s["name"] not in init, s["name"] != "main"))


def _condition(pod: Object, type_: str) -> Mapping[str, Any] | None:
    conditions = pod.get("status", {}).get("conditions", [])
    return next((c for c in conditions if c.get("type") == type_), None)


def _last_words(message: str) -> str:
    """The end of a termination message, which holds the last log lines where the program wrote none itself."""
    text = message.strip()
    return text if len(text) <= LOG_LIMIT else f"... {text[-LOG_LIMIT:]}"


def _one_line(message: str) -> str:
    return shorten(re.sub(r"\s+", " ", message).strip(), LOG_LIMIT)


def _start_error(message: str) -> str:
    """The part of containerd's chain of errors that a person can act on, which is its end."""
    text = _one_line(message).removesuffix(": unknown")
    found = re.search(r"(?:start container process|runc create failed): (?:.*(?=exec: ))?(.*)$", text)
    return found.group(1) if found else text
