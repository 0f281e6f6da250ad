"""What routers have counted, added up."""

from __future__ import annotations

import math
import random
from typing import Any

import pytest

from rondo.core.modelgraph.numbers import FIRST_BUCKET, PER_DOUBLING, Numbers, add_up


def report(epoch: str = "2.1", **sides: dict[str, Any]) -> dict[str, Any]:
    return {"counts": {f"g.{side}": {"epoch": epoch, **counts} for side, counts in sides.items()}}


def test_pods_add_up_and_other_steps_graphs_and_pods_that_say_nothing_do_not_count() -> None:
    one = {"requests": 10, "errors": 1, "compared": 4, "agreed": 3, "seconds": {"320": 10}}
    told: list[dict[str, Any]] = [
        report(old=one, new=one),
        report(new=one),
        report(epoch="2.2", new=one),
        {"counts": {"h.new": one}},
        {},
    ]
    found = add_up(told, "g", "2.1")
    assert found.old == Numbers(10, 1, 4, 3, {320: 10})
    assert found.new == Numbers(20, 2, 8, 6, {320: 20})
    assert (found.new.error_rate, found.new.agreement) == (0.1, 0.75)


def test_without_requests_all_numbers_are_nothing() -> None:
    none = add_up([], "g", "2.1").new
    assert none.variables() == {"requests": 0.0, "errorRate": 0.0, "p50": 0.0, "p95": 0.0, "p99": 0.0}
    assert none.agreement == 0.0


@pytest.mark.parametrize("part", [0.5, 0.95, 0.99])
def test_percentiles_are_right_to_about_one_per_cent(part: float) -> None:
    chance = random.Random(7)  # noqa: S311 - no secret
    times = [chance.lognormvariate(-3, 0.8) for _ in range(20_000)]
    buckets: dict[int, int] = {}
    for time in times:
        index = int(PER_DOUBLING * math.log2(max(time / FIRST_BUCKET, 1.0)))
        buckets[index] = buckets.get(index, 0) + 1
    exact = sorted(times)[int(part * len(times))]
    assert Numbers(buckets=buckets).quantile(part) == pytest.approx(exact, rel=0.015)
