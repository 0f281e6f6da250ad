"""Fan-out with one Job for all items: each item is an index of it.

The Job controller starts the pods and tries items again. What items gave is read from their pods as they end; whether
the Job is over its conditions say, and with them which indexes failed. Should the Job be lost, another works on the
items that are not done yet.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final

from rondo.api.base import Json
from rondo.api.pipeline import Job
from rondo.api.pipelinerun import FanOut, StageState
from rondo.core import causes, names
from rondo.core.causes import Cause, Reason
from rondo.core.items import Item
from rondo.core.plan import ListLive, Object
from rondo.core.resources import POD
from rondo.core.run.attempt import Ended, Held, condition, is_over, judge_success
from rondo.core.run.job_stage import end_attempt, find_job, hold_job, place_of, plan_job
from rondo.core.run.records import Recorder
from rondo.core.run.snapshot import StageView
from rondo.core.run.step import Step, update
from rondo.intervals import format_intervals, parse_intervals

INDEX_LABEL: Final = "batch.kubernetes.io/job-completion-index"
"""Label of the pods of an indexed Job, set by the Job controller since Kubernetes 1.28."""

_OVER_BY_ITEMS: Final = frozenset({"FailedIndexes", "MaxFailedIndexesExceeded"})
"""Reasons of a failed Job that only count items; whether too many have failed `maxFailed` says."""

READS_AT_ONCE: Final = 50
"""Pods that are looked for one by one, in one look."""


class Gone:
    """Stands for a pod that is not there any more."""


@dataclass
class ItemIndexes:
    """One look at the Job of all items.

    Attributes:
        view: The stage; its status has a fan-out.
        job: What each item runs.
        values: The values of the items.
        now: The time of this look.
        recorder: Takes down what ends.
        over: Whether the Job has ended and all of it is taken down.
    """

    view: StageView
    job: Job
    values: Sequence[Json]
    now: datetime
    recorder: Recorder
    over: bool = False
    _done: set[int] = field(default_factory=set)
    _lost: set[int] = field(default_factory=set)
    _unsure: list[ListLive] = field(default_factory=list)
    _sure: bool = False

    def plan(self, fan: FanOut) -> Step:
        """Plan the Job, and take down what its pods gave."""
        status = self.view.status
        self._done, self._lost = parse_intervals(fan.done), parse_intervals(fan.lost)
        if status.attempt == 0 or status.retry_time is not None:
            left = set(range(fan.total)) - self._done - self._lost
            return self._as_job(fan.model_copy(update={"indexes": format_intervals(left)}))
        job = find_job(self.view)
        if not isinstance(job, Mapping):
            return self._as_job(fan)
        return self._follow(job, fan)

    def _as_job(self, fan: FanOut) -> Step:
        """Do what is the same for every job stage: begin, create, wait for the next attempt."""
        return plan_job(replace(self.view, status=update(self.view.status, fan_out=fan)), self.job, self.now)

    def _follow(self, job: Object, fan: FanOut) -> Step:
        pods = _newest_by_index(self.view.snapshot.pods_of(job))
        open_ = self._take_down(job, pods, fan)
        if self._unsure and not self._sure:
            return Step(self.view.status, reads=tuple(self._unsure[:READS_AT_ONCE]))
        running = sum(pod["status"].get("phase") == "Running" for pod in pods.values())
        after = self.recorder.result(
            done=format_intervals(self._done), lost=format_intervals(self._lost), running=running
        )
        view = replace(self.view, status=update(self.view.status, fan_out=after, job_uid=job["metadata"]["uid"]))
        failed = condition(job, "Failed")
        if failed is not None and failed.get("reason") not in _OVER_BY_ITEMS:
            return end_attempt(view, Cause(Reason.USER_ERROR, f"Job {job['metadata']['name']} failed"), self.now)
        self.over = not open_ and is_over(job)
        trouble = _trouble(job, pods)
        if not is_over(job) and not running and not after.succeeded and not after.failed:
            return hold_job(view, job, trouble or _no_pod(job), self.now)
        words = _message(after) + (f"; {trouble.cause.message}" if trouble else "")
        status = update(view.status, state=StageState.RUNNING, reason="Running", message=words)
        return Step(status, look_again=1.0 if self._unsure else None)

    def _take_down(self, job: Object, pods: Mapping[int, Object], fan: FanOut) -> int:
        """Take down all items that have ended; give how many have ended and could not be taken down yet."""
        status = job.get("status", {})
        finished = parse_intervals(status.get("completedIndexes", ""))
        finished |= {local for local, pod in pods.items() if pod["status"].get("phase") == "Succeeded"}
        failed = parse_intervals(status.get("failedIndexes", ""))
        open_ = 0
        for local, index in enumerate(sorted(parse_intervals(fan.indexes))):
            if index in self._done or index in self._lost:
                continue
            if local in finished:
                open_ += not self._succeed(job, index, local, pods.get(local))
            elif local in failed:
                open_ += not self._give_up(job, index, local, pods.get(local))
        return open_

    def _find(self, job: Object, local: int, pod: Object | None, phase: str) -> Object | Gone | None:
        """Give the pod that an index ended with in a phase; None as long as it is not known.

        Jobs and pods have watches of their own, so the Job may count an index before its pod is seen to end. When the
        Job is over it is looked for live.
        """
        if pod is not None and pod["status"].get("phase") == phase:
            return pod
        if not is_over(job):
            return None
        labels = ((names.RUN_UID, self.view.snapshot.uid), (names.STAGE, self.view.name), (INDEX_LABEL, str(local)))
        read = ListLive(POD, self.view.snapshot.namespace, labels)
        result = self.view.snapshot.memory.reads.get(read)
        if result is None or result.error is not None:
            self._unsure.append(read)
            return None
        self._sure = True
        mine = [p for p in result.value or () if names.controller_uid(p) == job["metadata"]["uid"]]
        found = _newest_by_index(mine).get(local)
        return Gone() if found is None or found["status"].get("phase") != phase else found

    def _give_up(self, job: Object, index: int, local: int, pod: Object | None) -> bool:
        """Take down an item that the Job gave up; False if it is not known yet why."""
        found = self._find(job, local, pod, "Failed")
        if found is None:
            return False
        words = f"index {local} of Job {job['metadata']['name']} failed; its pod is gone"
        self._fail(index, Cause(Reason.USER_ERROR, words) if isinstance(found, Gone) else causes.why_failed(found))
        return True

    def _succeed(self, job: Object, index: int, local: int, pod: Object | None) -> bool:
        """Take down an item that succeeded; False if there is no room yet, or if it is not known yet what it gave."""
        stage = self.view.wiring.stages[self.view.name]
        item = Item(index, self.values[index])
        if not stage.results and not stage.outputs:
            self.recorder.take(item, {}, {})
            self._done.add(index)
            return True
        found = self._find(job, local, pod, "Succeeded")
        if found is None:
            return False
        if isinstance(found, Gone):
            self._fail(index, Cause(Reason.RESULT_LOST, "its pod was deleted before its results were read"))
            return True
        place = place_of(self.view).below(str(local)).uri if stage.outputs else ""
        verdict = judge_success(stage, found, place)
        if isinstance(verdict, Ended):
            self._fail(index, verdict.cause)
        elif self.recorder.take(item, verdict.results, verdict.outputs):
            self._done.add(index)
        else:
            return False
        return True

    def _fail(self, index: int, cause: Cause) -> None:
        self.recorder.lose(Item(index, self.values[index]), cause)
        self._lost.add(index)


def _newest_by_index(pods: Sequence[Object]) -> dict[int, Object]:
    """Choose for each index the pod that speaks for it: one that succeeded, else the newest."""
    found: dict[int, Object] = {}
    for pod in sorted(pods, key=_weight):
        index = pod["metadata"].get("labels", {}).get(INDEX_LABEL)
        if index is not None:
            found[int(index)] = pod
    return found


def _weight(pod: Object) -> tuple[bool, str]:
    return pod.get("status", {}).get("phase") == "Succeeded", str(pod["metadata"]["creationTimestamp"])


def _trouble(job: Object, pods: Mapping[int, Object]) -> Held | None:
    """Give what holds up the Job or the first of its pods that cannot start."""
    if job["spec"].get("suspend"):
        return Held(Cause(Reason.SUSPENDED, f"Job {job['metadata']['name']} is suspended"))
    waiting = (pod for _, pod in sorted(pods.items()) if pod.get("status", {}).get("phase", "Pending") == "Pending")
    for pod in waiting:
        cause = causes.why_waiting(pod)
        if cause is not None and cause.reason is not Reason.STARTING:
            return Held(cause, pod, stuck=causes.fatal_wait(cause, pod))
    return None


def _no_pod(job: Object) -> Held:
    return Held(Cause(Reason.STARTING, f"Job {job['metadata']['name']} has no running pod yet"))


def _message(fan: FanOut) -> str:
    parts = [f"{fan.succeeded} of {fan.total} items succeeded", f"{fan.running} running"]
    return ", ".join(parts + ([f"{fan.failed} failed"] if fan.failed else []))
