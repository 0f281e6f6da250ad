"""Status conditions: the one setter, and the kstatus trio that GitOps tools and Helm wait on.

`Ready` is always present. While work goes on `Reconciling` is True; after a failure that only a person can end
`Stalled` is True besides `Ready=False`; both are absent otherwise, because kstatus reads their presence
(abnormal-true).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

MESSAGE_LIMIT: Final = 1024
"""Characters of a condition's message; longer ones are cut in the middle, where they say least."""


class Status(StrEnum):
    """The three values of a condition's status."""

    TRUE = "True"
    FALSE = "False"
    UNKNOWN = "Unknown"


@dataclass(frozen=True, slots=True)
class Condition:
    """One statement about an object: `type` is `status` because of `reason`, in words `message`."""

    type: str
    status: Status
    reason: str
    message: str = ""


def ready(*, reason: str, message: str = "") -> tuple[Condition, ...]:
    """Say that the object is as declared."""
    return (Condition("Ready", Status.TRUE, reason, message),)


def reconciling(*, reason: str, message: str = "", ready_now: Status = Status.FALSE) -> tuple[Condition, ...]:
    """Say that work goes on; `ready_now` tells whether the object is of use meanwhile."""
    return (
        Condition("Ready", ready_now, reason, message),
        Condition("Reconciling", Status.TRUE, reason, message),
    )


def stalled(*, reason: str, message: str = "") -> tuple[Condition, ...]:
    """Say that nothing more will happen until a person changes something."""
    return (
        Condition("Ready", Status.FALSE, reason, message),
        Condition("Stalled", Status.TRUE, reason, message),
    )


def merge(
    before: Iterable[Mapping[str, Any]], now: Iterable[Condition], *, generation: int, at: datetime
) -> list[dict[str, Any]]:
    """Give the `status.conditions` that say exactly `now`.

    A type that `now` does not name is removed. `lastTransitionTime` is kept while its status stays.

    Args:
        before: `status.conditions` as they stand on the object.
        now: All conditions that hold; the order is kept.
        generation: The generation of the spec that they speak of.
        at: The time of this look, timezone-aware UTC.
    """
    previous = {condition.get("type"): condition for condition in before}
    return [_as_json(condition, previous.get(condition.type), generation=generation, at=at) for condition in now]


def find(conditions: Iterable[Mapping[str, Any]], type_: str) -> Mapping[str, Any] | None:
    """Give the condition of a type as it stands on an object, or None."""
    return next((condition for condition in conditions if condition.get("type") == type_), None)


def shorten(text: str, limit: int = MESSAGE_LIMIT) -> str:
    """Cut a text to `limit` characters, leaving its beginning and its end, where the cause usually stands."""
    if len(text) <= limit:
        return text
    head = (limit - 5) // 2
    return f"{text[:head]} ... {text[len(text) - (limit - 5 - head) :]}"


def timestamp(at: datetime) -> str:
    """Write a time as Kubernetes does in status: RFC 3339, UTC, whole seconds."""
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")


def _as_json(
    condition: Condition, before: Mapping[str, Any] | None, *, generation: int, at: datetime
) -> dict[str, Any]:
    flipped = before is None or before.get("status") != condition.status.value
    since = timestamp(at) if before is None or flipped else before.get("lastTransitionTime", timestamp(at))
    return {
        "type": condition.type,
        "status": condition.status.value,
        "reason": condition.reason,
        "message": shorten(condition.message),
        "observedGeneration": generation,
        "lastTransitionTime": since,
    }
