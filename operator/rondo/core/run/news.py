"""What is news of Jobs and pods: an end moves a run on at once, progress only changes its words.

The pods of a Job start one after the other, and every one of them is told three times before it ends. A look at the run
for each would cost more than all the rest, so progress is gathered for a moment.
"""

from __future__ import annotations

from rondo.core import names
from rondo.core.plan import Object
from rondo.core.run.attempt import condition
from rondo.core.run.item_index import INDEX_LABEL


def is_minor_job(job: Object) -> bool:
    """Tell whether a view of a Job tells only progress: the end of a Job for one pod comes after that of the pod."""
    metadata = job["metadata"]
    if names.RUN not in metadata.get("labels", {}) or "deletionTimestamp" in metadata:
        return False
    if condition(job, "Failed") is not None:
        return False
    return job["spec"].get("completionMode") != "Indexed" or condition(job, "Complete") is None


def is_minor_pod(pod: Object) -> bool:
    """Tell whether a view of a pod tells only progress: it goes on, or is one of many whose Job tells how they end."""
    metadata, status = pod["metadata"], pod.get("status", {})
    labels = metadata.get("labels", {})
    if names.RUN not in labels or "deletionTimestamp" in metadata:
        return False
    if any(condition["type"] == "DisruptionTarget" for condition in status.get("conditions", ())):
        return False
    return INDEX_LABEL in labels or status.get("phase", "Pending") in {"Pending", "Running"}
