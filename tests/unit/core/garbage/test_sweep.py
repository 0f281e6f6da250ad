"""When a claim is swept, by which Job, and what is told of it."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from rondo.artifacts.config import Sweep
from rondo.core import names
from rondo.core.conditions import timestamp
from rondo.core.garbage.sweep import ClaimSnapshot, plan_claim
from rondo.core.plan import Create, Delete, Failure, ListLive, Memory, Plan, ReadResult
from rondo.core.resources import (
    CONTROLLER_REVISION,
    JOB,
    MODEL_DEPLOYMENT,
    PIPELINE,
    PIPELINE_RUN,
)
from rondo.core.settings import Collect, PlannerSettings

BEGIN = datetime(2026, 11, 1, tzinfo=UTC)
LATER = BEGIN + timedelta(hours=30)
OURS = ((names.MANAGED_BY, names.MANAGER),)
MODEL = {"spec": {"model": {"uri": "pvc://rondo-artifacts/digits/u1/train-1/model"}}}
RUN = {"metadata": {"name": "r", "uid": "u2"}, "spec": {}}


def claim() -> dict[str, Any]:
    metadata = {"name": "rondo-artifacts", "namespace": "team", "uid": "c", "creationTimestamp": timestamp(BEGIN)}
    return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata}


def sweep_job(hours: float, ended: str = "", at: datetime = LATER) -> dict[str, Any]:
    owner = {"uid": "c", "controller": True}
    created = timestamp(BEGIN + timedelta(hours=hours))
    metadata = {"name": f"s{hours}", "uid": f"j{hours}", "creationTimestamp": created, "ownerReferences": [owner]}
    conditions = [{"type": ended, "status": "True", "lastTransitionTime": timestamp(at)}] if ended else []
    return {"metadata": {**metadata, "labels": {}}, "status": {"conditions": conditions}}


def pod_of(job: dict[str, Any], *, phase: str = "Succeeded", message: str = "", code: int = 0) -> dict[str, Any]:
    owner = {"uid": job["metadata"]["uid"], "controller": True}
    ended = {"terminated": {"exitCode": code, "message": message}}
    status = {"phase": phase, "containerStatuses": [{"name": "sweep", "state": ended}]}
    return {"metadata": {"name": "p", "ownerReferences": [owner]}, "status": status}


def listed(**others: Any) -> dict[Any, ReadResult]:
    """Give what all lists gave."""
    values: dict[Any, Any] = {
        PIPELINE_RUN: [RUN],
        PIPELINE: [],
        MODEL_DEPLOYMENT: [MODEL],
        CONTROLLER_REVISION: [],
        JOB: [],
    }
    labels: dict[Any, Any] = {CONTROLLER_REVISION: OURS, JOB: OURS}
    values |= {kind: others[kind.plural] for kind in values if kind.plural in others}
    return {
        ListLive(kind, "team", labels.get(kind, ())): ReadResult(LATER, tuple(value)) for kind, value in values.items()
    }


def plan(
    *jobs: dict[str, Any],
    pods: tuple[dict[str, Any], ...] = (),
    reads: dict[Any, ReadResult] | None = None,
    now: datetime = LATER,
    collect: Collect | None = Collect(),  # noqa: B008 - immutable
) -> Plan:
    settings = PlannerSettings(collect=collect)
    return plan_claim(ClaimSnapshot(claim(), jobs, pods, Memory(reads=reads or {}), settings), now)


def marks_of(found: Plan) -> Sweep:
    (create,) = found.actions
    assert isinstance(create, Create)
    template = create.body["spec"]["template"]
    return Sweep.unpack(template["metadata"]["annotations"][names.MARKS])


def test_nothing_is_done_before_it_is_time() -> None:
    found = plan(now=BEGIN + timedelta(hours=1))
    assert (found.actions, found.reads) == ((), ())
    assert found.requeue_after is not None
    assert timedelta(hours=23) <= timedelta(seconds=found.requeue_after) <= timedelta(hours=25.4)


@pytest.mark.parametrize("collect", [None])
def test_an_installation_may_remove_nothing(collect: Collect | None) -> None:
    assert plan(collect=collect) == Plan()


def test_everything_that_may_refer_is_listed_first() -> None:
    assert {read.resource for read in plan().reads if isinstance(read, ListLive)} == {
        PIPELINE_RUN, PIPELINE, MODEL_DEPLOYMENT, CONTROLLER_REVISION, JOB,
    }  # fmt: skip


def test_a_sweep_is_a_job_with_its_marks() -> None:
    found = plan(reads=listed())
    marks = marks_of(found)
    assert marks.runs == {"u2"}
    assert marks.paths == {"digits/u1/train-1/model"}
    assert (marks.at, marks.age) == (LATER.timestamp(), 86_400)
    (create,) = found.actions
    assert isinstance(create, Create)
    spec = create.body["spec"]
    assert (spec["backoffLimit"], spec["activeDeadlineSeconds"]) == (0, 43_200)
    assert names.controller_uid(create.body) == "c"
    pod = spec["template"]["spec"]
    assert pod["containers"][0]["command"][-1] == "sweep"
    assert pod["automountServiceAccountToken"] is False


def test_the_same_sweep_is_not_begun_twice_and_the_next_has_another_name() -> None:
    one, again = plan(reads=listed()).actions[0].ref, plan(reads=listed()).actions[0].ref
    done = sweep_job(0.5, "Complete", at=BEGIN)
    assert one == again != plan(done, reads=listed()).actions[0].ref


def test_one_sweep_at_a_time() -> None:
    assert plan(sweep_job(1), reads=listed()) == Plan()


def test_a_list_that_fails_removes_nothing() -> None:
    reads = listed()
    failed = ListLive(MODEL_DEPLOYMENT, "team", ())
    reads[failed] = ReadResult(LATER, None, Failure(500, "x", "y", LATER))
    found = plan(reads=reads)
    assert (found.actions, found.requeue_after) == ((), 60.0)


def test_a_retry_that_is_about_to_take_over_is_waited_for() -> None:
    retry = {"metadata": {"name": "again", "uid": "u3"}, "spec": {"retryOf": "r"}}
    found = plan(reads=listed(pipelineruns=[RUN, retry]))
    assert (found.actions, found.requeue_after) == ((), 60.0)


def test_too_many_runs_to_name_are_told() -> None:
    chance = random.Random(0)  # noqa: S311 - no secret
    runs = [{"metadata": {"name": "r", "uid": f"{chance.getrandbits(128):032x}"}, "spec": {}} for _ in range(12_000)]
    found = plan(reads=listed(pipelineruns=runs))
    assert found.actions == ()
    assert "nothing is swept" in found.events[0].note


def test_what_was_removed_is_told_and_old_jobs_go() -> None:
    done = sweep_job(29, "Complete")
    pod = pod_of(done, message='{"removed": 3, "size": 4096, "kept": 7}')
    found = plan(sweep_job(2, "Complete", at=BEGIN), done, pods=(pod,))
    assert [event.note for event in found.events] == [
        "removed 3 artifacts, 4,096 bytes, that nothing refers to; 7 stay"
    ]
    (delete,) = found.actions
    assert isinstance(delete, Delete)
    assert delete.uid == "j2"
    assert not plan(done, pods=(pod,), now=LATER + timedelta(minutes=5)).events  # no news any more


def test_a_sweep_that_failed_is_told_with_its_cause() -> None:
    failed = sweep_job(29, "Failed")
    found = plan(failed, pods=(pod_of(failed, phase="Failed", code=5, message="disk"),))
    assert found.events[0].reason == "SweepFailed"
    assert found.events[0].note.endswith("container sweep: exit code 5: disk")
