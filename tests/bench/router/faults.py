"""What clients notice when a server is killed or falls silent for a while, by what the graph says of it."""

from __future__ import annotations

import asyncio
import time
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Final

from rich.table import Table

from tests.bench.router.programs import Programs
from tests.bench.router.servers import kserve, rondo, target
from tests.integration.router.backends import backend
from tests.integration.router.troubles import Load, Server
from tests.ports import free_port

AWAY: Final = 2.0
"""Seconds that the server is away."""

BREAKER: Final = {"circuitBreaker": {"failures": 3, "windowMillis": 2000, "cooldownMillis": 500}}
RETRY: Final = {"retry": {"limit": 10, "backoffMillis": 50, "maxBackoffMillis": 500, "budgetPercent": 1000}}
TIMEOUT: Final = {"timeoutMillis": 250}


@dataclass(frozen=True)
class Fault:
    """What came of a fault.

    Attributes:
        fault: What happened to the server for two seconds.
        graph: What the graph says of it.
        requests: Requests that began while it was away.
        failed: How many of them had no answer of 200.
        longest: Seconds that the longest of all took.
        back: Seconds from the server's return until it answers a request again.
    """

    fault: str
    graph: str
    requests: int
    failed: int
    longest: float
    back: float


async def measure_faults(programs: Programs) -> list[Fault]:
    """Measure each fault with each graph."""
    found = []
    async with backend({"json": "b"}) as other:
        for fault in ("killed", "silent"):
            server = free_port()
            fallback = [
                {"name": "f", "fallback": [{"node": "a"}, {"node": "b"}]},
                target("a", server, **TIMEOUT, **BREAKER),
                {"name": "b", "target": {"url": other.url, "protocol": "KServeV1"}},
            ]
            graphs: dict[str, AbstractContextManager[tuple[int, int]]] = {
                "Rondo: fallback, timeout, breaker": rondo(programs, fallback),
                "Rondo: retries, timeout": rondo(programs, [target("a", server, **RETRY, **TIMEOUT)]),
                "Rondo: timeout": rondo(programs, [target("a", server, **TIMEOUT)]),
                "KServe: a sequence of 1": kserve(programs, server, "Sequence", 1),
            }
            for name, started in graphs.items():
                found.append(await _measure(fault, name, server, started))
    return found


async def _measure(fault: str, name: str, port: int, started: AbstractContextManager[tuple[int, int]]) -> Fault:
    server = Server(port, "a")
    await server.start()
    with started as (graph, _):
        load = Load(f"http://127.0.0.1:{graph}/v1/models/m:predict", patience=60)
        async with load.beside():
            await load.until('"a"', 0.0)
            gone = time.monotonic()
            server.kill() if fault == "killed" else server.fall_silent()
            await asyncio.sleep(AWAY)
            back = time.monotonic()
            await _return(server, fault)
            after = await load.until('"a"', back)
    server.kill()
    during = [each for each in load.since(gone) if each[0] < back]
    failed = sum(status != 200 for _, status, _, _ in during)
    return Fault(fault, name, len(during), failed, max(took for _, _, took, _ in load.seen), after)


async def _return(server: Server, fault: str) -> Any:
    if fault == "killed":
        await server.start()
    else:
        server.speak()


def fault_table(faults: list[Fault]) -> Table:
    """Give all as a table."""
    title = f"A server is away for {AWAY:.0f} s under load of 6 connections"
    table = Table("fault", "graph", "requests meanwhile", "failed", "longest answer, s", "back after, s", title=title)
    for each in faults:
        share = f"{each.failed} ({each.failed / max(each.requests, 1):.0%})"
        table.add_row(each.fault, each.graph, str(each.requests), share, f"{each.longest:.2f}", f"{each.back:.2f}")
    return table
