"""Fan-out on a real API server with its real Job controller: a Job for each item, and one Job for all.

`RONDO_TEST_ITEMS` says how many items the one Job has.
"""

from __future__ import annotations

import json
import os
import time
from typing import Any

import pytest

from tests.integration.system.objects import inline_run, job
from tests.integration.system.processes import Operators
from tests.integration.system.space import Body, Space, condition, only

MANY = int(os.environ.get("RONDO_TEST_ITEMS", "500"))
MISCOUNTED = (7, 77, 177)
"""Indexes that fail, as pods.yaml says."""

SOME: Body = {"parallelism": 100, "maxFailed": 3}
LONG = 90.0
"""Seconds for hundreds of pods on two busy cores."""


def each(
    items: list[Any] | None = None, *, image: str = "succeeds", args: list[str] | None = None, **fields: Any
) -> Body:
    """Give a stage with forEach; with args that name the item each has a Job."""
    stage = job("each", image=image, forEach={"items": items or [1, 2, 3], **fields.pop("forEach", {})}, **fields)
    if args:
        stage["job"]["args"] = args
    return stage


def fan_of(space: Space, run: str = "r") -> Body:
    fan: Body = space.stage(run, "each")["fanOut"]
    return fan


def test_each_item_has_a_job(space: Space) -> None:
    space.create(inline_run("r", each(["a", "b", "c"], args=["$(item.value)"]), job("after", "each")))
    run = space.succeeded("r")
    assert run["status"]["stages"][0]["message"] == "3 of 3 items succeeded"
    jobs = space.jobs("r", "each")
    assert sorted(j["spec"]["template"]["spec"]["containers"][0]["args"][0] for j in jobs) == ["a", "b", "c"]
    assert len(space.pods("r")) == 4


@pytest.mark.timeout(600 + MANY / 4)
def test_one_job_has_an_index_for_each_of_many_items(fragile: Space, operators: Operators) -> None:
    operator = operators.start(fragile.namespace).works()
    items = [{"row": f"number {index}"} for index in range(MANY)]
    counts = each(items, image="counts", results=[{"name": "n", "type": "integer"}], forEach=SOME)
    begun, before = time.monotonic(), operator.cpu_seconds
    fragile.create(inline_run("r", counts, job("after", "each")))
    run = fragile.succeeded("r", within=LONG + MANY / 5)
    print(
        f"{MANY} items in {time.monotonic() - begun:.0f} s; operator {operator.cpu_seconds - before:.1f} s of CPU,"
        f" {operator.peak_bytes >> 20} MiB; status {len(json.dumps(run['status']))} bytes"
    )
    check_counted(fragile, run)


def check_counted(space: Space, run: Body) -> None:
    """See that a run tells how many items of `counts` there were, which failed, and where all results are."""
    assert len(json.dumps(run["status"])) < 100 * 1024
    status, fan = run["status"]["stages"][0], fan_of(space)
    assert status["message"] == f"{MANY - 3} of {MANY} items succeeded, 3 failed, which maxFailed allows"
    assert (fan["total"], fan["succeeded"], fan["failed"]) == (MANY, MANY - 3, 3)
    failures = sorted(fan["failures"], key=lambda failure: int(failure["index"]))
    assert [(f["index"], f["reason"], f["item"]) for f in failures] == [
        (index, "UserError", f'{{"row":"number {index}"}}') for index in MISCOUNTED
    ]
    assert "exit code 3: out of numbers" in failures[0]["message"]
    found = only(space.jobs("r", "each"))
    assert (found["spec"]["completions"], found["spec"]["parallelism"]) == (MANY, SOME["parallelism"])
    given = [index for index in range(MANY) if index not in MISCOUNTED]
    assert fan["statistics"]["n"]["sum"] == sum(given)
    if "stored" not in fan:
        assert status["results"]["n"] == given
        return
    stored = [space.get("ConfigMap", f"{fan['storedIn']}{number}") or {} for number in range(fan["stored"])]
    records = {int(index): json.loads(text) for part in stored for index, text in part["data"].items()}
    assert {index: record["results"]["n"] for index, record in records.items()} == {index: index for index in given}


def test_items_that_fail_fail_the_stage_by_name_and_stop_the_rest(space: Space) -> None:
    space.create(inline_run("r", each(["x", "y"], image="fails"), job("after", "each")))
    run = space.ended("r")
    said = condition(run, "Succeeded")
    assert said["status"] == "False"
    assert "items failed, none may by maxFailed; item 0 (x): pod r-each-" in said["message"]
    assert run["status"]["stages"][1]["state"] == "Skipped"


def test_a_hundred_items_survive_the_death_of_the_operator(fragile: Space, operators: Operators) -> None:
    fragile.create(
        inline_run("r", each([str(n) for n in range(100)], args=["$(item.value)"], forEach={"parallelism": 10}))
    )
    for _ in range(5):
        operators.start(fragile.namespace).works()
        fragile.until_stage("r", "each", state="Running")
        operators.end()
    operators.start(fragile.namespace)
    run = fragile.succeeded("r", within=LONG)
    assert fan_of(fragile)["states"] == "S" * 100
    jobs, pods = fragile.jobs("r"), fragile.pods("r")
    assert len(jobs) == len(pods) == 100
    assert len(json.dumps(run["status"])) < 100_000
