"""A server is killed, falls silent and comes back under load: what clients notice of it, and how soon it is over."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any, Final

import aiohttp
import pytest

from tests.integration.router.backends import Backend, backend
from tests.integration.router.process import PATIENCE, RouterProcess, free_port, graph

Json = Any

pytestmark = pytest.mark.asyncio(loop_scope="module")

BREAKER: Final = {"failures": 3, "windowMillis": 2000, "cooldownMillis": 500}


class Server:
    """A server that can be killed, fall silent, and come back at the same address."""

    def __init__(self, port: int, answer: Json) -> None:
        self.port, self.backend = port, Backend({"json": answer})
        self.url = f"http://127.0.0.1:{port}"
        self._connections: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None
        self._silent = asyncio.Event()

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._connections.add(writer)
        try:
            await self.backend.handle(reader, writer)
        finally:
            self._connections.discard(writer)

    def kill(self) -> None:
        """End as a killed process does: nobody listens, and open connections break."""
        assert self._server is not None
        self._server.close()
        for writer in list(self._connections):
            writer.transport.abort()

    def fall_silent(self) -> None:
        """Take requests and never answer."""
        self.backend.does = {"after": 3600, "json": {}}

    def speak(self) -> None:
        self.backend.does = {"json": "a"}
        for writer in list(self._connections):
            writer.transport.abort()


@dataclass
class Load:
    """Requests one after the other over some connections, each with its time, status and how long it took."""

    url: str
    seen: list[tuple[float, int, float, str]] = field(default_factory=list)
    over: bool = False

    async def run(self, connections: int = 6) -> None:
        async with aiohttp.ClientSession() as session:
            await asyncio.gather(*(self._ask(session) for _ in range(connections)))

    async def _ask(self, session: aiohttp.ClientSession) -> None:
        while not self.over:
            begun = time.monotonic()
            async with session.post(self.url, json={}) as answer:
                text = await answer.text()
            self.seen.append((begun, answer.status, time.monotonic() - begun, text))
            await asyncio.sleep(0.002)

    @contextlib.asynccontextmanager
    async def beside(self) -> AsyncIterator[None]:
        asking = asyncio.create_task(self.run())
        try:
            yield
        finally:
            self.over = True
            await asyncio.wait_for(asking, PATIENCE)

    def since(self, moment: float) -> list[tuple[float, int, float, str]]:
        return [each for each in self.seen if each[0] >= moment]

    async def until(self, what: str, after: float) -> float:
        """Wait until a request that began after a moment is answered so; give the seconds from that moment."""
        async with asyncio.timeout(PATIENCE):
            while True:
                found = next((each for each in self.since(after) if each[3] == what), None)
                if found is not None:
                    return found[0] + found[2] - after
                await asyncio.sleep(0.01)


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
