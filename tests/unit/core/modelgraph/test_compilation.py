"""Graphs as the router's plan says them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from rondo.core.modelgraph.compilation import compile_graph, with_port, with_revision
from rondo.core.modelgraph.credentials import Credential, credentials_in, credentials_of
from rondo.core.modelgraph.judge import Accepted, Judge
from rondo.core.modelgraph.surroundings import gather
from rondo.core.plan import Memory
from rondo.core.resources import MODEL_GRAPH
from tests.unit.core.modelgraph.builders import NAMESPACE, Body, graph, target
from tests.unit.core.modelgraph.world import World

GOLDEN = Path(__file__).with_name("plan.json")
"""A plan with every field that a graph can set; the router reads the same file in its own tests."""

KEY = {"secretKeyRef": {"name": "vendor", "key": "token"}}
EVERYTHING: list[Body] = [
    {"name": "all", "sequence": ["clean", "vote", "way", "seen", "kept"]},
    {
        "name": "clean",
        "target": {"kind": "Service", "name": "clean", "port": 8080, "path": "/v2/models/clean/infer"},
        "onError": "Skip",
        "timeout": "1500ms",
        "concurrency": {"limit": 8, "queue": 16},
    },
    {
        "name": "vote",
        "parallel": {
            "nodes": ["small", "big", "far"],
            "combine": {"method": "Vote", "output": "label", "ties": "Lowest"},
            "quorum": 2,
        },
    },
    {
        "name": "weighted",
        "parallel": {
            "nodes": ["small", "big"],
            "combine": {"method": "Weighted", "weights": {"small": 1, "big": 3}},
        },
    },
    {"name": "way", "switch": [{"when": "request.body.n > 1.0", "node": "share"}, {"node": "try"}]},
    {
        "name": "share",
        "split": {"to": [{"node": "small", "weight": 90}, {"node": "big", "weight": 10}], "sticky": "request.path"},
    },
    {
        "name": "try",
        "fallback": [
            {"node": "small", "accept": "response.status == 200.0", "cooldown": "30s"},
            {"node": "weighted"},
            {"node": "other"},
            {"node": "call"},
        ],
    },
    {
        "name": "seen",
        "mirror": {"node": "big", "to": ["small"], "percent": 50, "compare": "primary.body == shadow.body"},
    },
    {"name": "kept", "cache": {"node": "gathered", "key": "request.body.id", "ttl": "5m", "maxBytes": "8Mi"}},
    {"name": "gathered", "batch": {"node": "small", "maxSize": 32, "maxWait": "5ms"}},
    target(
        "small",
        retry={
            "limit": 2,
            "statuses": [503],
            "failures": ["Connect", "Timeout"],
            "backoff": "50ms",
            "maxBackoff": "2s",
            "budget": 10,
        },
        hedge={"after": "200ms", "budget": 5},
        request={
            "body": "request.body",
            "copy": {"a.b": "request.body.x"},
            "set": {"logprobs": True, "n": [1, 0.5, None]},
            "remove": ["y"],
        },
        response={"remove": ["id"]},
    ),
    target("big", circuitBreaker={"failures": 5, "window": "30s", "cooldown": "1m"}, hedge={}, retry={"limit": 1}),
    {
        "name": "far",
        "target": {
            "url": "https://api.example.com/v2",
            "model": "m",
            "protocol": "KServeV1",
            "auth": {"header": {"name": "X-Api-Key", **KEY}},
            "ca": {"configMapKeyRef": {"name": "corporation", "key": "ca.crt"}},
            "forward": ["Cookie", "Authorization"],
        },
    },
    {"name": "call", "target": {"kind": "Service", "name": "clean", "port": 8080, "transport": "GRPC"}},
    {"name": "other", "target": {"kind": "ModelGraph", "name": "inner"}},
]


def world() -> World:
    world = World()
    world.model("small", protocol="OpenInference")
    world.model("big", protocol="OpenAI")
    world.service("clean")
    far = {"name": "far", "target": {"url": "http://[::1]:8000", "model": "m", "auth": {"bearer": KEY}}}
    world.put(graph("inner", far, protocol="OpenInference"))
    world.put(
        graph(
            "everything",
            *EVERYTHING,
            protocol="OpenInference",
            timeout="1m30s",
            limits={"body": "1Mi", "inFlight": 10},
            headers=["X-Request-Id", "traceparent"],
        )
    )
    world.settle()
    return world


def judged(world: World, name: str) -> Accepted:
    thing = world.get(MODEL_GRAPH, name)
    assert thing is not None
    judgement = Judge(gather(world.store, NAMESPACE, [thing], Memory())).judge(name)
    assert isinstance(judgement, Accepted), judgement
    return judgement


def test_a_plan_with_everything_is_as_it_was() -> None:
    """What changes here changes what routers are told: the router's own test of the same file has to agree."""
    plan = world().plan()
    assert plan == json.loads(GOLDEN.read_text()), json.dumps(plan, indent=1)


def test_a_revision_is_that_of_the_content_and_of_nothing_else() -> None:
    one = with_revision({"a": 1, "b": [1, 2]})
    assert one == with_revision({"b": [1, 2], "a": 1, "revision": "other"})
    assert len(one["revision"]) == 12
    assert with_revision({"a": 1, "b": [2, 1]})["revision"] != one["revision"]


def test_a_port_is_part_of_the_revision_and_can_be_taken_away() -> None:
    graph_ = judged(world(), "inner")
    bare = compile_graph(graph_, None)
    assert "port" not in bare
    with_one = compile_graph(graph_, 20_007)
    assert with_one["revision"] != bare["revision"]
    assert with_port(with_one, None) == bare


def test_credentials_of_a_part_of_the_plan_are_those_of_its_targets() -> None:
    graph_ = judged(world(), "everything")
    expected = [Credential("Secret", "vendor", "token"), Credential("ConfigMap", "corporation", "ca.crt")]
    found: Any = compile_graph(graph_, None)
    assert list(credentials_in(found)) == expected
    far = graph_.topology.nodes["far"].target
    assert far is not None
    assert list(credentials_of(far)) == expected
    assert [Credential.of(each.file) for each in expected] == expected
