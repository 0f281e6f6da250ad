"""Every row of `cases.yaml`: a graph, servers that do something, a request, and what has to come of it."""

from __future__ import annotations

import asyncio
import contextlib
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.integration.router.backends import Backend, backend
from tests.integration.router.process import RouterProcess, graph
from tests.ports import free_port

Json = Any

CASES: list[dict[str, Json]] = yaml.safe_load((Path(__file__).parent / "cases.yaml").read_text())

PATHS = {"OpenInference": "/v2/models/g/infer", "KServeV1": "/v1/models/g:predict", "OpenAI": "/v1/chat/completions"}


def test_there_are_at_least_eighty_cases_with_names_of_their_own() -> None:
    names = [case["name"] for case in CASES]
    assert len(set(names)) == len(names) >= 80


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
async def test_case(running: RouterProcess, case: dict[str, Json]) -> None:
    async with contextlib.AsyncExitStack() as stack:
        servers = {name: await stack.enter_async_context(backend(does)) for name, does in case["servers"].items()}
        graphs = plan_of(case, servers)
        await running.serve(graphs)
        for step in case.get("requests", [case]):
            await ask(running, graphs[0], step)
        for name, count in case.get("asked", {}).items():
            assert len(servers[name].seen) == count, f"requests to {name}"
        for name, expected in case.get("sees", {}).items():
            assert_like(as_told(servers[name]), expected, f"what {name} saw")


def plan_of(case: dict[str, Json], servers: dict[str, Backend]) -> list[Json]:
    """Give the graphs of a case, with the addresses of its servers in place of `@name`."""
    text = json.dumps({"nodes": case["nodes"], "others": case.get("graphs", [])})
    for name, server in servers.items():
        text = text.replace(f'"@{name}', f'"{server.url}')
    filled = json.loads(text.replace('"@nobody', f'"http://127.0.0.1:{free_port()}'))
    protocol = case.get("protocol", "JSON")
    for nodes in [filled["nodes"], *(other["nodes"] for other in filled["others"])]:
        for node in nodes:
            if "target" in node:
                node["target"].setdefault("protocol", protocol)
    main = graph(filled["nodes"], port=free_port(), protocol=protocol, **case.get("graph", {}))
    others = [{"revision": "1", "timeoutMillis": 5000, "protocol": protocol, **other} for other in filled["others"]]
    return [main, *others]


async def ask(running: RouterProcess, asked: Json, step: dict[str, Json]) -> None:
    """Send a request and compare what comes."""
    path = step.get("path", PATHS.get(asked["protocol"], "/"))
    body = step["text"].encode() if "text" in step else json.dumps(step.get("body", {})).encode()
    headers = {"content-type": "application/json", **step.get("headers", {})}
    await asyncio.sleep(step.get("pause", 0))
    loop = asyncio.get_running_loop()
    begun = loop.time()
    url = f"http://127.0.0.1:{asked['port']}{path}"
    async with running.session.request(step.get("method", "POST"), url, data=body, headers=headers) as answer:
        given = await answer.text()
    took = loop.time() - begun
    assert answer.status == step.get("status", 200), given
    for name, value in step.get("answers", {}).items():
        assert answer.headers.get(name) == value, f"header {name}"
    if "within" in step:
        assert took < step["within"], f"it took {took:.3f} s"
    if "gives" in step:
        assert_like(json.loads(given), step["gives"], "answer")
    if "says" in step:
        assert step["says"] in given


def as_told(server: Backend) -> list[Json]:
    """Give the requests that a server saw, as rows of the table tell them."""
    return [
        {"path": seen.path, "headers": dict(seen.headers), "body": seen.json if seen.body else None}
        for seen in server.seen
    ]


def assert_like(given: Json, expected: Json, place: str) -> None:
    """Compare; of an object only the members that are expected, `null` where there must be none."""
    if isinstance(expected, dict) and isinstance(given, dict):
        for key, value in expected.items():
            assert_like(given.get(key), value, f"{place}.{key}")
    elif isinstance(expected, list) and isinstance(given, list):
        assert len(given) == len(expected), f"{place}: {given}"
        for index, (one, other) in enumerate(zip(given, expected, strict=True)):
            assert_like(one, other, f"{place}[{index}]")
    else:
        assert given == expected, f"{place}: {given!r} is not {expected!r}"
