"""Headers that the router writes itself, whatever a client sends of them."""

from __future__ import annotations

import pytest
from aiohttp import web
from aiohttp.test_utils import RawTestServer

from tests.integration.router.backends import backend
from tests.integration.router.process import RouterProcess, graph
from tests.integration.router.test_reload import target
from tests.ports import free_port

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_headers_of_the_body_are_the_routers_even_if_they_are_listed(running: RouterProcess) -> None:
    async with backend({"json": "a"}) as server:
        port = free_port()
        listed = ["content-type", "accept-encoding", "x-any"]
        await running.serve([graph([target("n", server.url)], port=port, headers=listed)])
        headers = {"content-type": "text/plain", "accept-encoding": "gzip", "x-any": "1"}
        async with running.session.post(f"http://127.0.0.1:{port}/", data=b"{}", headers=headers) as answer:
            assert answer.status == 200
        seen = server.seen[0].headers
        given = [seen[name] for name in listed]
        assert given == ["application/json", "identity", "1"], "of several it is the last that would be told here"


async def test_a_header_that_is_listed_twice_is_sent_once(running: RouterProcess) -> None:
    seen: list[list[str]] = []

    async def answer(request: web.BaseRequest) -> web.Response:
        seen.append([f"{name.lower()}: {value}" for name, value in request.headers.items()])
        return web.json_response("a")

    async with RawTestServer(answer) as server:
        port = free_port()
        asked = {"url": str(server.make_url("")), "protocol": "JSON", "forward": ["Authorization", "X-Any"]}
        nodes = [{"name": "n", "target": asked}]
        listed = ["traceparent", "authorization", "x-many", "X-Many"]
        await running.serve([graph(nodes, port=port, headers=listed)])
        headers = [("traceparent", "00-1-2-01"), ("tracestate", "a=b"), ("authorization", "me"), ("x-any", "1")]
        many = [("x-many", "1"), ("x-many", "2")]
        async with running.session.post(f"http://127.0.0.1:{port}/", json={}, headers=[*headers, *many]) as answered:
            assert answered.status == 200
    told = sorted(line for line in seen[0] if line.partition(":")[0] in dict([*headers, *many]))
    assert told == sorted(f"{name}: {value}" for name, value in [*headers, *many]), "all values, and each once"


async def test_a_pause_without_end_is_an_hour_at_most(running: RouterProcess) -> None:
    busy = {"status": 503, "headers": {"retry-after": "9223372036854775807"}, "json": "busy"}
    async with backend(busy) as server, backend({"json": "b"}) as other:
        port = free_port()
        nodes = [
            {"name": "f", "fallback": [{"node": "n"}, {"node": "m"}]},
            target("n", server.url),
            target("m", other.url),
        ]
        await running.serve([graph(nodes, port=port)])
        for _ in range(2):
            async with running.session.post(f"http://127.0.0.1:{port}/", json={}) as answer:
                assert await answer.json() == "b"
        assert len(server.seen) == 1
