"""The planner of runs: from one look at a run to everything that has to be done about it.

Stages are planned in the order of the graph, each seeing the new states of those before it, so that the end of one and
the start of the next are one status write. Terminal facts are written once, and from then on status is their only
truth.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final

from rondo.api.base import Json
from rondo.api.pipelinerun import PipelineRunStatus, StageState, StageStatus
from rondo.core import names
from rondo.core.causes import DISRUPTIONS
from rondo.core.durations import format_duration, parse_duration, parse_time
from rondo.core.pipeline import params, validation
from rondo.core.pipeline.wiring import Wiring, wire
from rondo.core.plan import (
    Action,
    EventDraft,
    EventType,
    MergePatch,
    Object,
    Plan,
    Ref,
    StatusKind,
)
from rondo.core.problems import summarize
from rondo.core.resources import PIPELINE_RUN
from rondo.core.run import report
from rondo.core.run.deploy_stage import plan_deploy
from rondo.core.run.frozen import NotFrozenError, freeze, frozen_generation, frozen_spec
from rondo.core.run.gate_stage import plan_gate
from rondo.core.run.job_stage import plan_job
from rondo.core.run.snapshot import RunSnapshot, StageView, Values
from rondo.core.run.step import Step, end
from rondo.core.run.strays import delete_strays

_CACHE_SIZE: Final = 512


def plan_run(snapshot: RunSnapshot, now: datetime) -> Plan:
    """Plan a run.

    Args:
        snapshot: One look at it.
        now: The time of this look, timezone-aware UTC.
    """
    metadata = snapshot.run["metadata"]
    if "deletionTimestamp" in metadata:
        return Plan(forget=True)
    if snapshot.status.completion_time is not None:
        return _finished(snapshot)
    if names.OUTCOME in metadata.get("labels", {}):
        return _written(snapshot, report.restored(snapshot, now), forget=True)
    try:
        raw = frozen_spec(snapshot)
        if raw is None:
            return _with_waiting_status(snapshot, freeze(snapshot, now), now)
    except NotFrozenError as error:
        return _rejected(snapshot, error.reason, str(error), now)
    return _plan_frozen(snapshot, raw, now)


def _plan_frozen(snapshot: RunSnapshot, raw: Mapping[str, Json], now: datetime) -> Plan:
    wiring, wrong = _WIRINGS.get(snapshot.uid, raw)
    if wiring is None or wrong:
        return _rejected(snapshot, "InvalidPipeline", wrong, now)
    given: Mapping[str, Json] = snapshot.run["spec"].get("params", {})
    problems = list(params.given_problems(wiring.spec, given, "spec.params"))
    missing = params.missing(wiring.spec, given)
    if problems or missing:
        words = summarize(problems) if problems else f"spec.params: no value for {', '.join(missing)}"
        return _rejected(snapshot, "InvalidParams", words, now)
    return _Round(snapshot, wiring, params.resolve(wiring.spec, given), now).plan()


@dataclass
class _Round:
    """One pass over all stages of a run that goes on."""

    snapshot: RunSnapshot
    wiring: Wiring
    params: Mapping[str, Json]
    now: datetime
    failed: str | None = None
    """The first stage that has failed: nothing more starts after it."""

    def plan(self) -> Plan:
        before = self._stages()
        stages = dict(before)
        steps: list[Step] = []
        late = self._late()
        self.failed = next((name for name, stage in before.items() if stage.state is StageState.FAILED), None)
        for name in self.wiring.graph.order:
            step = self._step(name, stages, late=late)
            stages[name] = step.status
            if self.failed is None and step.status.state is StageState.FAILED:
                self.failed = name
            steps.append(step)
        reads = tuple(read for step in steps for read in step.reads)
        if reads:
            return Plan(reads=reads)
        return self._conclude(before, stages, steps)

    def _conclude(
        self, before: Mapping[str, StageStatus], stages: Mapping[str, StageStatus], steps: Iterable[Step]
    ) -> Plan:
        ordered = [stages[stage.name] for stage in self.wiring.spec.stages]
        values = Values(self.snapshot, self.params, stages)
        status = report.progress(self.snapshot, self.wiring, ordered, values, self.now)
        status = status.model_copy(update={"pipeline_generation": self._generation(), "revision": self._revision()})
        written = report.to_json(status)
        finished = status.completion_time is not None
        actions = (
            *delete_strays(self.snapshot, stages.values()),
            *(action for step in steps for action in step.actions),
        )
        events = tuple(event for step in steps for event in step.events)
        if finished:
            actions = (*actions, *_label(self.snapshot, status))
            events = (*events, *report.final_events(status))
        return Plan(
            status=written if written != self.snapshot.run.get("status") else None,
            status_kind=_kind(self.snapshot.status, status, before, stages, written, self.snapshot.run),
            actions=actions,
            events=events,
            requeue_after=self._look_again(steps),
        )

    def _step(self, name: str, stages: Mapping[str, StageStatus], *, late: bool) -> Step:
        status = stages[name]
        view = StageView(self.snapshot, self.wiring, status, Values(self.snapshot, self.params, stages))
        if status.state.terminal:
            return Step(status)
        if late:
            return self._stop(view)
        if status.state is StageState.PENDING:
            held = self._held(name, stages)
            if held is not None:
                return held
        return self._plan_kind(view)

    def _plan_kind(self, view: StageView) -> Step:
        stage = self.wiring.stages[view.name]
        if stage.job is not None:
            return plan_job(view, stage.job, self.now)
        if stage.gate is not None:
            return plan_gate(view, stage.gate, self.now)
        if stage.deploy is not None:
            return plan_deploy(view, stage.deploy, self.now)
        raise AssertionError(f"stage {view.name} has no kind")

    def _held(self, name: str, stages: Mapping[str, StageStatus]) -> Step | None:
        """Skip a stage that can never start, keep one that cannot start yet, None for one that may."""
        status = stages[name]
        needs = [stages[need] for need in sorted(self.wiring.graph.needs[name])]
        for need in needs:
            if need.state.terminal and need.state is not StageState.SUCCEEDED:
                words = f"needs {need.name}, which is {need.state.value}"
                return Step(end(status, StageState.SKIPPED, "NeedNotMet", words, at=self.now))
        if self.failed is not None:
            words = f"stage {self.failed} has failed"
            return Step(end(status, StageState.SKIPPED, "RunFailed", words, at=self.now))
        return None if all(need.state is StageState.SUCCEEDED for need in needs) else Step(status)

    def _stop(self, view: StageView) -> Step:
        words = f"the run took longer than {self.wiring.spec.timeout}"
        state = StageState.CANCELLED if view.started else StageState.SKIPPED
        return Step(end(view.status, state, "RunTimeout", words, at=self.now))

    def _stages(self) -> dict[str, StageStatus]:
        """Statuses of all stages of the frozen pipeline; those that are not in status yet are Pending."""
        known = {stage.name: stage for stage in self.snapshot.status.stages}
        return {name: known.get(name) or StageStatus(name=name) for name in self.wiring.graph.order}

    def _late(self) -> bool:
        left = self._time_left()
        return left is not None and left <= timedelta(0)

    def _time_left(self) -> timedelta | None:
        if self.wiring.spec.timeout is None or self.snapshot.status.start_time is None:
            return None
        return parse_duration(self.wiring.spec.timeout) - (self.now - parse_time(self.snapshot.status.start_time))

    def _look_again(self, steps: Iterable[Step]) -> float | None:
        pauses = [step.look_again for step in steps if step.look_again is not None]
        left = self._time_left()
        if left is not None:
            pauses.append(max(left.total_seconds(), 0.0))
        return min(pauses, default=None)

    def _generation(self) -> int | None:
        return self.snapshot.status.pipeline_generation or frozen_generation(self.snapshot)

    def _revision(self) -> str | None:
        return self.snapshot.revision_ref.name if self.snapshot.pipeline else None


class _WiringCache:
    """Parsed pipelines of runs that go on: the frozen copy never changes, so it is parsed and checked once."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._known: dict[str, tuple[Wiring | None, str]] = {}

    def get(self, uid: str, raw: Mapping[str, Json]) -> tuple[Wiring | None, str]:
        """Give the wiring of the run with this uid, and what is wrong with it."""
        if uid not in self._known:
            if len(self._known) >= self._size:
                self._known.pop(next(iter(self._known)))
            self._known[uid] = _parse(raw)
        return self._known[uid]


