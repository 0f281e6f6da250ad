"""Gate stages: decided by the operator at once, and once only."""

from __future__ import annotations

from datetime import datetime

from rondo.api.pipeline import Check, Gate
from rondo.api.pipelinerun import StageState
from rondo.core.conditions import timestamp
from rondo.core.expressions import ExpressionError
from rondo.core.plan import Evaluate
from rondo.core.run.snapshot import StageView
from rondo.core.run.step import Step, end


def plan_gate(view: StageView, gate: Gate, now: datetime) -> Step:
    """Evaluate the checks of a gate whose needs are met."""
    answers = [_failure(view, check) for check in gate.checks]
    reads = tuple(answer for answer in answers if isinstance(answer, Evaluate))
    if reads or None in answers:
        return Step(view.status, reads=reads)
    failed = [words for words in answers if words]
    started = view.status.model_copy(update={"start_time": timestamp(now)})
    if failed:
        return Step(end(started, StageState.FAILED, "CheckFailed", "; ".join(map(str, failed)), at=now))
    held = f"{len(gate.checks)} of {len(gate.checks)} checks hold"
    return Step(end(started, StageState.SUCCEEDED, "Succeeded", held, at=now))


def _failure(view: StageView, check: Check) -> str | Evaluate | None:
    """Say why a check does not hold, nothing if it does, or what has to be read first. An error is a failure."""
    try:
        answer = view.values.decide(check.expression)
    except ExpressionError as error:
        return f"{check.expression}: {error}"
    if not isinstance(answer, bool):
        return answer
    if answer:
        return ""
    return f"{check.message} ({check.expression})" if check.message else f"{check.expression} is false"
