"""`python -m tests.bench.router`: Rondo's router beside KServe's, with nginx as backend and as the limit.

All share the machine's cores with nginx and wrk. What is measured takes turns, so that a slow minute of the machine
falls on all; the median of the rounds is shown. Rates and times of one run can be compared with each other, not with
those of another machine.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, fields
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.table import Table

from tests.bench.router.faults import fault_table, measure_faults
from tests.bench.router.load import Load, load
from tests.bench.router.programs import Programs, find
from tests.bench.router.servers import POLICIES, Backend, kserve, nginx, rondo, target

CONNECTIONS: Final = (1, 32, 256)
PREDICT: Final = "/v1/models/m:predict"
Started = AbstractContextManager[tuple[int, int]]
Numbers = dict[tuple[str, int], Load]


def subjects(programs: Programs, backend: Backend) -> dict[str, Callable[[], Started]]:
    """Give what is measured, by name: each starts its process and gives port and pid."""
    a, b, c = (target(name, backend.direct, **POLICIES) for name in "abc")
    two = [{"name": "both", "sequence": ["a", "b"]}, a, b]
    three = [{"name": "all", "parallel": {"nodes": ["a", "b", "c"]}}, a, b, c]
    return {
        "nginx": lambda: _there(backend.direct, backend.pid),
        "nginx as a proxy": lambda: _there(backend.proxy, backend.pid),
        "passthrough: Rondo": lambda: rondo(programs, [a]),
        "sequence of 2: Rondo": lambda: rondo(programs, two),
        "sequence of 2: KServe": lambda: kserve(programs, backend.direct, "Sequence", 2),
        "ensemble of 3: Rondo": lambda: rondo(programs, three),
        "ensemble of 3: KServe": lambda: kserve(programs, backend.direct, "Ensemble", 3),
    }


@contextmanager
def _there(port: int, pid: int) -> Iterator[tuple[int, int]]:
    yield port, pid


def measure(programs: Programs, rounds: int, seconds: int, say: Callable[[str], None]) -> Numbers:
    """Measure everything, in turns."""
    found: dict[tuple[str, int], list[Load]] = defaultdict(list)
    with nginx(programs) as backend:
        for number in range(rounds):
            say(f"round {number + 1} of {rounds}")
            for name, start in subjects(programs, backend).items():
                for connections in CONNECTIONS:
                    with start() as (port, pid):
                        load(programs, port, PREDICT, connections, pid, 1)  # connections are made, pages touched
                        found[name, connections].append(load(programs, port, PREDICT, connections, pid, seconds))
    return {key: _median(loads) for key, loads in found.items()}


def _median(loads: list[Load]) -> Load:
    return Load(*(statistics.median(getattr(each, field.name) for each in loads) for field in fields(Load)))


def tables(numbers: Numbers) -> Iterator[Table]:
    """Give the numbers, and what they are beside KServe's."""
    table = Table(
        "", "connections", "req/s", "p50, ms", "p99, ms", "CPU µs/req", "peak, MiB", "failed", title="Routers"
    )
    for (name, connections), each in numbers.items():
        shown = f"{each.rate:,.0f}", f"{each.p50 * 1e3:.2f}", f"{each.p99 * 1e3:.2f}", f"{each.cpu * 1e6:.0f}"
        table.add_row(name, str(connections), *shown, f"{each.peak:.0f}", f"{each.failed:.0f}")
    yield table
    beside = Table("", "connections", "requests/s", "requests/CPU second", "p99", title="Rondo as multiples of KServe")
    for work in ("sequence of 2", "ensemble of 3"):
        for connections in CONNECTIONS:
            mine, theirs = numbers[f"{work}: Rondo", connections], numbers[f"{work}: KServe", connections]
            ratios = mine.rate / theirs.rate, theirs.cpu / mine.cpu, mine.p99 / theirs.p99
            beside.add_row(work, str(connections), *(f"{ratio:.2f}" for ratio in ratios))
    yield beside
    added = numbers["passthrough: Rondo", 1].p50 - numbers["nginx", 1].p50
    yield Table(title=f"A passthrough adds {added * 1e6:.0f} µs at 1 connection (median)")


def main() -> None:
    """Measure, print, and write the numbers down if wanted."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.router", description="Rondo's router beside KServe's.")
    parser.add_argument("--rounds", type=int, default=3, help="how often all is measured; the median counts")
    parser.add_argument("--seconds", type=int, default=5, help="of each measurement")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write all numbers to this file")
    given = parser.parse_args()
    console = Console(width=130)
    console.print(f"{os.cpu_count()} cores, shared by nginx, wrk and the router")
    programs = find()
    numbers = measure(programs, given.rounds, given.seconds, console.print)
    for table in tables(numbers):
        console.print(table)
    console.print("faults ...")
    faults = asyncio.run(measure_faults(programs))
    console.print(fault_table(faults))
    if given.json is not None:
        loads = [{"name": name, "connections": c, **asdict(each)} for (name, c), each in numbers.items()]
        data = {"loads": loads, "faults": [asdict(each) for each in faults]}
        given.json.write_text(json.dumps(data, indent=1) + "\n")


if __name__ == "__main__":
    main()
