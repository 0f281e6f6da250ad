"""What a graph did with a request, as a tree."""

from __future__ import annotations

from typing import Any

import pytest

from rondo.cli.graph.topology import members
from rondo.cli.graph.trail import steps_node
from rondo.cli.progress import Node, Tone
from tests.unit.cli.builders import graph, target


def step(id_: int, node: str, parent: int | None = None, **fields: Any) -> dict[str, Any]:
    told = {"id": id_, "graph": "g", "node": node, "start": 0.0, "took": 5.0, "attempts": 1}
    if parent is not None:
        told["parent"] = parent
    if not {"status", "error"} & fields.keys() and fields.get("took", 0) is not None:
        told["status"] = 200
    return {key: value for key, value in {**told, **fields}.items() if value is not None}


def row(node: Node | None) -> tuple[str, Tone, str, str]:
    assert node is not None
    return node.state, node.tone, node.took, node.words


ROWS: dict[str, tuple[dict[str, Any], tuple[str, Tone, str, str]]] = {
    "well": ({}, ("200", Tone.GOOD, "5.0 ms", "")),
    "tried again": (
        {"attempts": 3, "retried": ["status 503", "refused"]},
        ("200", Tone.GOOD, "5.0 ms", "3 attempts, before: status 503, refused"),
    ),
    "hedged, from the cache": (
        {"hedged": True, "cached": True},
        ("200", Tone.GOOD, "5.0 ms", "hedged; from the cache"),
    ),
    "a bad status": ({"status": 500}, ("500", Tone.BAD, "5.0 ms", "")),
    "a failure": (
        {"error": "no answer within 1s", "code": "timeout"},
        ("timeout", Tone.BAD, "5.0 ms", "no answer within 1s"),
    ),
    "left alone": (
        {"error": "its circuit breaker is open", "code": "circuit_open", "attempts": 0},
        ("circuit open", Tone.BAD, "5.0 ms", "its circuit breaker is open"),
    ),
    "a failure that others made good": (
        {"error": "refused", "code": "connect", "leftOut": "refused"},
        ("connect", Tone.TROUBLE, "5.0 ms", "left out: refused"),
    ),
    "an answer that was not taken": (
        {"leftOut": "its answer was not accepted"},
        ("200", Tone.TROUBLE, "5.0 ms", "left out: its answer was not accepted"),
    ),
    "nobody waited for it": ({"took": None}, ("given up", Tone.NEUTRAL, "", "")),
}


@pytest.mark.parametrize(("fields", "want"), ROWS.values(), ids=ROWS.keys())
def test_step(fields: dict[str, Any], want: tuple[str, Tone, str, str]) -> None:
    assert row(steps_node([step(0, "a", **fields)], {})) == want


KNOWN = members(
    graph(
        {"name": "w", "switch": [{"when": "true", "node": "f"}, {"node": "z"}]},
        {"name": "f", "fallback": [{"node": "a"}, {"node": "b"}, {"node": "c"}]},
        *(target(name) for name in "abcz"),
    )
)


def test_tree_with_what_was_not_asked() -> None:
    steps = [step(0, "w"), step(1, "f", 0), step(2, "a", 1, status=503, leftOut="status 503"), step(3, "b", 1)]
    tree = steps_node(steps, KNOWN)
    assert tree is not None
    fallback, skipped = tree.children
    assert [(each.name, each.state) for each in fallback.children] == [("a", "503"), ("b", "200"), ("c", "not asked")]
    assert (skipped.name, skipped.state, skipped.tone) == ("z", "not asked", Tone.IDLE)


def test_a_node_that_is_asked_twice_stands_twice() -> None:
    tree = steps_node([step(0, "s"), step(1, "a", 0), step(2, "a", 0)], {})
    assert tree is not None
    assert [each.name for each in tree.children] == ["a", "a"]


def test_nodes_of_a_graph_within_are_not_those_of_this_one() -> None:
    tree = steps_node([step(0, "w"), step(1, "f", 0, graph="h"), step(2, "x", 1, graph="h")], KNOWN)
    assert tree is not None
    assert [each.name for each in tree.children[0].children] == ["x"]


def test_while_a_release_runs_the_nodes_of_its_parts_are_those_of_the_graph() -> None:
    known = members(graph({"name": "new", "fallback": [{"node": "a"}, {"node": "b"}]}, target("a"), target("b")))
    divided = [step(0, "release"), step(1, "new", 0)]
    tree = steps_node([*divided, step(2, "new", 1, graph="g.new"), step(3, "a", 2, graph="g.new")], known)
    assert tree is not None
    (divider,) = tree.children
    (entry,) = divider.children
    assert [each.name for each in entry.children] == ["a", "b"], "b was not asked"


def test_answers_are_shown_on_request_and_cut() -> None:
    steps = [step(0, "a", answer={"x": "y" * 1000})]
    assert row(steps_node(steps, {}))[3] == ""
    words = row(steps_node(steps, {}, answers=True))[3]
    assert words.startswith('{"x": "yyy')
    assert words.endswith("... (1009 characters)")


def test_no_steps_are_no_tree() -> None:
    assert steps_node([], KNOWN) is None
