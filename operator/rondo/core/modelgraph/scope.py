"""The expressions of a graph, where they stand, and which answers of nodes are there when they run.

`nodes.X` is there only if X has answered this request. `nodes_before` says of which nodes that is sure: those that
every way from the entry passes, and that cannot have been left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from rondo.api.modelgraph import CombineMethod, Node, OnError
from rondo.core.expressions import cel_name, without_strings
from rondo.core.modelgraph.places import PlaceError, read_source
from rondo.core.modelgraph.topology import Topology

OF_REQUEST: Final = ("request", "nodes")
OF_RESPONSE: Final = ("request", "response", "nodes")
OF_MIRROR: Final = ("request", "primary", "shadow", "nodes")

_NODE: Final = re.compile(r"(?<![\w.])nodes\s*(?:\.\s*([A-Za-z_]\w*)|\[\s*(?:'([^']*)'|\"([^\"]*)\")\s*\])")
_GUARD: Final = re.compile(r"(?<![\w.])has\s*\(\s*nodes\s*\.\s*([A-Za-z_]\w*)")
_WHOLE: Final = re.compile(r"(?<![\w.])nodes(?!\s*[.\[\w])")


@dataclass(frozen=True, slots=True)
class Expression:
    """An expression and its place.

    Attributes:
        path: Field path.
        text: CEL.
        variables: The names that it may use.
        sure: Nodes that have surely answered when it runs.
    """

    path: str
    text: str
    variables: tuple[str, ...]
    sure: frozenset[str]


@dataclass(frozen=True, slots=True)
class Copy:
    """A value that a mapping copies.

    Attributes:
        path: Field path.
        source: As written.
        variables: The names that it may begin with.
        sure: Nodes that have surely answered when it is copied.
    """

    path: str
    source: str
    variables: tuple[str, ...]
    sure: frozenset[str]


def expressions_of(topology: Topology) -> Iterator[Expression]:
    """Give all expressions of a graph without cycles."""
    before, within = nodes_before(topology), answered_within(topology)
    for name, node in topology.nodes.items():
        path, sure = topology.paths[name], before.get(name, frozenset())
        for place, text in _of_request(node):
            yield Expression(f"{path}.{place}", text, OF_REQUEST, sure)
        for index, choice in enumerate(node.fallback or ()):
            if choice.accept is not None:
                there = sure | within.get(choice.node, frozenset())
                yield Expression(f"{path}.fallback[{index}].accept", choice.accept, OF_RESPONSE, there)
        if node.mirror is not None and node.mirror.compare is not None:
            yield Expression(f"{path}.mirror.compare", node.mirror.compare, OF_MIRROR, frozenset())
        if node.response is not None and node.response.body is not None:
            there = sure | (within[name] - {name})
            yield Expression(f"{path}.response.body", node.response.body, OF_RESPONSE, there)


def _of_request(node: Node) -> Iterator[tuple[str, str]]:
    """Give the expressions of a node that run before it asks another, with their places in it."""
    if node.request is not None and node.request.body is not None:
        yield "request.body", node.request.body
    for index, case in enumerate(node.switch or ()):
        if case.when is not None:
            yield f"switch[{index}].when", case.when
    if node.split is not None and node.split.sticky is not None:
        yield "split.sticky", node.split.sticky
    if node.cache is not None and node.cache.key is not None:
        yield "cache.key", node.cache.key


def copies_of(topology: Topology) -> Iterator[Copy]:
    """Give all copies in the mappings of a graph without cycles."""
    before, within = nodes_before(topology), answered_within(topology)
    for name, node in topology.nodes.items():
        path, sure = topology.paths[name], before.get(name, frozenset())
        for to, source in (node.request.copy_ if node.request else {}).items():
            yield Copy(f"{path}.request.copy[{to}]", source, OF_REQUEST, sure)
        for to, source in (node.response.copy_ if node.response else {}).items():
            yield Copy(f"{path}.response.copy[{to}]", source, OF_RESPONSE, sure | (within[name] - {name}))


def nodes_in(text: str) -> frozenset[str]:
    """Find the nodes that an expression names, as CEL writes them."""
    plain, found = without_strings(text), set()
    for match in _NODE.finditer(text):
        name = match[1] or match[2] or match[3] or ""
        if match[1] is None or re.search(rf"(?<![\w.])nodes\s*\.\s*{re.escape(name)}(?!\w)", plain):
            found.add(name)
    return frozenset(found)


def guarded_in(text: str) -> frozenset[str]:
    """Find the nodes of which an expression asks whether they have answered: `has(nodes.x)`."""
    return frozenset(_GUARD.findall(without_strings(text)))


def read_answers(topology: Topology) -> frozenset[str]:
    """Give the nodes whose answers are read by name; all, if some expression takes `nodes` as a whole."""
    found: set[str] = set()
    for expression in expressions_of(topology):
        if _WHOLE.search(without_strings(expression.text)):
            return frozenset(topology.nodes)
        found |= nodes_in(expression.text)
    for copy in copies_of(topology):
        try:
            found.add(cel_name(read_source(copy.source, copy.variables).node))
        except PlaceError:
            continue
    return frozenset(topology.by_cel_name[name] for name in found & topology.by_cel_name.keys())


def nodes_before(topology: Topology) -> Mapping[str, frozenset[str]]:
    """Give for each node that a request may come to the nodes that have surely answered before."""
    within = answered_within(topology)
    before: dict[str, frozenset[str]] = {topology.spec.entry: frozenset()}
    for name in topology.downward:
        for child, sure in _passed(topology, topology.nodes[name], before[name], within):
            if child in topology.nodes:
                before[child] = before[child] & sure if child in before else sure
    return before


def answered_within(topology: Topology) -> Mapping[str, frozenset[str]]:
    """Give for each node the nodes that have surely answered once it has, itself among them."""
    found: dict[str, frozenset[str]] = {}
    for name in topology.graph.order:
        found[name] = _within(topology.nodes[name], found, topology) | {name}
    return found


def _passed(
    topology: Topology, node: Node, before: frozenset[str], within: Mapping[str, frozenset[str]]
) -> Iterator[tuple[str, frozenset[str]]]:
    """Give the nodes that a node asks, each with what has surely answered by then."""
    if node.sequence is not None:
        for step in node.sequence:
            yield step, before
            before |= _unless_skipped(step, within, topology)
        return
    shadows = node.mirror.to if node.mirror is not None else ()
    # What is shown a request, or answers several at once, knows nothing of the one request's other answers.
    apart = {*shadows, *((node.batch.node,) if node.batch is not None else ())}
    for child in _asked(node):
        yield child, frozenset() if child in apart else before


def _asked(node: Node) -> Iterator[str]:
    yield from node.parallel.nodes if node.parallel else ()
    yield from (case.node for case in node.switch or ())
    yield from (share.node for share in (node.split.to if node.split else ()))
    yield from (choice.node for choice in node.fallback or ())
    for around in (node.mirror, node.cache, node.batch):
        yield from () if around is None else (around.node,)
    yield from node.mirror.to if node.mirror else ()


def _within(node: Node, found: Mapping[str, frozenset[str]], topology: Topology) -> frozenset[str]:
    """Give the nodes below a node that have surely answered once it has."""
    if node.sequence is not None:
        return frozenset[str]().union(*(_unless_skipped(step, found, topology) for step in node.sequence))
    if node.parallel is not None:
        needs_all = node.parallel.quorum in {None, len(node.parallel.nodes)}
        if not needs_all or node.parallel.combine.method is CombineMethod.FIRST:
            return frozenset()
        return frozenset[str]().union(*(_unless_skipped(one, found, topology) for one in node.parallel.nodes))
    if node.mirror is not None:
        return found.get(node.mirror.node, frozenset())
    ways = [case.node for case in node.switch or ()] + [choice.node for choice in node.fallback or ()]
    ways += [share.node for share in (node.split.to if node.split else ()) if share.weight]
    return frozenset.intersection(*(found.get(way, frozenset()) for way in ways)) if ways else frozenset()


def _unless_skipped(name: str, found: Mapping[str, frozenset[str]], topology: Topology) -> frozenset[str]:
    node = topology.nodes.get(name)
    if node is None or node.on_error is OnError.SKIP:
        return frozenset()
    return found.get(name, frozenset())
