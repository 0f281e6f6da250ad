"""The planner of model deployments: from one look at a deployment to everything that has to be done about it.

The spec asks for a revision (`acceptance`), which is frozen first (`revision`); Deployment and Service are kept as that
revision says (`objects`), and status says how far that is and what stands in the way (`diagnosis`, `report`). While the
spec cannot be followed, or names no model, the last revision that could be goes on serving. Scaled to zero as declared
is Ready, and `Available` says that nothing answers.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final, assert_never

from rondo.api.modeldeployment import ModelDeploymentSpec, ModelDeploymentStatus
from rondo.api.status import ConditionStatus
from rondo.core.conditions import Status, shorten
from rondo.core.deployment import report
from rondo.core.deployment.acceptance import Frozen, Refused, Unfrozen, Waiting, parse, want
from rondo.core.deployment.diagnosis import diagnose
from rondo.core.deployment.finding import Finding, Reason, from_failure
from rondo.core.deployment.kept import asked, find_blocked, plan_kept
from rondo.core.deployment.objects import Change, find_changes, worst
from rondo.core.deployment.report import Verdict
from rondo.core.deployment.revision import Revision, superfluous
from rondo.core.deployment.snapshot import DeploymentSnapshot, pod_revision
from rondo.core.durations import parse_time
from rondo.core.plan import Action, Delete, EventDraft, EventsAbout, EventType, GetLive, Plan, StatusKind
from rondo.core.resources import CONTROLLER_REVISION, DEPLOYMENT

PATIENCE: Final = timedelta(minutes=1)
"""How long a runtime may be missing before that counts as stalled: an apply of a folder may bring it last."""


def plan_deployment(snapshot: DeploymentSnapshot, now: datetime) -> Plan:
    """Plan a deployment.

    Args:
        snapshot: One look at it.
        now: The time of this look, timezone-aware UTC.
    """
    if "deletionTimestamp" in snapshot.owner["metadata"]:
        return Plan(forget=True)
    spec = parse(snapshot.owner["spec"])
    if isinstance(spec, Refused):
        return _leave_alone(snapshot, spec, now)
    wanted = want(snapshot, spec)
    if isinstance(wanted, GetLive):
        return Plan(reads=(wanted,))
    return _follow(snapshot, spec, wanted, now)


def _leave_alone(snapshot: DeploymentSnapshot, refused: Refused, now: datetime) -> Plan:
    """Report on a spec that cannot even be read; nothing is done, for not even its replicas are sure."""
    refusal = _refusal(snapshot, refused, now)
    replicas = (snapshot.own_deployment or {}).get("spec", {}).get("replicas", 0)
    return _conclude(snapshot, Verdict(refusal, _previous(snapshot), replicas, refusal), (), now)


def _follow(
    snapshot: DeploymentSnapshot,
    spec: ModelDeploymentSpec,
    wanted: Frozen | Unfrozen | Waiting | Refused,
    now: datetime,
) -> Plan:
    """Keep a revision served: the one that is asked for, else the last one that could be."""
    revision = wanted.revision if isinstance(wanted, Frozen) else _previous(snapshot)
    changes = () if revision is None else find_changes(snapshot, spec, revision)
    blocked = None if revision is None else find_blocked(snapshot, spec, revision, now)
    if isinstance(blocked, EventsAbout):
        return Plan(reads=(blocked,))
    if blocked is not None:
        changes = tuple(change for change in changes if change.resource != DEPLOYMENT)
    finding = _unserved(snapshot, wanted, now) or blocked or worst(changes)
    if finding is None and revision is not None and snapshot.own_deployment is not None:
        told = diagnose(snapshot, snapshot.own_deployment, revision, spec.replicas, now)
        if isinstance(told, EventsAbout):
            return Plan(reads=(told,))
        finding = told
    refusal = finding if isinstance(wanted, Refused) else None
    outdated = wanted.outdated if isinstance(wanted, Frozen) else ""
    verdict = Verdict(refusal, revision, spec.replicas, finding, outdated)
    applies = tuple(change.apply for change in changes if change.apply is not None)
    store = (wanted.create,) if isinstance(wanted, Unfrozen) else ()
    plan = _conclude(snapshot, verdict, (*store, *_keep(snapshot, spec, verdict), *applies), now)
    return replace(plan, events=(*plan.events, *_put_back(snapshot, changes)))


def _keep(snapshot: DeploymentSnapshot, spec: ModelDeploymentSpec, verdict: Verdict) -> tuple[Action, ...]:
    """Keep the revisions that graphs ask, and of the others no more than is of use."""
    if verdict.revision is None:
        return ()
    kept = plan_kept(snapshot, spec, verdict.revision, complete=verdict.finding is None)
    return (*kept, *_prune(snapshot, verdict))


def _conclude(snapshot: DeploymentSnapshot, verdict: Verdict, actions: tuple[Action, ...], now: datetime) -> Plan:
    status = report.build_status(snapshot, verdict, now)
    kind = report.kind_of_change(snapshot.status, status)
    return Plan(
        status=None if kind is StatusKind.NONE else report.to_json(status),
        status_kind=kind,
        actions=actions,
        events=_events(snapshot.status, status, verdict),
        requeue_after=_look_again(verdict, actions),
    )


def _unserved(
    snapshot: DeploymentSnapshot, wanted: Frozen | Unfrozen | Waiting | Refused, now: datetime
) -> Finding | None:
    """Say why the revision that the spec asks for is not there to be served yet; None if it is."""
    match wanted:
        case Frozen():
            return None
        case Unfrozen():
            failure = snapshot.memory.failures.get(wanted.create.ref)
            if failure is not None:
                return from_failure(wanted.create.ref, failure)
            return Finding(Reason.NEW_REVISION, f"revision {wanted.hash} is being stored", normal=True)
        case Waiting():
            words = "spec.model is not set yet: set it, or let a pipeline's deploy stage set it"
            return Finding(Reason.WAITING_FOR_MODEL, words, normal=True)
        case Refused():
            return _refusal(snapshot, wanted, now)
        case _:
            assert_never(wanted)


def _refusal(snapshot: DeploymentSnapshot, refused: Refused, now: datetime) -> Finding:
    """Say why a spec is not accepted. What may come by itself is waited for a while before it counts as stalled."""
    if not refused.patience:
        return Finding(refused.reason, refused.message, stalled=True)
    said = next((c for c in snapshot.status.conditions if c.type == "Accepted" and c.status == Status.FALSE), None)
    left = PATIENCE - (now - parse_time(said.last_transition_time)) if said is not None else PATIENCE
    late = left <= timedelta(0)
    return Finding(
        refused.reason, refused.message, stalled=late, look_again=None if late else left.total_seconds() + 0.1
    )


def _previous(snapshot: DeploymentSnapshot) -> Revision | None:
    """Give the revision that was rolled out last."""
    return next((r for r in snapshot.revisions if r.hash == snapshot.status.revision), None)


def _prune(snapshot: DeploymentSnapshot, verdict: Verdict) -> tuple[Action, ...]:
    """Delete old revisions once a rollout is complete."""
    if verdict.finding is not None or verdict.revision is None:
        return ()
    used = {verdict.revision.hash, *(pod_revision(pod) for pod in snapshot.pods), *(r.hash for r in asked(snapshot))}
    return tuple(
        Delete(snapshot.ref(CONTROLLER_REVISION, revision.name), revision.uid)
        for revision in superfluous(snapshot.revisions, used)
    )


def _look_again(verdict: Verdict, actions: Iterable[Action]) -> float | None:
    """Look again at once after something was stored, soon after something was applied, else as the finding says."""
    finding = verdict.finding
    if finding is None:
        return None
    if finding.look_again is None and finding.normal and any(True for _ in actions):
        return 0.0 if finding.reason == Reason.NEW_REVISION else 1.0
    return finding.look_again


def _events(old: ModelDeploymentStatus, new: ModelDeploymentStatus, verdict: Verdict) -> tuple[EventDraft, ...]:
    """Tell of each change of Ready and of its reason."""
    before, now = _ready(old), _ready(new)
    if now is None or (before is not None and (before.status, before.reason) == (now.status, now.reason)):
        return ()
    harmless = verdict.finding is None or verdict.finding.normal
    type_ = EventType.NORMAL if harmless else EventType.WARNING
    return (EventDraft(type_, now.reason, "Deploy", shorten(now.message)),)


def _put_back(snapshot: DeploymentSnapshot, changes: Iterable[Change]) -> tuple[EventDraft, ...]:
    """Tell of what somebody else deleted or edited: what differs although the spec has not changed since."""
    if snapshot.status.observed_generation != snapshot.generation or not _rolled_out(snapshot.status):
        return ()
    return tuple(
        EventDraft(
            EventType.WARNING,
            "PutBack",
            "Apply",
            f"{change.apply.ref} {f'was edited at {change.path}' if change.path else 'was deleted'}; it is put back",
            change.apply.ref,
        )
        for change in changes
        if change.apply is not None
    )


def _rolled_out(status: ModelDeploymentStatus) -> bool:
    ready = _ready(status)
    return ready is not None and ready.status == Status.TRUE


def _ready(status: ModelDeploymentStatus) -> ConditionStatus | None:
    return next((condition for condition in status.conditions if condition.type == "Ready"), None)
