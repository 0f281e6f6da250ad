"""Wait stages: they do nothing for a length of time."""

from __future__ import annotations

from datetime import datetime

from rondo.api.pipelinerun import StageState
from rondo.core.conditions import timestamp
from rondo.core.durations import parse_duration, parse_time
from rondo.core.run.snapshot import StageView
from rondo.core.run.step import Step, end, update


def plan_wait(view: StageView, length: str, now: datetime) -> Step:
    """Plan a wait stage whose needs are met and that has not ended."""
    begun = min(view.status.start_time or timestamp(now), timestamp(now))  # later only if the clock was set back
    due = parse_time(begun) + parse_duration(length)
    if now >= due:
        started = update(view.status, start_time=begun)
        return Step(end(started, StageState.SUCCEEDED, "Succeeded", f"waited {length}", at=now))
    words = f"waits until {timestamp(due)}"
    status = update(view.status, state=StageState.RUNNING, reason="Waiting", message=words, start_time=begun)
    return Step(status, look_again=(due - now).total_seconds())
