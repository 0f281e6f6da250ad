"""The status of a run: what `kubectl get`, GitOps tools and people read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from rondo.api.base import Json
from rondo.api.pipeline import AccessMode
from rondo.api.pipelinerun import PipelineRunStatus, RunState, StageState, StageStatus
from rondo.core import conditions
from rondo.core.artifacts import ArtifactStore, store_of
from rondo.core.conditions import Condition, Status, timestamp
from rondo.core.pipeline.wiring import Wiring
from rondo.core.plan import EventDraft, EventType
from rondo.core.references import UnresolvedError
from rondo.core.references import replace as replace_references
from rondo.core.run import verdict
from rondo.core.run.frozen import given_params
from rondo.core.run.snapshot import RunSnapshot, Values
from rondo.core.run.step import end

SUCCEEDED: Final = "Succeeded"
STATUS_REFUSED: Final = "StatusRefused"
_MOST_SAID: Final = 3
"""So many stages are spoken of in the run's message; the others stand in `stages`."""

_REFUSAL: Final = 200
"""Characters of the API server's words that go into a status that has to be small."""


def progress(
    snapshot: RunSnapshot, wiring: Wiring, by_name: Mapping[str, StageStatus], values: Values, now: datetime
) -> PipelineRunStatus:
    """Give the status of a run whose stages are as given."""
    stages = [by_name[name] for name in wiring.stages]
    over = all(stage.state.terminal for stage in stages)
    done = sum(stage.state is StageState.SUCCEEDED for stage in stages)
    counted = f"{done}/{len(stages)}"
    said = _verdict(by_name, wiring, counted) if over else _running(snapshot, stages, counted)
    return _status(
        snapshot,
        (_accepted(snapshot, wiring), *said),
        now,
        start_time=snapshot.status.start_time or timestamp(now),
        completion_time=timestamp(now) if over else None,
        progress=counted,
        stages=stages,
        results=_results(wiring, values) if over else {},
    )


def rejected(snapshot: RunSnapshot, reason: str, message: str, now: datetime) -> PipelineRunStatus:
    """Give the status of a run that cannot begin, or cannot go on because its pipeline is lost."""
    accepted = Condition("Accepted", Status.FALSE, reason, message)
    failed = Condition(SUCCEEDED, Status.FALSE, reason, message)
    stalled = conditions.stalled(reason=reason, message=message)
    return _status(
        snapshot, (accepted, failed, *stalled), now, completion_time=timestamp(now), stages=snapshot.status.stages
    )


def refused(snapshot: RunSnapshot, words: str, now: datetime, *, with_stages: bool) -> PipelineRunStatus:
    """Give the status of a run that ends because the API server refuses its status.

    Args:
        snapshot: The run, with the last status that was accepted.
        words: What the API server said.
        now: The time of this look.
        with_stages: Whether to say how its stages are, which is most of a status.
    """
    message = f"the API server refuses the status of this run, so it ends here: {conditions.shorten(words, _REFUSAL)}"
    failed = Condition(SUCCEEDED, Status.FALSE, STATUS_REFUSED, message)
    stages = [_given_up(stage, now) for stage in snapshot.status.stages] if with_stages else []
    said = (failed, *conditions.stalled(reason=STATUS_REFUSED))
    kept = {"pipeline_generation": snapshot.status.pipeline_generation, "revision": snapshot.status.revision}
    return _status(snapshot, said, now, completion_time=timestamp(now), stages=stages, **kept)


def _given_up(stage: StageStatus, now: datetime) -> StageStatus:
    """Leave out of a stage what only explains, and end it if it has not ended."""
    kept = stage.model_copy(update={"message": "", "attempts": []})
    if stage.state.terminal:
        return kept
    state = StageState.SKIPPED if stage.state is StageState.PENDING else StageState.CANCELLED
    return end(kept, state, STATUS_REFUSED, "", at=now)


def waiting(snapshot: RunSnapshot, reason: str, message: str, now: datetime) -> PipelineRunStatus:
    """Give the status of a run that waits for its Pipeline."""
    unknown = Condition(SUCCEEDED, Status.UNKNOWN, reason, message)
    accepted = Condition("Accepted", Status.UNKNOWN, reason, message)
    return _status(snapshot, (accepted, unknown, *conditions.reconciling(reason=reason, message=message)), now)


def restored(snapshot: RunSnapshot, now: datetime) -> PipelineRunStatus:
    """Give the status of a run that had finished before it was restored from a backup without its status."""
    words = "this run had finished before it was restored from a backup; it is not executed again"
    unknown = Condition(SUCCEEDED, Status.UNKNOWN, "Restored", words)
    ready = conditions.ready(reason="Restored", message=words)
    return _status(snapshot, (unknown, *ready), now, completion_time=timestamp(now))


def to_json(status: PipelineRunStatus) -> dict[str, Any]:
    """Write a status as the API server keeps it: camelCase, without what is empty."""
    written: dict[str, Any] = status.model_dump(mode="json", by_alias=True, exclude_defaults=True, exclude_none=True)
    return written


def outcome(status: PipelineRunStatus) -> str:
    """Give the value of the outcome label of a finished run: Succeeded, Cancelled or Failed."""
    succeeded = next((c for c in status.conditions if c.type == SUCCEEDED), None)
    if succeeded is not None and succeeded.status == "True":
        return verdict.SUCCEEDED
    return verdict.CANCELLED if succeeded is not None and succeeded.reason == verdict.CANCELLED else verdict.FAILED


