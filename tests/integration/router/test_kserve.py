"""InferenceGraphs, translated and asked: the router answers what KServe's does.

What KServe answers is known from its `cmd/router` and its end-to-end tests, of which the shapes are.
"""

from __future__ import annotations

import contextlib
from typing import Any

import pytest

from rondo.api.modelgraph import ModelGraphSpec
from rondo.core.modelgraph.compilation import compile_graph
from rondo.core.modelgraph.judge import Accepted
from rondo.core.modelgraph.members import Member, find_server
from rondo.core.modelgraph.surroundings import Surroundings
from rondo.core.modelgraph.topology import Topology
from rondo.kserve.graph import import_graph
from tests.integration.router.backends import Backend, backend
from tests.integration.router.process import RouterProcess
from tests.ports import free_port

Json = Any

pytestmark = pytest.mark.asyncio(loop_scope="module")

DOG, CAT = {"json": {"predictions": ["dog"]}}, {"json": {"predictions": ["cat"]}}
BREED = {"json": {"predictions": ["beagle"]}}
OK = {"json": {"predictions": [{"message": "SUCCESS"}]}}
MISSING = {"status": 404, "json": {"detail": "Intentional 404 code"}}
BROKEN = {"status": 503, "json": {"detail": "busy"}}
ASKED = {"instances": [[1, 2]], "decision_picker": "ERROR"}


def sequence(*steps: Json) -> Json:
    return {"root": {"routerType": "Sequence", "steps": list(steps)}}


def one(address: str, **fields: Json) -> Json:
    return {"serviceUrl": f"@{address}/v1/models/m:predict", "dependency": "Hard", **fields}


BREEDS = sequence(one("a"), one("b", condition='[@this].#(predictions.0=="dog")'))
PICK = {
    "root": {
        "routerType": "Switch",
        "steps": [
            one("a", condition="[@this].#(decision_picker==ERROR)"),
            one("b", condition="[@this].#(decision_picker==SUCCESS)"),
        ],
    }
}
BOTH = {"root": {"routerType": "Ensemble", "steps": [one("a", name="Model_A"), one("b")]}}
SOFT_BOTH = {"root": {"routerType": "Ensemble", "steps": [one("a", dependency="Soft"), one("b", dependency="Soft")]}}
NESTED = {
    "root": {"routerType": "Sequence", "steps": [{"nodeName": "x", "dependency": "Hard"}, one("b")]},
    "x": {"routerType": "Splitter", "steps": [one("a", weight=100)]},
}
PASSED = sequence(one("a"), one("b", data="$response"))
MAPPED = sequence(one("a"), one("b", data="$response", mapPredictionsToInstances=True))
ENDS_EARLY = sequence(one("a"), one("b", condition="predictions.#(==cat)"), one("c", data="$response"))
LENIENT = sequence(one("a", dependency="Soft"), one("b", data="$response"))
SWITCHED = {
    "root": {"routerType": "Sequence", "steps": [one("a"), {"nodeName": "x", "data": "$response"}]},
    "x": {"routerType": "Switch", "steps": [one("b", condition='predictions.#(%"d*")')]},
}

