"""One pass over all stages of a run that goes on.

Stages are planned in the order of the graph, each seeing the new states of those before it, so that the end of one and
the start of the next are one status write. `finally` comes when all other stages have ended.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from rondo.api.base import Json
from rondo.api.pipeline import DeployState, Job, OnStageFailure
from rondo.api.pipelinerun import FanOut, PipelineRunStatus, RunState, StageState, StageStatus
from rondo.core import names
from rondo.core.causes import TROUBLES, describe
from rondo.core.durations import parse_duration, parse_time
from rondo.core.expressions import ExpressionError
from rondo.core.pipeline.wiring import Tie, Wiring
from rondo.core.plan import MergePatch, Object, Plan, Ref, StatusKind
from rondo.core.resources import PIPELINE_RUN
from rondo.core.run import report
from rondo.core.run.deploy_stage import plan_deploy, plan_removal
from rondo.core.run.fan_out_stage import plan_fan_out
from rondo.core.run.frozen import frozen_generation, taken_over
from rondo.core.run.gate_stage import plan_gate
from rondo.core.run.item_jobs import CREATING, SEEN, job_names
from rondo.core.run.job_stage import plan_job
from rondo.core.run.snapshot import RunSnapshot, StageView, Values
from rondo.core.run.step import Step, Stop, end, update
from rondo.core.run.strays import delete_strays
from rondo.core.run.verdict import CANCELLED, RUN_TIMEOUT, fails_run, outcome_of
from rondo.core.run.wait_stage import plan_wait

PODS_MAY_TAKE: Final = timedelta(seconds=60)
"""How long `finally` waits for pods of stopped stages beyond their grace: a lost node never reports their end."""


@dataclass
class Round:
    """One pass over all stages of a run that goes on.

    Attributes:
        snapshot: The run.
        wiring: The frozen pipeline.
        params: Values of the parameters.
        targets: The stages that shall run; those of `finally` always do.
        now: The time of this look.
    """

    snapshot: RunSnapshot
    wiring: Wiring
    params: Mapping[str, Json]
    targets: frozenset[str]
    now: datetime
    _stages: dict[str, StageStatus] = field(default_factory=dict)
    _steps: list[Step] = field(default_factory=list)
    _failed: str | None = None
    _spared: set[str] = field(default_factory=set)

    def plan(self) -> Plan:
        """Plan all stages, and what follows for the run."""
        before = self._known_stages()
        self._stages = dict(before)
        self._failed = next((n for n in self.wiring.main if fails_run(before[n], self.wiring)), None)
        for name in self.wiring.main:
            step = self._plan_main(name)
            self._take(name, step)
            if self._failed is None and fails_run(step.status, self.wiring):
                self._failed = name
        if self._main_is_over():
            state = outcome_of({name: self._stages[name] for name in self.wiring.main}, self.wiring)
            for name in self.wiring.order[len(self.wiring.main) :]:
                self._take(name, self._plan_final(name, state))
        reads = tuple(read for step in self._steps for read in step.reads)
        return Plan(reads=reads) if reads else self._conclude(before)

    def _take(self, name: str, step: Step) -> None:
        self._stages[name] = step.status
        self._steps.append(step)

    # One stage -----------------------------------------------------------------------------------------------

    def _plan_main(self, name: str) -> Step:
        status = self._stages[name]
        if self._comes_after_failure(name):
            self._spared.add(name)
        if status.state.terminal:
            return Step(status)
        view = self._view(name, "")
        stop = self._stop(name)
        if stop is not None:
            return self._plan_stop(view, stop)
        if status.state is StageState.PENDING:
            held = self._held(view)
            if held is not None:
                return held
        return self._plan_kind(view)

    def _plan_final(self, name: str, state: str) -> Step:
        """Plan a stage of `finally`: nothing but what it waits for itself keeps it from running."""
        view = self._view(name, state)
        if view.status.state.terminal:
            return Step(view.status)
        if view.started:
            return self._plan_kind(view)
        ending = self._pod_still_ending()
        if ending is not None:
            return Step(update(view.status, message=f"waits for {describe(ending)} to end"), look_again=1.0)
        return self._unmet(view) or self._condition(view) or self._plan_kind(view)

    def _plan_kind(self, view: StageView) -> Step:
        stage = self.wiring.stages[view.name]
        if self._paused() and view.status.retry_time is not None:
            return Step(view.status)
        if stage.job is not None:
            return self._plan_job(view, stage.job)
        if stage.gate is not None:
            return plan_gate(view, stage.gate, self.now)
        if stage.wait is not None:
            return plan_wait(view, stage.wait, self.now)
        if stage.deploy is not None:
            absent = stage.deploy.state is DeployState.ABSENT
            return (plan_removal if absent else plan_deploy)(view, stage.deploy, self.now)
        raise AssertionError(f"stage {view.name} has no kind")

    def _plan_job(self, view: StageView, job: Job) -> Step:
        for_each = self.wiring.stages[view.name].for_each
        if for_each is None:
            return plan_job(view, job, self.now)
        return plan_fan_out(view, for_each, job, self.now, hold=self._paused())

    def _held(self, view: StageView) -> Step | None:
        """Skip a stage that can never start, keep one that cannot start yet, None for one that starts now."""
        if view.name not in self.targets:
            words = "it is not among spec.targets, and none of them waits for it"
            return Step(end(view.status, StageState.SKIPPED, "NotTargeted", words, at=self.now))
        unmet = self._unmet(view)
        if unmet is not None and unmet.status.state.terminal:
            return unmet
        if self._failed is not None and self._failure_counts(view.name):
            words = f"stage {self._failed} has failed"
            return Step(end(view.status, StageState.SKIPPED, "RunFailed", words, at=self.now))
        if unmet is not None or self._paused():
            return unmet or Step(view.status)
        return self._condition(view)

    def _unmet(self, view: StageView) -> Step | None:
        """Skip a stage whose needs cannot be met any more, keep one whose needs are not met yet."""
        waits = False
        for other, tie in sorted(self.wiring.ties[view.name].items()):
            need = self._stages[other]
            waits = waits or not need.state.terminal
            if tie is Tie.SUCCESS and need.state.terminal and need.state is not StageState.SUCCEEDED:
                words = f"needs {need.name}, which is {need.state.value}"
                return Step(end(view.status, StageState.SKIPPED, "NeedNotMet", words, at=self.now))
        return Step(view.status) if waits else None

    def _condition(self, view: StageView) -> Step | None:
        """Decide `when` of a stage that could start now; None if nothing speaks against it."""
        text = self.wiring.stages[view.name].when
        if text is None:
            return None
        try:
            answer = view.values.decide(text)
        except ExpressionError as error:
            words = f"when: {text}: {error}"
            return Step(end(view.status, StageState.FAILED, "ExpressionError", words, at=self.now))
        if answer is True:
            return None
        if answer is not False:
            return Step(view.status, reads=() if answer is None else (answer,))
        return Step(end(view.status, StageState.SKIPPED, "WhenFalse", f"when is false: {text}", at=self.now))

    def _plan_stop(self, view: StageView, stop: Stop) -> Step:
        if not view.started:
            return Step(end(view.status, StageState.SKIPPED, stop.reason, stop.message, at=self.now))
        deploy = self.wiring.stages[view.name].deploy
        if deploy is not None and deploy.state is DeployState.PRESENT:
            return plan_deploy(view, deploy, self.now, stop)
        return Step(end(view.status, stop.state, stop.reason, stop.message, at=self.now))

    # What holds for many -------------------------------------------------------------------------------------

    def _stop(self, name: str) -> Stop | None:
        """Say why a stage shall not go on, if so."""
        if self.snapshot.wanted is RunState.CANCELLED:
            return Stop(CANCELLED, "the run was cancelled by spec.state")
        left = self._time_left()
        if left is not None and left <= timedelta(0):
            return Stop(RUN_TIMEOUT, f"the run took longer than {self.wiring.spec.timeout}")
        cancels = self.wiring.spec.on_stage_failure is OnStageFailure.CANCEL
        if cancels and self._failed is not None and self._stages[name].state is not StageState.PENDING:
            return None if name in self._spared else Stop("RunFailed", f"stage {self._failed} has failed")
        return None

    def _failure_counts(self, name: str) -> bool:
        """Tell whether the failure of the run keeps a stage from starting."""
        goes_on = self.wiring.spec.on_stage_failure is OnStageFailure.CONTINUE
        return not goes_on and name not in self._spared

    def _comes_after_failure(self, name: str) -> bool:
        """Tell whether a stage follows a failed one whatever its outcome, or follows such a stage."""
        ties = self.wiring.ties[name].items()
        return any(
            other in self._spared or (tie is Tie.END and self._stages[other].state is StageState.FAILED)
            for other, tie in ties
        )

    def _paused(self) -> bool:
        return self.snapshot.wanted is RunState.PAUSED

    def _main_is_over(self) -> bool:
        return all(self._stages[name].state.terminal for name in self.wiring.main)

    def _pod_still_ending(self) -> Object | None:
        """Give a pod of a stopped stage that has not ended; `finally` may want what it holds."""
        for pod in self.snapshot.pods:
            alive = pod.get("status", {}).get("phase") not in {"Succeeded", "Failed"}
            stage = self._stages.get(pod["metadata"].get("labels", {}).get(names.STAGE, ""))
            if alive and stage is not None and stage.name not in self.wiring.final and self._may_still_end(pod, stage):
                return pod
        return None

    def _may_still_end(self, pod: Object, stage: StageStatus) -> bool:
        """Tell whether it is worth waiting; a deletion's timestamp is the end of its grace period."""
        since = pod["metadata"].get("deletionTimestamp") or stage.completion_time
        return since is not None and self.now - parse_time(since) < PODS_MAY_TAKE

    def _view(self, name: str, state: str) -> StageView:
        values = Values(self.snapshot, self.wiring, self.params, self._stages, state)
        return StageView(self.snapshot, self.wiring, self._stages[name], values)

    def _known_stages(self) -> dict[str, StageStatus]:
        """Statuses of all stages; those that are not in status yet are Pending, or taken over from an earlier run."""
        known = {stage.name: stage for stage in self.snapshot.status.stages}
        if not known:
            known = dict(taken_over(self.snapshot))
        return {name: known.get(name) or StageStatus(name=name) for name in self.wiring.order}

    def _time_left(self) -> timedelta | None:
        if self.wiring.spec.timeout is None or self.snapshot.status.start_time is None:
            return None
        return parse_duration(self.wiring.spec.timeout) - (self.now - parse_time(self.snapshot.status.start_time))

    # The run -------------------------------------------------------------------------------------------------

    def _conclude(self, before: Mapping[str, StageStatus]) -> Plan:
        values = Values(self.snapshot, self.wiring, self.params, self._stages)
        status = report.progress(self.snapshot, self.wiring, self._stages, values, self.now)
        status = status.model_copy(
            update={
                "pipeline_generation": self.snapshot.status.pipeline_generation or frozen_generation(self.snapshot),
                "revision": self.snapshot.revision_ref.name if self.snapshot.is_frozen_apart else None,
            }
        )
        written = report.to_json(status)
        events = tuple(event for step in self._steps for event in step.events)
        actions = (
            *delete_strays(self.snapshot, self._stages.values(), self._jobs_of_items()),
            *(action for step in self._steps for action in step.actions),
        )
        if status.completion_time is not None:
            actions = (*actions, *label_outcome(self.snapshot, status))
            events = (*events, *report.final_events(status))
        return Plan(
            status=written if written != self.snapshot.run.get("status") else None,
            status_kind=self._kind(before, status, written),
            actions=actions,
            events=events,
            requeue_after=self._look_again(),
        )

    def _jobs_of_items(self) -> frozenset[str]:
        """Give the names of the Jobs that items of fan-outs wait for."""
        found = (
            job_names(self._view(name, ""), stage.fan_out)
            for name, stage in self._stages.items()
            if stage.fan_out is not None and not stage.state.terminal
        )
        return frozenset().union(*found)

    def _kind(
        self, before: Mapping[str, StageStatus], new: PipelineRunStatus, written: Mapping[str, Any]
    ) -> StatusKind:
        """Tell facts, which later steps depend on, from progress in words."""
        if written == self.snapshot.run.get("status"):
            return StatusKind.NONE
        old = self.snapshot.status
        fresh = not old.stages or old.completion_time != new.completion_time
        changed = ((before[name], stage) for name, stage in self._stages.items() if before[name] is not stage)
        facts = any(_facts(then) != _facts(stage) for then, stage in changed)
        return StatusKind.FACTS if fresh or facts else StatusKind.PROGRESS

    def _look_again(self) -> float | None:
        pauses = [step.look_again for step in self._steps if step.look_again is not None]
        left = self._time_left()
        if left is not None and not self._main_is_over():
            pauses.append(max(left.total_seconds(), 0.0))
        return min(pauses, default=None)


