"""Jobs that are deleted, forbidden, foreign, evicted or suspended: the run says so, goes on, and never runs twice."""

from __future__ import annotations

import time

from kubernetes.dynamic.exceptions import ForbiddenError

from tests.integration.system.objects import foreign_job, inline_run, job, names, quota, retry
from tests.integration.system.processes import Operators
from tests.integration.system.space import Body, Space, always, condition, eventually, only

LONG_ENOUGH = 3.0
"""Seconds in which a second pod would have come: the Job controller looks every second."""


def test_a_job_deleted_by_hand_ends_the_attempt_and_the_next_starts(space: Space) -> None:
    space.create(inline_run("r", job("a", image="holds")))
    space.running_pod("r", "a")
    first = only(names(space.jobs("r")))
    space.delete("Job", first)
    stage = space.until_stage("r", "a", state="Running", attempt=2)
    assert stage["job"] != first
    assert (stage["disruptions"], stage.get("failures", 0)) == (1, 0)
    assert only(stage["attempts"]) | {"completionTime": ""} == {
        "number": 1,
        "job": first,
        "reason": "Deleted",
        "message": f"Job {first} was deleted",
        "disruption": True,
        "completionTime": "",
    }
    space.end_pod(space.running_pod("r", "a"))
    space.succeeded("r")


def test_a_job_deleted_again_and_again_ends_the_stage_after_max_disruptions(space: Space) -> None:
    space.create(inline_run("r", job("a", image="holds", **retry(maxDisruptions=1))))
    for attempt in (1, 2):
        space.until_stage("r", "a", state="Running", attempt=attempt)
        space.delete("Job", space.stage("r", "a")["job"])
    stage = only(space.ended("r")["status"]["stages"])
    assert (stage["state"], stage["reason"], stage["disruptions"]) == ("Failed", "Deleted", 2)
    assert stage["message"].endswith("(disrupted 2 times, more than retry.maxDisruptions)")


def test_a_foreign_job_that_has_our_name_is_left_alone(fragile: Space, operators: Operators) -> None:
    fragile.create(quota(jobs=0))
    _until_quota_counts(fragile, "count/jobs.batch")
    fragile.create(inline_run("r", job("a")))
    operators.start(fragile.namespace)
    name = fragile.until_stage("r", "a", reason="Quota")["job"]
    operators.end()
    fragile.delete("ResourceQuota", "quota")
    foreign = _create_when_allowed(fragile, name)
    operators.start(fragile.namespace)
    stage = only(fragile.ended("r")["status"]["stages"])
    assert (stage["state"], stage["reason"]) == ("Failed", "NameConflict")
    assert f"Job {fragile.namespace}/{name} exists and belongs to somebody else" in stage["message"]
    left = fragile.get("Job", name)
    assert left is not None
    assert left["metadata"]["uid"] == foreign["metadata"]["uid"]
    assert "ownerReferences" not in left["metadata"]


def test_a_quota_that_forbids_the_job_is_named_and_lifted(space: Space) -> None:
    space.create(quota(jobs=0))
    _until_quota_counts(space, "count/jobs.batch")
    begun = time.monotonic()
    space.create(inline_run("r", job("a")))
    stage = space.until_stage("r", "a", state="Waiting", reason="Quota", within=10)
    assert time.monotonic() - begun < 5
    assert "exceeded quota: quota, requested: count/jobs.batch=1" in stage["message"]
    assert stage["message"] in condition(space.run("r"), "Succeeded")["message"]
    space.delete("ResourceQuota", "quota")
    space.succeeded("r")
    assert only(space.run("r")["status"]["stages"])["attempt"] == 1


def test_a_quota_that_forbids_the_pod_is_named_and_lifted(space: Space) -> None:
    space.create(quota(pods=0))
    _until_quota_counts(space, "pods")
    space.create(inline_run("r", job("a")))
    stage = space.until_stage("r", "a", state="Waiting", reason="Quota", within=15)
    assert "exceeded quota: quota, requested: pods=1, used: pods=0, limited: pods=0" in stage["message"]
    assert stage["message"] in condition(space.run("r"), "Succeeded")["message"]
    space.delete("ResourceQuota", "quota")
    space.succeeded("r", within=60)
    assert only(space.run("r")["status"]["stages"])["attempt"] == 1
    assert len(space.jobs("r")) == len(space.pods("r")) == 1


def test_after_an_eviction_no_second_pod_runs_beside_the_first(space: Space) -> None:
    space.create(inline_run("r", job("a", image="lingers")))
    pod = space.running_pod("r", "a")
    space.evict(pod)
    space.until_stage("r", "a", state="Running", reason="Evicted")
    always(lambda: names(space.pods("r")) == [pod], "one pod alone", during=LONG_ENOUGH)
    assert only(space.pods("r"))["metadata"]["deletionTimestamp"]
    space.end_pod(pod, exit_code=143)
    space.delete("Pod", pod, gracePeriodSeconds=0)
    stage = space.until_stage("r", "a", state="Running", attempt=2)
    assert (stage["disruptions"], only(stage["attempts"])["reason"]) == (1, "Evicted")
    second = space.running_pod("r", "a")
    space.end_pod(second)
    space.succeeded("r")
    assert len(space.jobs("r")) == 2


def test_a_suspended_job_waits_and_resumes_with_one_pod_at_a_time(space: Space) -> None:
    space.create(inline_run("r", job("a", image="lingers")))
    pod = space.running_pod("r", "a")
    name = only(names(space.jobs("r")))
    space.patch("Job", name, {"spec": {"suspend": True}})
    space.until_stage("r", "a", state="Waiting", reason="Suspended")
    eventually(lambda: only(space.pods("r"))["metadata"].get("deletionTimestamp"), "the pod to be deleted")
    space.patch("Job", name, {"spec": {"suspend": False}})
    always(lambda: names(space.pods("r")) == [pod], "one pod alone", during=LONG_ENOUGH)
    space.end_pod(pod, exit_code=137)
    space.delete("Pod", pod, gracePeriodSeconds=0)
    eventually(lambda: names(space.pods("r")) not in ([], [pod]), "the second pod")
    second = space.running_pod("r", "a")
    assert second != pod
    space.end_pod(second)
    stage = only(space.succeeded("r")["status"]["stages"])
    assert (stage["attempt"], stage["job"]) == (1, name)


def test_a_failed_attempt_is_followed_by_the_next_and_counted(space: Space) -> None:
    space.create(inline_run("r", job("a", image="fails", **retry(limit=2))))
    stage = only(space.ended("r")["status"]["stages"])
    assert (stage["state"], stage["reason"], stage["attempt"], stage["failures"]) == ("Failed", "UserError", 3, 3)
    assert [attempt["exitCode"] for attempt in stage["attempts"]] == [3, 3, 3]
    assert len(space.jobs("r")) == len(space.pods("r")) == 3


def _until_quota_counts(space: Space, key: str) -> None:
    """Wait until the quota is in force: the API server knows it by its status."""

    def counted() -> bool:
        found = space.get("ResourceQuota", "quota") or {}
        return key in found.get("status", {}).get("used", {})

    eventually(counted, "the quota to be counted")


def _create_when_allowed(space: Space, name: str) -> Body:
    """Create a Job that belongs to nobody; the API server remembers a quota for a moment after it is gone."""

    def created() -> Body | None:
        try:
            space.create(foreign_job(name))
        except ForbiddenError:
            return None
        return space.get("Job", name)

    return eventually(created, "the quota to be lifted")
