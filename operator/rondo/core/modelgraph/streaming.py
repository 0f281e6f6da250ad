"""Which nodes' answers go to the client as they come, and which are read as a whole first.

The router decides the same on each request; here it is told beforehand, so that nobody has to try.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from rondo.api.modelgraph import Node, Streaming, Transport
from rondo.api.modelruntime import Protocol
from rondo.core.modelgraph.scope import read_answers
from rondo.core.modelgraph.topology import Topology


def streaming_of(topology: Topology, speaks: Mapping[str, Protocol]) -> Mapping[str, Streaming]:
    """Tell it of each node that a request may come to; a graph must have no cycle.

    Args:
        topology: The graph.
        speaks: What each target speaks; one that speaks another language than the graph is read and translated,
            and the answer to a call of gRPC is one message.
    """
    read = read_answers(topology)
    free = {topology.spec.entry: True}
    for name in topology.downward:
        node = topology.nodes[name]
        translated = speaks.get(name, topology.spec.protocol) is not topology.spec.protocol
        called = node.target is not None and node.target.transport is Transport.GRPC
        free[name] = free[name] and node.response is None and name not in read and not (translated or called)
        for child, passes in _passes(node):
            if child in topology.nodes:
                free[child] = free.get(child, True) and free[name] and passes
    return {name: Streaming.PASSTHROUGH if free[name] else Streaming.BUFFERED for name in topology.downward}


def _passes(node: Node) -> Iterator[tuple[str, bool]]:
    """Give the nodes that a node asks, and whether it passes their answers on without reading them."""
    steps = node.sequence or ()
    yield from ((step, position == len(steps)) for position, step in enumerate(steps, 1))
    yield from ((case.node, True) for case in node.switch or ())
    yield from ((share.node, True) for share in (node.split.to if node.split else ()))
    yield from ((choice.node, choice.accept is None) for choice in node.fallback or ())
    yield from ((name, False) for name in (node.parallel.nodes if node.parallel else ()))
    if node.mirror is not None:
        yield node.mirror.node, node.mirror.compare is None
        yield from ((name, False) for name in node.mirror.to)
    yield from ((around.node, False) for around in (node.cache, node.batch) if around is not None)
