"""A server is killed, falls silent and comes back under load: what clients notice of it, and how soon it is over."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from typing import Any, Final

import pytest

from tests.integration.router.backends import backend
from tests.integration.router.process import RouterProcess, graph
from tests.integration.router.troubles import Load, Server
from tests.ports import free_port

Json = Any

pytestmark = pytest.mark.asyncio(loop_scope="module")

BREAKER: Final = {"failures": 3, "windowMillis": 2000, "cooldownMillis": 500}


@contextlib.asynccontextmanager
async def served(running: RouterProcess, **policies: Json) -> AsyncIterator[tuple[Server, Load]]:
    """A graph that falls back from a server that has troubles to one that has none."""
    server = Server(free_port(), "a")
    await server.start()
    async with backend({"json": "b"}) as other:
        port = free_port()
        nodes = [
            {"name": "f", "fallback": [{"node": "a"}, {"node": "b"}]},
            {"name": "a", "target": {"url": server.url, "protocol": "JSON"}, **policies},
            {"name": "b", "target": {"url": other.url, "protocol": "JSON"}},
        ]
        await running.serve([graph(nodes, port=port)])
        load = Load(f"http://127.0.0.1:{port}/")
        async with load.beside():
            await load.until('"a"', 0.0)
            yield server, load
    server.kill()


async def test_a_server_that_is_killed_and_comes_back_is_noticed_by_no_client(running: RouterProcess) -> None:
    async with served(running) as (server, load):
        killed = time.monotonic()
        server.kill()
        assert await load.until('"b"', killed) < 1
        await server.start()
        back = time.monotonic()
        assert await load.until('"a"', back) < 1
    assert {status for _, status, _, _ in load.seen} == {200}


async def test_a_server_that_falls_silent_costs_a_few_timeouts_and_is_tried_again(running: RouterProcess) -> None:
    async with served(running, timeoutMillis=200, circuitBreaker=BREAKER) as (server, load):
        silent = time.monotonic()
        server.fall_silent()
        await load.until('"b"', silent)
        await asyncio.sleep(1.0)
        settled = load.since(silent + 0.6)
        slow = [took for _, _, took, _ in settled if took > 0.15]
        assert len(slow) <= 6, "with an open circuit only probes wait"
        server.speak()
        back = time.monotonic()
        assert await load.until('"a"', back) < 2
    assert {status for _, status, _, _ in load.seen} == {200}


async def test_without_a_fallback_a_restart_is_bridged_by_retries(running: RouterProcess) -> None:
    server = Server(free_port(), "a")
    await server.start()
    port = free_port()
    retry = {"limit": 8, "backoffMillis": 50, "maxBackoffMillis": 200, "budgetPercent": 1000}
    nodes = [{"name": "a", "target": {"url": server.url, "protocol": "JSON"}, "retry": retry}]
    await running.serve([graph(nodes, port=port)])
    load = Load(f"http://127.0.0.1:{port}/")
    async with load.beside():
        await load.until('"a"', 0.0)
        server.kill()
        await asyncio.sleep(0.3)
        await server.start()
        await load.until('"a"', time.monotonic())
    server.kill()
    assert {status for _, status, _, _ in load.seen} == {200}
