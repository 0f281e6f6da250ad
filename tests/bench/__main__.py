"""`python -m tests.bench`: speed, writes and memory, measured beside a bare script in one run.

Fake nodes finish the pods of Jobs at once, so what is measured is the control plane and who drives it. Ratios travel
between machines, seconds do not. The control plane runs with the flags of localcluster: 50 concurrent Job syncs, and
clients of controller manager and scheduler that are not throttled.
"""

from __future__ import annotations

import argparse
import asyncio
import os
from typing import Any

from rich.console import Console
from rich.table import Table

from rondo.api.base import API_VERSION
from rondo.core.resources import PIPELINE_RUN
from tests.bench.bed import Bed, Watcher, bed, create_all, stopwatch
from tests.bench.script import run_chains

STAGES = 3


async def main(*, quick: bool) -> None:
    """Measure and print."""
    console = Console(width=120)
    console.print(f"{os.cpu_count()} cores; {STAGES} chained stages a run; fake nodes")
    console.print(await speed([1, 100] if not quick else [1, 20]))
    console.print(await writes([3, 10, 30]))
    console.print(await idle(1000 if not quick else 100))


async def speed(counts: list[int]) -> Table:
    """Runs at once: wall time beside the script's, on fresh control planes."""
    table = Table(
        "runs at once", "script, s", "rondo, s", "ratio", "operator CPU, s", "peak MiB", title="From create to done"
    )
    for count in counts:
        async with bed(f"bench-script-{count}", operator=False) as bare:
            with stopwatch() as script:
                await run_chains(bare, count, STAGES)
        async with bed(f"bench-rondo-{count}") as full:
            before = full.cost()
            with stopwatch() as rondo:
                await run_pipelines(full, count, STAGES)
            after = full.cost()
        cpu, ratio = after.cpu - before.cpu, rondo[0] / script[0]
        row = (f"{script[0]:.2f}", f"{rondo[0]:.2f}", f"{ratio:.1f}", f"{cpu:.2f}", f"{after.peak:.0f}")
        table.add_row(str(count), *row)
    return table


async def writes(lengths: list[int]) -> Table:
    """Writes of a run of n chained stages, from the audit log; and how many come while nothing changes."""
    table = Table("stages", "writes", "allowed (3n + 6)", "while idle", "what", title="API writes of one run")
    async with bed("bench-writes") as here:
        for length in lengths:
            before = here.writes()
            await run_pipelines(here, 1, length, name=f"chain{length}")
            await asyncio.sleep(3)  # the label comes after the status that ends the wait
            made = here.writes() - before
            await asyncio.sleep(5)  # an idle time to count in
            idle_writes = (here.writes() - before - made).total()
            what = ", ".join(f"{count} {kind}" for kind, count in sorted(made.items()))
            table.add_row(str(length), str(made.total()), str(3 * length + 6), str(idle_writes), what)
    return table


async def idle(count: int) -> Table:
    """An operator that has nothing to do but to know many finished runs."""
    table = Table("finished runs", "CPU over 30 s", "resident MiB", "peak MiB", title="An idle operator")
    async with bed("bench-idle") as here:
        for part in range(0, count, 100):
            await run_pipelines(here, min(100, count - part), 1, name=f"part{part}")
        await asyncio.sleep(10)  # what follows the last run
        before = here.cost()
        await asyncio.sleep(30)  # the time that is measured
        after = here.cost()
        spent = f"{after.cpu - before.cpu:.2f} s"
        table.add_row(str(count), spent, f"{after.resident:.0f}", f"{after.peak:.0f}")
    return table


async def run_pipelines(here: Bed, count: int, stages: int, *, name: str = "run") -> None:
    """Create PipelineRuns, all at once, and wait until they have ended well."""
    async with Watcher(here.client, PIPELINE_RUN).watching() as runs:
        names = [f"{name}-{number}" for number in range(count)]
        await create_all(here.client, PIPELINE_RUN, [_run(each, stages) for each in names])
        while not all(_ended(runs.seen.get(each, {})) for each in names):
            await runs.changed()


def _ended(run: dict[str, Any]) -> bool:
    status = run.get("status", {})
    if "completionTime" not in status:
        return False
    assert status["message"].endswith("stages succeeded"), status["message"]
    return True


def _run(name: str, stages: int) -> dict[str, Any]:
    chain = [
        {
            "name": f"s{number}",
            "needs": [f"s{number - 1}"] if number else [],
            "job": {"image": "x", "command": ["work"]},
        }
        for number in range(stages)
    ]
    return {
        "apiVersion": API_VERSION,
        "kind": "PipelineRun",
        "metadata": {"name": name},
        "spec": {"pipeline": {"spec": {"stages": chain}}},
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true", help="fewer runs: does it still work?")
    asyncio.run(main(quick=parser.parse_args().quick))
