"""Random graphs over servers that fail: every request gets one answer, in time, and nobody is asked too often."""

from __future__ import annotations

import contextlib
import time
import uuid
from collections.abc import AsyncIterator, Mapping
from typing import Any, Final

import aiohttp
import pytest
import pytest_asyncio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.integration.router.backends import Backend, backend
from tests.integration.router.process import RouterProcess, eventually, graph
from tests.ports import free_port

Json = Any

pytestmark = pytest.mark.asyncio(loop_scope="module")

DEADLINE: Final = 0.6
SLACK: Final = 1.0
"""Seconds that a loaded machine may take besides."""

SERVERS: Final[Mapping[str, Json]] = {
    "good": {"json": {"y": 1}},
    "bad": {"status": 500},
    "busy": {"status": 429, "headers": {"retry-after": "1"}},
    "wrong": {"status": 400},
    "flapping": [{"status": 503}, {"json": {"y": 2}}] * 5000,
    "leaving": [{"hangUp": True}, {"json": {"y": 3}}] * 5000,
    "slow": {"after": 0.25, "json": {"y": 4}},
    "dead": {"after": 30, "json": {}},
    "broken": {"json": {"y": 5}, "claims": 1000},
    "garbled": {"text": "{oops"},
}


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def servers() -> AsyncIterator[dict[str, Backend]]:
    """All servers, for the whole module."""
    async with contextlib.AsyncExitStack() as stack:
        yield {name: await stack.enter_async_context(backend(does)) for name, does in SERVERS.items()}


@st.composite
def policies(draw: st.DrawFn) -> Json:
    """Give a node some of the policies that there are."""
    retry = st.fixed_dictionaries(
        {
            "limit": st.integers(0, 2),
            "backoffMillis": st.just(1),
            "failures": st.lists(st.sampled_from(["Connect", "Timeout", "Reset"]), unique=True),
        }
    )
    hedge = st.fixed_dictionaries({"afterMillis": st.sampled_from([1, 50]), "budgetPercent": st.just(100)})
    breaker = st.just({"failures": 3, "windowMillis": 1000, "cooldownMillis": 100})
    limit = st.fixed_dictionaries({"limit": st.integers(1, 4), "queue": st.integers(0, 2)})
    mapping = st.sampled_from([{"set": {"z": 1}}, {"remove": ["y"]}, {"body": "{'y': 1.0}"}])
    some: Json = draw(
        st.fixed_dictionaries(
            {},
            optional={
                "timeoutMillis": st.sampled_from([50, 200]),
                "retry": retry,
                "hedge": hedge,
                "circuitBreaker": breaker,
                "concurrency": limit,
                "onError": st.sampled_from(["Fail", "Skip"]),
                "request": mapping,
                "response": mapping,
            },
        )
    )
    return some


@st.composite
def graphs(draw: st.DrawFn) -> list[Json]:
    """Give nodes, of which each asks only those behind it; the first is the entry."""
    count = draw(st.integers(1, 7))
    nodes: list[Json] = []
    for index in reversed(range(count)):
        behind = [node["name"] for node in nodes]
        nodes.insert(0, {"name": f"n{index}", **draw(kinds(behind)), **draw(policies())})
    return nodes


def kinds(behind: list[str]) -> st.SearchStrategy[Json]:
    """Give a kind of node over those behind it."""
    target = st.sampled_from(sorted(SERVERS)).map(lambda name: {"target": {"url": f"@{name}", "protocol": "JSON"}})
    if not behind:
        return target
    one = st.sampled_from(behind)
    some = st.lists(one, min_size=1, max_size=3, unique=True)
    return st.one_of(
        target,
        some.map(lambda names: {"sequence": names}),
        some.map(lambda names: {"parallel": {"nodes": names}}),
        some.map(lambda names: {"parallel": {"nodes": names, "quorum": 1, "combine": {"method": "First"}}}),
        some.map(lambda names: {"fallback": [{"node": name, "accept": "response.body.y > 1.0"} for name in names]}),
        some.map(lambda names: {"fallback": [{"node": name, "cooldownMillis": 50} for name in names]}),
        some.map(lambda names: {"split": {"to": [{"node": name, "weight": 1} for name in names]}}),
        one.map(lambda name: {"switch": [{"when": "has(request.body.q)", "node": name}]}),
        one.map(lambda name: {"cache": {"node": name, "ttlMillis": 50, "maxBytes": 10000}}),
        st.tuples(one, one).map(lambda two: {"mirror": {"node": two[0], "to": [two[1]]}}),
    )


def most(nodes: Mapping[str, Json], name: str, server: str) -> int:
    """Tell how often a request may ask a server at most, by the policies on the way to it."""
    node = nodes[name]
    match node:
        case {"target": {"url": url}}:
            once = int(url == f"@{server}")
        case {"sequence": names} | {"parallel": {"nodes": names}}:
            once = sum(most(nodes, each, server) for each in names)
        case {"fallback": choices}:
            once = sum(most(nodes, each["node"], server) for each in choices)
        case {"split": {"to": shares}}:
            once = max(most(nodes, each["node"], server) for each in shares)
        case {"switch": [{"node": only}]} | {"cache": {"node": only}}:
            once = most(nodes, only, server)
        case {"mirror": {"node": primary, "to": [shadow]}}:
            once = most(nodes, primary, server) + most(nodes, shadow, server)
        case _:
            raise AssertionError(node)
    tries: int = 1 + node.get("retry", {}).get("limit", 0)
    return once * tries * (2 if "hedge" in node else 1)


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(nodes=graphs())
async def test_every_request_gets_one_answer_in_time(
    running: RouterProcess, servers: dict[str, Backend], nodes: list[Json]
) -> None:
    port = free_port()
    filled = [with_address(node, servers) for node in nodes]
    await running.serve([graph(filled, port=port, timeoutMillis=int(DEADLINE * 1000), headers=["x-request-id"])])
    by_name = {node["name"]: node for node in nodes}
    bounds = {name: most(by_name, "n0", name) for name in servers}
    async with aiohttp.ClientSession() as session:
        for _ in range(2):
            name_of_it, begun = {"x-request-id": uuid.uuid4().hex}, time.monotonic()
            async with session.post(f"http://127.0.0.1:{port}/", json={"q": 1}, headers=name_of_it) as answer:
                await answer.read()
            assert time.monotonic() - begun < DEADLINE + SLACK
            assert 200 <= answer.status < 600
            await shadows_have_ended(running)
            asked = {name: asks(server, name_of_it) for name, server in servers.items()}
            assert all(asked[name] <= bounds[name] for name in servers), (asked, bounds)


def asks(server: Backend, name_of_it: Mapping[str, str]) -> int:
    """Count what a server was asked for one request: some of it may be read only when the next is under way."""
    return sum(name_of_it.items() <= seen.headers.items() for seen in server.seen)


def with_address(node: Json, servers: Mapping[str, Backend]) -> Json:
    """Fill in the address of a target."""
    if "target" not in node:
        return node
    return {**node, "target": {**node["target"], "url": servers[node["target"]["url"][1:]].url}}


async def shadows_have_ended(running: RouterProcess) -> None:
    """Wait until nothing of this request is under way any more; a mirror goes on after its answer."""

    async def over() -> bool:
        return await running.metric("rondo_graph_requests_in_flight") == 0

    await eventually("nothing is under way", over)