_WIRINGS: Final = _WiringCache(_CACHE_SIZE)


def _parse(raw: Mapping[str, Json]) -> tuple[Wiring | None, str]:
    spec, problems = validation.parse(raw)
    if spec is None:
        return None, summarize(problems)
    return wire(spec), summarize(validation.validate(spec))


def _kind(
    old: PipelineRunStatus,
    new: PipelineRunStatus,
    before: Mapping[str, StageStatus],
    stages: Mapping[str, StageStatus],
    written: Mapping[str, Any],
    run: Object,
) -> StatusKind:
    """Tell facts, which later steps depend on, from progress in words."""
    if written == run.get("status"):
        return StatusKind.NONE
    fresh = not old.stages or old.completion_time != new.completion_time
    facts = any(_facts(before[name]) != _facts(stages[name]) for name in stages)
    return StatusKind.FACTS if fresh or facts else StatusKind.PROGRESS


def _facts(stage: StageStatus) -> tuple[Any, ...]:
    state = stage.state if stage.state.terminal else None
    disruption = stage.reason if stage.reason in DISRUPTIONS else None
    return (state, disruption, stage.attempt, stage.job, stage.retry_time, stage.failures, stage.disruptions)


def _finished(snapshot: RunSnapshot) -> Plan:
    """Nothing is left but the label that tells a finished run from one that was restored without its status."""
    actions = (*delete_strays(snapshot, snapshot.status.stages), *_label(snapshot, snapshot.status))
    return Plan(actions=actions, forget=not actions)


