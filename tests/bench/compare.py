"""One piece of work, done by the script and by Rondo: how long it took, and what it cost."""

from __future__ import annotations

import asyncio
import statistics
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from typing import Any, Final

import msgspec

from rondo.core import names
from rondo.core.plan import Object
from rondo.core.resources import CONFIG_MAP, CONTROLLER_REVISION, JOB, PIPELINE, PIPELINE_RUN
from rondo.kube.client import Selector
from tests.bench import audit
from tests.bench.bed import AGENT, Bed, Operator, bed, busy_by_others, create_all, stopwatch, watching
from tests.bench.script import run_script
from tests.bench.shapes import Shape

_RONDO: Final = "rondo/"


@dataclass(frozen=True)
class Gaps:
    """How soon one Job followed another: from the end of the last pod that it waited for to its creation.

    Attributes:
        count: Number of Jobs that followed others.
        p50: Median, in milliseconds.
        p95: 95th percentile, in milliseconds.
    """

    count: int
    p50: float
    p95: float


@dataclass(frozen=True)
class Side:
    """How one of the two did the work.

    Attributes:
        seconds: From the first creation to the end of the last run.
        gaps: How soon one Job followed another.
        writes: Writes to the API by verb and kind, a run.
        busy: Share of the CPUs that others used just before.
    """

    seconds: float
    gaps: Gaps
    writes: dict[str, float]
    busy: float


@dataclass(frozen=True)
class Price:
    """What Rondo's part cost.

    Attributes:
        cpu: Seconds of the operator's CPU time.
        peak: Largest resident set of the operator, in MiB.
        reconciles: Looks at a run, a run.
        largest: Kind of the largest object.
        bytes: Its size as JSON.
    """

    cpu: float
    peak: float
    reconciles: float
    largest: str
    bytes: int


@dataclass(frozen=True)
class Comparison:
    """The same work, done by the script and by Rondo.

    Attributes:
        work: What a run does.
        runs: How many at once.
        script: The script's side.
        rondo: Rondo's side.
        price: What that cost.
    """

    work: str
    runs: int
    script: Side
    rondo: Side
    price: Price

    @property
    def ratio(self) -> float:
        """Rondo's time in units of the script's."""
        return self.rondo.seconds / self.script.seconds

    def data(self) -> dict[str, Any]:
        """Give all numbers."""
        return {**asdict(self), "ratio": self.ratio}


@dataclass(frozen=True)
class Beds:
    """Where control planes come from.

    Attributes:
        shared: One with an operator for everything; without it each measurement has one of its own.
    """

    shared: tuple[Bed, Operator] | None = None

    @asynccontextmanager
    async def bare(self, name: str) -> AsyncIterator[Bed]:
        """Give a control plane; an operator that is on it has nothing to do."""
        if self.shared is not None:
            yield self.shared[0]
            return
        async with bed(f"bench-{name}") as own:
            yield own

    @asynccontextmanager
    async def full(self, name: str) -> AsyncIterator[tuple[Bed, Operator]]:
        """Give a control plane with an operator."""
        if self.shared is not None:
            yield self.shared
            return
        async with bed(f"bench-{name}") as own, own.operator() as operator:
            yield own, operator


async def compare(
    beds: Beds, name: str, shape: Shape, runs: int, *, times: int = 1, inline: bool = False
) -> Comparison:
    """Have the script and Rondo do the same work.

    Args:
        beds: Where control planes come from.
        name: A short name, for the namespaces.
        shape: The work of a run.
        runs: How many runs at once.
        times: How often; the median counts.
        inline: Whether the work is written into each run, instead of a Pipeline that they all name.
    """
    async with beds.bare(name) as here:
        busy = busy_by_others()
        sides = [await _script_side(here, f"script-{name}-{turn}", shape, runs, busy) for turn in range(times)]
    script = _median(sides)
    async with beds.full(name) as (here, operator):
        busy = busy_by_others()
        spaces = [f"rondo-{name}-{turn}" for turn in range(times)]
        found = [await _rondo_side(here, operator, space, shape, runs, busy, inline=inline) for space in spaces]
    rondo = _median([side for side, _ in found])
    price = next(price for side, price in found if side is rondo)
    return Comparison(f"{shape.name}, inline" if inline else shape.name, runs, script, rondo, price)


async def define(here: Bed, namespace: str, shape: Shape, name: str = "work") -> str:
    """Create a Pipeline and wait until the operator has accepted it; give its name."""
    accepted = asyncio.Event()

    def see(pipeline: Object) -> None:
        if pipeline["metadata"]["name"] == name and pipeline.get("status", {}).get("observedGeneration", -1) > 0:
            accepted.set()

    async with watching(here.client, PIPELINE, namespace, see):
        await create_all(here.client, PIPELINE, namespace, [shape.pipeline(name)])
        await accepted.wait()
    return name


