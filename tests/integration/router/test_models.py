"""Models behind the router: shares of revisions, requests as they are, and a first pod that is waited for."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import RawTestServer

from tests.integration.router.backends import Backend, backend
from tests.integration.router.process import PATIENCE, RouterProcess
from tests.ports import free_port

Json = Any

pytestmark = pytest.mark.asyncio(loop_scope="module")


def model(port: int, *revisions: tuple[str, str, int], **fields: Json) -> Json:
    told = [{"name": name, "url": url, "weight": weight} for name, url, weight in revisions]
    return {"name": "m", "port": port, "revisions": told, **fields}


async def serve(running: RouterProcess, *models: Json) -> None:
    report = await running.reported(running.write([], models=list(models)))
    assert report["refused"] is None, report


async def test_a_request_arrives_as_it_is_and_so_does_its_answer(running: RouterProcess) -> None:
    async with backend({"echo": True, "headers": {"x-answer": "yes", "connection": "x-hop", "x-hop": "1"}}) as server:
        port = free_port()
        await serve(running, model(port, ("r1", server.url, 100)))
        headers = {"authorization": "Bearer me", "x-any": "1", "connection": "x-mine", "x-mine": "1"}
        url = f"http://127.0.0.1:{port}/v1/models/m:predict?x=1"
        async with running.session.put(url, json={"q": 1}, headers=headers) as answer:
            assert answer.headers["x-answer"] == "yes"
            assert "x-hop" not in answer.headers
            told = await answer.json()
        assert server.seen[0].method == "PUT"
        assert told["path"] == "/v1/models/m:predict?x=1"
        assert told["body"] == {"q": 1}
        assert told["headers"]["authorization"] == "Bearer me"
        assert "x-mine" not in told["headers"], "what speaks of one connection ends there"


async def test_revisions_get_their_shares_and_are_counted_apart(running: RouterProcess) -> None:
    async with backend({"json": "old"}) as old, backend({"json": "new", "status": 500}) as new:
        port = free_port()
        await serve(running, model(port, ("old", old.url, 90), ("new", new.url, 10), ("off", "http://127.0.0.1:1", 0)))
        given: Counter[int] = Counter()
        for _ in range(300):
            async with running.session.post(f"http://127.0.0.1:{port}/", json={}) as answer:
                given[answer.status] += 1
        assert 8 <= given[500] <= 60, "a tenth of 300, more or less"
        assert (len(old.seen), len(new.seen)) == (given[200], given[500])
        of_new = {"model": "m", "revision": "new", "code": "500"}
        assert await running.metric("rondo_revision_requests_total", **of_new) == given[500]
        assert await running.metric("rondo_revision_duration_seconds_count", model="m", revision="old") == given[200]


async def test_a_request_waits_for_a_first_pod_and_is_then_answered(running: RouterProcess) -> None:
    port, sleeping = free_port(), free_port()
    await serve(running, model(port, ("r", f"http://127.0.0.1:{sleeping}", 1), hold={"max": 2, "timeoutMillis": 8000}))
    url = f"http://127.0.0.1:{port}/"
    asking = [asyncio.create_task(running.session.post(url, json={"n": n})) for n in range(2)]
    await waiting(running, 2)
    async with running.session.post(url, json={}) as refused:
        assert refused.status == 503
        assert refused.headers["retry-after"] == "5"
    woken = Backend({"json": "awake"})
    server = await asyncio.start_server(woken.handle, "127.0.0.1", sleeping)
    async with server:
        for answer in await asyncio.wait_for(asyncio.gather(*asking), PATIENCE):
            assert await answer.json() == "awake"
    assert sorted(seen.json["n"] for seen in woken.seen) == [0, 1], "each was sent once"
    assert await running.metric("rondo_model_requests_held", graph="m") == 0


async def test_a_request_of_unknown_length_waits_too(running: RouterProcess) -> None:
    async def body() -> AsyncIterator[bytes]:
        for piece in (b'{"n":', b" 1}"):
            yield piece

    port, sleeping = free_port(), free_port()
    await serve(running, model(port, ("r", f"http://127.0.0.1:{sleeping}", 1), hold={"max": 2, "timeoutMillis": 8000}))
    asking = asyncio.create_task(running.session.post(f"http://127.0.0.1:{port}/", data=body()))
    await waiting(running, 1)
    woken = Backend({"json": "awake"})
    server = await asyncio.start_server(woken.handle, "127.0.0.1", sleeping)
    async with server:
        answer = await asyncio.wait_for(asking, PATIENCE)
        assert await answer.json() == "awake"
    assert [seen.body for seen in woken.seen] == [b'{"n": 1}']


async def test_a_request_that_is_too_large_to_wait_is_passed_on_as_it_comes(running: RouterProcess) -> None:
    begun, pieces = asyncio.Event(), [b"a" * (4 << 20), b"b", b"c" * 1000]

    async def body() -> AsyncIterator[bytes]:
        yield pieces[0]
        yield pieces[1]
        await begun.wait()
        yield pieces[2]

    async def answer(request: web.BaseRequest) -> web.Response:
        read = bytearray()
        async for piece in request.content.iter_any():
            begun.set()
            read += piece
        return web.json_response(bytes(read) == b"".join(pieces))

    async with RawTestServer(answer) as server:
        port = free_port()
        url = str(server.make_url(""))
        await serve(running, model(port, ("r", url, 1), hold={"max": 2, "timeoutMillis": 8000}))
        async with running.session.post(f"http://127.0.0.1:{port}/", data=body()) as answered:
            assert await answered.json() is True


async def waiting(running: RouterProcess, count: int) -> None:
    """Wait until so many requests are told to wait, on the stream that the operator follows."""
    async with asyncio.timeout(PATIENCE), running.watch() as reports:
        async for report in reports:
            if report["demand"].get("m") == count:
                return


async def test_a_first_pod_that_does_not_come_is_an_error_in_time(running: RouterProcess) -> None:
    port = free_port()
    nobody = f"http://127.0.0.1:{free_port()}"
    await serve(running, model(port, ("r", nobody, 1), hold={"max": 2, "timeoutMillis": 300}))
    async with running.session.post(f"http://127.0.0.1:{port}/", json={}) as answer:
        assert answer.status == 504
        assert "no pod of m came within 300 ms" in await answer.text()
    await waiting_no_more(running)


async def waiting_no_more(running: RouterProcess) -> None:
    async with asyncio.timeout(PATIENCE), running.watch() as reports:
        async for report in reports:
            if not report["demand"].get("m"):
                return


async def test_without_a_hold_nobody_waits(running: RouterProcess) -> None:
    port = free_port()
    await serve(running, model(port, ("r", f"http://127.0.0.1:{free_port()}", 1)))
    async with running.session.post(f"http://127.0.0.1:{port}/", json={}) as answer:
        assert answer.status == 502
        assert "refused" in await answer.text()


async def test_events_of_a_model_are_not_held_back(running: RouterProcess) -> None:
    async with backend({"events": ["a", "b"], "every": 0.4}) as server:
        port = free_port()
        await serve(running, model(port, ("r", server.url, 1)))
        loop = asyncio.get_running_loop()
        begun = loop.time()
        async with running.session.post(f"http://127.0.0.1:{port}/", json={}) as answer:
            assert (await answer.content.readline()).strip() == b"data: a"
            assert loop.time() - begun < 0.75
            assert b"data: b" in await answer.read()
