"""What keeps a deployment from being as declared, in words; a policy gives one, or None where it has nothing to say."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from rondo.core import causes
from rondo.core.causes import Cause
from rondo.core.plan import Failure, Ref


class Reason(StrEnum):
    """Reasons of conditions that are the deployments' own; others come from pods (`causes.Reason`)."""

    ACCEPTED = "Accepted"
    INVALID_SPEC = "InvalidSpec"
    INVALID_NAME = "InvalidName"
    INVALID_RUNTIME = "InvalidRuntime"
    RUNTIME_NOT_FOUND = "RuntimeNotFound"
    RUNTIME_CHANGED = "RuntimeChanged"
    FIELD_NOT_ALLOWED = "FieldNotAllowed"
    WAITING_FOR_MODEL = "WaitingForModel"
    MODEL_MISSING = "ModelMissing"
    MODEL_UNREADABLE = "ModelUnreadable"
    MODEL_LOADED = "ModelLoaded"
    NO_READINESS_PROBE = "NoReadinessProbe"
    NEW_REVISION = "NewRevision"
    ROLLING_OUT = "RollingOut"
    ROLLED_OUT = "RolledOut"
    RECREATING = "Recreating"
    KEEPING_REVISION = "KeepingRevision"
    APPLY_FAILED = "ApplyFailed"
    PROGRESS_DEADLINE_EXCEEDED = "ProgressDeadlineExceeded"
    ANSWERING = "Answering"
    SCALED_TO_ZERO = "ScaledToZero"
    READY = "Ready"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that keeps a deployment from being as declared.

    Attributes:
        reason: Becomes the reason of conditions.
        message: Becomes their message; names the object.
        stalled: Nothing more will happen until a person changes something.
        normal: It belongs to the course of things and is no fault.
        look_again: Seconds after which to look again even if nothing happens.
    """

    reason: str
    message: str
    stalled: bool = False
    normal: bool = False
    look_again: float | None = None


_REFUSED: Final = frozenset({400, 413, 422})
"""The same object would be refused again."""

_NO_SUCH_FIELD: Final = "field not declared in schema"
"""Server-side apply answers 500 to an object with a field that its kind does not have."""


def from_cause(cause: Cause, *, stalled: bool = False, look_again: float | None = None) -> Finding:
    """Take over the root cause that a pod tells."""
    normal = cause.reason in {causes.Reason.STARTING, causes.Reason.NOT_READY}
    return Finding(cause.reason.value, cause.message, stalled=stalled, normal=normal, look_again=look_again)


def from_failure(ref: Ref, failure: Failure) -> Finding:
    """Put the API server's refusal of an object into words."""
    if failure.reason == causes.Reason.NAME_CONFLICT:
        return conflict(ref)
    if failure.code == 403:
        cause = causes.refusal(failure.message)
        return Finding(cause.reason.value, f"{ref} cannot be applied: {cause.message}")
    if failure.code in _REFUSED or _NO_SUCH_FIELD in failure.message:
        return Finding(
            causes.Reason.INVALID_OBJECT.value, f"{ref} was refused by the API server: {failure.message}", stalled=True
        )
    return Finding(Reason.APPLY_FAILED, f"{ref} cannot be applied yet: {failure.message}")


def conflict(ref: Ref) -> Finding:
    """Say that the name of an object is taken."""
    words = f"{ref} exists and belongs to somebody else, so it is left alone; delete it or choose another name"
    return Finding(causes.Reason.NAME_CONFLICT.value, words, stalled=True, look_again=30.0)