async def run_pipelines(here: Bed, namespace: str, bodies: list[dict[str, Any]]) -> int:
    """Create PipelineRuns, all at once, and wait until all have succeeded; give the bytes of the largest seen."""
    mine = {body["metadata"]["name"] for body in bodies}
    open_, over, largest = set(mine), asyncio.Event(), 0

    def see(run: Object) -> None:
        nonlocal largest
        if run["metadata"]["name"] not in mine:
            return
        largest = max(largest, len(msgspec.json.encode(run)))
        if has_succeeded(run):
            open_.discard(run["metadata"]["name"])
            if not open_:
                over.set()

    async with watching(here.client, PIPELINE_RUN, namespace, see):
        await create_all(here.client, PIPELINE_RUN, namespace, bodies)
        await over.wait()
    return largest


def has_succeeded(run: Object) -> bool:
    """Tell whether a run has ended, which has to be well."""
    status = run.get("status", {})
    if "completionTime" not in status:
        return False
    if not status["message"].endswith("stages succeeded"):
        raise RuntimeError(f"run {run['metadata']['name']}: {status['message']}")
    return True


async def _script_side(here: Bed, namespace: str, shape: Shape, runs: int, busy: float) -> Side:
    await here.namespace(namespace)
    with stopwatch() as taken:
        await run_script(here, namespace, shape, runs)
    await here.settled(namespace)
    return await _side(here, namespace, shape, AGENT, taken[0], runs, busy)


async def _rondo_side(
    here: Bed, operator: Operator, namespace: str, shape: Shape, runs: int, busy: float, *, inline: bool
) -> tuple[Side, Price]:
    await here.namespace(namespace)
    pipeline = "" if inline else await define(here, namespace, shape)
    before = await operator.cost()
    with stopwatch() as taken:
        bodies = [shape.run(f"run-{n}", pipeline=pipeline) for n in range(runs)]
        size = await run_pipelines(here, namespace, bodies)
    await _labelled(here, namespace, runs)
    after = await operator.cost()
    await here.settled(namespace)
    side = await _side(here, namespace, shape, _RONDO, taken[0], runs, busy)
    kind, largest = max(await _largest(here, namespace), (size, "PipelineRun"))[::-1]
    return side, Price(after.cpu - before.cpu, after.peak, (after.reconciles - before.reconciles) / runs, kind, largest)


async def _labelled(here: Bed, namespace: str, runs: int) -> None:
    """Wait until all runs have their outcome as a label, which comes after the status."""
    done: set[str] = set()
    over = asyncio.Event()

    def see(run: Object) -> None:
        if names.OUTCOME in run["metadata"].get("labels", {}):
            done.add(run["metadata"]["name"])
            if len(done) == runs:
                over.set()

    async with watching(here.client, PIPELINE_RUN, namespace, see):
        await over.wait()


async def _side(here: Bed, namespace: str, shape: Shape, agent: str, seconds: float, runs: int, busy: float) -> Side:
    requests = audit.read(here.cluster.audit_log, namespace)
    jobs = {}
    for job in (await here.client.list(Selector(JOB, namespace))).items:
        labels = job["metadata"]["labels"]
        jobs[job["metadata"]["name"]] = labels[names.RUN], labels[names.STAGE]
    writes = {what: count / runs for what, count in sorted(audit.count_writes(requests, agent).items())}
    gaps = _gaps(audit.hand_offs(requests, agent, jobs, shape.needs))
    return Side(seconds, gaps, writes, busy)


async def _largest(here: Bed, namespace: str) -> tuple[int, str]:
    """Give size and kind of the largest object that Rondo made."""
    found = [(0, "")]
    for resource in (JOB, CONTROLLER_REVISION, CONFIG_MAP):
        listing = await here.client.list(Selector(resource, namespace, names.MANAGED_SELECTOR))
        found += [(len(msgspec.json.encode(item)), resource.kind) for item in listing.items]
    return max(found)


def _gaps(seconds: Sequence[float]) -> Gaps:
    milliseconds = sorted(each * 1000 for each in seconds) or [0.0]
    last = min(int(len(milliseconds) * 0.95), len(milliseconds) - 1)
    return Gaps(len(seconds), statistics.median(milliseconds), milliseconds[last])


def _median(sides: Sequence[Side]) -> Side:
    """Give the side whose time is the median one."""
    return sorted(sides, key=lambda side: side.seconds)[len(sides) // 2]
