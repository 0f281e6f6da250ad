"""Whether each node can answer, from whether the targets do: what `nodes[]`, Ready and Degraded say."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from rondo.api.modelgraph import CombineMethod, Node, OnError, Parallel
from rondo.core.modelgraph.finding import Reason
from rondo.core.modelgraph.members import Member
from rondo.core.modelgraph.topology import Topology


@dataclass(frozen=True, slots=True)
class Health:
    """Whether a node can answer any request.

    Attributes:
        ready: Whether it can.
        reason: Why, in one word.
        message: Why not, in words.
    """

    ready: bool
    reason: str
    message: str = ""


def health_of(topology: Topology, members: Mapping[str, Member]) -> Mapping[str, Health]:
    """Tell it of all nodes of a graph without cycles.

    Args:
        topology: The graph.
        members: Its targets, by node.
    """
    found: dict[str, Health] = {}
    for name in topology.graph.order:
        member = members.get(name)
        if member is not None:
            found[name] = Health(member.ready, member.reason, member.message)
        else:
            found[name] = _of_children(topology, topology.nodes[name], found)
    return found


def _of_children(topology: Topology, node: Node, known: Mapping[str, Health]) -> Health:
    if node.parallel is not None:
        return _enough(node.parallel.nodes, _required(topology, node.parallel), known)
    if node.sequence is not None:
        needed = [step for step in node.sequence if topology.nodes[step].on_error is OnError.FAIL]
        return _all(needed, known) if needed else _enough(node.sequence, 1, known)
    if node.fallback is not None:
        return _enough([choice.node for choice in node.fallback], 1, known)
    if node.switch is not None:
        return _all([case.node for case in node.switch], known)
    if node.split is not None:
        return _all([share.node for share in node.split.to if share.weight], known)
    around = node.mirror or node.cache or node.batch
    return _all([around.node] if around is not None else [], known)


def _required(topology: Topology, parallel: Parallel) -> int:
    """Tell how many nodes have to answer, as the router counts: all that may not be left out, at least one."""
    if parallel.quorum is not None:
        return parallel.quorum
    if parallel.combine.method is CombineMethod.FIRST:
        return 1
    return max(1, sum(topology.nodes[name].on_error is OnError.FAIL for name in parallel.nodes))


def _all(names: Iterable[str], known: Mapping[str, Health]) -> Health:
    for name in names:
        if not known[name].ready:
            return Health(
                ready=False, reason=known[name].reason, message=f"{name} cannot answer: {known[name].message}"
            )
    return Health(ready=True, reason=Reason.CHILDREN_READY)


def _enough(names: Iterable[str], wanted: int, known: Mapping[str, Health]) -> Health:
    names = list(names)
    down = [name for name in names if not known[name].ready]
    up = len(names) - len(down)
    if up >= wanted:
        return Health(ready=True, reason=Reason.CHILDREN_READY)
    why = "; ".join(f"{name}: {known[name].message}" for name in down)
    words = f"{up} of {wanted} needed nodes can answer: {why}"
    return Health(ready=False, reason=known[down[0]].reason, message=words)
