"""Rates from readings of routers."""

from __future__ import annotations

import math
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rondo.cli.graph.traffic import (
    DIVIDER,
    PARTS,
    WHOLE,
    Histogram,
    Sample,
    Traffic,
    read_metrics,
    see_totals,
    see_traffic,
)
from rondo.core.modelgraph.part_names import names_of
from tests.unit.core.modelgraph.test_releasing import edit, world
from tests.unit.core.modelgraph.world import World

__all__ = ["world"]  # a fixture

INF = math.inf


def text(*, requests: int = 0, failed: int = 0, node: Mapping[str, int] | None = None, graph: str = "g") -> str:
    """Metrics of a router as it writes them: all requests took between 1 and 2.5 ms, those of nodes up to 1 ms."""
    lines = [
        "# TYPE rondo_graph_requests counter",
        f'rondo_graph_requests_total{{graph="{graph}",code="200"}} {requests}',
        f'rondo_graph_requests_total{{graph="{graph}",code="502"}} {failed}',
        "# TYPE rondo_graph_duration_seconds histogram",
        "# UNIT rondo_graph_duration_seconds seconds",
        f'rondo_graph_duration_seconds_sum{{graph="{graph}"}} 1.0',
        f'rondo_graph_duration_seconds_count{{graph="{graph}"}} {requests + failed}',
        f'rondo_graph_duration_seconds_bucket{{le="0.001",graph="{graph}"}} 0',
        f'rondo_graph_duration_seconds_bucket{{le="0.0025",graph="{graph}"}} {requests + failed}',
        f'rondo_graph_duration_seconds_bucket{{le="+Inf",graph="{graph}"}} {requests + failed}',
        "# TYPE rondo_graph_requests_in_flight gauge",
        f'rondo_graph_requests_in_flight{{graph="{graph}"}} 3',
    ]
    attempts, durations, retries = [], [], []
    for name, count in (node or {}).items():
        labels = f'graph="{graph}",node="{name}"'
        attempts.append(f'rondo_node_attempts_total{{{labels},outcome="timeout"}} {count}')
        durations.append(f"rondo_node_duration_seconds_count{{{labels}}} {count}")
        durations.append(f"rondo_node_duration_seconds_sum{{{labels}}} 1.0")
        durations += [f'rondo_node_duration_seconds_bucket{{le="{le}",{labels}}} {count}' for le in ("0.001", "+Inf")]
        retries.append(f"rondo_node_retries_total{{{labels}}} {count}")
    lines += ["# TYPE rondo_node_attempts counter", *attempts]
    lines += ["# TYPE rondo_node_duration_seconds histogram", *durations]
    lines += ["# TYPE rondo_node_retries counter", *retries]
    return "\n".join([*lines, "# EOF"]) + "\n"


def sample(at: float, told: str) -> Sample:
    return Sample(at, read_metrics(told, "g"))


def test_rates_of_two_routers_are_added_up() -> None:
    before = {"p": sample(10, text(requests=100)), "q": sample(11, text(requests=5))}
    after = {"p": sample(12, text(requests=120)), "q": sample(13, text(requests=9, failed=4))}
    whole = see_traffic(before, after)[WHOLE]
    assert whole.outcomes == {"200": pytest.approx(12), "502": pytest.approx(2)}
    assert whole.requests == pytest.approx(14)
    assert whole.errors == pytest.approx(1 / 7)
    assert whole.failures == {"502": pytest.approx(1 / 7)}
    assert whole.in_flight == 6, "what is under way is a level and no rate"
    assert whole.durations.quantile(0.5) == pytest.approx(0.001 + 0.0015 / 2)


def test_of_a_node() -> None:
    seen = see_traffic({"p": sample(0, text(node={"a": 2}))}, {"p": sample(2, text(node={"a": 6, "b": 4}))})
    assert seen["a"].requests == pytest.approx(2)
    assert seen["a"].outcomes == {"timeout": pytest.approx(2)}
    assert seen["a"].events == {"retries": pytest.approx(2)}
    assert seen["b"].requests == pytest.approx(2), "a node that was asked for the first time"


def test_a_router_that_began_anew_counts_from_nothing() -> None:
    seen = see_traffic({"p": sample(0, text(requests=1000))}, {"p": sample(2, text(requests=4))})
    assert seen[WHOLE].requests == pytest.approx(2)


