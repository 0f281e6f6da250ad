"""Fan-out on a real API server with its real Job controller: a Job for each item, and one Job for all."""

from __future__ import annotations

import json
from typing import Any

from tests.integration.system.objects import inline_run, job
from tests.integration.system.processes import Operators
from tests.integration.system.space import Body, Space, condition, only

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


def test_one_job_has_an_index_for_each_item(space: Space) -> None:
    space.create(inline_run("r", each(list(range(200)), forEach={"parallelism": 50}), job("after", "each")))
    run = space.succeeded("r", within=LONG)
    assert run["status"]["stages"][0]["message"] == "200 of 200 items succeeded"
    found = only(space.jobs("r", "each"))
    assert (found["spec"]["completions"], found["spec"]["parallelism"]) == (200, 50)
    assert fan_of(space)["done"] == "0-199"


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
