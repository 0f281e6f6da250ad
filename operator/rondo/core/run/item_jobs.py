"""Fan-out with a Job for each item: every item is a small stage of its own.

An item's number of attempts, its failures and when it is tried again stand in the fan-out's notes; how far it is in one
letter of `states`. From both the item's status is made, planned as that of any job stage, and written back.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final

from rondo.api.base import Json
from rondo.api.pipeline import ForEach, Job
from rondo.api.pipelinerun import FanOut, ItemNote, StageState, StageStatus
from rondo.core import names
from rondo.core.causes import DISRUPTIONS, Cause, Reason
from rondo.core.items import Item, allowed_failures
from rondo.core.plan import Action, EventDraft, Read
from rondo.core.render.context import name_job
from rondo.core.run.attempt import RUNNING, Runs, judge
from rondo.core.run.job_stage import ANY_UID, plan_job
from rondo.core.run.records import KEPT_FAILURES, Recorder
from rondo.core.run.snapshot import StageView
from rondo.core.run.step import Step, update

PENDING: Final = "."
CREATING: Final = "c"
SEEN: Final = "r"
WAITING: Final = "w"
SUCCEEDED: Final = "S"
FAILED: Final = "F"
ACTIVE: Final = frozenset({CREATING, SEEN, WAITING})
_NO_NOTE: Final = ItemNote()


@dataclass
class ItemJobs:
    """One pass over the items of a stage.

    Attributes:
        view: The stage; its status has a fan-out.
        for_each: Its policy.
        job: What each item runs.
        values: The values of the items.
        now: The time of this look.
        hold: Whether nothing new may start.
        recorder: Takes down what ends.
    """

    view: StageView
    for_each: ForEach
    job: Job
    values: Sequence[Json]
    now: datetime
    hold: bool
    recorder: Recorder
    _letters: list[str] = field(default_factory=list)
    _notes: dict[str, ItemNote] = field(default_factory=dict)
    _steps: list[Step] = field(default_factory=list)
    _words: str = ""

    def plan(self, fan: FanOut) -> Step:
        """Plan all items that have not ended, and begin as many as may run at a time."""
        self._letters, self._notes = list(fan.states), dict(fan.notes)
        allowed = allowed_failures(self.for_each, fan.total)
        for index, letter in enumerate(fan.states):
            if letter in ACTIVE and not self._goes_on(index, letter):
                self._plan_item(index, letter)
        room = (self.for_each.parallelism or fan.total) - sum(letter in ACTIVE for letter in self._letters)
        for index, letter in enumerate(fan.states):
            if room <= 0 or self.hold or self.recorder.failed > allowed:
                break
            if letter == PENDING:
                self._plan_item(index, letter)
                room -= 1
        running = sum(letter in ACTIVE for letter in self._letters)
        after = self.recorder.result(states="".join(self._letters), notes=self._notes, running=running)
        status = update(self.view.status, fan_out=after, message=self._message(after))
        return Step(
            status,
            actions=tuple(_all_actions(self._steps)),
            reads=tuple(_all_reads(self._steps)),
            events=tuple(_some_events(self._steps, fan)),
            look_again=min((s.look_again for s in self._steps if s.look_again is not None), default=None),
        )

    def _plan_item(self, index: int, letter: str) -> None:
        item = Item(index, self.values[index])
        before = self._status_of(index, letter)
        view = replace(self.view, status=before, item=item)
        step = plan_job(view, self.job, self.now)
        if step.reads:
            self._steps.append(step)
            return
        after = step.status
        if after.state is StageState.SUCCEEDED and not self.recorder.take(item, after.results, after.outputs):
            return
        if after.state is StageState.FAILED:
            self.recorder.lose(item, Cause(_reason(after.reason), after.message))
        self._steps.append(step)
        self._letters[index] = _letter_of(after)
        note = _note_of(after)
        if note == _NO_NOTE:
            self._notes.pop(str(index), None)
        else:
            self._notes[str(index)] = note
        if not self._words or after.reason not in {"", "Starting", "Running"}:
            self._words = (
                f"item {index}: {after.message}" if not after.state.terminal and after.message else self._words
            )

    def _status_of(self, index: int, letter: str) -> StageStatus:
        """Make the status of an item from what is written down of it."""
        if letter == PENDING:
            return StageStatus(name=self.view.name)
        note = self._notes.get(str(index), _NO_NOTE)
        name = self._job_name(index, note)
        job = self.view.snapshot.jobs.get(name)
        seen = None if job is None else str(job["metadata"]["uid"])
        return StageStatus(
            name=self.view.name,
            state=StageState.WAITING,
            reason=note.reason,
            start_time=self.view.status.start_time,
            attempt=note.attempt,
            job=name,
            job_uid=(seen or ANY_UID) if letter == SEEN else None,
            retry_time=note.retry_time,
            failures=note.failures,
            disruptions=note.disruptions,
            oom_kills=note.oom_kills,
        )

    def _goes_on(self, index: int, letter: str) -> bool:
        """Tell whether the pod of an item simply runs on, so that there is nothing to plan."""
        note = self._notes.get(str(index), _NO_NOTE)
        if letter != SEEN or not self._words or note.reason or note.retry_time is not None:
            return False
        job = self.view.snapshot.jobs.get(self._job_name(index, note))
        if job is None or names.controller_uid(job) != self.view.snapshot.uid:
            return False
        verdict = judge(self.view.wiring.stages[self.view.name], job, self.view.snapshot.pods_of(job), "")
        return isinstance(verdict, Runs) and verdict.reason == RUNNING

    def _job_name(self, index: int, note: ItemNote) -> str:
        return name_job(self.view.snapshot.run, self.view.name, Item(index, None), note.attempt)

    def _message(self, fan: FanOut) -> str:
        waiting = fan.total - fan.succeeded - fan.failed - fan.running
        parts = [f"{fan.succeeded} of {fan.total} items succeeded", f"{fan.running} running"]
        parts += [f"{fan.failed} failed"] if fan.failed else []
        parts += [f"{waiting} to come"] if waiting else []
        return ", ".join(parts) + (f"; {self._words}" if self._words else "")


def job_names(view: StageView, fan: FanOut) -> frozenset[str]:
    """Give the names of the Jobs that items wait for."""
    found = set()
    for index, letter in enumerate(fan.states):
        note = fan.notes.get(str(index), _NO_NOTE)
        if letter in {CREATING, SEEN} and note.retry_time is None:
            found.add(name_job(view.snapshot.run, view.name, Item(index, None), note.attempt))
    return frozenset(found)


def _letter_of(status: StageStatus) -> str:
    if status.state is StageState.SUCCEEDED:
        return SUCCEEDED
    if status.state is StageState.FAILED:
        return FAILED
    if status.retry_time is not None:
        return WAITING
    return SEEN if status.job_uid is not None else CREATING


def _note_of(status: StageStatus) -> ItemNote:
    """Note what the letter does not tell; only the number of attempts of an item that has ended."""
    if status.state.terminal:
        return ItemNote(attempt=status.attempt)
    return ItemNote(
        attempt=status.attempt,
        failures=status.failures,
        disruptions=status.disruptions,
        oom_kills=status.oom_kills,
        retry_time=status.retry_time,
        reason=status.reason if status.reason in DISRUPTIONS else "",
    )


def _reason(word: str) -> Reason:
    return Reason(word) if word in set(Reason) else Reason.CONFIG_ERROR


def _all_actions(steps: Sequence[Step]) -> list[Action]:
    """Give the actions of all items; those that several have in common once."""
    return list({action.ref: action for step in steps for action in step.actions}.values())


def _all_reads(steps: Sequence[Step]) -> list[Read]:
    return list(dict.fromkeys(read for step in steps for read in step.reads))


def _some_events(steps: Sequence[Step], fan: FanOut) -> list[EventDraft]:
    """Give events of the first items that fail; thousands would tell no more and flood the API server."""
    events = [event for step in steps for event in step.events]
    return events[: max(KEPT_FAILURES - fan.failed, 0)]
