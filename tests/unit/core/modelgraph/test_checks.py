"""What the checks of a release come to: which do not hold, and what is missing to tell."""

from __future__ import annotations

from typing import Any

import pytest

from rondo.api.release import Release
from rondo.core.modelgraph.checks import SHOWN, what_fails, what_lacks
from rondo.core.modelgraph.numbers import Comparison, Numbers

SEEN = Comparison(old=Numbers(100, 0, buckets={320: 100}), new=Numbers(50, 10, 40, 39, {320: 50}))
SHADOW = {"strategy": "Shadow", "steps": [{"percent": 10, "hold": "1m"}], "compare": "true"}


def release(*checks: str, **fields: Any) -> Release:
    written = [{"expression": check, "message": "worse"} for check in checks]
    return Release.model_validate({"steps": [{"weight": 10, "hold": "1m"}], "checks": written, **fields})


def test_what_holds_is_not_told() -> None:
    assert what_fails(release("new.errorRate <= 0.2", "old.p95 < 1.0"), SEEN) == ""
    assert what_fails(release("new['agreement'] > 0.9", **SHADOW), SEEN) == ""


def test_what_does_not_hold_is_told_with_the_numbers() -> None:
    words = what_fails(release("new.errorRate <= 0.01", "true"), SEEN)
    assert words.startswith("worse: new.errorRate <= 0.01 (50 requests, error rate 20% (old 0%)")


def test_many_long_checks_that_do_not_hold_are_told_in_short() -> None:
    words = what_fails(release(*[f"new.p95 < 0.0 && '{'x' * 2000}' == ''"] * 32), SEEN)
    assert len(words) < 1024
    assert f"; and {32 - SHOWN} more (50 requests" in words


LACKS = [
    ("no check, no request", release(), Comparison(), ""),
    ("a check", release("true"), Comparison(), "0 of 1 requests came to the new version"),
    ("too few", release("true", minRequests=51), SEEN, "50 of 51 requests came to the new version"),
    ("enough", release("true", minRequests=50), SEEN, ""),
    ("nothing to compare with", release("old.p95 < 1.0"), Comparison(new=SEEN.new), "no request came to the old"),
    ("nothing compared", release("new.agreement > 0.9", **SHADOW), Comparison(SEEN.old, SEEN.old), "no answer was"),
    ("the same in brackets", release("new['agreement'] > 0.9", **SHADOW), Comparison(SEEN.old, SEEN.old), "no answer"),
]


@pytest.mark.parametrize(("policy", "seen", "want"), [case[1:] for case in LACKS], ids=[case[0] for case in LACKS])
def test_what_is_missing_to_judge_by(policy: Release, seen: Comparison, want: str) -> None:
    found = what_lacks(policy, seen)
    assert found.startswith(want)
    assert bool(found) == bool(want)
