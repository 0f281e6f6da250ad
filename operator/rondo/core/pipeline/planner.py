"""The planner of Pipelines: is the spec valid, is a run due, and how is the newest one.

With `run.trigger: Change` a run is due when what it would execute differs from the frozen copy of the newest run of a
change, both read through this operator's models: an edit of `history` does not train again, nor does a default that a
new version adds. While such a run goes on no other is started; when it ends, the newest spec is.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from rondo.api.base import API_VERSION, Json
from rondo.api.pipeline import LastRun, PipelineSpec, PipelineStatus, Readiness, Trigger
from rondo.core import conditions, names
from rondo.core.conditions import Condition, Status, shorten
from rondo.core.pipeline import params, validation
from rondo.core.plan import (
    Action,
    Create,
    Delete,
    EventDraft,
    EventType,
    GetLive,
    Memory,
    Object,
    Plan,
    Ref,
    StatusKind,
)
from rondo.core.problems import Problem, summarize
from rondo.core.recent import Recent
from rondo.core.resources import CONTROLLER_REVISION, PIPELINE, PIPELINE_RUN
from rondo.core.view import Key, View

_EXECUTED: Final = ("params", "stages", "finally", "defaults", "workspace", "timeout", "onStageFailure", "results")
"""Fields whose change makes a run due, besides `run.token` and `run.params`."""

_SPECS: Final[Recent[tuple[PipelineSpec | None, list[Problem]]]] = Recent(512)
"""Specs that were read and checked; every progress of a run is a look at its Pipeline."""


@dataclass(frozen=True)
class PipelineSnapshot:
    """One look at a Pipeline.

    Attributes:
        pipeline: The Pipeline.
        runs: Its PipelineRuns, those that people made included, newest first.
        memory: What this process remembers.
    """

    pipeline: Object
    runs: tuple[Object, ...]
    memory: Memory

    @property
    def name(self) -> str:
        """Name of the Pipeline."""
        name: str = self.pipeline["metadata"]["name"]
        return name

    @property
    def namespace(self) -> str:
        """Namespace of the Pipeline."""
        namespace: str = self.pipeline["metadata"]["namespace"]
        return namespace

    @property
    def generation(self) -> int:
        """Generation of its spec."""
        generation: int = self.pipeline["metadata"]["generation"]
        return generation

    @property
    def own_runs(self) -> tuple[Object, ...]:
        """Runs that the operator created for it, newest first."""
        uid = self.pipeline["metadata"]["uid"]
        return tuple(run for run in self.runs if names.controller_uid(run) == uid)

    @property
    def newest_change(self) -> Object | None:
        """The newest run of a change."""
        changes = (run for run in self.own_runs if _labels(run).get(names.TRIGGER) == Trigger.CHANGE.value)
        return next(changes, None)


def observe_pipeline(view: View, key: Key) -> PipelineSnapshot | None:
    """Look at a Pipeline; None if it is not there."""
    pipeline = view.get(Ref(PIPELINE, key.namespace, key.name))
    if pipeline is None:
        return None
    runs = sorted(view.children(PIPELINE_RUN, key), key=_age, reverse=True)
    return PipelineSnapshot(pipeline, tuple(runs), view.memory(key))


def pipeline_of_run(run: Object) -> Iterable[Key]:
    """Give the Pipeline that a run executes."""
    name = run["spec"]["pipeline"].get("name")
    if name:
        yield Key(PIPELINE, run["metadata"]["namespace"], name)


def plan_pipeline(snapshot: PipelineSnapshot, now: datetime) -> Plan:
    """Plan a Pipeline.

    Args:
        snapshot: One look at it.
        now: The time of this look, timezone-aware UTC.
    """
    if "deletionTimestamp" in snapshot.pipeline["metadata"]:
        return Plan()
    raw = snapshot.pipeline["spec"]
    spec, problems = _SPECS.get(snapshot.pipeline["metadata"]["uid"], raw, lambda: _read(raw))
    if spec is None or problems:
        return _invalid(snapshot, summarize(problems), now)
    missing = params.missing(spec, {})
    due = _due(snapshot, spec, missing)
    if isinstance(due, GetLive):
        return Plan(reads=(due,))
    failure = snapshot.memory.failures.get(_run_ref(snapshot)) if due else None
    create = (_create_run(snapshot),) if due else ()
    if due and failure is None:
        return Plan(actions=create)
    said = _say(snapshot, spec, missing, blocked=failure.message if failure else "")
    return _plan(snapshot, said, (*create, *_expired(snapshot, spec)), now)


def _read(raw: Mapping[str, Json]) -> tuple[PipelineSpec | None, list[Problem]]:
    spec, problems = validation.parse(raw)
    return spec, problems if spec is None else validation.validate(spec)


def _due(snapshot: PipelineSnapshot, spec: PipelineSpec, missing: Sequence[str]) -> bool | GetLive:
    """Decide whether a run of the change is due now, or which read must come first."""
    if spec.run.trigger is not Trigger.CHANGE or missing:
        return False
    newest = snapshot.newest_change
    if newest is None:
        return True
    status = newest.get("status", {})
    current = snapshot.generation in {status.get("pipelineGeneration"), _generation_of(newest, snapshot)}
    if current or not _finished(newest):
        return False
    return _differs(snapshot, spec, status["revision"]) if "revision" in status else True


def _differs(snapshot: PipelineSnapshot, spec: PipelineSpec, revision: str) -> bool | GetLive:
    """Tell whether a run would execute anything else than the frozen copy; a copy that is gone is different."""
    read = GetLive(Ref(CONTROLLER_REVISION, snapshot.namespace, revision))
    found = snapshot.memory.reads.get(read)
    if found is None or found.error is not None:
        return read
    return found.value is None or executed(spec) != _executed_raw(found.value["data"]["spec"])


def _generation_of(run: Object, snapshot: PipelineSnapshot) -> int:
    """Give the generation that a run of a change was created for, by its name PIPELINE-GENERATION."""
    return int(run["metadata"]["name"].removeprefix(f"{snapshot.name}-"))


def executed(spec: PipelineSpec) -> dict[str, Json]:
    """Give the part of a spec that a run executes, as these models write it; what is at its default is left out."""
    written: dict[str, Any] = spec.model_dump(mode="json", by_alias=True, exclude_defaults=True, exclude_none=True)
    part: dict[str, Json] = {key: written[key] for key in _EXECUTED if key in written}
    for key in ("stages", "finally"):
        part[key] = sorted(part.get(key, ()), key=lambda stage: stage["name"])
    return {**part, "token": spec.run.token, "given": dict(spec.run.params)}


def _executed_raw(raw: Mapping[str, Json]) -> dict[str, Json] | None:
    spec, _ = validation.parse(raw)
    return None if spec is None else executed(spec)


def _say(
    snapshot: PipelineSnapshot, spec: PipelineSpec, missing: Sequence[str], *, blocked: str
) -> tuple[Condition, ...]:
    accepted = Condition("Accepted", Status.TRUE, "Accepted")
    last = _last_run_condition(snapshot)
    if spec.run.trigger is Trigger.CHANGE and missing:
        words = f"spec.run.params: no value for {', '.join(missing)}, so no run can start"
        return (accepted, *conditions.stalled(reason="MissingParams", message=words), *last)
    if spec.run.readiness is Readiness.ACCEPTED or spec.run.trigger is not Trigger.CHANGE:
        return (accepted, *conditions.ready(reason="Accepted", message=_idle_words(snapshot)), *last)
    if blocked:
        words = f"run {_run_ref(snapshot).name} cannot be created: {blocked}"
        return (accepted, *conditions.reconciling(reason="RunBlocked", message=words), *last)
    return (accepted, *_follow_run(snapshot), *last)


def _follow_run(snapshot: PipelineSnapshot) -> tuple[Condition, ...]:
    """Let Ready follow the newest run of a change."""
    run = snapshot.newest_change
    if run is None:
        return conditions.ready(reason="Idle")
    succeeded = _succeeded(run)
    name, words = run["metadata"]["name"], succeeded.get("message", "")
    reason = succeeded.get("reason") or "Running"
    match succeeded.get("status"):
        case "True":
            return conditions.ready(reason="Idle", message=f"run {name} succeeded")
        case "False":
            return conditions.stalled(reason=reason, message=f"run {name}: {words}")
        case _ if _finished(run):
            return conditions.ready(reason=reason, message=f"run {name}: {words}")
        case _:
            return conditions.reconciling(reason="Running", message=f"run {name} is running")


def _last_run_condition(snapshot: PipelineSnapshot) -> tuple[Condition, ...]:
    finished = next((run for run in snapshot.runs if _finished(run)), None)
    if finished is None:
        return ()
    succeeded = _succeeded(finished)
    words = f"run {finished['metadata']['name']}: {succeeded.get('message', '')}"
    status = Status(succeeded.get("status", "Unknown"))
    return (Condition("LastRunSucceeded", status, succeeded.get("reason") or "Unknown", words),)


def _plan(snapshot: PipelineSnapshot, said: tuple[Condition, ...], actions: tuple[Action, ...], now: datetime) -> Plan:
    ready = next(condition for condition in said if condition.type == "Ready")
    before = snapshot.pipeline.get("status", {}).get("conditions", ())
    status = PipelineStatus.model_validate(
        {
            "observedGeneration": snapshot.generation,
            "conditions": conditions.merge(before, said, generation=snapshot.generation, at=now),
            "lastRun": _last_run(snapshot),
            "message": shorten(ready.message or ready.reason),
        }
    )
    written = status.model_dump(mode="json", by_alias=True, exclude_defaults=True, exclude_none=True)
    changed = written != snapshot.pipeline.get("status")
    return Plan(status=written if changed else None, status_kind=StatusKind.PROGRESS, actions=actions)


def _invalid(snapshot: PipelineSnapshot, words: str, now: datetime) -> Plan:
    accepted = Condition("Accepted", Status.FALSE, "Invalid", words)
    said = (accepted, *conditions.stalled(reason="Invalid", message=words), *_last_run_condition(snapshot))
    plan = _plan(snapshot, said, (), now)
    event = EventDraft(EventType.WARNING, "Invalid", "Validate", words)
    known = conditions.find(snapshot.pipeline.get("status", {}).get("conditions", ()), "Accepted")
    is_news = known is None or known.get("message") != shorten(words)
    return Plan(status=plan.status, status_kind=plan.status_kind, events=(event,) if is_news else ())


def _create_run(snapshot: PipelineSnapshot) -> Create:
    ref = _run_ref(snapshot)
    body = {
        "apiVersion": API_VERSION,
        "kind": PIPELINE_RUN.kind,
        "metadata": {
            "name": ref.name,
            "namespace": ref.namespace,
            "labels": {
                names.MANAGED_BY: names.MANAGER,
                names.PIPELINE: snapshot.name,
                names.TRIGGER: Trigger.CHANGE.value,
            },
            "ownerReferences": [names.owner_reference(snapshot.pipeline)],
        },
        "spec": {"pipeline": {"name": snapshot.name}},
    }
    return Create(ref, body)


def _expired(snapshot: PipelineSnapshot, spec: PipelineSpec) -> Iterable[Delete]:
    """Delete finished runs beyond what `history` keeps; only the operator's own, never the newest of a change."""
    kept = {"Succeeded": spec.history.successful, "Failed": spec.history.failed}
    seen = {"Succeeded": 0, "Failed": 0}
    for run in snapshot.own_runs:
        result = _labels(run).get(names.OUTCOME)
        result = "Failed" if result == "Cancelled" else result
        if result not in kept or "deletionTimestamp" in run["metadata"]:
            continue
        seen[result] += 1
        if seen[result] > kept[result] and run is not snapshot.newest_change:
            ref = Ref(PIPELINE_RUN, snapshot.namespace, run["metadata"]["name"])
            yield Delete(ref, run["metadata"]["uid"])


