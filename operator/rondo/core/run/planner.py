"""The planner of runs: from one look at a run to everything that has to be done about it.

Terminal facts are written once, and from then on status is their only truth.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Final

from rondo.api.base import Json
from rondo.api.pipelinerun import PipelineRunStatus
from rondo.core import names
from rondo.core.causes import refusal
from rondo.core.durations import format_duration, parse_time
from rondo.core.graph import nearest
from rondo.core.pipeline import params, validation
from rondo.core.pipeline.wiring import Wiring, wire
from rondo.core.plan import Action, Delete, EventDraft, EventType, Failure, Plan, Ref, StatusKind
from rondo.core.problems import summarize
from rondo.core.recent import Recent
from rondo.core.resources import JOB, PERSISTENT_VOLUME_CLAIM, PIPELINE_RUN
from rondo.core.run import report
from rondo.core.run.frozen import freeze, frozen_spec, given_params
from rondo.core.run.retried import NotFrozenError
from rondo.core.run.round import Round, label_outcome
from rondo.core.run.snapshot import RunSnapshot
from rondo.core.run.strays import delete_strays

_WIRINGS: Final[Recent[tuple[Wiring | None, str]]] = Recent(512)
"""Pipelines of runs, and what is wrong with them: a frozen copy never changes, so it is read and checked once."""


def plan_run(snapshot: RunSnapshot, now: datetime) -> Plan:
    """Plan a run.

    Args:
        snapshot: One look at it.
        now: The time of this look, timezone-aware UTC.
    """
    over = _plan_over(snapshot, now)
    if over is not None:
        return over
    try:
        raw = frozen_spec(snapshot)
        if raw is None:
            return _with_waiting_status(snapshot, freeze(snapshot, now), now)
    except NotFrozenError as error:
        return _rejected(snapshot, error.reason, str(error), now)
    return _plan_frozen(snapshot, raw, now)


def _plan_over(snapshot: RunSnapshot, now: datetime) -> Plan | None:
    """Plan a run that does not go on, for whatever reason; None if it does."""
    metadata = snapshot.run["metadata"]
    if "deletionTimestamp" in metadata:
        return Plan(forget=True)
    if snapshot.status.completion_time is not None:
        return _finished(snapshot)
    refused = snapshot.memory.failures.get(Ref(PIPELINE_RUN, snapshot.namespace, snapshot.name))
    if refused is not None and refused.lasting:
        return _give_up(snapshot, refused, now)
    if names.OUTCOME in metadata.get("labels", {}):
        return _written(snapshot, report.restored(snapshot, now), forget=True)
    return None


def _plan_frozen(snapshot: RunSnapshot, raw: Mapping[str, Json], now: datetime) -> Plan:
    wiring, wrong = _WIRINGS.get(snapshot.uid, None, lambda: _parse(raw))
    if wiring is None or wrong:
        return _rejected(snapshot, "InvalidPipeline", wrong, now)
    given = given_params(snapshot)
    problems = list(params.given_problems(wiring.spec, given, "spec.params"))
    missing = params.missing(wiring.spec, given)
    if problems or missing:
        words = summarize(problems) if problems else f"spec.params: no value for {', '.join(missing)}"
        return _rejected(snapshot, "InvalidParams", words, now)
    named: list[str] = snapshot.run["spec"].get("targets", [])
    unknown = next((name for name in named if name not in wiring.main), None)
    if unknown is not None:
        words = f"spec.targets: there is no stage {unknown}{nearest(unknown, wiring.main)}"
        return _rejected(snapshot, "InvalidTargets", words, now)
    targets = wiring.ancestors(named) if named else frozenset(wiring.main)
    return Round(snapshot, wiring, params.resolve(wiring.spec, given), targets, now).plan()


def _parse(raw: Mapping[str, Json]) -> tuple[Wiring | None, str]:
    spec, problems = validation.parse(raw)
    if spec is None:
        return None, summarize(problems)
    return wire(spec), summarize(validation.validate(spec))


def _finished(snapshot: RunSnapshot) -> Plan:
    """Nothing is left but its workspace, and the label that tells it from one that was restored without its status."""
    actions: tuple[Action, ...] = (
        *_reclaim(snapshot),
        *delete_strays(snapshot, snapshot.status.stages),
        *label_outcome(snapshot, snapshot.status),
    )
    return Plan(actions=actions, forget=not actions)


def _reclaim(snapshot: RunSnapshot) -> Iterator[Delete]:
    """Delete the workspace, and with it all Jobs: Kubernetes keeps a claim for pods that have ended too."""
    if snapshot.workspace is None:
        return
    mine = [job for job in snapshot.jobs.values() if names.controller_uid(job) == snapshot.uid]
    for resource, things in ((PERSISTENT_VOLUME_CLAIM, [snapshot.workspace]), (JOB, mine)):
        for thing in (each["metadata"] for each in things if "deletionTimestamp" not in each["metadata"]):
            yield Delete(Ref(resource, snapshot.namespace, thing["name"]), thing["uid"])


def _rejected(snapshot: RunSnapshot, reason: str, message: str, now: datetime) -> Plan:
    """End a run that cannot begin, or whose frozen pipeline is lost."""
    status = report.rejected(snapshot, reason, message, now)
    event = EventDraft(EventType.WARNING, reason, "StartRun", message)
    return replace(_written(snapshot, status), actions=tuple(label_outcome(snapshot, status)), events=(event,))


def _give_up(snapshot: RunSnapshot, refused: Failure, now: datetime) -> Plan:
    """End a run whose status is refused for good, with less of a status; facts that cannot be written do not count.

    What a smaller status leaves out differs by how often in a row it was refused with the same words.
    """
    status = report.refused(snapshot, refused.message, now, with_stages=refused.count == 1)
    event = EventDraft(EventType.WARNING, report.STATUS_REFUSED, "FinishRun", status.message)
    return replace(_written(snapshot, status), actions=tuple(label_outcome(snapshot, status)), events=(event,))


def _with_waiting_status(snapshot: RunSnapshot, plan: Plan, now: datetime) -> Plan:
    """Say what a run waits for that cannot be frozen yet, unless it only takes a moment."""
    failure = snapshot.memory.failures.get(snapshot.revision_ref)
    if failure is not None and failure.code:
        cause = refusal(failure.message)
        words = f"its pipeline cannot be frozen: {cause.message}"
        waiting = _written(snapshot, report.waiting(snapshot, cause.reason.value, words, now))
        return replace(plan, status=waiting.status, status_kind=StatusKind.PROGRESS)
    if plan.reads or plan.actions:
        return plan
    waited = now - parse_time(snapshot.run["metadata"]["creationTimestamp"])
    words = f"waiting for Pipeline {snapshot.pipeline} ({format_duration(waited)})"
    written = report.to_json(report.waiting(snapshot, "PipelineNotFound", words, now))
    changed = snapshot.status.observed_generation < 0
    return replace(plan, status=written if changed else None, status_kind=StatusKind.PROGRESS)


def _written(snapshot: RunSnapshot, status: PipelineRunStatus, *, forget: bool = False) -> Plan:
    written = report.to_json(status)
    unchanged = written == snapshot.run.get("status")
    return Plan(status=None if unchanged else written, status_kind=StatusKind.FACTS, forget=forget)
