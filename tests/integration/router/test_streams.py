"""Streams go to the client as they come; what has to be read first comes as one event."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import BaseTestServer, RawTestServer

from tests.integration.router.backends import Backend, backend
from tests.integration.router.process import PATIENCE, RouterProcess, eventually, graph
from tests.ports import free_port

Json = Any

pytestmark = pytest.mark.asyncio(loop_scope="module")

WORDS = [{"choices": [{"delta": {"content": word}}]} for word in ("a", "b", "c")]


@contextlib.asynccontextmanager
async def chat(running: RouterProcess, nodes: list[Json], *servers: Backend, **fields: Json) -> AsyncIterator[Any]:
    """Serve a graph of these servers, `@0` and so on, and ask it for a stream."""
    text = json.dumps(nodes)
    for number, server in enumerate(servers):
        text = text.replace(f"@{number}", server.url)
    filled = json.loads(text)
    for node in filled:
        if "target" in node:
            node["target"].setdefault("protocol", "OpenAI")
    port = free_port()
    await running.serve([graph(filled, port=port, protocol="OpenAI", **fields)])
    question = {"model": "g", "stream": True, "messages": [{"role": "user", "content": "hi"}]}
    async with running.session.post(f"http://127.0.0.1:{port}/v1/chat/completions", json=question) as answer:
        yield answer


async def lines(answer: aiohttp.ClientResponse) -> list[str]:
    """Give the events of an answer."""
    return [line.decode().strip().removeprefix("data: ") async for line in answer.content if line.strip()]


async def test_events_come_as_they_are_made(running: RouterProcess) -> None:
    async with backend({"events": [*WORDS, "[DONE]"], "every": 0.3}) as server:
        nodes = [{"name": "a", "target": {"url": "@0"}}]
        loop = asyncio.get_running_loop()
        begun = loop.time()
        async with chat(running, nodes, server) as answer:
            assert answer.headers["content-type"] == "text/event-stream"
            first = await answer.content.readline()
            assert loop.time() - begun < 0.8, "the first event did not wait for the last"
            assert json.loads(first.removeprefix(b"data: ")) == WORDS[0]
            assert (await lines(answer))[-1] == "[DONE]"
        assert server.seen[0].json["stream"] is True


async def test_through_switch_split_fallback_and_the_last_step(running: RouterProcess) -> None:
    plain = {"choices": [{"message": {"role": "assistant", "content": "x"}}]}
    nodes = [
        {"name": "s", "sequence": ["first", "route"]},
        {"name": "first", "target": {"url": "@0"}},
        {"name": "route", "switch": [{"when": "request.body.model == 'g'", "node": "ab"}]},
        {"name": "ab", "split": {"to": [{"node": "f", "weight": 1}]}},
        {"name": "f", "fallback": [{"node": "down"}, {"node": "m"}]},
        {"name": "down", "target": {"url": f"http://127.0.0.1:{free_port()}"}},
        {"name": "m", "mirror": {"node": "last", "to": ["first"], "percent": 0}},
        {"name": "last", "target": {"url": "@1"}},
    ]
    async with backend({"json": plain}) as first, backend({"events": [*WORDS, "[DONE]"]}) as last:
        async with chat(running, nodes, first, last) as answer:
            assert len(await lines(answer)) == 4
        assert "stream" not in first.seen[0].json, "what is read is not asked for as a stream"
        assert last.seen[0].json["stream"] is True


async def test_an_answer_that_has_to_be_read_is_one_event(running: RouterProcess) -> None:
    kept = {"object": "chat.completion", "choices": [{"index": 0, "message": {"role": "assistant", "content": "yes"}}]}
    nodes = [
        {"name": "f", "fallback": [{"node": "a", "accept": "response.body.choices[0].message.content == 'yes'"}]},
        {"name": "a", "target": {"url": "@0"}},
    ]
    async with backend({"json": kept}) as server:
        async with chat(running, nodes, server) as answer:
            assert answer.headers["content-type"] == "text/event-stream"
            event, end = await lines(answer)
        assert "stream" not in server.seen[0].json
    told = json.loads(event)
    assert told["object"] == "chat.completion.chunk"
    assert told["choices"][0]["delta"]["content"] == "yes"
    assert end == "[DONE]"


async def test_a_stream_that_breaks_before_its_first_byte_is_another_nodes(running: RouterProcess) -> None:
    nodes = [
        {"name": "f", "fallback": [{"node": "a"}, {"node": "b"}]},
        {"name": "a", "target": {"url": "@0"}},
        {"name": "b", "target": {"url": "@1"}},
    ]
    async with backend({"events": [], "breaks": True}) as broken, backend({"events": [*WORDS, "[DONE]"]}) as good:
        async with chat(running, nodes, broken, good) as answer:
            assert len(await lines(answer)) == 4
        assert (len(broken.seen), len(good.seen)) == (1, 1)


async def test_after_the_first_byte_nobody_else_is_asked(running: RouterProcess) -> None:
    nodes = [
        {"name": "f", "fallback": [{"node": "a"}, {"node": "b"}]},
        {"name": "a", "target": {"url": "@0"}},
        {"name": "b", "target": {"url": "@1"}},
    ]
    async with backend({"events": WORDS[:1], "breaks": True}) as broken, backend({"events": WORDS}) as good:
        async with chat(running, nodes, broken, good) as answer:
            with pytest.raises(aiohttp.ClientPayloadError):
                await lines(answer)
        assert good.seen == []


@pytest.mark.parametrize("media_type", ["audio/mpeg", "Text/Event-Stream; charset=utf-8"])
async def test_what_is_still_being_made_comes_as_it_is_made(running: RouterProcess, media_type: str) -> None:
    heard = asyncio.Event()

    async def speak(request: web.BaseRequest) -> web.StreamResponse:
        response = web.StreamResponse(headers={"content-type": media_type})
        await response.prepare(request)
        await response.write(b"one ")
        await heard.wait()
        await response.write(b"two")
        return response

    async with RawTestServer(speak) as server, passing(running, server) as answer:
        assert answer.headers["content-type"] == media_type
        assert await answer.content.readexactly(4) == b"one "
        heard.set()
        assert await answer.content.read() == b"two"


async def test_json_of_any_length_is_passed_on_if_nobody_reads_it(running: RouterProcess) -> None:
    text = b"[" + b"0," * (3 << 20) + b"0]"

    async def tell(request: web.BaseRequest) -> web.StreamResponse:
        response = web.StreamResponse(headers={"content-type": "application/json"})
        await response.prepare(request)
        await response.write(text)
        return response

    async with RawTestServer(tell) as server, passing(running, server) as answer:
        assert answer.status == 200
        assert await answer.read() == text


@pytest.mark.parametrize("media_type", ["application/json", "audio/mpeg"])
async def test_what_breaks_before_it_is_passed_on_is_asked_again(running: RouterProcess, media_type: str) -> None:
    turns = iter(["breaks", "answers"])

    async def tell(request: web.BaseRequest) -> web.StreamResponse:
        response = web.StreamResponse(headers={"content-type": media_type})
        await response.prepare(request)
        breaks = next(turns) == "breaks"
        if media_type == "application/json" or not breaks:
            await response.write(b"[1")
        if breaks:
            assert request.transport is not None
            request.transport.close()
        else:
            await response.write(b"]")
        return response

    retry = {"limit": 1, "failures": ["Reset"], "backoffMillis": 1}
    async with RawTestServer(tell) as server, passing(running, server, retry=retry) as answer:
        assert await answer.read() == b"[1]"
    assert next(turns, None) is None, "it was asked twice"


@contextlib.asynccontextmanager
async def passing(
    running: RouterProcess, server: BaseTestServer, **fields: Json
) -> AsyncIterator[aiohttp.ClientResponse]:
    """Ask a graph that passes the answers of a server on."""
    port = free_port()
    nodes = [{"name": "a", "target": {"url": str(server.make_url("")), "protocol": "JSON"}, **fields}]
    await running.serve([graph(nodes, port=port)])
    async with running.session.post(f"http://127.0.0.1:{port}/", json={}) as answer:
        yield answer


async def test_the_deadline_ends_a_stream(running: RouterProcess) -> None:
    async with backend({"events": WORDS * 100, "every": 0.1}) as server:
        nodes = [{"name": "a", "target": {"url": "@0"}}]
        async with chat(running, nodes, server, timeoutMillis=500) as answer:
            with pytest.raises(aiohttp.ClientPayloadError):
                await asyncio.wait_for(lines(answer), 3)


async def test_a_client_that_goes_ends_the_work_for_it(running: RouterProcess) -> None:
    async with backend({"events": WORDS * 100, "every": 0.1}) as server:
        nodes = [{"name": "a", "target": {"url": "@0"}}]
        async with chat(running, nodes, server) as answer:
            await answer.content.readline()
            answer.close()
        await gone(server)


async def test_a_client_that_goes_before_the_answer_ends_the_work_too(running: RouterProcess) -> None:
    async with backend({"after": 60, "json": {}}) as server:
        port = free_port()
        nodes = [
            {"name": "p", "parallel": {"nodes": ["a", "b"]}},
            {"name": "a", "target": {"url": server.url, "protocol": "JSON"}},
            {"name": "b", "target": {"url": server.url, "protocol": "JSON"}},
        ]
        await running.serve([graph(nodes, port=port, timeoutMillis=60000)])
        asking = asyncio.create_task(running.session.post(f"http://127.0.0.1:{port}/", json={}))
        async with asyncio.timeout(PATIENCE), server.news:
            await server.news.wait_for(lambda: len(server.seen) == 2)
        asking.cancel()
        await gone(server, times=2)


async def gone(server: Backend, times: int = 1) -> None:
    """Wait until a server has noticed that nobody waits for its answers."""

    async def noticed() -> bool:
        return server.broken >= times

    await eventually("the server notices that nobody waits", noticed)
