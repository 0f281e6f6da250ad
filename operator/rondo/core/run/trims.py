"""What is kept of Jobs and pods in memory: only what the planner of runs reads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from rondo.core.causes import silent_node
from rondo.core.plan import Object

_METADATA: Final = (
    "name", "namespace", "uid", "resourceVersion", "generation", "labels", "ownerReferences", "creationTimestamp",
    "deletionTimestamp",
)  # fmt: skip
_POD_STATUS: Final = ("phase", "reason", "message", "initContainerStatuses", "containerStatuses")
_POD_CONDITIONS: Final = frozenset({"PodScheduled", "DisruptionTarget"})
_READINESS: Final = frozenset({"Ready", "ContainersReady"})
"""What tells of a node that does not answer; all else of it would only be noise."""

_JOB_CONDITIONS: Final = frozenset({"Complete", "Failed", "Suspended"})
_PROGRESS: Final = ("active", "completedIndexes", "failedIndexes")
"""How far a Job of many items is; of other Jobs it would only be noise."""

_CONDITION: Final = ("type", "status", "reason", "message", "lastTransitionTime")
_CONTAINER: Final = ("name", "image", "ready", "restartCount", "state", "lastState")


def trim_job(job: Object) -> dict[str, Any]:
    """Keep a Job's metadata, whether it is suspended, when it started and how it ended."""
    indexed = job["spec"].get("completionMode") == "Indexed"
    status = _pick(job.get("status", {}), ("startTime", *(_PROGRESS if indexed else ())))
    status["conditions"] = _conditions(job, _JOB_CONDITIONS)
    return {**_head(job), "spec": {"suspend": job["spec"].get("suspend", False)}, "status": status}


def trim_pod(pod: Object) -> dict[str, Any]:
    """Keep a pod's metadata and what its status says of causes."""
    status = _pick(pod.get("status", {}), _POD_STATUS)
    silent = silent_node(pod) is not None
    status["conditions"] = _conditions(pod, _POD_CONDITIONS | _READINESS if silent else _POD_CONDITIONS)
    for key in ("initContainerStatuses", "containerStatuses"):
        if key in status:
            status[key] = [_pick(container, _CONTAINER) for container in status[key]]
    where = {"spec": _pick(pod.get("spec", {}), ("nodeName",))} if silent else {}
    return {**_head(pod), **where, "status": status}


def _conditions(thing: Object, wanted: frozenset[str]) -> list[dict[str, Any]]:
    found = thing.get("status", {}).get("conditions", ())
    return [_pick(condition, _CONDITION) for condition in found if condition["type"] in wanted]


def _head(thing: Object) -> dict[str, Any]:
    head = {key: thing[key] for key in ("apiVersion", "kind") if key in thing}
    return {**head, "metadata": _pick(thing["metadata"], _METADATA)}


def _pick(source: Mapping[str, Any], keys: tuple[str, ...]) -> dict[str, Any]:
    return {key: source[key] for key in keys if key in source}
