"""What is kept of Jobs and pods in memory: only what the planner of runs reads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from rondo.core.plan import Object

_METADATA: Final = (
    "name", "namespace", "uid", "resourceVersion", "generation", "labels", "ownerReferences", "creationTimestamp",
    "deletionTimestamp",
)  # fmt: skip
_POD_STATUS: Final = ("phase", "reason", "message", "conditions", "initContainerStatuses", "containerStatuses")
_CONTAINER: Final = ("name", "image", "ready", "restartCount", "state", "lastState")


def trim_job(job: Object) -> dict[str, Any]:
    """Keep a Job's metadata, whether it is suspended, and its status."""
    return {**_head(job), "spec": {"suspend": job["spec"].get("suspend", False)}, "status": job.get("status", {})}


def trim_pod(pod: Object) -> dict[str, Any]:
    """Keep a pod's metadata, its node, and what its status says of causes."""
    status = _pick(pod.get("status", {}), _POD_STATUS)
    for key in ("initContainerStatuses", "containerStatuses"):
        if key in status:
            status[key] = [_pick(container, _CONTAINER) for container in status[key]]
    return {**_head(pod), "spec": {"nodeName": pod.get("spec", {}).get("nodeName", "")}, "status": status}


def _head(thing: Object) -> dict[str, Any]:
    head = {key: thing[key] for key in ("apiVersion", "kind") if key in thing}
    return {**head, "metadata": _pick(thing["metadata"], _METADATA)}


def _pick(source: Mapping[str, Any], keys: tuple[str, ...]) -> dict[str, Any]:
    return {key: source[key] for key in keys if key in source}
