"""Whether another attempt follows a failed one, and when."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TypeAlias

from rondo.api.pipeline import PipelineSpec, Retry, Stage
from rondo.core.causes import DISRUPTIONS, FATAL, Cause, Reason
from rondo.core.durations import parse_duration


@dataclass(frozen=True, slots=True)
class Again:
    """Another attempt follows after a delay."""

    delay: timedelta


@dataclass(frozen=True, slots=True)
class GiveUp:
    """The stage has failed; `why` says in words why there is no other attempt, empty where none was asked for."""

    why: str = ""


Decision: TypeAlias = Again | GiveUp


def policy_of(stage: Stage, spec: PipelineSpec) -> Retry:
    """Give the retry policy of a stage: its own, else the pipeline's default, else none."""
    return stage.retry or spec.defaults.retry or Retry()


def decide(policy: Retry, cause: Cause, *, failures: int, disruptions: int, at_most_memory: bool = False) -> Decision:
    """Decide about another attempt.

    Args:
        policy: The stage's policy.
        cause: Why the attempt ended.
        failures: Attempts that failed by their own fault, this one included if it did.
        disruptions: Attempts that were disrupted, this one included if it was.
        at_most_memory: Whether another attempt would get no more memory than this one although `onOOM` asks for it.
    """
    if cause.reason in DISRUPTIONS:
        if disruptions > policy.max_disruptions:
            return GiveUp(f"disrupted {disruptions} times, more than retry.maxDisruptions")
        return Again(_backoff(policy, disruptions - 1) if disruptions > 1 else timedelta(0))
    if cause.reason is Reason.OOM_KILLED and at_most_memory:
        return GiveUp("with as much memory as retry.onOOM.max gives")
    if not _retriable(policy, cause):
        return GiveUp()
    if failures > policy.limit:
        return GiveUp(f"failed {failures} times" if policy.limit else "")
    return Again(_backoff(policy, failures))


def _retriable(policy: Retry, cause: Cause) -> bool:
    if policy.on_oom is not None and cause.reason is Reason.OOM_KILLED:
        return True
    named = cause.reason.value in policy.reasons or cause.exit_code in policy.exit_codes
    if policy.reasons or policy.exit_codes:
        return named
    return cause.reason not in FATAL


def _backoff(policy: Retry, failures: int) -> timedelta:
    """The first backoff doubled for each further failure, up to the longest."""
    longest = parse_duration(policy.max_backoff)
    doubled = parse_duration(policy.backoff).total_seconds() * 2.0 ** min(failures - 1, 32)
    return min(timedelta(seconds=min(doubled, longest.total_seconds())), longest)