def _last_run(snapshot: PipelineSnapshot) -> dict[str, Json] | None:
    """Name the newest run; the run itself tells its progress, so that each stage does not cost a write here."""
    if not snapshot.runs:
        return None
    run = snapshot.runs[0]
    reason = _succeeded(run).get("reason", "") if _finished(run) else "Running"
    last = LastRun(name=run["metadata"]["name"], reason=reason)
    written: dict[str, Json] = last.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    return written


def _run_ref(snapshot: PipelineSnapshot) -> Ref:
    return Ref(PIPELINE_RUN, snapshot.namespace, f"{snapshot.name}-{snapshot.generation}")


def _idle_words(snapshot: PipelineSnapshot) -> str:
    return "" if snapshot.runs else "no run yet"


def _finished(run: Object) -> bool:
    return "completionTime" in run.get("status", {})


def _succeeded(run: Object) -> Mapping[str, Any]:
    return conditions.find(run.get("status", {}).get("conditions", ()), "Succeeded") or {}


def _labels(run: Object) -> Mapping[str, str]:
    labels: Mapping[str, str] = run["metadata"].get("labels", {})
    return labels


def _age(run: Object) -> tuple[str, int]:
    metadata = run["metadata"]
    return metadata["creationTimestamp"], int(metadata.get("resourceVersion", "0"))
