"""The planner of graphs: from one look at a graph to what has to be done about it and what is said of it.

The graph itself has but a Service. What is served stands in the plan of a router, which has a planner of its own
(`rondo.core.router`); the first graph that is accepted creates the ConfigMap on which that works. A graph that is not
accepted changes nothing of what is served of it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Final, assert_never

from rondo.api.modelgraph import ModelGraphStatus
from rondo.api.status import ConditionStatus
from rondo.core import causes
from rondo.core.conditions import Status, shorten
from rondo.core.deployment.finding import Finding
from rondo.core.deployment.finding import Reason as Rollout
from rondo.core.deployment.objects import Change, compare
from rondo.core.durations import parse_time
from rondo.core.modelgraph import report
from rondo.core.modelgraph.compilation import compile_graph
from rondo.core.modelgraph.finding import Reason
from rondo.core.modelgraph.judge import Accepted, Judge, Refused
from rondo.core.modelgraph.releasing import Released, follow_release, watch_release
from rondo.core.modelgraph.releasing import events as release_events
from rondo.core.modelgraph.report import Verdict
from rondo.core.modelgraph.serving import Serving, see_serving
from rondo.core.modelgraph.snapshot import GraphSnapshot
from rondo.core.plan import Action, Create, EventDraft, EventType, GetLive, Plan, Ref, StatusKind
from rondo.core.resources import CONFIG_MAP
from rondo.core.router.document import Document
from rondo.core.router.render import build_first_config, build_service

PATIENCE: Final = timedelta(minutes=1)
"""How long a target may be missing before that counts as stalled: an apply of a folder may bring it last."""

_HARMLESS: Final = frozenset({
    Reason.READY, Reason.PLANNING, Reason.ROUTER_RELOADING, "Progressing", "MemberNotReady",
})  # fmt: skip
"""Reasons of Ready that belong to the course of things."""

_BEGINNING: Final = frozenset({
    Reason.ROUTER_STARTING, Reason.NOT_OBSERVED, Rollout.ROLLING_OUT, Rollout.NEW_REVISION, Rollout.RECREATING,
    Rollout.WAITING_FOR_MODEL, causes.Reason.STARTING, causes.Reason.NOT_READY,
})  # fmt: skip
"""Reasons, of routers, members and the Service, that do so until a graph is Ready; after that something was lost."""

_DNS_1035: Final = re.compile(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?")
"""Names of Services; RFC 1035."""


def plan_graph(snapshot: GraphSnapshot, now: datetime) -> Plan:
    """Plan a graph.

    Args:
        snapshot: One look at it.
        now: The time of this look, timezone-aware UTC.
    """
    if "deletionTimestamp" in snapshot.owner["metadata"]:
        return Plan(forget=True)
    judgement = _named(snapshot) or Judge(snapshot.around).judge(snapshot.name)
    if isinstance(judgement, Refused):
        if judgement.patience and snapshot.around.unsure:
            return Plan(reads=snapshot.around.unsure)
        return _leave(snapshot, judgement, now)
    if judgement.lost and snapshot.around.unsure:
        return Plan(reads=snapshot.around.unsure)
    return _follow(snapshot, judgement, now)


def _named(snapshot: GraphSnapshot) -> Refused | None:
    if _DNS_1035.fullmatch(snapshot.name):
        return None
    words = f"metadata.name: {snapshot.name!r} cannot be the name of a Service; use a-z, 0-9 and -, from a letter"
    return Refused(Reason.INVALID_NAME, f"{words}, at most 63 characters")


def _leave(snapshot: GraphSnapshot, refused: Refused, now: datetime) -> Plan:
    """Report on a graph that is not accepted; what was served of it before goes on, unless its release fails."""
    return _keep_on(snapshot, _refusal(snapshot, refused, now), now)


def _keep_on(snapshot: GraphSnapshot, refusal: Finding, now: datetime) -> Plan:
    serving, released = see_serving(snapshot, None), watch_release(snapshot, now)
    change = _service_change(snapshot) if snapshot.name in snapshot.router.document.entries else None
    return _conclude(snapshot, Verdict(None, refusal, serving, None, released), _applies([change]), now)


def _follow(snapshot: GraphSnapshot, graph: Accepted, now: datetime) -> Plan:
    """Have a graph served as it is, or as far as its release is."""
    if graph.spec.release is None:
        return _serve(snapshot, graph, see_serving(snapshot, {graph.name: compile_graph(graph, None)}), None, now)
    released = follow_release(snapshot, graph, graph.spec.release, now)
    match released:
        case Finding():
            return _keep_on(snapshot, released, now)
        case GetLive():
            return Plan(reads=(released,))
        case Released():
            return _serve(snapshot, graph, released.serving, released, now)
        case _:
            assert_never(released)


def _serve(
    snapshot: GraphSnapshot, graph: Accepted, serving: Serving, released: Released | None, now: datetime
) -> Plan:
    actions: list[Action] = []
    if snapshot.router.config is None and (released is None or released.is_served):
        actions.append(_first_config(snapshot))
    change = _service_change(snapshot) if _may_lead(snapshot, serving) else None
    verdict = Verdict(graph, None, serving, None if change is None else change.finding, released)
    return _conclude(snapshot, verdict, (*actions, *_applies([change])), now)


def _first_config(snapshot: GraphSnapshot) -> Create:
    """Create the ConfigMap of the router that has none yet; from then on that has a planner of its own."""
    ref = Ref(CONFIG_MAP, snapshot.namespace, snapshot.router.key.name)
    return Create(ref, build_first_config(ref.name, snapshot.owner, Document().data()), shared=True)


def _may_lead(snapshot: GraphSnapshot, serving: Serving) -> bool:
    """Tell whether the Service can be as declared: it goes over to another router only when that serves the graph."""
    if snapshot.router.document.port_of(snapshot.name) is None:
        return False
    return not snapshot.led_elsewhere or serving.finding is None


def _service_change(snapshot: GraphSnapshot) -> Change | None:
    port = snapshot.router.document.port_of(snapshot.name)
    if port is None:
        return None
    ref, declared = snapshot.service_ref, build_service(snapshot.owner, snapshot.router.key.name, port)
    failure = snapshot.memory.failures.get(ref)
    return compare(ref, declared, snapshot.service, ours=snapshot.owns_service, failure=failure)


def _applies(changes: Iterable[Change | None]) -> tuple[Action, ...]:
    return tuple(change.apply for change in changes if change is not None and change.apply is not None)


def _conclude(snapshot: GraphSnapshot, verdict: Verdict, actions: tuple[Action, ...], now: datetime) -> Plan:
    status = report.build_status(snapshot, verdict, now)
    kind = report.kind_of_change(snapshot.status, status)
    told = (verdict.refusal, verdict.service, verdict.released)
    again = (each.look_again for each in told if each is not None)
    return Plan(
        status=None if kind is StatusKind.NONE else report.to_json(status),
        status_kind=kind,
        actions=actions,
        events=_events(snapshot.status, status),
        requeue_after=min((seconds for seconds in again if seconds is not None), default=None),
    )


def _refusal(snapshot: GraphSnapshot, refused: Refused, now: datetime) -> Finding:
    """Say why a graph is not accepted. What may come by itself is waited for a while before it counts as stalled."""
    if not refused.patience:
        return Finding(refused.reason, refused.message, stalled=True)
    said = next((c for c in snapshot.status.conditions if c.type == "Accepted" and c.status == Status.FALSE), None)
    left = PATIENCE - (now - parse_time(said.last_transition_time)) if said is not None else PATIENCE
    late = left <= timedelta(0)
    again = None if late else left.total_seconds() + 0.1
    return Finding(refused.reason, refused.message, stalled=late, look_again=again)


def _events(old: ModelGraphStatus, new: ModelGraphStatus) -> tuple[EventDraft, ...]:
    """Tell of each change of Ready and of its reason, of trouble that it has come to, and of a release."""
    told = tuple(release_events(old.release, new.release))
    before, now = _ready(old), _ready(new)
    if now is None:
        return told
    calm = _is_calm(new)
    same = before is not None and (before.status, before.reason) == (now.status, now.reason)
    if same and (calm or not _is_calm(old)):
        return told
    harmless = now.reason in _HARMLESS or (calm and not _fell(before, now))
    type_ = EventType.NORMAL if harmless else EventType.WARNING
    return (*told, EventDraft(type_, now.reason, "Serve", shorten(now.message)))


def _is_calm(status: ModelGraphStatus) -> bool:
    """Tell whether all that keeps a graph from being Ready in full belongs to a beginning."""
    ready = _ready(status)
    if ready is None or ready.reason != Reason.DEGRADED:
        return ready is None or ready.reason in _HARMLESS | _BEGINNING
    return all(node.ready or node.reason in _BEGINNING for node in status.nodes)


def _fell(before: ConditionStatus | None, now: ConditionStatus) -> bool:
    """Tell whether a graph has been Ready as it is written now."""
    if before is None or before.status != Status.TRUE:
        return False
    return before.observed_generation == now.observed_generation


def _ready(status: ModelGraphStatus) -> ConditionStatus | None:
    return next((condition for condition in status.conditions if condition.type == "Ready"), None)
