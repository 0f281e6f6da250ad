"""Plans take one another's place without a dropped request; a bad one changes nothing."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import time
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.integration.router.backends import backend
from tests.integration.router.process import PATIENCE, RouterProcess, graph, router
from tests.ports import free_port

Json = Any

pytestmark = pytest.mark.asyncio(loop_scope="module")


def target(name: str, url: str, **fields: Json) -> Json:
    return {"name": name, "target": {"url": url, "protocol": "JSON"}, **fields}


class Load:
    """Requests one after the other over several connections, until it is told to end."""

    def __init__(self, port: int, connections: int = 8) -> None:
        self.url = f"http://127.0.0.1:{port}/"
        self.connections = connections
        self.answers: Counter[str] = Counter()
        self.over = False

    async def run(self) -> None:
        async with aiohttp.ClientSession() as session:
            await asyncio.gather(*(self._ask(session) for _ in range(self.connections)))

    async def _ask(self, session: aiohttp.ClientSession) -> None:
        while not self.over:
            try:
                async with session.post(self.url, json={}) as answer:
                    self.answers[f"{answer.status} {await answer.text()}"] += 1
            except aiohttp.ClientError as error:
                self.answers[f"dropped: {type(error).__name__}"] += 1

    @contextlib.asynccontextmanager
    async def beside(self) -> AsyncIterator[None]:
        """Ask while something else happens."""
        asking = asyncio.create_task(self.run())
        try:
            yield
        finally:
            self.over = True
            await asyncio.wait_for(asking, PATIENCE)


async def test_no_request_is_dropped_while_plans_change(running: RouterProcess) -> None:
    async with backend({"json": "a"}) as one, backend({"json": "b"}) as other:
        port = free_port()
        await running.serve([graph([target("n", one.url)], port=port)])
        load = Load(port)
        async with load.beside():
            for turn in range(30):
                server = (other, one)[turn % 2]
                more = [graph([target("n", server.url)], name="more", port=free_port())] if turn % 3 else []
                await running.serve([graph([target("n", server.url)], port=port, revision=str(turn)), *more])
        assert set(load.answers) == {'200 "a"', '200 "b"'}
        assert load.answers.total() > 100


async def test_a_plan_is_served_within_a_moment_and_reported(running: RouterProcess) -> None:
    async with backend({"json": "a"}) as server:
        graphs = [graph([target("n", server.url)], port=free_port(), revision="abc")]
        begun = time.monotonic()
        report = await running.reported(running.write(graphs))
        assert time.monotonic() - begun < 2
        assert report["graphs"] == {"g": "abc"}
        assert json.loads((await running.told("/status"))[1]) == report


BAD: list[tuple[str, Json, str]] = [
    ("a cycle", [{"name": "n", "sequence": ["m"]}, {"name": "m", "sequence": ["n"]}], "n -> m -> n"),
    ("a name that is not there", [{"name": "n", "sequence": ["nowhere"]}], 'no node \\"nowhere\\"'),
    ("a bad expression", [{"name": "n", "switch": [{"when": "request.", "node": "n"}]}], "switch[0].when"),
    ("an unknown variable", [{"name": "n", "switch": [{"when": "reqest.x", "node": "n"}]}], 'no \\"reqest\\" here'),
    ("a field of another version", [{"name": "n", "teleport": {}}], "unknown field `teleport`"),
    ("two kinds", [{"name": "n", "sequence": ["n"], "fallback": [{"node": "n"}]}], "exactly one kind"),
    ("an address that is none", [target("n", "ftp://x")], "neither http nor https"),
    ("credentials in an address", [target("n", "http://u:p@x")], "belong into a Secret"),
    (
        "a quorum of more than there are",
        [{"name": "n", "parallel": {"nodes": ["m"], "quorum": 2}}, target("m", "http://x")],
        "quorum",
    ),
    (
        "loops in loops in loops",
        [{"name": "n", "switch": [{"when": "[1].all(a, [1].all(b, [1].all(c, true)))", "node": "n"}]}],
        "nests 3",
    ),
]


@pytest.mark.parametrize(("nodes", "words"), [bad[1:] for bad in BAD], ids=[bad[0] for bad in BAD])
async def test_a_bad_plan_is_refused_with_words_and_the_old_one_kept(
    running: RouterProcess, nodes: list[Json], words: str
) -> None:
    async with backend({"json": "a"}) as server:
        port = free_port()
        await running.serve([graph([target("n", server.url)], port=port)])
        before = json.loads((await running.told("/status"))[1])
        report = await running.reported(running.write([graph(nodes, port=port)]))
        assert words in json.dumps(report["refused"])
        assert {**report, "refused": None} == before
        async with running.session.post(f"http://127.0.0.1:{port}/", json={}) as answer:
            assert await answer.json() == "a"


async def test_what_is_not_json_is_refused_too(running: RouterProcess) -> None:
    async with running.watch() as reports:
        running.write_text("{oops")
        async with asyncio.timeout(PATIENCE):
            async for report in reports:
                if report["refused"] is not None and "line 1" in report["refused"]["message"]:
                    return


async def test_a_port_that_is_taken_refuses_the_plan(running: RouterProcess) -> None:
    async with backend({"json": "a"}) as server:
        report = await running.reported(running.write([graph([target("n", server.url)], port=server.port)]))
        assert f"port {server.port} cannot be opened" in report["refused"]["message"]


async def test_a_plan_that_does_not_change_is_not_read_again(running: RouterProcess) -> None:
    async with backend({"json": "a"}) as server:
        port = free_port()
        await running.serve([graph([target("n", server.url)], port=port)])
        before = read_calls(running)
        for _ in range(100):
            assert await ask(running.session, port) == "a"
        assert read_calls(running) - before < 20, "sockets do not count among them"


def read_calls(running: RouterProcess) -> int:
    """Give how often a router has read from files so far."""
    return int(re.findall(r"^syscr: (\d+)$", Path(f"/proc/{running.process.pid}/io").read_text(), re.MULTILINE)[0])


async def test_a_breaker_stays_open_over_a_plan_that_does_not_touch_it(running: RouterProcess) -> None:
    breaker = {"failures": 1, "windowMillis": 60000, "cooldownMillis": 60000}
    async with backend({"status": 500}) as server:
        port = free_port()
        nodes = [target("n", server.url, circuitBreaker=breaker)]
        url = f"http://127.0.0.1:{port}/"
        await running.serve([graph(nodes, port=port, revision="1")])
        for expected in (500, 503):
            async with running.session.post(url, json={}) as answer:
                assert answer.status == expected
        await running.serve([graph(nodes, port=port, revision="2", timeoutMillis=4000)])
        async with running.session.post(url, json={}) as answer:
            assert answer.status == 503
        changed = [target("n", server.url, circuitBreaker={**breaker, "failures": 2})]
        await running.serve([graph(changed, port=port, revision="3")])
        async with running.session.post(url, json={}) as answer:
            assert answer.status == 500


async def test_a_cache_forgets_what_another_would_answer_now(running: RouterProcess) -> None:
    cache = {"name": "k", "cache": {"node": "f", "ttlMillis": 60000, "maxBytes": 1000000}}
    fallback = {"name": "f", "fallback": [{"node": "n"}]}
    async with backend({"json": "a"}) as one, backend({"json": "b"}) as other:
        port = free_port()
        more = graph([target("m", other.url)], name="more", port=free_port())
        for plan in ([], [more]):
            await running.serve([graph([cache, fallback, target("n", one.url)], port=port), *plan])
            assert await ask(running.session, port) == "a"
        assert len(one.seen) == 1, "another graph has no say in it"
        await running.serve([graph([cache, fallback, target("n", other.url)], port=port)])
        assert await ask(running.session, port) == "b"
        inner = graph([target("n", one.url)], name="inner", port=free_port())
        nodes = [cache, fallback, {"name": "n", "graph": "inner"}]
        for server, told in ((one, "a"), (other, "b")):
            inner["nodes"] = [target("n", server.url)]
            await running.serve([graph(nodes, port=port), inner])
            assert await ask(running.session, port) == told


async def test_a_port_whose_graph_is_gone_is_closed_but_answers_what_it_has_begun(running: RouterProcess) -> None:
    async with backend({"after": 0.5, "json": "late"}) as server:
        port = free_port()
        await running.serve([graph([target("n", server.url)], port=port)])
        asking = asyncio.create_task(ask(running.session, port))
        async with asyncio.timeout(PATIENCE), server.news:
            await server.news.wait_for(lambda: server.seen)
        await running.serve([])
        assert await asking == "late"
        async with aiohttp.ClientSession() as fresh:
            with pytest.raises(aiohttp.ClientConnectorError):
                await ask(fresh, port)


async def ask(session: aiohttp.ClientSession, port: int) -> Json:
    async with session.post(f"http://127.0.0.1:{port}/", json={}) as answer:
        return await answer.json()


async def test_a_router_that_ends_answers_what_it_has_begun(router_binary: Path, tmp_path: Path) -> None:
    async with backend({"after": 0.7, "json": "late"}) as server, router(router_binary, tmp_path) as own:
        port = free_port()
        await own.serve([graph([target("n", server.url)], port=port)])
        asking = asyncio.create_task(ask(own.session, port))
        async with asyncio.timeout(PATIENCE), server.news:
            await server.news.wait_for(lambda: server.seen)
        own.process.terminate()
        assert await asking == "late"
        assert await asyncio.wait_for(own.process.wait(), PATIENCE) == 0
