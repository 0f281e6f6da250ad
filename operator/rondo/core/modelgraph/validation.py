"""What the CRD's schema and CEL rules cannot say of a graph: names, cycles, expressions, mappings, limits.

Each check is one function from the topology to problems; their order is data. `Accepted=False` shows the first few
problems, `rondo lint` all of them. What needs a look at other objects is in `members`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final

import pydantic

from rondo.api.base import Json
from rondo.api.modelgraph import CombineMethod, ModelGraphSpec, Node, OnError, Transport
from rondo.api.modelruntime import Protocol
from rondo.core import expressions
from rondo.core.durations import parse_duration
from rondo.core.expressions import KEYWORDS, cel_name
from rondo.core.graph import nearest
from rondo.core.modelgraph import checks, headers, scope
from rondo.core.modelgraph.places import PlaceError, check_path, read_source
from rondo.core.modelgraph.topology import Topology, edges
from rondo.core.problems import Problem, from_validation_error
from rondo.core.quantities import parse_quantity

Check = Callable[[Topology], Iterable[Problem]]

EXPRESSIONS_LIMIT: Final = 65_536
"""Characters of all expressions of a graph: to compile more would keep the operator from other work."""

_ELEMENTWISE: Final = frozenset({CombineMethod.VOTE, CombineMethod.MEAN, CombineMethod.WEIGHTED})
_PORT: Final = re.compile(r"^https?://[^/]+:([0-9]+)(?:/|$)")
_PATH: Final = re.compile(r"^https?://[^/]+/.")


def parse(raw: Mapping[str, Json]) -> tuple[ModelGraphSpec | None, list[Problem]]:
    """Read a spec and check its shape, as the API server does by the schema."""
    try:
        return ModelGraphSpec.model_validate(raw), []
    except pydantic.ValidationError as error:
        return None, from_validation_error(error, "spec")


def validate(spec: ModelGraphSpec) -> list[Problem]:
    """Find everything that is wrong with a graph by itself."""
    topology = Topology(spec)
    found: list[Problem] = []
    for check in CHECKS:
        found += check(topology)
        # Whom a request comes to, and in what order, has no answer in a circle or with names that mean nothing.
        if found and check in ENDS:
            break
    return found


def _names(topology: Topology) -> Iterator[Problem]:
    seen: set[str] = set()
    for index, node in enumerate(topology.spec.nodes):
        path = f"spec.nodes[{index}].name"
        if node.name in KEYWORDS:
            yield Problem(path, f"{node.name} is a word of CEL; choose another name")
        if node.name in seen:
            yield Problem(path, f"two nodes are named {node.name}")
        seen.add(node.name)


def _edges(topology: Topology) -> Iterator[Problem]:
    if topology.spec.entry not in topology.nodes:
        yield Problem("spec.entry", _no_node(topology.spec.entry, topology))
    for name, node in topology.nodes.items():
        for edge in edges(node, topology.paths[name]):
            if edge.to not in topology.nodes:
                yield Problem(edge.path, _no_node(edge.to, topology))


def _no_node(name: str, topology: Topology) -> str:
    return f"there is no node {name}{nearest(name, topology.nodes)}"


def _cycle(topology: Topology) -> Iterator[Problem]:
    cycle = topology.graph.cycle
    if cycle:
        path = topology.paths[cycle[0]]
        yield Problem(path, f"nodes ask one another in a circle: {' -> '.join(cycle)}")


def _unreachable(topology: Topology) -> Iterator[Problem]:
    for name in topology.nodes:
        if name not in topology.reachable:
            words = f"no request comes to node {name}: name it in another, make it the entry, or leave it out"
            yield Problem(topology.paths[name], words)


def _amount(topology: Topology) -> Iterator[Problem]:
    texts = [each.text for each in scope.expressions_of(topology)]
    release = topology.spec.release
    if release is not None:
        texts += [*(check.expression for check in release.checks), release.sticky or "", release.compare or ""]
    if sum(map(len, texts)) > EXPRESSIONS_LIMIT:
        yield Problem("spec", f"all expressions together have more than {EXPRESSIONS_LIMIT} characters")


def _expressions(topology: Topology) -> Iterator[Problem]:
    for each in scope.expressions_of(topology):
        why = _why_wrong(each, topology)
        if why:
            yield Problem(each.path, why)


def _why_wrong(expression: scope.Expression, topology: Topology) -> str:
    """Say what is wrong with an expression, if anything."""
    try:
        program = expressions.compile_expression(expression.text)
    except expressions.ExpressionError as error:
        return str(error)
    known = {*expression.variables} | expressions.bound_in(expression.text) | expressions.TYPES
    unknown = sorted({*program.variables()} - known)
    if unknown:
        return f"there is no {unknown[0]} here, only {', '.join(expression.variables)}"
    for name in sorted(scope.nodes_in(expression.text)):
        why = _why_absent(name, expression.sure, topology, guarded=name in scope.guarded_in(expression.text))
        if why:
            return why
    return ""


def _why_absent(called: str, sure: frozenset[str], topology: Topology, *, guarded: bool) -> str:
    """Say why the answer of a node is not there for sure; empty if it is."""
    name = topology.by_cel_name.get(called)
    if name is None:
        return f"there is no node {called}{nearest(called, topology.by_cel_name)}"
    if name in sure or guarded:
        return ""
    return f"node {name} has not surely answered by then; ask has(nodes.{called}) first, or order the nodes"


def _mappings(topology: Topology) -> Iterator[Problem]:
    for copy in scope.copies_of(topology):
        try:
            source = read_source(copy.source, copy.variables)
        except PlaceError as error:
            yield Problem(copy.path, str(error))
            continue
        why = _why_absent(cel_name(source.node), copy.sure, topology, guarded=False) if source.node else ""
        if why:
            yield Problem(copy.path, why)
    for name, node in topology.nodes.items():
        for field, mapping in (("request", node.request), ("response", node.response)):
            if mapping is not None:
                base = f"{topology.paths[name]}.{field}"
                yield from _paths(f"{base}.copy", mapping.copy_)
                yield from _paths(f"{base}.set", mapping.set_)
                yield from _paths(f"{base}.remove", mapping.remove)


def _paths(field: str, texts: Iterable[str]) -> Iterator[Problem]:
    for text in texts:
        try:
            check_path(text)
        except PlaceError as error:
            yield Problem(field, str(error))


def _weights(topology: Topology) -> Iterator[Problem]:
    for name, node in topology.nodes.items():
        path = topology.paths[name]
        if node.split is not None:
            total = sum(share.weight for share in node.split.to)
            if total != 100:
                yield Problem(f"{path}.split.to", f"the weights add up to {total}, must be 100")
        if node.parallel is not None:
            yield from _combination(node, path, topology.spec.protocol)


def _combination(node: Node, path: str, protocol: Protocol) -> Iterator[Problem]:
    assert node.parallel is not None  # noqa: S101 - the only caller has looked
    nodes, combine = node.parallel.nodes, node.parallel.combine
    for name in combine.weights.keys() - set(nodes):
        yield Problem(f"{path}.parallel.combine.weights", f"{name} is not one of its nodes{nearest(name, nodes)}")
    if combine.weights and not any(combine.weights.get(name, 1) for name in nodes):
        yield Problem(f"{path}.parallel.combine.weights", "all weights are 0; give at least one more")
    if node.parallel.quorum is not None and node.parallel.quorum > len(nodes):
        yield Problem(f"{path}.parallel.quorum", f"it is {node.parallel.quorum}, and there are {len(nodes)} nodes")
    if combine.method in _ELEMENTWISE and protocol is Protocol.JSON:
        where = f"{path}.parallel.combine.output"
        if combine.output is None:
            yield Problem(where, f"{combine.method} has to know what in the JSON is combined: give its path")
        else:
            yield from _paths(where, [combine.output])


def _kinds(topology: Topology) -> Iterator[Problem]:
    protocol = topology.spec.protocol
    for name, node in topology.nodes.items():
        path = topology.paths[name]
        if node.batch is not None and protocol is not Protocol.OPEN_INFERENCE:
            words = f"requests are gathered in OpenInference only, and this graph speaks {protocol}"
            yield Problem(f"{path}.batch", words)
        if node.on_error is OnError.SKIP and name == topology.spec.entry:
            yield Problem(f"{path}.onError", "the entry cannot be left out: there is no other answer")


def _headers(topology: Topology) -> Iterator[Problem]:
    yield from _refused("spec.headers", topology.spec.headers, to_all=True)
    for name, node in topology.nodes.items():
        if node.target is None:
            continue
        path, auth = f"{topology.paths[name]}.target", node.target.auth
        yield from _refused(f"{path}.forward", node.target.forward)
        if auth is not None and auth.header is not None:
            yield from _refused(f"{path}.auth.header.name", [auth.header.name])


def _refused(path: str, names: Iterable[str], *, to_all: bool = False) -> Iterator[Problem]:
    yield from (Problem(path, why) for name in names if (why := headers.why_not(name, to_all=to_all)))


def _addresses(topology: Topology) -> Iterator[Problem]:
    for name, node in topology.nodes.items():
        target, path = node.target, f"{topology.paths[name]}.target"
        if target is None or target.url is None:
            continue
        port = _PORT.match(target.url)
        if port is not None and not 0 < int(port[1]) < 65536:
            yield Problem(f"{path}.url", f"{port[1]} is no port")
        speaks = target.protocol or topology.spec.protocol
        if speaks in {Protocol.OPEN_INFERENCE, Protocol.KSERVE_V1} and not (target.model or target.path):
            yield Problem(path, f"{speaks} asks for a model by name: give model or path")


def _transports(topology: Topology) -> Iterator[Problem]:
    for name, node in topology.nodes.items():
        target, path = node.target, f"{topology.paths[name]}.target"
        if target is None or target.transport is Transport.HTTP:
            continue
        speaks = target.protocol or topology.spec.protocol
        if speaks is not Protocol.OPEN_INFERENCE:
            yield Problem(f"{path}.transport", f"gRPC is there for OpenInference only, and this target speaks {speaks}")
        if target.url is not None and _PATH.search(target.url):
            yield Problem(f"{path}.url", f"gRPC has paths of its own: leave out what follows the host in {target.url}")


def _lengths(topology: Topology) -> Iterator[Problem]:
    """Find lengths of time and sizes that are nothing."""
    for path, text in lengths_of(topology):
        if parse_duration(text).total_seconds() < 0.001:
            yield Problem(path, f"{text} is no time; give at least 1ms")
    for path, quantity in _sizes_of(topology):
        try:
            if parse_quantity(quantity) < 1:
                yield Problem(path, f"{quantity} is no size")
        except ValueError as error:
            yield Problem(path, str(error))


def lengths_of(topology: Topology) -> Iterator[tuple[str, str]]:
    """Give the lengths of time of a graph that cannot be 0, with their paths."""
    yield "spec.timeout", topology.spec.timeout
    for name, node in topology.nodes.items():
        path = topology.paths[name]
        given = [("timeout", node.timeout)]
        given += [("cache.ttl", node.cache.ttl)] if node.cache else []
        given += [("hedge.after", node.hedge.after)] if node.hedge else []
        if node.circuit_breaker is not None:
            breaker = node.circuit_breaker
            given += [("circuitBreaker.window", breaker.window), ("circuitBreaker.cooldown", breaker.cooldown)]
        yield from ((f"{path}.{field}", text) for field, text in given if text is not None)


def _sizes_of(topology: Topology) -> Iterator[tuple[str, str]]:
    yield "spec.limits.body", str(topology.spec.limits.body)
    for name, node in topology.nodes.items():
        if node.cache is not None:
            yield f"{topology.paths[name]}.cache.maxBytes", str(node.cache.max_bytes)


def _release(topology: Topology) -> Iterator[Problem]:
    yield from checks.find_problems(topology.spec)


CHECKS: Final[tuple[Check, ...]] = (
    _names, _edges, _cycle, _amount, _unreachable, _expressions, _mappings, _weights, _kinds, _headers, _addresses,
    _transports, _lengths, _release,
)  # fmt: skip
"""In the order in which a person should mend them."""

ENDS: Final = frozenset({_edges, _cycle, _amount})
"""Checks after which nothing more can be said, or is worth its time, if there is a problem."""
