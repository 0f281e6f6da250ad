"""A router that is told to end: clients hear of it before their connections are closed, so no request is lost."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path

import aiohttp
import pytest

from tests.integration.router.backends import Backend, backend
from tests.integration.router.process import PATIENCE, graph, router
from tests.integration.router.test_reload import target
from tests.ports import free_port

pytestmark = pytest.mark.asyncio(loop_scope="module")

CLIENTS = 32


class Client:
    """Asks one question after the other over a connection that it keeps for as long as it may."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}/"
        self.answers: Counter[str] = Counter()
        self.told_to_go = 0

    async def ask_until_told_to_go(self) -> None:
        """Go on once more after that, over another connection: it takes a while until they lead elsewhere."""
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=1)) as session:
            while self.told_to_go < 2 and not self.dropped:
                try:
                    async with session.post(self.url, json={}) as answer:
                        self.answers[f"{answer.status} {await answer.text()}"] += 1
                        self.told_to_go += answer.headers.get("connection") == "close"
                except aiohttp.ClientError as error:
                    self.answers[f"dropped: {error!r}"] += 1

    @property
    def dropped(self) -> bool:
        return any(given.startswith("dropped") for given in self.answers)


async def test_clients_that_keep_connections_lose_no_request(router_binary: Path, tmp_path: Path) -> None:
    async with backend({"json": "a"}) as server, router(router_binary, tmp_path, linger=1) as own:
        port = free_port()
        await own.serve([graph([target("n", server.url)], port=port)])
        clients = [Client(port) for _ in range(CLIENTS)]
        asking = [asyncio.create_task(client.ask_until_told_to_go()) for client in clients]
        await asked(server, 10 * CLIENTS)
        assert not any(client.told_to_go for client in clients)
        own.process.terminate()
        await asyncio.wait_for(asyncio.gather(*asking), PATIENCE)
        assert {given for client in clients for given in client.answers} == {'200 "a"'}
        assert await asyncio.wait_for(own.process.wait(), PATIENCE) == 0


async def test_who_read_a_stream_meanwhile_is_told_by_the_next_answer(router_binary: Path, tmp_path: Path) -> None:
    events = ["x"] * 10
    stream = {"events": events, "every": 0.1}
    async with (
        backend([stream, {"json": "a"}]) as server,
        router(router_binary, tmp_path) as own,
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=1)) as session,
    ):
        port = free_port()
        await own.serve([graph([target("n", server.url)], port=port)])
        url = f"http://127.0.0.1:{port}/"
        async with session.post(url, json={}) as answer:
            own.process.terminate()
            assert (await answer.text()).count("data: x") == len(events)
            assert "connection" not in answer.headers
        async with session.post(url, json={}) as answer:
            assert (answer.status, answer.headers.get("connection")) == (200, "close")
        assert await asyncio.wait_for(own.process.wait(), PATIENCE) == 0


async def asked(server: Backend, times: int) -> None:
    """Wait until a server was asked so often."""
    async with asyncio.timeout(PATIENCE), server.news:
        await server.news.wait_for(lambda: len(server.seen) >= times)
