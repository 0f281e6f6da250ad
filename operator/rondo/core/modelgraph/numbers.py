"""What the routers have counted of a release: added up over pods, and as the numbers that checks are about.

A router counts in buckets of which each begins 2.2 % later than the one before, so a percentile is right to about one
per cent, whatever pods it was counted by. A pod that goes takes its counts with it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

FIRST_BUCKET: Final = 64e-6
"""Seconds at which bucket 0 begins; `router/src/tally.rs`."""

PER_DOUBLING: Final = 32
"""Buckets within a doubling of the time."""

QUANTILES: Final[Mapping[str, float]] = {"p50": 0.50, "p95": 0.95, "p99": 0.99}


@dataclass(frozen=True)
class Numbers:
    """What requests to one part came to.

    Attributes:
        requests: How many were answered, or not in time.
        errors: Those with 5xx or no answer.
        compared: Answers that were compared with the other part's.
        agreed: Those of them that agreed.
        buckets: Requests by the bucket of how long they took.
    """

    requests: int = 0
    errors: int = 0
    compared: int = 0
    agreed: int = 0
    buckets: Mapping[int, int] = field(default_factory=dict)

    @property
    def error_rate(self) -> float:
        """Part of the requests that failed; 0 if there was none."""
        return self.errors / self.requests if self.requests else 0.0

    @property
    def agreement(self) -> float:
        """Part of the compared answers that agreed; 0 if none was compared."""
        return self.agreed / self.compared if self.compared else 0.0

    def quantile(self, part: float) -> float:
        """Give the seconds within which a part of the requests were answered; 0 if there was none."""
        wanted, seen = part * sum(self.buckets.values()), 0
        for bucket in sorted(self.buckets):
            seen += self.buckets[bucket]
            if seen >= wanted:
                return float(FIRST_BUCKET * 2.0 ** ((bucket + 0.5) / PER_DOUBLING))
        return 0.0

    def variables(self) -> dict[str, float]:
        """Give them as checks name them; times in seconds."""
        times = {name: round(self.quantile(part), 6) for name, part in QUANTILES.items()}
        return {"requests": float(self.requests), "errorRate": self.error_rate, **times}


@dataclass(frozen=True)
class Comparison:
    """What both parts of a release came to in one step."""

    old: Numbers = Numbers()
    new: Numbers = Numbers()

    def variables(self, *, compared: bool) -> dict[str, dict[str, float]]:
        """Give the variables of checks; `new.agreement` only where answers are compared."""
        agreement = {"agreement": self.new.agreement} if compared else {}
        return {"old": self.old.variables(), "new": {**self.new.variables(), **agreement}}

    def words(self, *, compared: bool) -> str:
        """Say them in short."""
        old, new = self.old, self.new
        said = (
            f"{new.requests} requests, error rate {_percent(new.error_rate)} (old {_percent(old.error_rate)}), "
            f"p95 {new.quantile(0.95):.3f} s (old {old.quantile(0.95):.3f} s)"
        )
        return f"{said}, agreement {_percent(new.agreement)} of {new.compared}" if compared else said


def add_up(reports: Iterable[Mapping[str, Any]], graph: str, epoch: str) -> Comparison:
    """Add up what routers have counted for a step of a graph's release.

    Args:
        reports: The last counts of each router, by part of the plan.
        graph: Name of the graph.
        epoch: What has to be counted for.
    """
    told = [report.get("counts") or {} for report in reports]
    sides = ([counts.get(f"{graph}.{side}") or {} for counts in told] for side in ("old", "new"))
    return Comparison(*(_sum(each for each in side if each.get("epoch") == epoch) for side in sides))


def _sum(counts: Iterable[Mapping[str, Any]]) -> Numbers:
    """Add up the counts of one part."""
    totals: Counter[str] = Counter()
    buckets: Counter[int] = Counter()
    for each in counts:
        totals.update({key: int(each.get(key, 0)) for key in ("requests", "errors", "compared", "agreed")})
        buckets.update({int(bucket): int(count) for bucket, count in (each.get("seconds") or {}).items()})
    return Numbers(**totals, buckets=buckets)


def _percent(part: float) -> str:
    return f"{part * 100:.3g}%"
