"""Objects as the API server keeps them, written by the API's own models, so that a renamed field breaks these tests."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from rondo.api.base import API_VERSION
from rondo.api.modeldeployment import ModelDeploymentStatus
from rondo.api.modelgraph import ModelGraphSpec, ModelGraphStatus, NodeStatus
from rondo.api.pipeline import PipelineStatus
from rondo.api.pipelinerun import Attempt, PipelineRunStatus, StageState, StageStatus
from rondo.api.status import ConditionStatus
from rondo.core.conditions import timestamp
from rondo.core.run.report import to_json

START = datetime(2026, 11, 23, 2, 0, tzinfo=UTC)
NOW = START + timedelta(seconds=90)


def at(seconds: int) -> str:
    """A time so long after START."""
    return timestamp(START + timedelta(seconds=seconds))


def said(type_: str, status: str, reason: str = "", message: str = "") -> ConditionStatus:
    return ConditionStatus(type=type_, status=status, reason=reason, message=message, last_transition_time=at(0))


def stage(name: str, state: StageState = StageState.PENDING, **fields: Any) -> StageStatus:
    return StageStatus(name=name, state=state, **fields)


def done(name: str, seconds: int = 5, **fields: Any) -> StageStatus:
    times = {"start_time": at(0), "completion_time": at(seconds), "attempt": 1}
    return stage(name, StageState.SUCCEEDED, reason="Succeeded", **times, **fields)


def running(name: str, **fields: Any) -> StageStatus:
    return stage(name, StageState.RUNNING, **{"reason": "Running", "start_time": at(30), "attempt": 1, **fields})


def attempt(number: int, message: str) -> Attempt:
    return Attempt(number=number, job=f"job-{number}", reason="UserError", message=message, completion_time=at(20))


def run(*stages: StageStatus, name: str = "digits-1", **fields: Any) -> dict[str, Any]:
    """A PipelineRun that goes on, unless the fields say something else."""
    conditions = fields.pop("conditions", [said("Succeeded", "Unknown", "Running", "on its way")])
    finished = sum(each.state is StageState.SUCCEEDED for each in stages)
    status = PipelineRunStatus(
        observed_generation=1,
        conditions=conditions,
        start_time=at(0),
        stages=list(stages),
        progress=f"{finished}/{len(stages)}" if stages else "",
        **fields,
    )
    return {**_object("PipelineRun", name), "status": to_json(status)}


def ended(outcome: str, message: str, *stages: StageStatus, **fields: Any) -> dict[str, Any]:
    """A PipelineRun that has ended after 60 s."""
    condition = said("Succeeded", outcome, "Ended", message)
    return run(*stages, conditions=[condition], message=message, completion_time=at(60), **fields)


def deployment(
    *conditions: ConditionStatus, generation: int = 1, deployed_by: str = "", **fields: Any
) -> dict[str, Any]:
    found = _object("ModelDeployment", "digits", generation=generation)
    if deployed_by:
        found["metadata"]["annotations"] = {"rondo.dev/deployed-by": deployed_by}
    status = ModelDeploymentStatus(observed_generation=1, conditions=list(conditions), **fields)
    return {**found, "status": _written(status)}


def graph(
    *nodes: dict[str, Any],
    conditions: Sequence[ConditionStatus] = (),
    statuses: Sequence[NodeStatus] = (),
    generation: int = 1,
    **fields: Any,
) -> dict[str, Any]:
    """A ModelGraph `g` whose first node is its entry, Ready unless conditions say something else."""
    spec = {"protocol": "JSON", "entry": nodes[0]["name"], "nodes": list(nodes), **fields}
    ModelGraphSpec.model_validate(spec)
    status = ModelGraphStatus(
        observed_generation=1,
        conditions=list(conditions) or [said("Ready", "True", "Ready", "2 routers serve revision r1")],
        url="http://g.team.svc",
        served_revision="r1",
        nodes=list(statuses),
    )
    return {**_object("ModelGraph", "g", generation=generation), "spec": spec, "status": _written(status)}


def up(name: str, kind: str = "Target", **fields: Any) -> NodeStatus:
    return NodeStatus(name=name, kind=kind, ready=True, reason="Answers", **fields)


def down(name: str, reason: str, message: str, **fields: Any) -> NodeStatus:
    return NodeStatus(name=name, kind="Target", ready=False, reason=reason, message=message, **fields)


def target(name: str, model: str = "", **fields: Any) -> dict[str, Any]:
    return {"name": name, "target": {"name": model or name}, **fields}


def pipeline(*conditions: ConditionStatus, generation: int = 1, **fields: Any) -> dict[str, Any]:
    status = PipelineStatus(observed_generation=1, conditions=list(conditions), **fields)
    return {**_object("Pipeline", "digits", generation=generation), "status": _written(status)}


def _object(kind: str, name: str, generation: int = 1) -> dict[str, Any]:
    metadata = {"name": name, "uid": f"uid-of-{name}", "generation": generation, "creationTimestamp": at(0)}
    return {"apiVersion": API_VERSION, "kind": kind, "metadata": metadata, "spec": {}}


def _written(status: ModelDeploymentStatus | ModelGraphStatus | PipelineStatus) -> dict[str, Any]:
    written: dict[str, Any] = status.model_dump(mode="json", by_alias=True, exclude_none=True)
    return written
