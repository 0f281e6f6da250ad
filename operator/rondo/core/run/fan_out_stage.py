"""Stages with forEach: the items, their Jobs, and what they come to."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from rondo.api.base import Json
from rondo.api.pipeline import ForEach, Job
from rondo.api.pipelinerun import FanOut, PerItem, StageState
from rondo.core.causes import Reason
from rondo.core.conditions import timestamp
from rondo.core.items import ItemsError, allowed_failures, check_count, expand, mode_of
from rondo.core.recent import Recent
from rondo.core.references import UnresolvedError
from rondo.core.run.item_index import ItemIndexes
from rondo.core.run.item_jobs import ItemJobs
from rondo.core.run.records import INLINE_LIMIT, Recorder, gathered, store
from rondo.core.run.snapshot import StageView
from rondo.core.run.step import Step, end, update

_VALUES: Final[Recent[Sequence[Json]]] = Recent(256)
"""The items of fan-outs that go on: they follow from facts, so they are made once."""


def plan_fan_out(view: StageView, for_each: ForEach, job: Job, now: datetime, *, hold: bool) -> Step:
    """Plan a stage with forEach whose needs are met and that has not ended.

    Args:
        view: The stage.
        for_each: Over what.
        job: What each item runs.
        now: The time of this look.
        hold: Whether nothing new may start.
    """
    try:
        values = _VALUES.get((view.snapshot.uid, view.name), None, lambda: _values(view, for_each))
        allowed = allowed_failures(for_each, len(values))
    except (UnresolvedError, ItemsError) as error:
        return Step(end(view.status, StageState.FAILED, Reason.CONFIG_ERROR.value, str(error), at=now))
    stage = view.wiring.stages[view.name]
    fan = view.status.fan_out or _new(mode_of(stage), len(values))
    if not values:
        none = update(view.status, fan_out=fan, start_time=timestamp(now))
        return Step(end(none, StageState.SUCCEEDED, "NoItems", "there are no items", at=now))
    begun = update(view.status, fan_out=fan, start_time=view.status.start_time or timestamp(now))
    recorder = Recorder(fan, stage, INLINE_LIMIT // max(view.wiring.fan_outs, 1))
    if fan.per_item is PerItem.JOB:
        started = update(begun, state=StageState.RUNNING, reason="Running")
        step = ItemJobs(view.with_status(started), for_each, job, values, now, hold, recorder).plan(fan)
        over = recorder.succeeded + recorder.failed == fan.total
    else:
        indexes = ItemIndexes(view.with_status(begun), job, values, now, recorder)
        step = indexes.plan(fan)
        over = indexes.over
    after = step.status.fan_out
    if after is None or step.reads or step.status.state.terminal:
        return step
    if recorder.failed > allowed:
        return _fail(step, after, allowed, now)
    if over:
        return _conclude(view, step, after, now)
    return store(step, view.snapshot.run, view.name, view.snapshot.live)


def _new(mode: PerItem, total: int) -> FanOut:
    return FanOut(per_item=mode, total=total, states="." * total if mode is PerItem.JOB else "")


def _fail(step: Step, fan: FanOut, allowed: int, now: datetime) -> Step:
    first = fan.failures[0]
    may = f"{allowed} may by maxFailed" if allowed else "none may by maxFailed"
    words = f"{fan.failed} of {fan.total} items failed, {may}; item {first.index} ({first.item}): {first.message}"
    status = update(step.status, fan_out=fan.model_copy(update={"sealed": False, "running": 0}))
    return Step(end(status, StageState.FAILED, first.reason, words, at=now), events=step.events)


def _conclude(view: StageView, step: Step, fan: FanOut, now: datetime) -> Step:
    """End the stage; what its items gave is stored first where there is much of it, or files that others may gather."""
    if fan.records and (fan.stored or view.wiring.stages[view.name].outputs):
        sealed = update(step.status, fan_out=fan.model_copy(update={"sealed": True}))
        left = Step(sealed, step.actions, step.reads, step.events)
        return store(left, view.snapshot.run, view.name, view.snapshot.live)
    failed = f", {fan.failed} failed, which maxFailed allows" if fan.failed else ""
    words = f"{fan.succeeded} of {fan.total} items succeeded{failed}"
    status = update(
        step.status,
        results=gathered(fan),
        fan_out=fan.model_copy(update={"records": {}, "sealed": False, "running": 0}),
    )
    return Step(end(status, StageState.SUCCEEDED, "Succeeded", words, at=now), events=step.events)


def _values(view: StageView, for_each: ForEach) -> Sequence[Json]:
    """Give the values of the items of a stage.

    Raises:
        UnresolvedError: A reference has no value.
        ItemsError: There is no list, or it is too long.
    """
    values = expand(for_each, view.values.lookup)
    check_count(values, mode_of(view.wiring.stages[view.name]))
    return values
