"""What of an expression is known before it runs: what it refers to, and what it costs."""

from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rondo.core.expressions import SMALL, ExpressionError, cost_of, evaluate, is_opaque, paths_in
from tests.unit.core.builders import gate, inline_run, job
from tests.unit.core.cluster import Cluster, Operator
from tests.unit.core.run.driver import condition_of, stage_of, start, states


@pytest.mark.parametrize(
    ("text", "paths"),
    [
        ("params.a > 1.0", {("params", "a")}),
        ("params.a.b.c > 1.0", {("params", "a")}),
        ("stages.x.results.auc > run.n", {("stages", "x", "results", "auc"), ("run", "n")}),
        ("stages.x.state == 'stages.y.state'", {("stages", "x", "state")}),
        ("stages.x.state.startsWith('F')", {("stages", "x", "state")}),
        ("stages.x.results.list.all(i, i > 0.0)", {("stages", "x", "results", "list")}),
        ("stages.x.best.results.auc > 0.5", {("stages", "x", "best", "results", "auc")}),
        ("stages.x.stats.auc.mean > 0.5", {("stages", "x", "stats", "auc", "mean")}),
        ("stages.x.total > 3.0", {("stages", "x", "total")}),
        ("stages . x . results . auc > 0.5", {("stages", "x", "results", "auc")}),
        ("other.stages.x", set()),
    ],
)
def test_what_an_expression_refers_to(text: str, paths: set[tuple[str, ...]]) -> None:
    assert paths_in(text) == paths


@pytest.mark.parametrize(
    ("text", "opaque"),
    [
        ("stages.a.state == 'Failed'", False),
        ("stages['a'].state == 'Failed'", True),
        ("stages.exists(s, true)", True),
        ("size(stages) > 1", True),
        ("'stages' == 'x'", False),
        ("mystages.a", False),
    ],
)
def test_uses_of_the_whole_are_seen(text: str, opaque: bool) -> None:  # noqa: FBT001
    assert is_opaque(text, "stages") is opaque


@pytest.mark.parametrize(
    ("text", "variables"),
    [
        ("params.l.map(a, a * 2.0).size() > 1", {"params": {"l": list(range(1000))}}),
        ("params.l.all(a, params.l.all(b, a + b > 0.0))", {"params": {"l": list(range(200))}}),
        (" + ".join(["params.s"] * 150) + " == ''", {"params": {"s": "x" * 10_000}}),
        ("params.l.map(a, params.s + params.s).size() > 1", {"params": {"l": list(range(50)), "s": "x" * 1000}}),
    ],
)
def test_what_may_take_long_is_not_small(text: str, variables: dict[str, Any]) -> None:
    assert cost_of(text, variables) > SMALL


@pytest.mark.parametrize(
    ("text", "variables"),
    [
        ("stages.train.results.auc >= params.minimum", {"stages": {"train": {"results": {"auc": 0.9}}}, "params": {}}),
        ("params.l.all(a, a > 0.0)", {"params": {"l": list(range(50))}}),
        ("params.s.startsWith('x') && params.s.size() > 3", {"params": {"s": "x" * 500}}),
    ],
)
def test_what_everybody_writes_is_small(text: str, variables: dict[str, Any]) -> None:
    assert cost_of(text, variables) <= SMALL


TEXTS = st.sampled_from([
    "params.l.map(a, a).size() > 1",
    "params.l.map(a, params.l).size() > 1",
    "params.l.all(a, params.l.all(b, a == b || a != b))",
    "params.l.map(a, params.l.map(b, params.s)).size() > 1",
    "params.l.filter(a, params.s.contains('y') || true).size() > 1",
    " + ".join(["params.s"] * 20) + " != ''",
    " + ".join(["params.l"] * 20) + " != []",
])  # fmt: skip


@given(TEXTS, st.integers(0, 400), st.integers(0, 3000))
def test_what_is_small_is_quick(text: str, items: int, length: int) -> None:
    """Half a second would be a catastrophe, a twentieth is what a loaded machine may add."""
    variables = {"params": {"l": [float(n) for n in range(items)], "s": "x" * length}}
    if cost_of(text, variables) > SMALL:
        return
    before = time.process_time()
    evaluate(text, variables)
    assert time.process_time() - before < 0.05


def test_an_expensive_check_is_decided_too(cluster: Cluster, operator: Operator) -> None:
    params = [{"name": "l", "type": "array", "default": [1] * 300}]
    good, bad = "params.l.map(a, a * 2.0).size() == 300", "params.l.map(a, a * 2.0).size() == 0"
    start(cluster, operator, inline_run(gate("g", good), gate("h", bad), job("a", needs=["g", "h"]), params=params))
    assert states(cluster) == {"g": "Succeeded", "h": "Failed", "a": "Skipped"}
    assert stage_of(cluster, "h")["message"] == f"{bad} is false"


def test_too_much_text_is_refused(cluster: Cluster, operator: Operator) -> None:
    stages = [gate(f"g{n}", *(f"params.n > {n}.0 || '{'x' * 1900}' == ''" for _ in range(4))) for n in range(10)]
    start(cluster, operator, inline_run(*stages, params=[{"name": "n", "type": "number", "default": 1}]))
    assert "characters in all; 65536 are allowed" in condition_of(cluster, "Accepted")["message"]


def test_an_error_is_told_in_one_line() -> None:
    with pytest.raises(ExpressionError, match=r"numbers are doubles here: write 1\.0, not 1"):
        evaluate("params.n + 1 > 2", {"params": {"n": 1}})
