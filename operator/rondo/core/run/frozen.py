"""The frozen copy: a run executes the pipeline as it was when the run began, never the live spec.

The copy is a ControllerRevision owned by the run, with the values of its params. A pipeline written into a run without
params needs none, because the spec of a run cannot change.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from rondo.api.base import Json
from rondo.api.pipelinerun import StageStatus
from rondo.core import names
from rondo.core.causes import Reason
from rondo.core.durations import parse_time
from rondo.core.plan import Create, GetLive, Object, Plan, ReadResult
from rondo.core.run.retried import NotFrozenError, retry_data
from rondo.core.run.snapshot import RunSnapshot

PATIENCE: Final = timedelta(minutes=1)
"""How long a run waits for a Pipeline that is not there: `kubectl apply` of a folder may bring the run first."""


def frozen_spec(snapshot: RunSnapshot) -> Mapping[str, Json] | None:
    """Give the raw spec that the run executes, or None if it is not frozen yet."""
    if not snapshot.is_frozen_apart:
        inline: Mapping[str, Json] = snapshot.run["spec"]["pipeline"]["spec"]
        return inline
    revision = _revision(snapshot)
    return None if revision is None else revision["data"]["spec"]


def frozen_generation(snapshot: RunSnapshot) -> int | None:
    """Give the Pipeline's generation that was frozen."""
    revision = _revision(snapshot)
    return None if revision is None else revision["data"].get("generation")


def given_params(snapshot: RunSnapshot) -> Mapping[str, Json]:
    """Give the values that the run was given when it was frozen: its own, or those of the run that it retries."""
    revision = _revision(snapshot)
    given: Mapping[str, Json] = snapshot.run["spec"].get("params", {})
    return given if revision is None else revision["data"].get("params", given)


def taken_over(snapshot: RunSnapshot) -> Mapping[str, StageStatus]:
    """Give the statuses of the stages that are taken over from the run that this one is a retry of."""
    revision = _revision(snapshot) if snapshot.retry_of else None
    taken = {} if revision is None else revision["data"]["taken"]
    return {name: StageStatus.model_validate(status) for name, status in taken.items()}


def freeze(snapshot: RunSnapshot, now: datetime) -> Plan:
    """Plan how to get the frozen copy.

    Raises:
        NotFrozenError: There is no such Pipeline, or the copy was deleted; or the run cannot be retried.
    """
    if snapshot.status.revision is not None:
        return _read_again(snapshot)
    data = retry_data(snapshot) if snapshot.retry_of else _pipeline_data(snapshot, now)
    if isinstance(data, Plan):
        return data
    failure = snapshot.memory.failures.get(snapshot.revision_ref)
    if failure is not None and failure.reason == Reason.NAME_CONFLICT.value:
        raise NotFrozenError(failure.reason, failure.message)
    if failure is not None and failure.lasting:
        words = f"{snapshot.revision_ref}, which holds the pipeline that this run executes, was refused"
        raise NotFrozenError(Reason.INVALID_OBJECT.value, f"{words}: {failure.message}")
    return Plan(actions=(Create(snapshot.revision_ref, _build_revision(snapshot, data)),), requeue_after=0.0)


def _pipeline_data(snapshot: RunSnapshot, now: datetime) -> dict[str, Any] | Plan:
    """Give the copy of the live Pipeline, or what has to be done first."""
    params: Mapping[str, Json] = snapshot.run["spec"].get("params", {})
    inline: Mapping[str, Json] | None = snapshot.run["spec"]["pipeline"].get("spec")
    if inline is not None:
        return {"spec": inline, "params": params}
    found = snapshot.memory.reads.get(snapshot.pipeline_read)
    if found is None:
        return Plan(reads=(snapshot.pipeline_read,))
    if found.value is None:
        return _await_pipeline(snapshot, found, now)
    return {"generation": found.value["metadata"]["generation"], "spec": found.value["spec"], "params": params}


def _revision(snapshot: RunSnapshot) -> Object | None:
    if snapshot.revision is not None:
        return snapshot.revision
    read = snapshot.memory.reads.get(GetLive(snapshot.revision_ref))
    return None if read is None else read.value


def _read_again(snapshot: RunSnapshot) -> Plan:
    """Read a copy that was made before this process started."""
    read = GetLive(snapshot.revision_ref)
    result = snapshot.memory.reads.get(read)
    if result is not None and result.error is None:
        words = f"{snapshot.revision_ref} is gone; it held the pipeline that this run executes"
        raise NotFrozenError("RevisionLost", words)
    return Plan(reads=(read,)) if result is None else Plan(requeue_after=1.0)


def _await_pipeline(snapshot: RunSnapshot, found: ReadResult, now: datetime) -> Plan:
    if found.error is not None:
        return Plan(requeue_after=1.0)
    waited = now - parse_time(snapshot.run["metadata"]["creationTimestamp"])
    if waited >= PATIENCE:
        words = f"there is no Pipeline {snapshot.pipeline} in namespace {snapshot.namespace}"
        raise NotFrozenError("PipelineNotFound", words)
    return Plan(requeue_after=min(2.0, (PATIENCE - waited).total_seconds()))


def _build_revision(snapshot: RunSnapshot, data: Mapping[str, Json]) -> dict[str, Any]:
    metadata = snapshot.run["metadata"]
    labels = {names.MANAGED_BY: names.MANAGER, names.RUN: metadata["name"], names.RUN_UID: metadata["uid"]}
    return {
        "apiVersion": "apps/v1",
        "kind": "ControllerRevision",
        "metadata": {
            "name": snapshot.revision_ref.name,
            "namespace": snapshot.namespace,
            "labels": {**labels, names.PIPELINE: snapshot.pipeline} if snapshot.pipeline else labels,
            "ownerReferences": [names.owner_reference(snapshot.run)],
        },
        "revision": data.get("generation") or 1,
        "data": dict(data),
    }