def label_outcome(snapshot: RunSnapshot, status: PipelineRunStatus) -> Iterable[MergePatch]:
    """Give what labels a finished run, so that it is told from one that was restored without its status."""
    metadata = snapshot.run["metadata"]
    if names.OUTCOME not in metadata.get("labels", {}):
        body = {"metadata": {"labels": {names.OUTCOME: report.outcome(status)}}}
        yield MergePatch(Ref(PIPELINE_RUN, snapshot.namespace, snapshot.name), metadata["uid"], body)


def _facts(stage: StageStatus) -> tuple[Any, ...]:
    state = stage.state if stage.state.terminal else stage.state is StageState.PENDING
    # A trouble is told at once, however loaded the API server is; that all goes well may wait.
    trouble = stage.reason if stage.reason in TROUBLES else None
    return (
        state, trouble, stage.attempt, stage.job, stage.retry_time, stage.failures, stage.disruptions,
        stage.previous, _facts_of_items(stage.fan_out),
    )  # fmt: skip


def _facts_of_items(fan: FanOut | None) -> tuple[Any, ...]:
    """Give what may not be lost of a fan-out; that the Job of an item was seen is no fact of its own."""
    if fan is None:
        return ()
    return (fan.states.replace(SEEN, CREATING), fan.notes, fan.indexes, fan.done, fan.lost, fan.sealed, fan.stored)
