"""Which nodes pass their answers on as they come."""

from __future__ import annotations

import pytest

from rondo.api.modelgraph import Streaming
from rondo.api.modelruntime import Protocol
from rondo.core.modelgraph.streaming import streaming_of
from tests.unit.core.modelgraph.builders import A, B, Body, C, target, topology

CASES: dict[str, tuple[tuple[Body, ...], str]] = {
    "a target": ((A,), "a"),
    "choices that nobody looks at": (({"name": "f", "fallback": [{"node": "a"}, {"node": "b"}]}, A, B), "f a b"),
    "a choice that is looked at": (
        ({"name": "f", "fallback": [{"node": "a", "accept": "response.body.ok"}, {"node": "b"}]}, A, B),
        "f b",
    ),
    "the last step": (({"name": "s", "sequence": ["a", "b"]}, A, B), "s b"),
    "a step that is read later": (
        ({"name": "s", "sequence": ["a", "b"]}, A, target("b", request={"body": "nodes.a.body"})),
        "s b",
    ),
    "an answer that is mapped": ((target("a", response={"remove": ["id"]}),), ""),
    "below an answer that is mapped": (({"name": "s", "sequence": ["a"], "response": {"remove": ["id"]}}, A), ""),
    "a call of gRPC": (
        (
            {"name": "f", "fallback": [{"node": "g"}, {"node": "a"}]},
            {"name": "g", "target": {"kind": "Service", "name": "s", "port": 9, "transport": "GRPC"}},
            A,
        ),
        "f a",
    ),
    "several at once": (({"name": "p", "parallel": {"nodes": ["a", "b"]}}, A, B), "p"),
    "a mirror": (({"name": "m", "mirror": {"node": "a", "to": ["b"]}}, A, B), "m a"),
    "a mirror that compares": (
        ({"name": "m", "mirror": {"node": "a", "to": ["b"], "compare": "primary.body == shadow.body"}}, A, B),
        "m",
    ),
    "a cache": (({"name": "k", "cache": {"node": "a", "ttl": "1m"}}, A), "k"),
    "reached in two ways": (
        ({"name": "f", "fallback": [{"node": "p"}, {"node": "a"}]}, {"name": "p", "parallel": {"nodes": ["a"]}}, A),
        "f p",
    ),
    "a switch and a split": (
        (
            {"name": "s", "switch": [{"when": "request.body.x", "node": "d"}, {"node": "c"}]},
            {"name": "d", "split": {"to": [{"node": "a", "weight": 50}, {"node": "b", "weight": 50}]}},
            A,
            B,
            C,
        ),
        "s d a b c",
    ),
}


@pytest.mark.parametrize(("nodes", "want"), CASES.values(), ids=CASES)
def test_what_passes(nodes: tuple[Body, ...], want: str) -> None:
    found = streaming_of(topology(*nodes), {})
    assert {name for name, how in found.items() if how is Streaming.PASSTHROUGH} == set(want.split())


def test_what_is_translated_is_read() -> None:
    found = streaming_of(topology(A), {"a": Protocol.OPEN_INFERENCE})
    assert found == {"a": Streaming.BUFFERED}
