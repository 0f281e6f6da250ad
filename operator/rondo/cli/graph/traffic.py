"""What passes through a graph and its nodes: from the text of each router's metrics to one view of all routers.

Pure, and the middle of the rates of `rondo graph`: routers.py reads the texts, this module says what they mean. Two
readings of the same router make what it did in between; those of all routers are added up.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from prometheus_client.openmetrics.parser import text_string_to_metric_families

Series = tuple[str, frozenset[tuple[str, str]]]
"""Name and labels of one number of a router."""

WHOLE: Final = ""
"""Stands for the graph itself where nodes are named."""

_PREFIX: Final = "rondo_"
PARTS: Final = ("old", "new")
"""Names of the versions of a graph while a release runs, as `core.modelgraph.parts` has them; it is slow to import."""

DIVIDER: Final = frozenset({"release", *PARTS})
"""Nodes that divide the requests between the versions while a release runs, in a graph of the plain name."""

GIVEN_UP: Final = "given_up"
"""How an attempt ended for which nobody waited any more, as the deadline had passed or the client had left."""

_IN_FLIGHT: Final = "rondo_graph_requests_in_flight"
_OUTCOMES: Final = {"rondo_graph_requests_total": "code", "rondo_node_attempts_total": "outcome"}
"""Counters by how something ended, and the label that says it."""
_BUCKETS: Final = frozenset({"rondo_graph_duration_seconds_bucket", "rondo_node_duration_seconds_bucket"})
_LABELS: Final = {**_OUTCOMES, **dict.fromkeys(_BUCKETS, "le")}
"""The label without which a number says nothing."""
_EVENTS: Final = {
    "rondo_node_retries_total": "retries",
    "rondo_node_hedges_total": "hedges",
    "rondo_cache_hits_total": "cacheHits",
    "rondo_cache_misses_total": "cacheMisses",
    "rondo_mirror_agreements_total": "agreements",
    "rondo_mirror_disagreements_total": "disagreements",
    "rondo_mirror_dropped_total": "shadowsDropped",
    "rondo_expression_errors_total": "expressionErrors",
}
"""Counters of what else happens at a node, and what they are called here."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One reading of a router.

    Attributes:
        at: When, in seconds of a clock that only goes forward.
        values: All numbers of one graph and of the parts that it has while a release runs.
    """

    at: float
    values: Mapping[Series, float]


@dataclass(frozen=True, slots=True)
class Histogram:
    """How long things took: how many took at most so long, by ascending bounds in seconds, the last of which is inf."""

    buckets: tuple[tuple[float, float], ...] = ()

    @property
    def count(self) -> float:
        """How many there were."""
        return self.buckets[-1][1] if self.buckets else 0.0

    @property
    def longest(self) -> float:
        """The last bound that is a number: of what took longer no more is known."""
        return max((bound for bound, _ in self.buckets if bound < math.inf), default=0.0)

    def below(self, bound: float) -> float:
        """Give how many took at most so long; between two bounds as if they were spread evenly."""
        low, fewer = 0.0, 0.0
        for high, more in self.buckets:
            if bound < high:
                part = (bound - low) / (high - low) if high < math.inf else 0.0
                return fewer + (more - fewer) * part
            low, fewer = high, more
        return fewer

    def quantile(self, part: float) -> float | None:
        """Give the length in seconds that a part stayed within, as Prometheus' histogram_quantile has it.

        Args:
            part: Above 0, at most 1; 0.95 for p95.

        Returns:
            None if there was nothing; the longest bound if it took longer than that.
        """
        found = self.bounds(part)
        if found is None:
            return None
        low, high = found
        if high == math.inf:
            return self.longest
        fewer, more = self.below(low), self.below(high)
        return low + (high - low) * (part * self.count - fewer) / (more - fewer)

    def bounds(self, part: float) -> tuple[float, float] | None:
        """Give the bounds in seconds between which `quantile` lies; more than these is not known of it."""
        wanted = part * self.count
        if wanted <= 0:
            return None
        low = 0.0
        for high, count in self.buckets:
            if count >= wanted:
                return low, high
            low = high
        return None

    def plus(self, other: Histogram) -> Histogram:
        """Add up two, which may have different bounds while routers of two versions run."""
        bounds = sorted({bound for bound, _ in (*self.buckets, *other.buckets)})
        return Histogram(tuple((bound, self.below(bound) + other.below(bound)) for bound in bounds))


@dataclass(frozen=True, slots=True)
class Traffic:
    """What passes through a graph or a node, a second, or all there was if it is of one reading.

    Attributes:
        outcomes: How requests to a graph ended by status, and attempts of a node by `2xx` to `5xx` or a failure's word.
        durations: How long they took; of a node with all attempts.
        events: What else happened, by the names of `_EVENTS`' values.
        in_flight: Requests that a graph works on now.
    """

    outcomes: Mapping[str, float] = field(default_factory=dict)
    durations: Histogram = field(default_factory=Histogram)
    events: Mapping[str, float] = field(default_factory=dict)
    in_flight: float = 0.0

    @property
    def requests(self) -> float:
        """How many requests there were, with those that were given up, of which nobody knows how long they took."""
        return self.durations.count + self.given_up

    @property
    def given_up(self) -> float:
        """How many were given up before there was an answer."""
        return self.outcomes.get(GIVEN_UP, 0.0)

    @property
    def failures(self) -> Mapping[str, float]:
        """The outcomes that are no success, as parts of all that ended, the commonest first."""
        bad = {name: count / self._ended for name, count in self.outcomes.items() if count > 0 and _is_failure(name)}
        return dict(sorted(bad.items(), key=lambda item: (-item[1], item[0])))

    @property
    def errors(self) -> float | None:
        """The part of all that ended that failed; None if nothing did."""
        return sum(self.failures.values()) if self._ended > 0 else None

    @property
    def _ended(self) -> float:
        return sum(self.outcomes.values()) - self.given_up

    def plus(self, other: Traffic) -> Traffic:
        """Add up what two routers do."""
        return Traffic(
            _sum(self.outcomes, other.outcomes),
            self.durations.plus(other.durations),
            _sum(self.events, other.events),
            self.in_flight + other.in_flight,
        )


def read_metrics(text: str, graph: str) -> Mapping[Series, float]:
    """Read what a router says of one graph and of the parts that it has while a release runs.

    Args:
        text: All its metrics, as OpenMetrics.
        graph: Name of the graph; what is said of others is not even parsed.

    Raises:
        ValueError: It is no such text.
    """
    if not text.rstrip().endswith("# EOF"):
        raise ValueError("metrics have no end")
    whose = {graph, *(f"{graph}.{part}" for part in PARTS)}
    labels = [f'graph="{name}"' for name in whose]
    kept = (line for line in text.splitlines() if line.startswith("#") or any(label in line for label in labels))
    values = {}
    for sample in _parsed("\n".join(kept) + "\n"):
        if sample.labels.get("graph") not in whose:
            continue
        label = _LABELS.get(sample.name)
        if label is not None and label not in sample.labels:
            raise ValueError(f"{sample.name} has no label {label}")
        values[sample.name, frozenset(sample.labels.items())] = float(sample.value)
    return values


def _parsed(text: str) -> Iterator[Any]:
    try:
        # The package has types, its parser none.
        for family in text_string_to_metric_families(text):  # type: ignore[no-untyped-call]
            yield from (sample for sample in family.samples if sample.name.startswith(_PREFIX))
    except LookupError as error:  # so the parser ends at half a native histogram
        raise ValueError(f"metrics without {error}") from error


def see_traffic(before: Mapping[str, Sample], after: Mapping[str, Sample]) -> Mapping[str, Traffic]:
    """Tell what all routers did, a second, between two readings.

    A router that was read but once is left out: when it did what it says is not known.

    Args:
        before: The first reading of each, by pod.
        after: The second.

    Returns:
        By node; the graph itself under `WHOLE`.
    """
    seen = [
        _traffic({**_growth(before[pod], sample), **_levels(sample.values)})
        for pod, sample in after.items()
        if pod in before and before[pod].at < sample.at
    ]
    return add_up(seen)


def see_totals(samples: Iterable[Sample]) -> Mapping[str, Traffic]:
    """Tell what all routers did since they began.

    Returns:
        By node; the graph itself under `WHOLE`. The figures are sums, not rates.
    """
    return add_up(_traffic(sample.values) for sample in samples)


def add_up(routers: Iterable[Mapping[str, Traffic]]) -> Mapping[str, Traffic]:
    """Add up what routers do, node by node."""
    total: defaultdict[str, Traffic] = defaultdict(Traffic)
    for router in routers:
        for node, traffic in router.items():
            total[node] = total[node].plus(traffic)
    return dict(total)


def _growth(before: Sample, after: Sample) -> Mapping[Series, float]:
    """Give by how much each counter grew a second.

    Counters that have become less or are gone say that the router's process began anew in between. Then all began
    from nothing, also those that are above what they were again.
    """
    seconds = after.at - before.at
    old, new = _counters(before.values), _counters(after.values)
    if any(new.get(series, -1.0) < value for series, value in old.items()):
        old = {}
    return {series: (value - old.get(series, 0.0)) / seconds for series, value in new.items()}


def _counters(values: Mapping[Series, float]) -> Mapping[Series, float]:
    return {series: value for series, value in values.items() if series[0] != _IN_FLIGHT}


def _levels(values: Mapping[Series, float]) -> Mapping[Series, float]:
    """Give the numbers that go up and down."""
    return {series: value for series, value in values.items() if series[0] == _IN_FLIGHT}


def _traffic(values: Mapping[Series, float]) -> Mapping[str, Traffic]:
    """Sort numbers by node; while a release runs, what passes through a node of both versions adds up."""
    outcomes: defaultdict[str, dict[str, float]] = defaultdict(dict)
    events: defaultdict[str, dict[str, float]] = defaultdict(dict)
    buckets: defaultdict[str, list[tuple[float, float]]] = defaultdict(list)
    in_flight: defaultdict[str, float] = defaultdict(float)
    for (name, pairs), value in _joined(values).items():
        labels = dict(pairs)
        node = labels.get("node", WHOLE)
        if name in _OUTCOMES:
            outcomes[node][labels[_OUTCOMES[name]]] = value
        elif name in _EVENTS:
            events[node][_EVENTS[name]] = value
        elif name in _BUCKETS:
            buckets[node].append((float(labels["le"]), value))
        elif name == _IN_FLIGHT:
            in_flight[node] = value
    nodes = outcomes.keys() | events.keys() | buckets.keys() | in_flight.keys()
    return {
        node: Traffic(outcomes[node], Histogram(tuple(_rising(buckets[node]))), events[node], in_flight[node])
        for node in nodes
    }


def _joined(values: Mapping[Series, float]) -> Mapping[Series, float]:
    """Join what is said of a graph and of its parts.

    Where something passes through the parts, nodes of the graph itself that are called as those that divide the
    requests are these, and not the user's own of that name.
    """
    divided = any(value > 0 and _is_part(dict(pairs)["graph"]) for (_, pairs), value in values.items())
    joined: defaultdict[Series, float] = defaultdict(float)
    for (name, pairs), value in values.items():
        labels = dict(pairs)
        whose, node = labels.pop("graph"), labels.get("node", WHOLE)
        own = node != WHOLE if _is_part(whose) else not (divided and node in DIVIDER)
        if own:
            joined[name, frozenset(labels.items())] += value
    return joined


def _is_part(graph: str) -> bool:
    """Tell the parts by the dot, which no name of a graph has."""
    return "." in graph


def _rising(buckets: Iterable[tuple[float, float]]) -> Iterator[tuple[float, float]]:
    """Sort buckets, and mend what is read while it is written: no bucket has less than a smaller one."""
    most = 0.0
    for bound, count in sorted(buckets):
        most = max(most, count)
        yield bound, most


def _is_failure(outcome: str) -> bool:
    return outcome != GIVEN_UP and outcome[:1] not in {"2", "3"}


def _sum(one: Mapping[str, float], other: Mapping[str, float]) -> dict[str, float]:
    return {name: one.get(name, 0.0) + other.get(name, 0.0) for name in {**one, **other}}