def _label(snapshot: RunSnapshot, status: PipelineRunStatus) -> tuple[Action, ...]:
    metadata = snapshot.run["metadata"]
    if names.OUTCOME in metadata.get("labels", {}):
        return ()
    body = {"metadata": {"labels": {names.OUTCOME: report.outcome(status)}}}
    return (MergePatch(Ref(PIPELINE_RUN, snapshot.namespace, snapshot.name), metadata["uid"], body),)


def _rejected(snapshot: RunSnapshot, reason: str, message: str, now: datetime) -> Plan:
    """End a run that cannot begin, or whose frozen pipeline is lost."""
    status = report.rejected(snapshot, reason, message, now)
    event = EventDraft(EventType.WARNING, reason, "StartRun", message)
    return replace(_written(snapshot, status), actions=_label(snapshot, status), events=(event,))


def _with_waiting_status(snapshot: RunSnapshot, plan: Plan, now: datetime) -> Plan:
    """Say what a run waits for that cannot be frozen yet, unless it only takes a moment."""
    if plan.reads or plan.actions:
        return plan
    waited = now - parse_time(snapshot.run["metadata"]["creationTimestamp"])
    words = f"waiting for Pipeline {snapshot.pipeline} ({format_duration(waited)})"
    written = report.to_json(report.waiting(snapshot, "PipelineNotFound", words, now))
    changed = snapshot.status.observed_generation < 0
    return replace(plan, status=written if changed else None, status_kind=StatusKind.PROGRESS)


def _written(snapshot: RunSnapshot, status: PipelineRunStatus, *, forget: bool = False) -> Plan:
    written = report.to_json(status)
    unchanged = written == snapshot.run.get("status")
    return Plan(status=None if unchanged else written, status_kind=StatusKind.FACTS, forget=forget)
