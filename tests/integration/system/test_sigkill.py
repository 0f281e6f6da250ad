"""The operator is killed (SIGKILL) a hundred times at random points while runs go on: all end, no Job is made twice.

Each life of the operator is a process of its own; the point of its death is drawn from a seeded generator, from its
start-up to the middle of its work. New runs come all the time, so that at every death some runs go on.
"""

from __future__ import annotations

import os
import random
import time

from tests.integration.system.objects import chain, inline_run, job, pipeline, retry
from tests.integration.system.processes import Operators
from tests.integration.system.space import Body, Space

DEATHS = 100
SEED = int(os.environ.get("RONDO_TEST_SEED", "20261123"))
START_UP = 0.25
"""Seconds within which an operator may die before it has listed everything."""

WORK = 0.5
"""Seconds within which an operator dies after that."""


def test_a_hundred_deaths_lose_nothing_and_double_nothing(fragile: Space, operators: Operators) -> None:
    chance = random.Random(SEED)  # noqa: S311 - no secret
    print(f"RONDO_TEST_SEED={SEED}")
    runs: list[str] = []
    for number in range(DEATHS):
        runs.append(_add_run(fragile, number))
        operator = operators.start(fragile.namespace)
        if chance.random() < 0.8:
            operator.works()
            time.sleep(chance.uniform(0, WORK))  # the random point
        else:
            time.sleep(chance.uniform(0, START_UP))  # the random point
        operator.kill()
    unfinished = [run for run in fragile.items("PipelineRun") if "completionTime" not in run.get("status", {})]
    print(f"{len(unfinished)} of {len(runs)} runs go on after the last death")
    operators.start(fragile.namespace)
    for name in runs:
        _check(fragile.once(name, within=60))
    assert not fragile.plane.created_twice(fragile.namespace)


def _add_run(space: Space, number: int) -> str:
    """Start a run: most are short chains, some have a stage that fails and is tried again."""
    if number % 4 == 3:
        name = f"p{number}-1"
        space.create(pipeline(f"p{number}", *chain(2)))
    elif number % 4 == 2:
        name = f"r{number}"
        space.create(inline_run(name, job("s0", image="fails", **retry(limit=1)), job("s1", "s0")))
    else:
        name = f"r{number}"
        space.create(inline_run(name, *chain(3)))
    return name


def _check(run: Body) -> None:
    """See that a run ended as it should, without an attempt more than it took."""
    stages = run["status"]["stages"]
    fails = stages[0].get("failures", 0)
    states = ["Failed", "Skipped"] if fails else ["Succeeded"] * len(stages)
    assert [stage["state"] for stage in stages] == states
    assert sum(stage.get("attempt", 0) for stage in stages) == (2 if fails else len(stages))
    assert not any(stage.get("disruptions") for stage in stages)
