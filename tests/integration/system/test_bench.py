"""The benchmark works: each case, as small as it can be. How fast anything is nobody asserts here."""

from __future__ import annotations

import json

from tests.bench.cases import CASES, SMALLEST, measure
from tests.bench.compare import Comparison
from tests.bench.tables import tables


async def test_every_case_gives_its_numbers() -> None:
    said: list[str] = []
    found = await measure(SMALLEST, CASES, said.append)
    assert len(said) == len(CASES)
    assert [_counts(each) for each in found.comparisons] == [
        ("chain of 3", 1, 3, 2),
        ("chain of 3", 2, 3, 4),
        ("chain of 3, inline", 2, 3, 4),
        ("wide 5", 1, 5, 4),
        ("chain of 2", 1, 2, 1),
        ("3 items, a Job each", 1, 3, 0),
        ("3 items, one indexed Job", 1, 1, 0),
    ]
    assert [row.stages for row in found.growth] == [3, 3]
    assert all(row.cpu >= 0 and row.reconciles >= 3 and row.bytes > 1000 for row in found.growth)
    assert all(each.start > 0 and each.start_peak > 20 and each.resident > 20 for each in found.idle)
    assert all(each.one_rondo > 0 and each.release_rondo > 0 for each in found.queued)
    assert len(list(tables(found))) == 6
    assert json.loads(json.dumps(found.data())).keys() == {"comparisons", "growth", "idle", "queued"}


def _counts(each: Comparison) -> tuple[str, int, float, int]:
    """Give the Jobs that a run costs, which must be as many as the script's, and the hand-offs between them."""
    script, rondo = each.script, each.rondo
    assert script.writes == {"create jobs": rondo.writes["create jobs"]}
    assert script.gaps.count == rondo.gaps.count
    assert 0 <= rondo.gaps.p50 <= rondo.gaps.p95
    assert each.price.reconciles >= 3
    assert each.price.bytes > 1000
    assert rondo.writes["patch pipelineruns"] == 1
    return each.work, each.runs, rondo.writes["create jobs"], rondo.gaps.count
