"""What an operator costs that has little to do: among many finished runs, and among many that wait."""

from __future__ import annotations

import asyncio
import statistics
from dataclasses import asdict, dataclass
from typing import Any, Final

from rondo.core.plan import Object, Ref
from rondo.core.resources import PIPELINE_RUN
from rondo.kube.client import Client
from tests.bench.bed import Bed, Operator, bed, create_all, stopwatch, watching
from tests.bench.compare import Beds, define, has_succeeded, run_pipelines
from tests.bench.script import run_script
from tests.bench.shapes import chain

_AFTERMATH: Final = 10.0
"""Seconds after the last write in which the operator may still have something to do."""

_AT_ONCE: Final = 100
"""Runs that are made at a time where it does not matter how."""


@dataclass(frozen=True)
class Idle:
    """What an operator costs that has nothing to do.

    Attributes:
        what: What is in the cluster.
        seconds: How long it was watched.
        cpu: Seconds of its CPU time meanwhile.
        resident: Its resident set at the end, in MiB.
        peak: Its largest resident set so far, in MiB.
        start: Seconds that an operator takes to start there.
        start_peak: Largest resident set meanwhile, in MiB.
    """

    what: str
    seconds: float
    cpu: float
    resident: float
    peak: float
    start: float
    start_peak: float


@dataclass(frozen=True)
class Queued:
    """How an operator works among many finished runs and many that wait.

    Attributes:
        idle: What it costs while nothing happens.
        one_script: Seconds that the script takes for one chain of three meanwhile.
        one_rondo: Seconds that Rondo takes for it.
        released: How many of the waiting runs, of one stage each, are let go at once.
        release_script: Seconds that the script takes for as many Jobs.
        release_rondo: Seconds until all those runs have succeeded.
        release_cpu: Seconds of the operator's CPU time for them.
    """

    idle: Idle
    one_script: float
    one_rondo: float
    released: int
    release_script: float
    release_rondo: float
    release_cpu: float

    def data(self) -> dict[str, Any]:
        """Give all numbers."""
        return asdict(self)


async def measure_idle(beds: Beds, count: int, seconds: float) -> Idle:
    """Let runs of one stage end, with all their Jobs and pods still there, and watch the operator idle."""
    async with beds.full("idle") as (here, operator):
        await here.namespace("idle")
        pipeline = await define(here, "idle", chain(1))
        for first in range(0, count, _AT_ONCE):
            names = [f"run-{n}" for n in range(first, min(first + _AT_ONCE, count))]
            await run_pipelines(here, "idle", [chain(1).run(name, pipeline=pipeline) for name in names])
        return await _watch_idle(here, operator, f"{count} finished runs and their Jobs", seconds)


async def measure_queued(waiting: int, finished: int, seconds: float, *, times: int) -> Queued:
    """Time one run among many that are finished and many that wait, then let those go.

    Args:
        waiting: Runs that wait.
        finished: Runs that are finished.
        seconds: How long the idle operator is watched first.
        times: How often the one run is timed; the median counts.
    """
    async with bed("bench-queued") as here:
        for name in ("finished", "waiting", "one"):
            await here.namespace(name)
        await _make_finished(here, finished)
        async with here.operator() as operator:
            await _make_waiting(here, waiting)
            idle = await _watch_idle(here, operator, f"{finished} finished runs, {waiting} that wait", seconds)
            pipeline = await define(here, "one", chain(3))
            one_script, one_rondo = [], []
            for turn in range(times):
                one_script.append(await _time_script(here, f"one-{turn}", 3, 1))
                with stopwatch() as taken:
                    await run_pipelines(here, "one", [chain(3).run(f"one-{turn}", pipeline=pipeline)])
                one_rondo.append(taken[0])
            script = await _time_script(here, "script", 1, waiting)
            before = await operator.cost()
            with stopwatch() as taken:
                await _release(here, waiting)
            cpu = (await operator.cost()).cpu - before.cpu
    ones = statistics.median(one_script), statistics.median(one_rondo)
    return Queued(idle, *ones, waiting, script, taken[0], cpu)


async def _watch_idle(here: Bed, operator: Operator, what: str, seconds: float) -> Idle:
    """Watch an operator that has nothing to do, and start another beside it to see what a start costs."""
    await asyncio.sleep(min(_AFTERMATH, seconds))
    before = await operator.cost()
    await asyncio.sleep(seconds)  # the time that is measured
    after = await operator.cost()
    async with here.operator() as second:
        start = await second.cost()
    return Idle(what, seconds, after.cpu - before.cpu, after.resident, after.peak, second.synced, start.peak)


async def _time_script(here: Bed, namespace: str, stages: int, runs: int) -> float:
    await here.namespace(f"script-{namespace}")
    with stopwatch() as taken:
        await run_script(here, f"script-{namespace}", chain(stages), runs)
    await here.settled(f"script-{namespace}")
    return taken[0]


async def _make_finished(here: Bed, count: int) -> None:
    """Make finished runs as copies of one that has really run, while no operator looks."""
    async with here.operator():
        pipeline = await define(here, "finished", chain(3))
        await run_pipelines(here, "finished", [chain(3).run("run", pipeline=pipeline)])
        await asyncio.sleep(1.0)  # its label comes after its status
    run = await here.client.get(Ref(PIPELINE_RUN, "finished", "run"))
    assert run is not None
    for first in range(1, count, _AT_ONCE):
        names = range(first, min(first + _AT_ONCE, count))
        await asyncio.gather(*(_copy(here.client, run, f"run-{n}") for n in names))


async def _copy(client: Client, run: Object, name: str) -> None:
    metadata = {"name": name, "labels": run["metadata"]["labels"]}
    ref = Ref(PIPELINE_RUN, "finished", name)
    made = await client.create(ref, {**run, "metadata": metadata})
    await client.replace_status(ref, made, run["status"])


async def _make_waiting(here: Bed, count: int) -> None:
    """Make runs that are paused, and wait until the operator has said so of each."""
    said: set[str] = set()
    over = asyncio.Event()

    def see(run: Object) -> None:
        if run.get("status", {}).get("observedGeneration", -1) > 0:
            said.add(run["metadata"]["name"])
            if len(said) == count:
                over.set()

    pipeline = await define(here, "waiting", chain(1))
    async with watching(here.client, PIPELINE_RUN, "waiting", see):
        bodies = [chain(1).run(f"run-{n}", pipeline=pipeline, state="Paused") for n in range(count)]
        await create_all(here.client, PIPELINE_RUN, "waiting", bodies)
        await over.wait()


async def _release(here: Bed, count: int) -> None:
    """Let all waiting runs go and wait until they have succeeded."""
    open_ = {f"run-{n}" for n in range(count)}
    uids: dict[str, str] = {}
    over = asyncio.Event()

    def see(run: Object) -> None:
        uids[run["metadata"]["name"]] = run["metadata"]["uid"]
        if has_succeeded(run):
            open_.discard(run["metadata"]["name"])
            if not open_:
                over.set()

    go = {"spec": {"state": "Running"}}
    async with watching(here.client, PIPELINE_RUN, "waiting", see):
        refs = {name: Ref(PIPELINE_RUN, "waiting", name) for name in open_}
        await asyncio.gather(*(here.client.merge_patch(ref, uids[name], go) for name, ref in refs.items()))
        await over.wait()
