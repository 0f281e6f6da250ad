"""Many requests at once: limits, batches, caches, mirrors, and what is counted of them."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from typing import Any

import aiohttp
import pytest

from tests.integration.router.backends import backend
from tests.integration.router.process import PATIENCE, RouterProcess, eventually, graph
from tests.ports import free_port

Json = Any

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def statuses(session: aiohttp.ClientSession, port: int, count: int, body: Json = None) -> Counter[int]:
    """Ask so many times at once; count the statuses."""

    async def one() -> int:
        async with session.post(f"http://127.0.0.1:{port}/", json=body) as answer:
            await answer.read()
            return answer.status

    return Counter(await asyncio.gather(*(one() for _ in range(count))))


def target(url: str, protocol: str = "JSON", **fields: Json) -> Json:
    return {"name": "a", "target": {"url": url, "protocol": protocol}, **fields}


async def test_a_node_has_so_many_at_once_lets_so_many_wait_and_refuses_the_rest(running: RouterProcess) -> None:
    async with backend({"after": 0.3, "json": 1}) as server:
        port = free_port()
        await running.serve([graph([target(server.url, concurrency={"limit": 2, "queue": 2})], port=port)])
        begun = time.monotonic()
        assert await statuses(running.session, port, 10) == {200: 4, 429: 6}
        assert 0.55 < time.monotonic() - begun < 1.5, "two rounds of two"
        assert len(server.seen) == 4


async def test_a_graph_refuses_what_is_too_much(running: RouterProcess) -> None:
    async with backend({"after": 0.3, "json": 1}) as server:
        port = free_port()
        limits = {"body": 1024, "inFlight": 3}
        await running.serve([graph([target(server.url)], port=port, limits=limits)])
        assert await statuses(running.session, port, 8) == {200: 3, 429: 5}
        assert await statuses(running.session, port, 3) == {200: 3}, "all places are free again"


async def test_a_graph_within_another_refuses_what_is_too_much(running: RouterProcess) -> None:
    async with backend({"after": 1.0, "json": 1}) as server:
        port = free_port()
        inner = graph([target(server.url)], port=free_port(), name="inner", limits={"body": 100, "inFlight": 2})
        await running.serve([graph([{"name": "g", "graph": "inner"}], port=port), inner])
        assert await statuses(running.session, port, 5) == {200: 2, 429: 3}
        assert await statuses(running.session, port, 2) == {200: 2}, "the places are free again"


async def test_retries_have_a_budget(running: RouterProcess) -> None:
    async with backend({"status": 503}) as server:
        port = free_port()
        retry = {"limit": 5, "backoffMillis": 1, "maxBackoffMillis": 1, "budgetPercent": 10}
        await running.serve([graph([target(server.url, retry=retry)], port=port)])
        for _ in range(5):
            assert await statuses(running.session, port, 40) == {503: 40}
        # Without a budget 200 requests would be 1,200 attempts; with it 5 a second and a tenth of all more.
        assert len(server.seen) < 200 + 200 * 0.1 + 5 * 10 + 20


async def test_what_is_being_made_for_the_cache_is_made_once(running: RouterProcess) -> None:
    async with backend({"after": 0.3, "json": 1}) as server:
        port = free_port()
        nodes = [{"name": "c", "cache": {"node": "a", "ttlMillis": 60000, "maxBytes": 10000}}, target(server.url)]
        await running.serve([graph(nodes, port=port, name="cached")])
        assert await statuses(running.session, port, 20, {"q": 1}) == {200: 20}
        assert len(server.seen) == 1
        assert await running.metric("rondo_cache_hits_total", graph="cached") == 0
        assert await statuses(running.session, port, 5, {"q": 1}) == {200: 5}
        assert await running.metric("rondo_cache_hits_total", graph="cached") == 5


async def test_the_cache_is_bounded(running: RouterProcess) -> None:
    async with backend({"size": 10000}) as server:
        port = free_port()
        nodes = [{"name": "c", "cache": {"node": "a", "ttlMillis": 60000, "maxBytes": 50000}}, target(server.url)]
        await running.serve([graph(nodes, port=port)])
        for number in range(20):
            await statuses(running.session, port, 1, {"q": number})
        for number in range(20):
            await statuses(running.session, port, 1, {"q": number})
        assert len(server.seen) > 30, "at most four of twenty answers fit"


async def test_requests_that_look_alike_are_one(running: RouterProcess) -> None:
    rows = 8
    data = list(range(100, 100 + rows))
    output = {"name": "y", "datatype": "INT64", "shape": [rows], "parameters": {"unit": "m"}, "data": data}
    async with backend({"json": {"model_name": "m", "outputs": [output]}}) as server:
        port = free_port()
        nodes = [
            {"name": "b", "batch": {"node": "a", "maxSize": rows, "maxWaitMillis": 5000}},
            target(server.url, "OpenInference"),
        ]
        await running.serve([graph(nodes, port=port, protocol="OpenInference")])

        async def one(number: int) -> tuple[str, int, int]:
            told = {"content_type": "np"}
            tensor = {"name": "x", "datatype": "INT64", "shape": [1], "parameters": told, "data": [number]}
            body = {"id": str(number), "inputs": [tensor]}
            async with running.session.post(f"http://127.0.0.1:{port}/v2/models/g/infer", json=body) as answer:
                given = await answer.json()
                assert given["outputs"][0]["parameters"] == {"unit": "m"}
                return given["id"], number, given["outputs"][0]["data"][0]

        begun = time.monotonic()
        found = await asyncio.gather(*(one(number) for number in range(rows)))
        assert time.monotonic() - begun < 2, "a full batch does not wait"
        (seen,) = server.seen
        assert seen.json["inputs"][0]["parameters"] == {"content_type": "np"}
        order = seen.json["inputs"][0]["data"]
        assert sorted(order) == list(range(rows))
        assert all(given == str(number) for given, number, _ in found)
        assert {number: value for _, number, value in found} == dict(zip(order, data, strict=True)), "each gets its row"


async def test_clients_of_one_batch_have_their_credentials_in_common(running: RouterProcess) -> None:
    output = {"name": "y", "datatype": "INT64", "shape": [2], "data": [1, 2]}
    async with backend({"json": {"outputs": [output]}}) as server:
        port = free_port()
        asked = {"url": server.url, "protocol": "OpenInference", "forward": ["authorization"]}
        nodes = [
            {"name": "b", "batch": {"node": "a", "maxSize": 2, "maxWaitMillis": 5000}},
            {"name": "a", "target": asked},
        ]
        await running.serve([graph(nodes, port=port, protocol="OpenInference")])
        tensor = {"name": "x", "datatype": "INT64", "shape": [1], "data": [1]}
        url = f"http://127.0.0.1:{port}/v2/models/g/infer"

        async def one(user: str) -> int:
            async with running.session.post(url, json={"inputs": [tensor]}, headers={"authorization": user}) as answer:
                return answer.status

        assert await asyncio.gather(*(one(user) for user in ("alice", "bob") * 2)) == [200] * 4
        assert sorted(seen.headers["authorization"] for seen in server.seen) == ["alice", "bob"]


async def test_who_leaves_a_cache_takes_the_answer_from_nobody(running: RouterProcess) -> None:
    async with backend({"after": 0.5, "json": 1}) as server:
        port = free_port()
        nodes = [{"name": "c", "cache": {"node": "a", "ttlMillis": 60000, "maxBytes": 10000}}, target(server.url)]
        await running.serve([graph(nodes, port=port)])
        url = f"http://127.0.0.1:{port}/"
        hasty = asyncio.create_task(running.session.post(url, json={}, headers={"x-rondo-timeout-ms": "100"}))
        async with server.news:
            await asyncio.wait_for(server.news.wait_for(lambda: server.seen), PATIENCE)
        assert await statuses(running.session, port, 3, {}) == {200: 3}
        assert (await hasty).status == 504
        assert len(server.seen) == 1


async def test_a_batch_outlives_the_one_who_began_it(running: RouterProcess) -> None:
    output = {"name": "y", "datatype": "INT64", "shape": [1], "data": [7]}
    async with backend({"json": {"outputs": [output]}}) as server:
        port = free_port()
        nodes = [
            {"name": "b", "batch": {"node": "a", "maxSize": 8, "maxWaitMillis": 400}},
            target(server.url, "OpenInference"),
        ]
        await running.serve([graph(nodes, port=port, protocol="OpenInference")])
        body = {"inputs": [{"name": "x", "datatype": "INT64", "shape": [1], "data": [1]}]}
        url = f"http://127.0.0.1:{port}/v2/models/g/infer"
        first = asyncio.create_task(running.session.post(url, json=body))
        await asyncio.sleep(0.1)
        second = asyncio.create_task(running.session.post(url, json=body))
        await asyncio.sleep(0.1)
        first.cancel()
        answer = await asyncio.wait_for(second, PATIENCE)
        assert (await answer.json())["outputs"][0]["data"] == [7]
        assert server.seen[0].json["inputs"][0]["shape"] == [1], "who has gone is not asked for"


async def test_a_mirror_counts_what_agrees(running: RouterProcess) -> None:
    async with backend({"json": {"y": 1}}) as one, backend([{"json": {"y": 1}}, {"json": {"y": 2}}]) as other:
        port = free_port()
        nodes = [
            {"name": "m", "mirror": {"node": "a", "to": ["b"], "compare": "primary.body.y == shadow.body.y"}},
            target(one.url),
            {**target(other.url), "name": "b"},
        ]
        await running.serve([graph(nodes, port=port, name="mirrored")])
        for _ in range(3):
            assert await statuses(running.session, port, 1) == {200: 1}

        async def compared() -> bool:
            return await running.metric("rondo_mirror_disagreements_total", graph="mirrored") == 2

        await eventually("two answers do not agree", compared)
        assert await running.metric("rondo_mirror_agreements_total", graph="mirrored", node="m") == 1
        assert len(one.seen) == len(other.seen) == 3


async def test_a_shadow_of_a_request_for_events_is_compared_like_any_other(running: RouterProcess) -> None:
    message = {"choices": [{"index": 0, "message": {"role": "assistant", "content": "hello"}}]}
    async with backend({"json": message}) as one, backend({"json": message}) as other:
        port = free_port()
        compare = "primary.body.choices[0].message.content == shadow.body.choices[0].message.content"
        nodes = [
            {"name": "m", "mirror": {"node": "a", "to": ["b"], "compare": compare}},
            target(one.url, "OpenAI"),
            {**target(other.url, "OpenAI"), "name": "b"},
        ]
        await running.serve([graph(nodes, port=port, name="events", protocol="OpenAI")])
        body = {"messages": [], "stream": True}
        async with running.session.post(f"http://127.0.0.1:{port}/v1/chat/completions", json=body) as answer:
            assert answer.headers["content-type"] == "text/event-stream"

        async def agreed() -> bool:
            return await running.metric("rondo_mirror_agreements_total", graph="events") == 1

        await eventually("the answers agree", agreed)
        assert "stream" not in one.seen[0].json
        assert "stream" not in other.seen[0].json


async def test_shadows_are_bounded(running: RouterProcess) -> None:
    async with backend({"json": 1}) as one, backend({"after": 3, "json": 1}) as slow:
        port = free_port()
        nodes = [
            {"name": "m", "mirror": {"node": "a", "to": ["b"]}},
            target(one.url),
            {**target(slow.url), "name": "b"},
        ]
        await running.serve([graph(nodes, port=port, name="shadowed")])
        assert await statuses(running.session, port, 100) == {200: 100}
        assert len(slow.seen) <= 64
        assert await running.metric("rondo_mirror_dropped_total", graph="shadowed") >= 36


async def test_hedges_go_by_what_is_usual(running: RouterProcess) -> None:
    async with backend({"json": 1}) as server:
        port = free_port()
        await running.serve([graph([target(server.url, hedge={"budgetPercent": 100})], port=port, name="hedged")])
        for _ in range(40):
            await statuses(running.session, port, 1)
        hedged = await running.metric("rondo_node_hedges_total", graph="hedged")
        server.does = [{}] * len(server.seen) + [{"after": 3, "json": 2}, {"json": 3}]
        begun = time.monotonic()
        assert await statuses(running.session, port, 1) == {200: 1}
        assert time.monotonic() - begun < 1
        assert await running.metric("rondo_node_hedges_total", graph="hedged") > hedged


async def test_who_loses_a_race_and_would_take_long_is_given_up(running: RouterProcess) -> None:
    async def given_up() -> bool:
        return server.broken == 1

    async with backend([{"after": 5.0, "json": "slow"}, {"json": "fast"}]) as server:
        port = free_port()
        hedge = {"afterMillis": 10, "budgetPercent": 100}
        await running.serve([graph([target(server.url, hedge=hedge)], port=port)])
        assert await statuses(running.session, port, 1) == {200: 1}
        await eventually("what came second is taken back", given_up, seconds=3)


async def test_what_is_turned_away_or_given_up_is_counted_of_the_node(running: RouterProcess) -> None:
    async with backend({"after": 1.0, "json": 1}) as server:
        hung, crowded, odd = free_port(), free_port(), free_port()
        limit = {"limit": 1, "queue": 0}
        mapped: Json = {"request": {"body": "request.body.nothing"}}
        await running.serve(
            [
                graph([target(server.url)], port=hung, name="hung", timeoutMillis=200),
                graph([target(server.url, concurrency=limit)], port=crowded, name="crowded"),
                graph([target(server.url, **mapped)], port=odd, name="odd"),
            ]
        )
        assert await statuses(running.session, hung, 1) == {504: 1}
        assert await statuses(running.session, crowded, 3) == {200: 1, 429: 2}
        assert await statuses(running.session, odd, 1, {"q": 1}) == {400: 1}
    for name, outcome, count in (("hung", "given_up", 1), ("crowded", "overloaded", 2), ("odd", "bad_request", 1)):
        assert await running.metric("rondo_node_attempts_total", graph=name, node="a", outcome=outcome) == count


async def test_what_happened_is_counted(running: RouterProcess) -> None:
    async with backend([{"status": 503}, {"json": 1}, {"status": 400}]) as server:
        port = free_port()
        retry = {"limit": 1, "backoffMillis": 1}
        await running.serve([graph([target(server.url, retry=retry)], port=port, name="counted")])
        assert await statuses(running.session, port, 1) == {200: 1}
        assert await statuses(running.session, port, 1) == {400: 1}
    of = {"graph": "counted"}
    assert await running.metric("rondo_graph_requests_total", code="200", **of) == 1
    assert await running.metric("rondo_graph_requests_total", code="400", **of) == 1
    assert await running.metric("rondo_node_attempts_total", node="a", outcome="5xx", **of) == 1
    assert await running.metric("rondo_node_attempts_total", node="a", outcome="2xx", **of) == 1
    assert await running.metric("rondo_node_retries_total", node="a", **of) == 1
    assert await running.metric("rondo_graph_duration_seconds_count", **of) == 2
    assert await running.metric("rondo_graph_requests_in_flight", **of) == 0