RESTARTS: dict[str, tuple[str, str, dict[str, float]]] = {
    "of two counters one is above what it was": (
        text(requests=1000, failed=2),
        text(requests=50, failed=5),
        {"200": 5, "502": 0.5},
    ),
    "one is as it was": (text(requests=50, failed=900), text(requests=50, failed=8), {"200": 5, "502": 0.8}),
    "one is gone": (text(requests=30, node={"a": 7}), text(requests=50), {"200": 5, "502": 0}),
    "what is under way is no counter": (
        text(requests=40).replace("} 3\n# TYPE", "} 9\n# TYPE"),
        text(requests=50),
        {"200": 1, "502": 0},
    ),
}


@pytest.mark.parametrize(("before", "after", "want"), RESTARTS.values(), ids=RESTARTS.keys())
def test_whether_a_router_began_anew_is_decided_once_for_all_its_counters(
    before: str, after: str, want: dict[str, float]
) -> None:
    seen = see_traffic({"p": sample(0, before)}, {"p": sample(10, after)})
    assert seen[WHOLE].outcomes == pytest.approx(want)


def test_a_router_that_was_read_once_says_nothing_of_now() -> None:
    assert see_traffic({}, {"p": sample(2, text(requests=1000))}) == {}
    once = sample(2, text(requests=1000))
    assert see_traffic({"p": once}, {"p": once}) == {}


def test_totals() -> None:
    seen = see_totals([sample(0, text(requests=7, node={"a": 1})), sample(9, text(requests=3))])
    assert (seen[WHOLE].requests, seen["a"].requests) == (10, 1)


def test_other_graphs_are_not_read() -> None:
    other = 'rondo_graph_requests_total{graph="gg",code="200"} what is not read need not make sense'
    both = text(requests=1).replace("counter\n", f"counter\n{other}\n", 1)
    assert see_totals([sample(0, both)])[WHOLE].outcomes == {"200": 1, "502": 0}


def test_what_is_no_metrics_is_refused() -> None:
    with pytest.raises(ValueError, match="many"):
        read_metrics('rondo_graph_requests_total{graph="g"} many\n# EOF\n', "g")


def test_half_a_histogram_is_refused() -> None:
    half = '# TYPE rondo_x histogram\nrondo_x{graph="g"} {sum:1}\n# EOF\n'
    with pytest.raises(ValueError, match="count"):
        read_metrics(half, "g")


@pytest.mark.parametrize("label", ["code", "le"])
def test_metrics_without_their_labels_are_refused(label: str) -> None:
    with pytest.raises(ValueError, match=label):
        read_metrics(text(requests=1).replace(f"{label}=", f"no{label}="), "g")


def test_what_was_refused_is_an_error_and_what_was_given_up_is_none() -> None:
    outcomes = {"2xx": 2.0, "overloaded": 4.0, "mapping": 2.0, "given_up": 12.0}
    seen = Traffic(outcomes, Histogram(((INF, 8.0),)))
    assert seen.failures == {"overloaded": 0.5, "mapping": 0.25}
    assert (seen.errors, seen.given_up) == (0.75, 12)
    assert seen.requests == 20, "it was asked, also where nobody waited for the answer"
    assert Traffic({"given_up": 3.0}).errors is None, "how it would have ended is not known"


def test_nothing_has_no_errors_and_no_length() -> None:
    assert (Traffic().errors, Traffic().requests, Traffic().durations.quantile(0.95)) == (None, 0, None)


QUANTILES: dict[str, tuple[Histogram, float, float | None]] = {
    "nothing": (Histogram(((1.0, 0.0), (INF, 0.0))), 0.5, None),
    "in the first bucket, from 0": (Histogram(((1.0, 4.0), (INF, 4.0))), 0.5, 0.5),
    "between two bounds": (Histogram(((1.0, 2.0), (3.0, 4.0), (INF, 4.0))), 0.75, 2.0),
    "passes over empty buckets": (Histogram(((1.0, 0.0), (2.0, 0.0), (4.0, 10.0), (INF, 10.0))), 0.5, 3.0),
    "longer than is measured": (Histogram(((1.0, 1.0), (60.0, 2.0), (INF, 100.0))), 0.95, 60.0),
    "all of it": (Histogram(((1.0, 2.0), (3.0, 4.0), (INF, 4.0))), 1.0, 3.0),
}


@pytest.mark.parametrize(("histogram", "part", "want"), QUANTILES.values(), ids=QUANTILES.keys())
def test_quantile(histogram: Histogram, part: float, want: float | None) -> None:
    assert histogram.quantile(part) == (want if want is None else pytest.approx(want))


BUCKETS: dict[str, tuple[Histogram, float, tuple[float, float] | None]] = {
    "nothing": (Histogram(((1.0, 0.0), (INF, 0.0))), 0.95, None),
    "the first": (Histogram(((1.0, 4.0), (INF, 4.0))), 0.95, (0.0, 1.0)),
    "after empty ones": (Histogram(((1.0, 0.0), (2.0, 0.0), (4.0, 10.0), (INF, 10.0))), 0.95, (2.0, 4.0)),
    "longer than is measured": (Histogram(((1.0, 1.0), (60.0, 2.0), (INF, 100.0))), 0.95, (60.0, INF)),
}


