"""A graph as the router's plan says it: names stay names, lengths of time are milliseconds, quantities bytes.

The form is the router's own (`router/src/plan.rs`), which refuses what it does not know. What the API has defaults for
is always written, so that the two sides cannot differ in them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, Final

from rondo.api.modelgraph import Auth, Node, OnError, TargetKind, Transport
from rondo.api.modelgraph import Mapping as BodyMapping
from rondo.api.release import PinnedMember
from rondo.core.deployment.revision import name_of
from rondo.core.durations import parse_duration
from rondo.core.modelgraph.credentials import authorities_of, secret_of
from rondo.core.modelgraph.judge import Accepted
from rondo.core.modelgraph.members import Member
from rondo.core.quantities import parse_quantity

REVISION_LENGTH: Final = 12

Json = dict[str, Any]


def compile_graph(graph: Accepted, port: int | None, pins: Iterable[PinnedMember] = ()) -> Json:
    """Write a graph's part of the plan.

    Args:
        graph: The graph.
        port: Where it answers; None if only other graphs ask it.
        pins: Revisions to ask instead of ModelDeployments as they are.
    """
    spec, graph = graph.spec, _pinned(graph, {member.name: member for member in pins})
    written = {
        "name": graph.name,
        "protocol": spec.protocol.value,
        "entry": spec.entry,
        "timeoutMillis": millis(spec.timeout),
        "limits": {"body": _bytes(spec.limits.body), "inFlight": spec.limits.in_flight},
        "headers": sorted(name.lower() for name in spec.headers),
        "nodes": [_node(graph, node) for node in spec.nodes],
    }
    return with_port(written, port)


def _pinned(graph: Accepted, pins: Mapping[str, PinnedMember]) -> Accepted:
    """Give a graph that asks revisions: they have Services of their own, and each speaks what it was made to speak."""
    members = dict(graph.members)
    for node, member in graph.members.items():
        target = graph.topology.nodes[node].target
        name = target.name if target is not None and target.kind is TargetKind.MODEL_DEPLOYMENT else None
        if name is not None and name in pins:
            pin = pins[name]
            url = member.url.replace(f"http://{name}.", f"http://{name_of(name, pin.revision)}.", 1)
            members[node] = replace(member, url=url, protocol=pin.protocol or member.protocol)
    return replace(graph, members=members)


def with_port(written: Mapping[str, Any], port: int | None) -> Json:
    """Give a graph's part of the plan another port, or none."""
    rest = {key: value for key, value in written.items() if key != "port"}
    return with_revision(rest if port is None else {**rest, "port": port})


