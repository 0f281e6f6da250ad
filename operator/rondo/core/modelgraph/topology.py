"""The nodes of a graph and who asks whom."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

from rondo.api.modelgraph import NODE_KINDS, ModelGraphSpec, Node
from rondo.core.expressions import cel_name
from rondo.core.graph import Graph


@dataclass(frozen=True, slots=True)
class Edge:
    """That a node may ask another.

    Attributes:
        path: Where the other is named, such as `spec.nodes[2].fallback[0].node`.
        to: Its name, which may be wrong.
    """

    path: str
    to: str


@dataclass(frozen=True)
class Topology:
    """A graph's nodes, by name and by place.

    Attributes:
        spec: The graph.
    """

    spec: ModelGraphSpec

    @cached_property
    def nodes(self) -> Mapping[str, Node]:
        """All nodes by name."""
        return {node.name: node for node in self.spec.nodes}

    @cached_property
    def paths(self) -> Mapping[str, str]:
        """The field path of each node."""
        return {node.name: f"spec.nodes[{index}]" for index, node in enumerate(self.spec.nodes)}

    @cached_property
    def by_cel_name(self) -> Mapping[str, str]:
        """Names of nodes by what CEL calls them."""
        return {cel_name(name): name for name in self.nodes}

    @cached_property
    def children(self) -> Mapping[str, tuple[str, ...]]:
        """The nodes that each node may ask, those that exist, in the order written."""
        found = {}
        for name, node in self.nodes.items():
            named = (edge.to for edge in edges(node, self.paths[name]))
            found[name] = tuple(dict.fromkeys(to for to in named if to in self.nodes))
        return found

    @cached_property
    def graph(self) -> Graph:
        """The same with the asked before those who ask them."""
        return Graph({name: frozenset(children) for name, children in self.children.items()})

    @cached_property
    def reachable(self) -> frozenset[str]:
        """The nodes that a request may come to."""
        found: set[str] = set()
        ways = [self.spec.entry] if self.spec.entry in self.nodes else []
        while ways:
            name = ways.pop()
            if name not in found:
                found.add(name)
                ways.extend(self.children[name])
        return frozenset(found)

    @cached_property
    def downward(self) -> tuple[str, ...]:
        """The nodes that a request may come to, each before those that it asks. There must be no cycle."""
        return tuple(name for name in reversed(self.graph.order) if name in self.reachable)


def edges(node: Node, path: str) -> Iterator[Edge]:
    """Give every place in which a node names another.

    Args:
        node: The node.
        path: Its field path.
    """
    for index, to in enumerate(node.sequence or ()):
        yield Edge(f"{path}.sequence[{index}]", to)
    for index, to in enumerate(node.parallel.nodes if node.parallel else ()):
        yield Edge(f"{path}.parallel.nodes[{index}]", to)
    for index, case in enumerate(node.switch or ()):
        yield Edge(f"{path}.switch[{index}].node", case.node)
    for index, share in enumerate(node.split.to if node.split else ()):
        yield Edge(f"{path}.split.to[{index}].node", share.node)
    for index, choice in enumerate(node.fallback or ()):
        yield Edge(f"{path}.fallback[{index}].node", choice.node)
    if node.mirror is not None:
        yield Edge(f"{path}.mirror.node", node.mirror.node)
        yield from (Edge(f"{path}.mirror.to[{index}]", to) for index, to in enumerate(node.mirror.to))
    for kind, around in (("cache", node.cache), ("batch", node.batch)):
        if around is not None:
            yield Edge(f"{path}.{kind}.node", around.node)


def kind_of(node: Node) -> str:
    """Name the kind of a node as its field is called; the first, should it have several."""
    return next((kind for kind in NODE_KINDS if getattr(node, kind) is not None), "")
