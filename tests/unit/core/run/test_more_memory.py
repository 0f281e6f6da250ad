"""`retry.onOOM`: each attempt after an OOM kill gets more memory, up to a limit."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from rondo.core.quantities import format_memory, parse_quantity
from tests.unit.core.builders import inline_run, job
from tests.unit.core.cluster import Cluster, Operator
from tests.unit.core.run.driver import advance, condition_of, finish, job_of, stage_of, start


def hungry(limit: int = 5, most: str = "3Gi", memory: str = "1Gi", **retry: Any) -> dict[str, Any]:
    policy = {"limit": limit, "backoff": "1s", "onOOM": {"factor": 2, "max": most}, **retry}
    resources = {"limits": {"memory": memory, "cpu": "1"}, "requests": {"memory": "512Mi"}}
    return job("train", job={"resources": resources}, retry=policy)


def resources(cluster: Cluster) -> tuple[str, str]:
    found = job_of(cluster, "train")["spec"]["template"]["spec"]["containers"][0]["resources"]
    assert found["limits"]["cpu"] == "1"
    return found["requests"]["memory"], found["limits"]["memory"]


def kill(cluster: Cluster, operator: Operator) -> None:
    finish(cluster, operator, "train", code=137, reason="OOMKilled")
    cluster.pass_time(minutes=1)
    operator.settle()
    advance(cluster, operator)


def test_memory_grows_up_to_the_limit_and_then_the_stage_fails(cluster: Cluster, operator: Operator) -> None:
    start(cluster, operator, inline_run(hungry()))
    assert resources(cluster) == ("512Mi", "1Gi")
    kill(cluster, operator)
    assert resources(cluster) == ("1024Mi", "2048Mi")
    kill(cluster, operator)
    assert resources(cluster) == ("2048Mi", "3Gi")
    kill(cluster, operator)
    assert resources(cluster) == ("3Gi", "3Gi")
    kill(cluster, operator)
    stage = stage_of(cluster, "train")
    assert (stage["state"], stage["reason"], stage["oomKills"]) == ("Failed", "OOMKilled", 4)
    assert stage["message"].endswith("(with as much memory as retry.onOOM.max gives)")


def test_other_failures_do_not_raise_it_and_count_towards_the_same_limit(cluster: Cluster, operator: Operator) -> None:
    start(cluster, operator, inline_run(hungry(limit=2)))
    kill(cluster, operator)
    finish(cluster, operator, "train", code=1)
    cluster.pass_time(minutes=1)
    operator.settle()
    advance(cluster, operator)
    assert resources(cluster) == ("1024Mi", "2048Mi")
    kill(cluster, operator)
    assert stage_of(cluster, "train")["message"].endswith("(failed 3 times)")


def test_an_oom_kill_is_retried_whatever_else_is_named(cluster: Cluster, operator: Operator) -> None:
    start(cluster, operator, inline_run(hungry(exitCodes=[75])))
    kill(cluster, operator)
    assert stage_of(cluster, "train")["state"] == "Running"


def test_a_restart_makes_the_same_job(cluster: Cluster, operator: Operator) -> None:
    start(cluster, operator, inline_run(hungry()))
    finish(cluster, operator, "train", code=137, reason="OOMKilled")
    cluster.pass_time(minutes=1)
    operator.crash_after = len(cluster.writes)
    operator.restart()
    operator.settle()
    assert resources(cluster) == ("1024Mi", "2048Mi")


def test_without_a_memory_limit_there_is_nothing_to_raise(cluster: Cluster, operator: Operator) -> None:
    stage = job("train", retry={"onOOM": {"max": "3Gi"}})
    start(cluster, operator, inline_run(stage))
    words = "spec.stages[train].retry.onOOM: there is no memory to raise: set job.resources.limits.memory"
    assert condition_of(cluster, "Accepted")["message"] == words


@pytest.mark.parametrize(
    ("text", "value"),
    [("1Gi", 2**30), ("500m", Decimal("0.5")), ("2", 2), ("1.5Ki", 1536), ("1e3", 1000), ("12E", 12 * 10**18)],
)
def test_quantities_are_read(text: str, value: Decimal) -> None:
    assert parse_quantity(text) == value


@pytest.mark.parametrize("text", ["", "Gi", "1 Gi", "1GB", "one"])
def test_what_is_no_quantity_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a quantity such as"):
        parse_quantity(text)


def test_memory_is_written_in_mebibytes_rounded_up() -> None:
    assert format_memory(Decimal(2**20 + 1)) == "2Mi"
