"""Retries: a run of the frozen copy of another that has ended, which takes over what succeeded there.

What is taken over stands in the retry's own frozen copy, so that the run it came from may be deleted.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rondo.api.base import Json
from rondo.api.pipelinerun import PipelineRunStatus, StageState, StageStatus
from rondo.core import names
from rondo.core.graph import nearest
from rondo.core.pipeline import validation
from rondo.core.pipeline.wiring import wire
from rondo.core.plan import Create, GetLive, Object, Plan, Ref
from rondo.core.resources import CONTROLLER_REVISION, PIPELINE_RUN
from rondo.core.run import taken_items
from rondo.core.run.snapshot import RunSnapshot

TAKEN_OVER = "TakenOver"
"""Reason of a stage that an earlier run has done."""


class NotFrozenError(Exception):
    """The pipeline cannot be frozen, and never will be: `reason` and the message go into the run's status."""

    def __init__(self, reason: str, message: str) -> None:
        self.reason = reason
        super().__init__(message)


def retry_data(snapshot: RunSnapshot) -> dict[str, Any] | Plan:
    """Give what a retry freezes: spec, params and stages of the other run; or what has to be done first.

    Raises:
        NotFrozenError: The other run cannot be retried.
    """
    if snapshot.run["spec"].get("params"):
        words = f"spec.params: a retry takes the params of run {snapshot.retry_of}; leave them out"
        raise NotFrozenError("InvalidRetry", words)
    old = _read(snapshot, Ref(PIPELINE_RUN, snapshot.namespace, snapshot.retry_of))
    if isinstance(old, Plan):
        return old
    if old is None:
        raise NotFrozenError("RetryOfNotFound", f"spec.retryOf: there is no PipelineRun {snapshot.retry_of}")
    _check(snapshot, old)
    revision = old["status"].get("revision", "")
    copy = _read(snapshot, Ref(CONTROLLER_REVISION, snapshot.namespace, revision)) if revision else None
    if isinstance(copy, Plan):
        return copy
    data = _copied(old, copy)
    inline = snapshot.run["spec"]["pipeline"].get("spec")
    if inline is not None and inline != data["spec"]:
        words = f"spec.pipeline.spec is not that of run {snapshot.retry_of}: a retry runs the same pipeline"
        raise NotFrozenError("RetryOfOther", words)
    origin = {"name": snapshot.retry_of, "uid": old["metadata"]["uid"]}
    taken = _taken(snapshot, old, data["spec"])
    if isinstance(taken, Plan):
        return taken
    origins = [*(copy or {}).get("data", {}).get("origins", ()), old["metadata"]["uid"]]
    return {**data, "retryOf": origin, "origins": origins, "taken": taken}


def _check(snapshot: RunSnapshot, old: Object) -> None:
    name = snapshot.retry_of
    other = old["spec"]["pipeline"].get("name", "")
    if other != snapshot.pipeline:
        what = f"Pipeline {other}" if other else "a pipeline written in place"
        raise NotFrozenError("RetryOfOther", f"spec.retryOf: run {name} is of {what}; give the same in spec.pipeline")
    status = old.get("status", {})
    if "completionTime" not in status:
        raise NotFrozenError("RetryOfUnfinished", f"spec.retryOf: run {name} goes on; cancel it first or wait")
    if not status.get("stages"):
        raise NotFrozenError("RetryOfNothing", f"spec.retryOf: run {name} never began; start a new run instead")


def _copied(old: Object, copy: Object | None) -> dict[str, Any]:
    """Give spec, generation and params that the other run executed."""
    if copy is not None:
        data = copy["data"]
        params = data.get("params", old["spec"].get("params", {}))
        generation = {"generation": data["generation"]} if "generation" in data else {}
        return {**generation, "spec": data["spec"], "params": params}
    spec = old["spec"]["pipeline"].get("spec")
    if spec is None:
        words = f"the frozen copy of run {old['metadata']['name']} is gone; start a new run instead"
        raise NotFrozenError("RevisionLost", words)
    return {"spec": spec, "params": old["spec"].get("params", {})}