# The routers, what the servers do, the status and body of the answer, and what each server was asked.
CASES: dict[str, tuple[Json, dict[str, Json], int, Json, dict[str, list[Json]]]] = {
    "a dog is looked at again": (BREEDS, {"a": DOG, "b": BREED}, 200, BREED["json"], {"a": [ASKED], "b": [ASKED]}),
    "a cat is not": (BREEDS, {"a": CAT, "b": BREED}, 200, CAT["json"], {"b": []}),
    "a first step that refuses": (BREEDS, {"a": MISSING, "b": BREED}, 404, MISSING["json"], {"b": []}),
    "a first step that is broken": (BREEDS, {"a": BROKEN, "b": BREED}, 503, BROKEN["json"], {"b": []}),
    "a second step that refuses": (BREEDS, {"a": DOG, "b": MISSING}, 404, MISSING["json"], {}),
    "the end of a sequence takes what follows with it": (
        ENDS_EARLY, {"a": DOG, "b": OK, "c": OK}, 200, DOG["json"], {"b": [], "c": []},
    ),
    "what follows goes on from there": (
        ENDS_EARLY, {"a": CAT, "b": OK, "c": BREED}, 200, BREED["json"], {"b": [ASKED], "c": [OK["json"]]},
    ),
    "a case of a switch that refuses": (PICK, {"a": MISSING, "b": OK}, 404, MISSING["json"], {"b": []}),
    "an ensemble": (
        BOTH, {"a": DOG, "b": CAT}, 200, {"Model_A": DOG["json"], "1": CAT["json"]}, {"a": [ASKED], "b": [ASKED]},
    ),
    "a hard step of an ensemble": (BOTH, {"a": MISSING, "b": CAT}, 404, MISSING["json"], {}),
    "a soft step of an ensemble": (
        SOFT_BOTH, {"a": MISSING, "b": CAT}, 200, {"0": MISSING["json"], "1": CAT["json"]}, {},
    ),
    "a hard router that fails": (NESTED, {"a": MISSING, "b": OK}, 404, MISSING["json"], {"b": []}),
    "both get what was asked": (NESTED, {"a": DOG, "b": OK}, 200, OK["json"], {"a": [ASKED], "b": [ASKED]}),
    "an answer passed on": (PASSED, {"a": DOG, "b": OK}, 200, OK["json"], {"b": [DOG["json"]]}),
    "predictions that become instances": (
        MAPPED, {"a": DOG, "b": OK}, 200, OK["json"], {"b": [{"instances": ["dog"], "decision_picker": "ERROR"}]},
    ),
    "a soft step whose error is passed on": (
        LENIENT, {"a": MISSING, "b": OK}, 200, OK["json"], {"b": [MISSING["json"]]},
    ),
    "a switch over an answer": (SWITCHED, {"a": DOG, "b": OK}, 200, OK["json"], {"b": [DOG["json"]]}),
    "a switch over an answer that it does not take": (SWITCHED, {"a": CAT, "b": OK}, 404, None, {"b": []}),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
async def test_answers_as_kserve_does(running: RouterProcess, name: str) -> None:
    routers, servers, status, body, asked = CASES[name]
    async with contextlib.AsyncExitStack() as stack:
        backends = {key: await stack.enter_async_context(backend(does)) for key, does in servers.items()}
        port = free_port()
        await running.serve([plan(routers, backends, port)])
        async with running.session.post(f"http://127.0.0.1:{port}/v1/models/g:predict", json=ASKED) as answer:
            told = await answer.json()
        assert answer.status == status, told
        assert body is None or told == body
        for key, bodies in asked.items():
            assert [seen.json for seen in backends[key].seen] == bodies, key
        assert {seen.path for each in backends.values() for seen in each.seen} <= {"/v1/models/m:predict"}


async def test_a_splitter_divides(running: RouterProcess) -> None:
    steps = [one("a", weight=20), one("b", weight=80)]
    async with backend(DOG) as a, backend(CAT) as b:
        port = free_port()
        split = {"root": {"routerType": "Splitter", "steps": steps}}
        await running.serve([plan(split, {"a": a, "b": b}, port)])
        for _ in range(400):
            async with running.session.post(f"http://127.0.0.1:{port}/v1/models/g:predict", json=ASKED) as answer:
                assert answer.status == 200
        assert len(a.seen) + len(b.seen) == 400
        # 80 are expected; five standard deviations are 40.
        assert 40 <= len(a.seen) <= 120


def plan(routers: Json, servers: dict[str, Backend], port: int) -> Json:
    """Translate a graph and compile it as the operator does."""
    result = import_graph({"metadata": {"name": "g"}, "spec": {"nodes": _addressed(routers, servers)}}, {})
    assert result.problems == ()
    spec = ModelGraphSpec.model_validate(result.documents[0]["spec"])
    members: dict[str, Member] = {}
    for node in spec.nodes:
        if node.target is not None:
            found = find_server(node.target, spec.protocol, Surroundings("team", {}))
            assert isinstance(found, Member)
            members[node.name] = found
    return compile_graph(Accepted("g", Topology(spec), members, {}, {}), port)


def _addressed(value: Json, servers: dict[str, Backend]) -> Json:
    """Put the addresses of servers in the place of `@name`."""
    match value:
        case dict():
            return {key: _addressed(item, servers) for key, item in value.items()}
        case list():
            return [_addressed(item, servers) for item in value]
        case str() if value.startswith("@"):
            name, _, path = value[1:].partition("/")
            return f"{servers[name].url}/{path}"
        case _:
            return value
