"""The tree of a graph, and how it and its nodes are."""

from __future__ import annotations

from typing import Any

import pytest

from rondo.cli.graph.topology import Branch, graph_node, graph_state, members, tree, why_not_ready
from rondo.cli.progress import Node, Tone
from tests.unit.cli.builders import down, graph, said, target, up


def shape(branches: tuple[Branch, ...]) -> list[Any]:
    """Names and what hangs below them; `^name` for one that stood above already."""
    return [
        [f"^{branch.name}" if branch.again else branch.name, *shape(branch.children)]
        if branch.children
        else (f"^{branch.name}" if branch.again else branch.name)
        for branch in branches
    ]


SHAPES: dict[str, tuple[list[dict[str, Any]], list[Any]]] = {
    "one node": ([target("a")], ["a"]),
    "a tree": (
        [
            {"name": "f", "fallback": [{"node": "s"}, {"node": "c"}]},
            {"name": "s", "sequence": ["a", "b"]},
            *(target(name) for name in "abc"),
        ],
        [["f", ["s", "a", "b"], "c"]],
    ),
    "a node that two ask": (
        [
            {"name": "f", "fallback": [{"node": "s"}, {"node": "t"}]},
            {"name": "s", "sequence": ["a", "t"]},
            {"name": "t", "sequence": ["a", "b"]},
            *(target(name) for name in "ab"),
        ],
        [["f", ["s", "a", ["t", "^a", "b"]], "^t"]],
    ),
    "a circle": ([{"name": "s", "sequence": ["t"]}, {"name": "t", "sequence": ["s"]}], [["s", ["t", "^s"]]]),
    "a node that is not there": ([{"name": "s", "sequence": ["zz"]}], [["s", "zz"]]),
    "nodes that nobody asks": ([target("a"), {"name": "s", "sequence": ["b"]}, target("b")], ["a", ["s", "b"]]),
}


@pytest.mark.parametrize(("nodes", "want"), SHAPES.values(), ids=SHAPES.keys())
def test_tree(nodes: list[dict[str, Any]], want: list[Any]) -> None:
    assert shape(tree(graph(*nodes))) == want


def test_roles_say_what_is_wrong() -> None:
    broken = graph({"name": "s", "sequence": ["zz"]}, target("alone"))
    (entry, alone) = tree(broken)
    assert entry.children[0].role == "there is no such node"
    assert alone.role == "no request comes here"


READY = said("Ready", "True", "Ready", "2 routers serve revision r1")
DOWN = said("Ready", "False", "NoEndpoints", "node f: no node can answer")
STATES: dict[str, tuple[dict[str, Any], tuple[str, Tone], str]] = {
    "ready": (graph(target("a")), ("Ready", Tone.GOOD), ""),
    "degraded": (
        graph(
            target("a"),
            conditions=[said("Degraded", "True", "NoEndpoints", "a"), said("Ready", "True", "Degraded", "but: a")],
        ),
        ("Degraded", Tone.TROUBLE),
        "g is Degraded: but: a",
    ),
    "stalled": (
        graph(target("a"), conditions=[said("Ready", "False", "InvalidSpec", "x"), said("Stalled", "True")]),
        ("Stalled", Tone.BAD),
        "g is not Ready: x",
    ),
    "down": (
        graph(target("a"), conditions=[DOWN, said("Reconciling", "True")]),
        ("Progressing", Tone.TROUBLE),
        "g is not Ready: node f: no node can answer",
    ),
    "starting": (
        graph(target("a"), conditions=[said("Ready", "False", "RouterStarting", "no pod yet")]),
        ("Progressing", Tone.ACTIVE),
        "g is not Ready: no pod yet",
    ),
    "of an older generation": (
        graph(target("a"), generation=2),
        ("Progressing", Tone.ACTIVE),
        "g is not Ready: the operator has not looked at generation 2 yet",
    ),
}


@pytest.mark.parametrize(("given", "want", "why"), STATES.values(), ids=STATES.keys())
def test_state(given: dict[str, Any], want: tuple[str, Tone], why: str) -> None:
    assert graph_state(given) == want
    assert why_not_ready(given) == why


CASCADE = graph(
    {"name": "f", "fallback": [{"node": "a"}, {"node": "b"}]},
    target("a", timeout="8s"),
    target("b"),
    statuses=[
        up("f", "Fallback", streaming="Buffered"),
        down("a", "NoEndpoints", "ModelDeployment a has no ready pod", url="http://a.team.svc"),
        up("b", url="http://b.team.svc", streaming="Passthrough"),
    ],
)


def test_members() -> None:
    found = members(CASCADE)
    assert (found["f"].state, found["f"].kind, found["f"].streaming) == ("Ready", "fallback", "Buffered")
    a = found["a"]
    assert (a.state, a.message, a.url) == ("NoEndpoints", "ModelDeployment a has no ready pod", "http://a.team.svc")
    assert (a.does, a.policies, a.limit) == ("ModelDeployment a", ("timeout 8s",), "8s")


def test_members_of_which_nothing_is_known_yet() -> None:
    assert members(graph(target("a")))["a"].state == "Unknown"
    bare = {"metadata": {"name": "g", "generation": 1}, "spec": {"entry": "a", "nodes": [target("a")]}}
    assert members(bare)["a"].state == "Unknown"
    assert graph_state(bare) == ("Progressing", Tone.ACTIVE)


def test_what_is_watched() -> None:
    node = graph_node(CASCADE)
    assert (node.name, node.state) == ("ModelGraph g", "Ready")
    (entry,) = node.children
    assert [(each.name, each.state, each.tone, each.words) for each in entry.children] == [
        ("a", "NoEndpoints", Tone.BAD, "ModelDeployment a has no ready pod"),
        ("b", "Ready", Tone.GOOD, "then; ModelDeployment b"),
    ]


def test_what_is_watched_of_a_graph_that_is_not_accepted() -> None:
    stalled = [said("Ready", "False", "InvalidSpec", "spec.nodes[0]: wrong"), said("Stalled", "True")]
    node = graph_node(graph(target("a"), conditions=stalled))
    assert node == Node("ModelGraph g", "Stalled", Tone.BAD, "", "spec.nodes[0]: wrong; http://g.team.svc")