def with_revision(content: Mapping[str, Any]) -> Json:
    """Add to a part of the plan, or to all of it, the name of exactly this content."""
    rest = {key: value for key, value in content.items() if key != "revision"}
    canonical = json.dumps(rest, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return {**rest, "revision": hashlib.sha256(canonical.encode()).hexdigest()[:REVISION_LENGTH]}


def millis(duration: str) -> int:
    """Give a length of time in milliseconds."""
    return round(parse_duration(duration).total_seconds() * 1000)


def _node(graph: Accepted, node: Node) -> Json:
    written: Json = {"name": node.name}
    for write in (_target, _steps, _branches, _around, _policies):
        written |= write(graph, node)
    if node.on_error is not OnError.FAIL:
        written["onError"] = node.on_error.value
    for field, mapping in (("request", node.request), ("response", node.response)):
        if mapping is not None:
            written[field] = _mapping(mapping)
    return written


def _target(graph: Accepted, node: Node) -> Json:
    if node.target is None:
        return {}
    if node.name in graph.nested:
        return {"graph": graph.nested[node.name]}
    member = graph.members[node.name]
    written: Json = {"url": member.url, "protocol": _spoken(member)}
    written |= _given(path=node.target.path, model=member.model)
    if node.target.transport is not Transport.HTTP:
        written["transport"] = node.target.transport.value
    secret, authorities = secret_of(node.target), authorities_of(node.target)
    if node.target.auth is not None and secret is not None:
        written["headers"] = [_header(node.target.auth, secret.file)]
    if authorities is not None:
        written["ca"] = authorities.file
    if node.target.forward:
        written["forward"] = sorted(name.lower() for name in node.target.forward)
    return {"target": written}


def _spoken(member: Member) -> str:
    assert member.protocol is not None  # noqa: S101 - a graph with a target of unknown protocol is not accepted
    return member.protocol.value


def _header(auth: Auth, file: str) -> Json:
    if auth.header is not None:
        return {"name": auth.header.name.lower(), "file": file}
    return {"name": "authorization", "file": file, "prefix": "Bearer "}


def _steps(_: Accepted, node: Node) -> Json:
    if node.sequence is not None:
        return {"sequence": node.sequence}
    if node.parallel is None:
        return {}
    combine = node.parallel.combine
    how: Json = {"method": combine.method.value, **_given(output=combine.output, ties=combine.ties)}
    if combine.weights:
        how["weights"] = combine.weights
    return {"parallel": {"nodes": node.parallel.nodes, "combine": how, **_given(quorum=node.parallel.quorum)}}


def _branches(_: Accepted, node: Node) -> Json:
    if node.switch is not None:
        return {"switch": [{"node": case.node, **_given(when=case.when)} for case in node.switch]}
    if node.split is not None:
        shares = [{"node": share.node, "weight": share.weight} for share in node.split.to]
        return {"split": {"to": shares, **_given(sticky=node.split.sticky)}}
    if node.fallback is not None:
        choices = [
            {"node": c.node, **_given(accept=c.accept), **_lengths(cooldownMillis=c.cooldown)} for c in node.fallback
        ]
        return {"fallback": choices}
    return {}


def _around(_: Accepted, node: Node) -> Json:
    if node.mirror is not None:
        mirror = node.mirror
        shown = {"node": mirror.node, "to": mirror.to, "percent": mirror.percent, **_given(compare=mirror.compare)}
        return {"mirror": shown}
    if node.cache is not None:
        cache = node.cache
        kept = {"node": cache.node, "ttlMillis": millis(cache.ttl), "maxBytes": _bytes(cache.max_bytes)}
        return {"cache": {**kept, **_given(key=cache.key)}}
    if node.batch is not None:
        batch = node.batch
        return {"batch": {"node": batch.node, "maxSize": batch.max_size, "maxWaitMillis": millis(batch.max_wait)}}
    return {}


def _policies(_: Accepted, node: Node) -> Json:
    written = _lengths(timeoutMillis=node.timeout)
    if node.retry is not None:
        written["retry"] = {
            "limit": node.retry.limit,
            "statuses": node.retry.statuses,
            "failures": [failure.value for failure in node.retry.failures],
            "backoffMillis": millis(node.retry.backoff),
            "maxBackoffMillis": millis(node.retry.max_backoff),
            "budgetPercent": node.retry.budget,
        }
    if node.hedge is not None:
        written["hedge"] = {**_lengths(afterMillis=node.hedge.after), "budgetPercent": node.hedge.budget}
    if node.circuit_breaker is not None:
        breaker = node.circuit_breaker
        written["circuitBreaker"] = {
            "failures": breaker.failures,
            "windowMillis": millis(breaker.window),
            "cooldownMillis": millis(breaker.cooldown),
        }
    if node.concurrency is not None:
        written["concurrency"] = {"limit": node.concurrency.limit, "queue": node.concurrency.queue}
    return written


def _mapping(mapping: BodyMapping) -> Json:
    parts = {"body": mapping.body, "copy": mapping.copy_, "set": mapping.set_, "remove": mapping.remove}
    return {key: value for key, value in parts.items() if value}


def _given(**fields: Any) -> Json:
    """Give the fields that are set."""
    return {key: value for key, value in fields.items() if value is not None}


def _lengths(**fields: str | None) -> Json:
    """Give the lengths of time that are set, in milliseconds."""
    return {key: millis(value) for key, value in fields.items() if value is not None}


def _bytes(quantity: int | str) -> int:
    return int(parse_quantity(str(quantity)))