@pytest.mark.parametrize(("histogram", "part", "want"), BUCKETS.values(), ids=BUCKETS.keys())
def test_bounds_of_a_quantile(histogram: Histogram, part: float, want: tuple[float, float] | None) -> None:
    assert histogram.bounds(part) == want


def test_histograms_of_routers_of_two_versions() -> None:
    old = Histogram(((1.0, 2.0), (4.0, 8.0), (INF, 8.0)))
    new = Histogram(((2.0, 6.0), (4.0, 6.0), (INF, 7.0)))
    assert old.plus(new) == Histogram(((1.0, 5.0), (2.0, 10.0), (4.0, 14.0), (INF, 15.0)))
    assert old.plus(Histogram()) == old


BOUNDS = st.lists(st.integers(1, 50), min_size=1, max_size=6, unique=True).map(sorted)


@st.composite
def histograms(draw: st.DrawFn) -> Histogram:
    bounds = [float(bound) for bound in draw(BOUNDS)] + [INF]
    counts, total = [], 0
    for _ in bounds:
        total += draw(st.integers(0, 20))
        counts.append(float(total))
    return Histogram(tuple(zip(bounds, counts, strict=True)))


@given(histograms(), histograms())
def test_adding_up_loses_nothing_and_stays_in_order(one: Histogram, other: Histogram) -> None:
    both = one.plus(other)
    assert both.count == one.count + other.count
    counts = [count for _, count in both.buckets]
    assert counts == sorted(counts)
    if both.count:
        assert both.quantile(0.5) <= both.quantile(0.95) <= both.longest  # type: ignore[operator]


def test_while_a_release_runs_both_versions_of_a_node_add_up() -> None:
    counts = {"g": 4, "g.old": 3, "g.new": 1, "h.new": 50, "g.newer": 60}
    lines = ["# TYPE rondo_graph_requests counter"]
    lines += [f'rondo_graph_requests_total{{graph="{name}",code="200"}} {count}' for name, count in counts.items()]
    lines += ["# TYPE rondo_node_attempts counter"]
    for name, count in counts.items():
        lines += [f'rondo_node_attempts_total{{graph="{name}",node="model",outcome="2xx"}} {count}']
    seen = see_totals([sample(1, "\n".join([*lines, "# EOF"]) + "\n")])
    assert seen[WHOLE].outcomes == {"200": 4}, "not those of the parts once more"
    assert seen["model"].outcomes == {"2xx": 4 + 3 + 1}


def attempts(counts: Mapping[tuple[str, str], int]) -> str:
    """Metrics of nodes by graph and name."""
    told = [
        f'rondo_node_attempts_total{{graph="{of}",node="{node}",outcome="2xx"}} {n}' for (of, node), n in counts.items()
    ]
    return "\n".join(["# TYPE rondo_node_attempts counter", *told, "# EOF"]) + "\n"


DIVIDED: dict[str, tuple[dict[tuple[str, str], int], dict[str, float]]] = {
    "no release": ({("g", "new"): 10, ("g", "a"): 20}, {"new": 1, "a": 2}),
    "a release": (
        {("g", "release"): 10, ("g", "old"): 9, ("g", "new"): 1, ("g.old", "new"): 40, ("g.new", "new"): 20},
        {"new": 6},
    ),
    "one that is over": (
        {("g", "new"): 10, ("g", "old"): 0, ("g.old", "new"): 0, ("g.new", "new"): 0},
        {"new": 1, "old": 0},
    ),
}


@pytest.mark.parametrize(("counts", "want"), DIVIDED.values(), ids=DIVIDED.keys())
def test_nodes_that_divide_requests_are_not_those_of_the_graph(
    counts: dict[tuple[str, str], int], want: dict[str, float]
) -> None:
    before = {"p": sample(0, attempts(dict.fromkeys(counts, 0)))}
    after = {"p": sample(10, attempts(counts))}
    seen = see_traffic(before, after)
    assert {node: sum(traffic.outcomes.values()) for node, traffic in seen.items()} == pytest.approx(want)


def test_names_of_parts_and_of_the_nodes_that_divide_are_the_operators(world: World) -> None:
    assert tuple(f"g.{part}" for part in PARTS) == names_of("g")[1:]
    edit(world)
    assert {node["name"] for node in world.entry("g")["nodes"]} == DIVIDER
