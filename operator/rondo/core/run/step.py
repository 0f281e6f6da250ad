"""What planning one stage gives: its new status, and what has to be done."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from rondo.api.pipelinerun import StageState, StageStatus
from rondo.core.conditions import shorten, timestamp
from rondo.core.plan import Action, EventDraft, Read

WORDS_LIMIT = 512
"""Characters of a stage's message: 200 stages have to fit into a status of 100 KiB."""


@dataclass(frozen=True)
class Step:
    """One stage's part of a plan.

    Attributes:
        status: The stage's new status; the same object where nothing changed.
        actions: Carried out after the status was accepted.
        reads: Needed before this stage can be decided; then the status is as before.
        events: Posted after the status was accepted.
        look_again: Seconds until the stage has to be looked at even if nothing happens.
    """

    status: StageStatus
    actions: tuple[Action, ...] = ()
    reads: tuple[Read, ...] = ()
    events: tuple[EventDraft, ...] = ()
    look_again: float | None = None


@dataclass(frozen=True, slots=True)
class Stop:
    """Why a stage shall not go on.

    Attributes:
        reason: One CamelCase word.
        message: In words.
        state: What it becomes if it has begun.
    """

    reason: str
    message: str
    state: StageState = StageState.CANCELLED


def update(status: StageStatus, **changes: Any) -> StageStatus:
    """Give a status with changes; the same object if there are none."""
    if "message" in changes:
        changes["message"] = shorten(changes["message"], WORDS_LIMIT)
    if all(getattr(status, key) == value for key, value in changes.items()):
        return status
    return status.model_copy(update=changes)


def end(status: StageStatus, state: StageState, reason: str, message: str, *, at: datetime, **more: Any) -> StageStatus:
    """Give the terminal status of a stage; from then on it is the only truth about it."""
    return update(
        status,
        state=state,
        reason=reason,
        message=message,
        completion_time=timestamp(at),
        retry_time=None,
        **more,
    )
