"""A server that has troubles, and load that notices them."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from tests.integration.router.backends import Backend
from tests.integration.router.process import PATIENCE

Json = Any


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
            with contextlib.suppress(asyncio.CancelledError):  # the loop ends, and nobody asks what came of it
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
    patience: float = PATIENCE
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
            await asyncio.wait_for(asking, self.patience)

    def since(self, moment: float) -> list[tuple[float, int, float, str]]:
        return [each for each in self.seen if each[0] >= moment]

    async def until(self, what: str, after: float) -> float:
        """Wait until a request that began after a moment is answered so; give the seconds from that moment."""
        async with asyncio.timeout(self.patience):
            while True:
                found = next((each for each in self.since(after) if each[3] == what), None)
                if found is not None:
                    return found[0] + found[2] - after
                await asyncio.sleep(0.01)
