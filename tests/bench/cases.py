"""The cases of the benchmark, and how large each is."""

from __future__ import annotations

from collections.abc import Callable, Collection
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from rondo.api.pipelinerun import PerItem
from tests.bench.bed import bed
from tests.bench.compare import Beds, Comparison, compare
from tests.bench.crowd import Idle, Queued, measure_idle, measure_queued
from tests.bench.scaling import Growth, measure_growth
from tests.bench.shapes import chain, fan_out, wide

CASES: Final = ("chains", "inline", "wide", "long", "fan-out", "growth", "queued", "idle")


@dataclass(frozen=True)
class Sizes:
    """How large each case is.

    Attributes:
        chains: So many runs of three chained stages at once, one measurement each.
        inline: Runs at once that hold the pipeline themselves.
        wide: Stages of the wide pipeline.
        long: Stages of the long one.
        items: Items of the fan-outs.
        growth: Numbers of stages of which the cost is compared.
        waiting: Runs that wait.
        finished: Finished runs beside them.
        idle: Finished runs of the idle operator.
        seconds: How long an idle operator is watched.
        times: How often a few runs are timed; the median counts.
        shared: Whether all cases but `queued` share one control plane.
    """

    chains: tuple[int, ...]
    inline: int
    wide: int
    long: int
    items: int
    growth: tuple[int, ...]
    waiting: int
    finished: int
    idle: int
    seconds: float
    times: int
    shared: bool


FULL: Final = Sizes((1, 10, 100, 500), 100, 200, 100, 1000, (10, 50, 100, 200), 1000, 5000, 1000, 30.0, 5, shared=False)
QUICK: Final = Sizes((1, 10), 10, 40, 10, 40, (10, 40), 20, 50, 50, 5.0, 3, shared=True)
SMALLEST: Final = Sizes((1, 2), 2, 5, 2, 3, (3,), 2, 3, 2, 0.5, 1, shared=True)


@dataclass
class Found:
    """All numbers.

    Attributes:
        comparisons: Script and Rondo, side by side.
        growth: What runs of many stages cost.
        idle: What the idle operator costs.
        queued: How it works in a crowd.
    """

    comparisons: list[Comparison] = field(default_factory=list)
    growth: list[Growth] = field(default_factory=list)
    idle: list[Idle] = field(default_factory=list)
    queued: list[Queued] = field(default_factory=list)

    def data(self) -> dict[str, Any]:
        """Give all numbers as JSON."""
        return {
            "comparisons": [each.data() for each in self.comparisons],
            "growth": [{**asdict(each), "each": each.each} for each in self.growth],
            "idle": [asdict(each) for each in self.idle],
            "queued": [asdict(each) for each in self.queued],
        }


async def measure(sizes: Sizes, cases: Collection[str], say: Callable[[str], None]) -> Found:
    """Measure.

    Args:
        sizes: How large each case is.
        cases: Which.
        say: Is told what is measured.
    """
    found = Found()
    async with AsyncExitStack() as stack:
        beds = Beds()
        if sizes.shared:
            here = await stack.enter_async_context(bed("bench"))
            beds = Beds((here, await stack.enter_async_context(here.operator())))
        for case in cases:
            say(f"{case} ...")
            await _MEASURES[case](sizes, beds, found)
    return found


async def _chains(sizes: Sizes, beds: Beds, found: Found) -> None:
    for runs in sizes.chains:
        times = sizes.times if runs < 10 else 1
        found.comparisons.append(await compare(beds, f"chains-{runs}", chain(3), runs, times=times))


async def _inline(sizes: Sizes, beds: Beds, found: Found) -> None:
    found.comparisons.append(await compare(beds, "inline", chain(3), sizes.inline, inline=True))


async def _wide(sizes: Sizes, beds: Beds, found: Found) -> None:
    found.comparisons.append(await compare(beds, "wide", wide(sizes.wide), 1))


async def _long(sizes: Sizes, beds: Beds, found: Found) -> None:
    found.comparisons.append(await compare(beds, "long", chain(sizes.long), 1))


async def _fan_out(sizes: Sizes, beds: Beds, found: Found) -> None:
    for per_item in PerItem:
        name = f"items-{per_item.value.lower()}"
        found.comparisons.append(await compare(beds, name, fan_out(sizes.items, per_item), 1))


async def _growth(sizes: Sizes, beds: Beds, found: Found) -> None:
    shapes = [make(stages) for make in (chain, wide) for stages in sizes.growth]
    async with beds.full("growth") as (here, operator):
        found.growth += await measure_growth(here, operator, shapes)


async def _queued(sizes: Sizes, _: Beds, found: Found) -> None:
    found.queued.append(await measure_queued(sizes.waiting, sizes.finished, sizes.seconds, times=sizes.times))


async def _idle(sizes: Sizes, beds: Beds, found: Found) -> None:
    found.idle.append(await measure_idle(beds, sizes.idle, sizes.seconds))


_MEASURES: Final = {
    "chains": _chains,
    "inline": _inline,
    "wide": _wide,
    "long": _long,
    "fan-out": _fan_out,
    "growth": _growth,
    "queued": _queued,
    "idle": _idle,
}