def _taken(snapshot: RunSnapshot, old: Object, raw: Mapping[str, Json]) -> dict[str, Any] | Plan:
    """Give the stages that need not run again, or not all of their items; or what has to be done first.

    A stage is taken over if it succeeded and all that it waited for is taken over too. Of a fan-out that failed the
    items that succeeded are.
    """
    spec, _ = validation.parse(raw)
    if spec is None:
        return {}
    wiring = wire(spec)
    again: list[str] = snapshot.run["spec"].get("rerunFrom", [])
    for name in again:
        if name not in wiring.main:
            words = f"spec.rerunFrom: there is no stage {name}{nearest(name, wiring.main)}"
            raise NotFrozenError("InvalidRetry", words)
    known = {stage.name: stage for stage in PipelineRunStatus.model_validate(old["status"]).stages}
    reads, creates, lost = taken_items.copies(snapshot.run, known.values(), snapshot.memory.reads)
    if reads:
        tried = any(read in snapshot.memory.reads for read in reads)
        return Plan(requeue_after=1.0) if tried else Plan(reads=tuple(reads))
    unsettled = [name for name in wiring.main if not _settled(known.get(name)) or name in lost]
    anew = wiring.descendants([*again, *unsettled])
    begun = [
        name
        for name in wiring.main
        if name in anew and name not in lost and name not in again and not anew & set(wiring.ties[name])
    ]
    kept = set(wiring.main) - anew | set(begun)
    missing = [create for create in creates if _stage_of(create) in kept and create.ref not in snapshot.memory.created]
    if missing:
        return Plan(actions=tuple(missing), requeue_after=0.0)
    whole = {name: _as_taken(snapshot, known[name]) for name in wiring.main if name not in anew}
    return whole | {name: part for name in begun if (part := _as_begun(snapshot, known.get(name))) is not None}


def _stage_of(create: Create) -> str:
    stage: str = create.body["metadata"]["labels"][names.STAGE]
    return stage


def _settled(stage: StageStatus | None) -> bool:
    if stage is None:
        return False
    return stage.state is StageState.SUCCEEDED or (stage.state is StageState.SKIPPED and stage.reason == "WhenFalse")


def _as_begun(snapshot: RunSnapshot, stage: StageStatus | None) -> dict[str, Any] | None:
    """Give the status of a fan-out that did not succeed but some items of which did, or None if it is none."""
    if stage is None or stage.fan_out is None or not stage.fan_out.succeeded:
        return None
    fan = taken_items.moved(snapshot.run, stage.name, taken_items.done_items(stage.fan_out))
    return _written(StageStatus(name=stage.name, fan_out=fan))


def _as_taken(snapshot: RunSnapshot, stage: StageStatus) -> dict[str, Any]:
    """Give the status of a stage as the retry has it: what it gave, without how it came about."""
    skipped = stage.state is StageState.SKIPPED
    taken = StageStatus(
        name=stage.name,
        state=stage.state,
        reason=stage.reason if skipped else TAKEN_OVER,
        message=stage.message if skipped or stage.reason == TAKEN_OVER else f"taken over from run {snapshot.retry_of}",
        start_time=stage.start_time,
        completion_time=stage.completion_time,
        results=stage.results,
        outputs=stage.outputs,
        fan_out=None if stage.fan_out is None else taken_items.moved(snapshot.run, stage.name, stage.fan_out),
    )
    return _written(taken)


def _written(stage: StageStatus) -> dict[str, Any]:
    written: dict[str, Any] = stage.model_dump(mode="json", by_alias=True, exclude_defaults=True, exclude_none=True)
    return written


def _read(snapshot: RunSnapshot, ref: Ref) -> Object | Plan | None:
    """Give an object as it is now, or the plan that reads it."""
    read = GetLive(ref)
    found = snapshot.memory.reads.get(read)
    if found is None:
        return Plan(reads=(read,))
    if found.error is not None:
        return Plan(requeue_after=1.0)
    value: Object | None = found.value
    return value
