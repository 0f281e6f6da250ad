"""Gate stages: decided by the operator at once, and once only."""

from __future__ import annotations

from datetime import datetime

from rondo.api.pipeline import Check, Gate
from rondo.api.pipelinerun import StageState
from rondo.core.conditions import timestamp
from rondo.core.expressions import ExpressionError, evaluate_bool
from rondo.core.run.snapshot import StageView
from rondo.core.run.step import Step, end


def plan_gate(view: StageView, gate: Gate, now: datetime) -> Step:
    """Evaluate the checks of a gate whose needs are met."""
    failed = [words for check in gate.checks if (words := _failure(view, check))]
    started = view.status.model_copy(update={"start_time": timestamp(now)})
    if failed:
        return Step(end(started, StageState.FAILED, "CheckFailed", "; ".join(failed), at=now))
    held = f"{len(gate.checks)} of {len(gate.checks)} checks hold"
    return Step(end(started, StageState.SUCCEEDED, "Succeeded", held, at=now))


def _failure(view: StageView, check: Check) -> str:
    """Say why a check does not hold, or nothing if it does. An error is a failure, never silence."""
    try:
        if evaluate_bool(check.expression, view.values.for_expression(check.expression)):
            return ""
    except ExpressionError as error:
        return f"{check.expression}: {error}"
    return f"{check.message} ({check.expression})" if check.message else f"{check.expression} is false"
