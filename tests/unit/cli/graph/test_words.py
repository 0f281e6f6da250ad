"""What a node does, in a few words."""

from __future__ import annotations

from typing import Any

import pytest

from rondo.api.modelgraph import NODE_KINDS, Node
from rondo.cli.graph.words import KINDS, asks_of, does, policies

URL = {"url": "https://api.example.com/v1", "model": "large", "protocol": "OpenAI"}
POLICIES = {
    "timeout": "8s",
    "retry": {"limit": 2},
    "hedge": {},
    "circuitBreaker": {"failures": 5},
    "concurrency": {"limit": 8, "queue": 4},
    "onError": "Skip",
    "request": {"set": {"a": 1}},
    "response": {"remove": ["b"]},
}

CASES: dict[str, tuple[dict[str, Any], str, list[tuple[str, str]]]] = {
    "a model": ({"target": {"name": "small"}}, "ModelDeployment small", []),
    "a service": ({"target": {"kind": "Service", "name": "s", "port": 80}}, "Service s:80", []),
    "an address": ({"target": URL}, "url, speaks OpenAI, model large", []),
    "a sequence": ({"sequence": ["a", "b"]}, "sequence", [("a", "step 1"), ("b", "step 2")]),
    "a vote": (
        {"parallel": {"nodes": ["a", "b", "c"], "combine": {"method": "Vote", "output": "y"}, "quorum": 2}},
        "parallel, Vote of y, 2 of 3 are enough",
        [("a", ""), ("b", ""), ("c", "")],
    ),
    "weights": (
        {"parallel": {"nodes": ["a", "b"], "combine": {"method": "Weighted", "weights": {"a": 3}}}},
        "parallel, Weighted",
        [("a", "weight 3"), ("b", "")],
    ),
    "a switch": (
        {"switch": [{"when": "request.body.x == 1.0", "node": "a"}, {"node": "b"}]},
        "switch",
        [("a", "when request.body.x == 1.0"), ("b", "otherwise")],
    ),
    "a split": (
        {"split": {"to": [{"node": "a", "weight": 90}, {"node": "b", "weight": 10}], "sticky": "request.body.user"}},
        "split, the same for the same request.body.user",
        [("a", "90 %"), ("b", "10 %")],
    ),
    "a fallback": (
        {"fallback": [{"node": "a", "cooldown": "5s"}, {"node": "b", "accept": "response.body.ok"}]},
        "fallback",
        [("a", "first, rests 5s after a failure"), ("b", "then, accepted if response.body.ok")],
    ),
    "a mirror": (
        {"mirror": {"node": "a", "to": ["b"], "percent": 10}},
        "mirror",
        [("a", "answers"), ("b", "sees 10 % of the requests too")],
    ),
    "a cache": (
        {"cache": {"node": "a", "ttl": "60s", "key": "request.body.q"}},
        "cache for 60s by request.body.q",
        [("a", "if it is not in the cache")],
    ),
    "a batch": (
        {"batch": {"node": "a", "maxSize": 32, "maxWait": "5ms"}},
        "batches of up to 32 rows within 5ms",
        [("a", "")],
    ),
}


@pytest.mark.parametrize(("fields", "want", "asks"), CASES.values(), ids=CASES.keys())
def test_what_it_does_and_whom_it_asks(fields: dict[str, Any], want: str, asks: list[tuple[str, str]]) -> None:
    node = {"name": "n", **fields}
    Node.model_validate(node)
    assert does(node) == want
    assert [(ask.node, ask.role) for ask in asks_of(node)] == asks


def test_policies() -> None:
    node = {"name": "n", "target": {"name": "m"}, **POLICIES}
    Node.model_validate(node)
    assert list(policies(node)) == [
        "timeout 8s",
        "retry 2",
        "hedge after p95",
        "breaker 5 in 30s",
        "8 at once, 4 wait",
        "left out on error",
        "maps request and response",
    ]


def test_kinds_are_those_of_the_api_and_each_has_a_case() -> None:
    assert KINDS == NODE_KINDS
    assert {kind for fields, _, _ in CASES.values() for kind in fields} == set(NODE_KINDS)


def test_a_kind_of_a_newer_version_is_passed_over() -> None:
    node = {"name": "n", "dream": {"node": "a"}}
    assert (does(node), list(asks_of(node)), list(policies(node))) == ("", [], [])