def final_events(status: PipelineRunStatus) -> tuple[EventDraft, ...]:
    """Give the Event about a run that failed. Success is told by status alone: it saves a write for every run."""
    if outcome(status) == "Succeeded":
        return ()
    return (EventDraft(EventType.WARNING, "RunFailed", "FinishRun", status.message),)


def _status(snapshot: RunSnapshot, said: Iterable[Condition], now: datetime, **fields: Any) -> PipelineRunStatus:
    generation = snapshot.run["metadata"]["generation"]
    said = tuple(said)
    message = next((c.message or c.reason for c in said if c.type == SUCCEEDED), "")
    before = snapshot.run.get("status", {}).get("conditions", ())
    return PipelineRunStatus.model_validate(
        {
            "observedGeneration": generation,
            "conditions": conditions.merge(before, said, generation=generation, at=now),
            "message": conditions.shorten(message),
        }
    ).model_copy(update={"start_time": snapshot.status.start_time, **fields})


def _accepted(snapshot: RunSnapshot, wiring: Wiring) -> Condition:
    store = store_of(wiring.spec.artifacts, snapshot.settings.store)
    given = snapshot.run["spec"].get("params", {})
    if given != given_params(snapshot) and not snapshot.retry_of:
        words = "spec.params was changed after the run began; it keeps the values that it began with"
        return Condition("Accepted", Status.TRUE, "ParamsIgnored", words)
    used = any(stage.outputs or stage.inputs for stage in wiring.stages.values())
    if used and isinstance(store, ArtifactStore) and store.access_mode is AccessMode.READ_WRITE_ONCE:
        words = f"artifacts are on claim {store.claim} (ReadWriteOnce): pods that use it are kept on one node"
        return Condition("Accepted", Status.TRUE, "Accepted", words)
    return Condition("Accepted", Status.TRUE, "Accepted")


def _verdict(stages: Mapping[str, StageStatus], wiring: Wiring, counted: str) -> tuple[Condition, ...]:
    words = f"{counted} stages succeeded{_left_out(stages.values())}{_allowed(stages.values(), wiring)}"
    match verdict.outcome_of(stages, wiring):
        case verdict.SUCCEEDED:
            said = Condition(SUCCEEDED, Status.TRUE, "Succeeded", words)
            return (said, *conditions.ready(reason="Succeeded", message=words))
        case verdict.CANCELLED:
            reason, words = verdict.CANCELLED, f"cancelled by spec.state; {words}"
        case _:
            failed = [s for s in stages.values() if verdict.fails_run(s, wiring) or s.reason == verdict.RUN_TIMEOUT]
            first = min(failed, key=_first_to_tell)
            more = f"; and {count} more failed" if (count := _count_others(failed, first)) else ""
            why = f"{first.name} {first.state.value.lower()}: {first.message or first.reason}"
            reason, words = first.reason, f"{counted} stages succeeded; {why}{more}"
    return (
        Condition(SUCCEEDED, Status.FALSE, reason, words),
        *conditions.stalled(reason=reason, message=words),
    )


def _first_to_tell(stage: StageStatus) -> tuple[bool, bool, str]:
    """Put what failed first before what failed later, and both before what was stopped or never started."""
    return (stage.state is not StageState.FAILED, stage.state is StageState.SKIPPED, stage.completion_time or "")


def _count_others(failed: Sequence[StageStatus], first: StageStatus) -> int:
    return sum(stage is not first and stage.state is StageState.FAILED for stage in failed)


def _left_out(stages: Iterable[StageStatus]) -> str:
    skipped = sum(stage.state is StageState.SKIPPED for stage in stages)
    return f", {skipped} skipped" if skipped else ""


def _allowed(stages: Iterable[StageStatus], wiring: Wiring) -> str:
    """Name the stages whose failure did not count."""
    failed = [s.name for s in stages if s.state is StageState.FAILED and wiring.stages[s.name].continue_on_failure]
    return f"; {', '.join(failed[:_MOST_SAID])} failed, which continueOnFailure allows" if failed else ""


def _running(snapshot: RunSnapshot, stages: Sequence[StageStatus], counted: str) -> tuple[Condition, ...]:
    words = f"{counted} stages done{_doing(stages)}"
    reason = "Running"
    match snapshot.wanted:
        case RunState.PAUSED:
            reason, words = "Paused", f"paused by spec.state; {words}"
        case RunState.CANCELLED:
            reason, words = "Cancelling", f"cancelled by spec.state; {words}"
        case _:
            pass
    return (
        Condition(SUCCEEDED, Status.UNKNOWN, reason, words),
        *conditions.reconciling(reason=reason, message=words, ready_now=Status.UNKNOWN),
    )


def _doing(stages: Sequence[StageStatus]) -> str:
    """Say what goes on now: trouble first, then what runs, then what waits."""
    active = [stage for stage in stages if stage.state in {StageState.WAITING, StageState.RUNNING}]
    active.sort(key=lambda stage: (stage.reason in {"", "Starting", "Running"}, stage.state is StageState.WAITING))
    said = [f"{stage.name} {stage.state.value.lower()}{_why(stage)}" for stage in active[:_MOST_SAID]]
    if len(active) > _MOST_SAID:
        said.append(f"{len(active) - _MOST_SAID} more")
    return "".join(f"; {part}" for part in said)


def _why(stage: StageStatus) -> str:
    return f", {stage.message}" if stage.message else ""


def _results(wiring: Wiring, values: Values) -> dict[str, Json]:
    """Give the values of the whole run; those of stages that gave none are left out."""
    found: dict[str, Json] = {}
    for result in wiring.spec.results:
        try:
            found[result.name] = replace_references(result.value, values.lookup)
        except UnresolvedError:
            continue
    return found
