"""What a graph shows of itself: from the object as the API server keeps it to nodes in words, and a tree of them.

Pure, like `rondo.cli.progress`, and it too reads plain objects, so that a graph of a newer operator is shown.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from rondo.cli.graph.words import Ask, asks_of, does, kind_of, policies
from rondo.cli.progress import Node, Object, Tone, condition, observed

Spec = Mapping[str, Any]

_STARTING: Final = frozenset({"Planning", "RouterStarting", "RouterReloading", "Starting", "NotReady", "Progressing"})
"""Reasons of a graph on its way that are no trouble."""


@dataclass(frozen=True, slots=True)
class Member:
    """A node of the graph.

    Attributes:
        name: Its name.
        kind: Its kind, as its field is called.
        does: What it does, in a few words.
        policies: What holds around it, each in a few words.
        asks: The nodes that it may ask, and when.
        state: `Ready`, why it is not in one word, or `Unknown`.
        message: Why it is not, in words.
        url: Where a target is.
        streaming: `Passthrough` or `Buffered`; empty if it is not known.
        limit: Its timeout as a Go duration, empty if it has none.
    """

    name: str
    kind: str
    does: str
    policies: tuple[str, ...]
    asks: tuple[Ask, ...]
    state: str
    message: str
    url: str
    streaming: str
    limit: str


@dataclass(frozen=True, slots=True)
class Branch:
    """A place in the tree.

    Attributes:
        name: The node that stands there.
        role: What it is to the node above, in a few words.
        again: Whether it stood further up already, with all below it.
        children: What it asks.
    """

    name: str
    role: str = ""
    again: bool = False
    children: tuple[Branch, ...] = ()


def members(graph: Object) -> dict[str, Member]:
    """Describe all nodes of a ModelGraph, by name."""
    known = {each["name"]: each for each in graph.get("status", {}).get("nodes", ())}
    return {node["name"]: _member(node, known.get(node["name"], {})) for node in graph["spec"].get("nodes", ())}


def tree(graph: Object) -> tuple[Branch, ...]:
    """Lay out a graph: first the tree of its entry, then nodes to which no request comes.

    A node that is asked by several is shown in full where it comes first and referred to after that; so circles, which
    a graph that is not accepted may have, end too.
    """
    nodes: dict[str, Spec] = {node["name"]: node for node in graph["spec"].get("nodes", ())}
    shown: set[str] = set()
    found = [_grow(Ask(graph["spec"].get("entry", ""), ""), nodes, shown)]
    found += [_grow(Ask(name, "no request comes here"), nodes, shown) for name in nodes if name not in shown]
    return tuple(found)


def graph_state(graph: Object) -> tuple[str, Tone]:
    """Give a graph's state in one word, and how that is meant; never of an older generation."""
    ready = condition(graph, "Ready")
    if not observed(graph):
        return "Progressing", Tone.ACTIVE
    if ready.get("status") == "True":
        degraded = condition(graph, "Degraded").get("status") == "True"
        return ("Degraded", Tone.TROUBLE) if degraded else ("Ready", Tone.GOOD)
    if condition(graph, "Stalled").get("status") == "True":
        return "Stalled", Tone.BAD
    return "Progressing", Tone.ACTIVE if ready.get("reason") in _STARTING else Tone.TROUBLE


def graph_message(graph: Object) -> str:
    """Give what the operator says of a graph as it is now."""
    if not observed(graph):
        return f"the operator has not looked at generation {graph['metadata'].get('generation')} yet"
    return str(condition(graph, "Ready").get("message", ""))


def graph_node(graph: Object) -> Node:
    """Describe a ModelGraph with its nodes, for `rondo watch`."""
    state, tone = graph_state(graph)
    status, known = graph.get("status", {}), members(graph)
    words = "; ".join(filter(None, [graph_message(graph), status.get("url", "")]))
    # Before the operator has accepted the graph it says nothing of nodes.
    below = tuple(_watched(branch, known) for branch in tree(graph)) if status.get("nodes") else ()
    return Node(f"ModelGraph {graph['metadata']['name']}", state, tone, "", words, below)


def why_not_ready(graph: Object) -> str:
    """Say why a graph does not answer all requests, or none; empty if it does."""
    state, _ = graph_state(graph)
    if state == "Ready":
        return ""
    word = "Degraded" if state == "Degraded" else "not Ready"
    return f"{graph['metadata']['name']} is {word}: {graph_message(graph)}"


def member_tone(member: Member) -> Tone:
    """Tell how the state of a node is meant."""
    return {"Ready": Tone.GOOD, "Unknown": Tone.IDLE}.get(member.state, Tone.BAD)


def _member(node: Spec, status: Mapping[str, Any]) -> Member:
    state = "Unknown" if not status else "Ready" if status.get("ready") else status.get("reason") or "NotReady"
    return Member(
        name=node["name"],
        kind=kind_of(node) or str(status.get("kind", "")).lower(),
        does=does(node),
        policies=tuple(policies(node)),
        asks=tuple(asks_of(node)),
        state=state,
        message=status.get("message", ""),
        url=status.get("url", ""),
        streaming=status.get("streaming", ""),
        limit=node.get("timeout", ""),
    )


def _grow(ask: Ask, nodes: Mapping[str, Spec], shown: set[str]) -> Branch:
    if ask.node not in nodes:
        return Branch(ask.node, "there is no such node")
    if ask.node in shown:
        return Branch(ask.node, ask.role, again=True)
    shown.add(ask.node)
    children = tuple(_grow(each, nodes, shown) for each in asks_of(nodes[ask.node]))
    return Branch(ask.node, ask.role, children=children)


def _watched(branch: Branch, known: Mapping[str, Member]) -> Node:
    member = known.get(branch.name)
    if member is None or branch.again:
        return Node(branch.name, "see above" if member else "Missing", Tone.NEUTRAL if member else Tone.BAD)
    words = member.message if member.state != "Ready" else "; ".join(filter(None, [branch.role, member.does]))
    below = tuple(_watched(child, known) for child in branch.children)
    return Node(branch.name, member.state, member_tone(member), "", words, below)
