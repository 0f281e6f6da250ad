"""The status of a graph: what `kubectl get`, GitOps tools, deploy stages and people read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from rondo.api.modelgraph import ModelGraphStatus, NodeStatus
from rondo.api.release import ReleaseStatus
from rondo.api.status import ConditionStatus
from rondo.core import conditions
from rondo.core.conditions import Condition, Status
from rondo.core.deployment.finding import Finding
from rondo.core.deployment.render import url
from rondo.core.modelgraph.finding import Reason
from rondo.core.modelgraph.judge import Accepted
from rondo.core.modelgraph.releasing import Released, add_words, facts_of
from rondo.core.modelgraph.releasing import released as say_released
from rondo.core.modelgraph.serving import Serving
from rondo.core.modelgraph.snapshot import GraphSnapshot
from rondo.core.modelgraph.streaming import streaming_of
from rondo.core.modelgraph.topology import kind_of
from rondo.core.plan import StatusKind


@dataclass(frozen=True)
class Verdict:
    """What a plan has found out.

    Attributes:
        graph: The graph, if it is accepted.
        refusal: Why it is not, if it is not.
        serving: How far it is served.
        service: What is in the way of its Service, if something is.
        released: How far its release is, if it makes releases.
    """

    graph: Accepted | None
    refusal: Finding | None
    serving: Serving
    service: Finding | None
    released: Released | None = None


def build_status(snapshot: GraphSnapshot, verdict: Verdict, now: datetime) -> ModelGraphStatus:
    """Give the status that says what was found out.

    Args:
        snapshot: One look at the graph.
        verdict: What was found out.
        now: The time of this look, timezone-aware UTC.
    """
    before = snapshot.owner.get("status", {}).get("conditions", ())
    said = tuple(_conditions(verdict, snapshot.status.release, was_ready=_was_ready(snapshot)))
    merged = conditions.merge(before, said, generation=snapshot.generation, at=now)
    nodes = [] if verdict.graph is None else _nodes(verdict.graph)
    return ModelGraphStatus(
        observed_generation=snapshot.generation,
        conditions=[ConditionStatus.model_validate(condition) for condition in merged],
        url=url(snapshot.owner),
        served_revision=verdict.serving.revision or None,
        ready_nodes=f"{sum(node.ready for node in nodes)}/{len(nodes)}" if nodes else "",
        nodes=nodes,
        release=_release(snapshot, verdict),
        message=next((c["message"] for c in merged if c["type"] == "Ready"), ""),
    )


def _release(snapshot: GraphSnapshot, verdict: Verdict) -> ReleaseStatus | None:
    """Give the release as it is now. One of a graph that makes none any more is needed until no router asks for it."""
    if verdict.released is not None:
        return verdict.released.status
    if verdict.graph is None or verdict.serving.finding is not None:
        return snapshot.status.release
    return None


def to_json(status: ModelGraphStatus) -> dict[str, Any]:
    """Write a status as the API server keeps it: camelCase, without what is not known."""
    written: dict[str, Any] = status.model_dump(mode="json", by_alias=True, exclude_none=True)
    return written


def kind_of_change(old: ModelGraphStatus, new: ModelGraphStatus) -> StatusKind:
    """Tell facts from words that changed."""
    if old == new:
        return StatusKind.NONE
    return StatusKind.PROGRESS if _facts(old) == _facts(new) else StatusKind.FACTS


def _facts(status: ModelGraphStatus) -> tuple[Any, ...]:
    said = tuple((c.type, c.status, c.reason) for c in status.conditions)
    nodes = tuple((node.name, node.ready, node.reason, node.url) for node in status.nodes)
    return (status.observed_generation, said, nodes, status.url, status.served_revision, facts_of(status.release))


def _nodes(graph: Accepted) -> list[NodeStatus]:
    streaming = streaming_of(graph.topology, {n: m.protocol for n, m in graph.members.items() if m.protocol})
    return [
        NodeStatus(
            name=name,
            kind=kind_of(node).capitalize(),
            ready=graph.health[name].ready,
            reason=graph.health[name].reason,
            message=conditions.shorten(graph.health[name].message, 256),
            url=graph.members[name].url or None if name in graph.members else None,
            streaming=streaming.get(name),
        )
        for name, node in graph.topology.nodes.items()
    ]


def _was_ready(snapshot: GraphSnapshot) -> bool:
    """Tell whether this very generation was Ready when it was last looked at."""
    said = (c for c in snapshot.status.conditions if c.type == "Ready" and c.status == Status.TRUE)
    return any(condition.observed_generation == snapshot.generation for condition in said)


def _conditions(verdict: Verdict, release: ReleaseStatus | None, *, was_ready: bool) -> Iterator[Condition]:
    refusal, graph = verdict.refusal, verdict.graph
    if graph is None or refusal is not None:
        assert refusal is not None  # noqa: S101 - one of the two is given
        yield Condition("Accepted", Status.FALSE, refusal.reason, refusal.message)
        if verdict.released is not None:
            yield verdict.released.condition
        elif release is not None:
            yield add_words(say_released(release), "nobody judges it, for no spec.release is accepted")
        yield from _refused(refusal, verdict.serving)
        return
    yield Condition("Accepted", Status.TRUE, Reason.ACCEPTED)
    yield _members_ready(graph)
    yield _router_ready(verdict)
    if verdict.released is not None:
        yield verdict.released.condition
    yield from _trio(graph, verdict, was_ready=was_ready)


def _members_ready(graph: Accepted) -> Condition:
    watched = [name for name, member in graph.members.items() if member.reason != Reason.EXTERNAL]
    outside = len(graph.members) - len(watched)
    unwatched = f"{outside} outside the cluster {'is' if outside == 1 else 'are'} not watched"
    counted = f"{len(watched) - len(graph.down)}/{len(watched)} targets answer" if watched else ""
    counted = "; ".join(filter(None, (counted, unwatched if outside else "")))
    if not graph.down:
        return Condition("MembersReady", Status.TRUE, Reason.ALL_ANSWER if watched else Reason.EXTERNAL, counted)
    return Condition("MembersReady", Status.FALSE, _first_down(graph).reason, f"{counted}: {_down(graph)}")


def _router_ready(verdict: Verdict) -> Condition:
    finding, serving = verdict.serving.finding or verdict.service, verdict.serving
    if finding is None:
        words = f"{serving.routers}/{serving.routers} routers serve revision {serving.revision}"
        return Condition("RouterReady", Status.TRUE, Reason.SERVING, words)
    return Condition("RouterReady", Status.FALSE, finding.reason, finding.message)


def _refused(refusal: Finding, serving: Serving) -> tuple[Condition, ...]:
    """Say that the graph is not accepted, and what answers until it is."""
    message = refusal.message
    if serving.revision:
        message += f"; until then revision {serving.revision} answers"
    if refusal.stalled:
        return conditions.stalled(reason=refusal.reason, message=message)
    return conditions.reconciling(reason=refusal.reason, message=message)


def _trio(graph: Accepted, verdict: Verdict, *, was_ready: bool) -> Iterator[Condition]:
    finding = verdict.service or verdict.serving.finding
    if finding is not None and was_ready and _goes_over(finding, verdict):
        finding = None
    if finding is not None and finding.stalled:
        yield from conditions.stalled(reason=finding.reason, message=finding.message)
        return
    release = None if verdict.released is None else verdict.released.finding
    if release is not None and release.stalled:
        yield from conditions.stalled(reason=release.reason, message=release.message)
        return
    if release is not None:
        yield from conditions.reconciling(reason=release.reason, message=release.message)
        return
    if not graph.entry.ready:
        yield from conditions.reconciling(reason=graph.entry.reason, message=_why_down(graph))
        return
    if finding is not None:
        yield from conditions.reconciling(reason=finding.reason, message=finding.message)
        return
    if graph.down:
        words = f"it answers, but not all of it: {_down(graph)}"
        yield Condition("Degraded", Status.TRUE, _first_down(graph).reason, _down(graph))
        yield from conditions.ready(reason=Reason.DEGRADED, message=words)
        return
    words = f"{verdict.serving.routers} routers serve revision {verdict.serving.revision}"
    yield from conditions.ready(reason=Reason.READY, message=words)


def _goes_over(finding: Finding, verdict: Verdict) -> bool:
    """Tell whether routers only go from one release of this same spec to another, and all serve it in full."""
    released = verdict.released
    return released is not None and released.same_spec and finding.reason in {Reason.PLANNING, Reason.ROUTER_RELOADING}


def _why_down(graph: Accepted) -> str:
    return f"node {graph.spec.entry}: {graph.entry.message}"


def _first_down(graph: Accepted) -> Finding:
    member = graph.members[graph.down[0]]
    return Finding(member.reason, member.message)


def _down(graph: Accepted) -> str:
    return "; ".join(f"{name}: {graph.members[name].message}" for name in graph.down)
