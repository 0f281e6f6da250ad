"""The state machine of releases: one pure step from the status of a release and what is seen to its next status.

The status is all there is: what is served follows from it (`parts`), and after a crash between any two writes the next
look goes on from it. One version is served, another may be a candidate:

- Preparing: the candidate's revisions get pods and Services of their own; it gets no request.
- Progressing: it answers, or is shown, the part of the step; Paused: the same until somebody decides.
- Promoted: the candidate is what is served. RolledBack: what was served before is, and what failed is remembered.

The first version is served at once. Another spec or member begins the next release from what is served, whatever was
going on, and going back to what is served ends one.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final

from rondo.api.release import (
    Release,
    ReleaseAction,
    ReleaseFailure,
    ReleaseState,
    ReleaseStatus,
    ReleaseVersion,
)
from rondo.core.conditions import timestamp
from rondo.core.deployment.canonical import digest
from rondo.core.durations import parse_duration, parse_time
from rondo.core.modelgraph.versions import Wanted, pins_of, policy_hash, services_of

SETTLE: Final = timedelta(seconds=2)
"""So long a new Service may have endpoints before every node's proxy knows of them."""

MAX_LEAVING: Final = 256


class Reason(StrEnum):
    """Why a release is in its state."""

    FIRST = "First"
    PROGRESSING = "Progressing"
    MEMBER_NOT_READY = "MemberNotReady"
    PROMOTED = "Promoted"
    REVERTED = "Reverted"
    CHECK_FAILED = "CheckFailed"
    TOO_FEW_REQUESTS = "TooFewRequests"
    NOT_SERVED = "NotServed"
    PLAN_REFUSED = "PlanRefused"
    ABORTED = "Aborted"


@dataclass(frozen=True)
class Sight:
    """What a step of the machine goes by.

    Attributes:
        policy: How releases are made.
        wanted: Which version is asked for.
        unready: Why the candidate's revisions do not all answer; empty if they do.
        arrived: Every router that answers serves what the status says.
        refused: What routers say against the candidate; empty if they take it.
        lost: What is served by the status is nowhere to be found any more, so nothing can be gone back to.
        lacking: What is missing to judge this step by; empty if there were enough requests.
        failed: The checks that do not hold by now, in words.
    """

    policy: Release
    wanted: Wanted
    unready: str = ""
    arrived: bool = False
    refused: str = ""
    lost: bool = False
    lacking: str = ""
    failed: str = ""


@dataclass(frozen=True)
class _Step:
    """One step under construction: the status, what is seen, and the time."""

    status: ReleaseStatus
    sight: Sight
    now: datetime

    def change(self, **fields: Any) -> ReleaseStatus:
        return self.status.model_copy(update={"seen": None, **fields})

    @property
    def late(self) -> bool:
        """Whether the release has taken longer than it may."""
        return self.now >= parse_time(self.status.began) + parse_duration(self.sight.policy.timeout)

    def passed(self, length: timedelta) -> bool:
        """Tell whether the state has held for so long."""
        return self.status.since is not None and self.now >= parse_time(self.status.since) + length


def advance(status: ReleaseStatus | None, sight: Sight, now: datetime) -> ReleaseStatus | None:
    """Give the next status of a release; the same if nothing is to be done; None before the first can begin.

    Args:
        status: The status as it stands.
        sight: What is seen.
        now: The time of this look, timezone-aware UTC.
    """
    if status is None:
        return None if sight.wanted.unsettled else _begin_first(sight, now)
    step = _Step(status, sight, now)
    if sight.lost:
        return _lose(step)
    return _wait(step) if sight.wanted.unsettled else _follow(step)


def _wait(step: _Step) -> ReleaseStatus:
    """Go on while nobody can tell what is asked for; what another spec replaces goes no further."""
    candidate = step.status.candidate
    if candidate is None:
        return _rest(step)
    return step.status if step.sight.wanted.spec != candidate.spec else _go_on(step, candidate)


def _follow(step: _Step) -> ReleaseStatus:
    """Go by what is asked for."""
    status, wanted = step.status, step.sight.wanted
    if status.candidate is not None and wanted.hash == status.candidate.hash:
        return _go_on(step, status.candidate)
    if status.served is not None and wanted.hash == status.served.hash:
        return _revert(step)
    if status.candidate is None and status.rejected == rejection(wanted.hash, step.sight.policy):
        return _rest(step)
    return _begin(step)


def wake_at(status: ReleaseStatus | None, policy: Release, now: datetime) -> datetime | None:
    """Give the next time at which a release may go on though nothing happens; None if it waits for somebody."""
    if status is None or status.candidate is None or status.state is ReleaseState.PAUSED:
        return None
    times = [parse_time(status.began) + parse_duration(policy.timeout)]
    if status.since is not None:
        hold = parse_duration(policy.steps[_index(status, policy)].hold)
        times.append(parse_time(status.since) + (SETTLE if status.state is ReleaseState.PREPARING else hold))
    return min((time for time in times if time > now), default=None)


def rejection(version: str, policy: Release) -> str:
    """Give the hash under which a version that was rolled back is remembered, from its own."""
    return digest([version, policy_hash(policy)])


def epoch_of(status: ReleaseStatus) -> str:
    """Name what requests are counted for: this step of this release."""
    version = "" if status.candidate is None else status.candidate.hash
    return f"{status.number}.{status.step}.{status.weight}.{status.strategy[0]}.{version}"


# Beginnings ----------------------------------------------------------------------------------------------------------


def _begin_first(sight: Sight, now: datetime) -> ReleaseStatus:
    return ReleaseStatus(
        number=1,
        state=ReleaseState.PREPARING,
        reason=Reason.FIRST,
        strategy=sight.policy.strategy,
        began=timestamp(now),
        candidate=sight.wanted.version(1),
    )


def _begin(step: _Step) -> ReleaseStatus:
    """Begin the next release from what is served; a candidate that was under way leaves."""
    number = step.status.number + 1
    return _leave(
        step,
        [step.status.candidate],
        number=number,
        state=ReleaseState.PREPARING,
        reason=Reason.PROGRESSING if step.status.served is not None else Reason.FIRST,
        message="",
        strategy=step.sight.policy.strategy,
        step=0,
        weight=0,
        began=timestamp(step.now),
        since=None,
        candidate=step.sight.wanted.version(number),
        rejected=None,
    )


def _lose(step: _Step) -> ReleaseStatus:
    """Forget what nobody has any more; what is asked for now is then the first version."""
    return step.change(served=None, rejected=None)


# While it goes on ----------------------------------------------------------------------------------------------------


def _go_on(step: _Step, candidate: ReleaseVersion) -> ReleaseStatus:
    decision = step.sight.policy.decision
    chosen = decision.action if decision is not None and decision.number == step.status.number else None
    if step.sight.refused and step.status.served is not None:
        return _roll_back(step, Reason.PLAN_REFUSED, f"a router refuses it: {step.sight.refused}")
    if chosen is ReleaseAction.ABORT and step.status.served is not None:
        return _roll_back(step, Reason.ABORTED, "it was aborted by spec.release.decision")
    if step.status.state is ReleaseState.PREPARING:
        return _prepare(step, candidate, at_once=chosen is ReleaseAction.PROMOTE)
    if chosen is ReleaseAction.PROMOTE or step.status.served is None:
        return _promote(step, candidate)
    if step.status.state is ReleaseState.PROGRESSING:
        return _hold(step, candidate)
    return step.status


def _prepare(step: _Step, candidate: ReleaseVersion, *, at_once: bool) -> ReleaseStatus:
    first = step.status.served is None
    if step.sight.unready:
        if step.late and not first:
            return _roll_back(step, Reason.MEMBER_NOT_READY, step.sight.unready)
        return step.status if step.status.since is None else step.change(since=None)
    if step.status.since is None:
        return step.change(since=timestamp(step.now))
    if not step.passed(SETTLE):
        return step.status
    return _promote(step, candidate) if first or at_once else _enter(step, 0)


def _hold(step: _Step, candidate: ReleaseVersion) -> ReleaseStatus:
    policy, sight = step.sight.policy, step.sight
    index = _index(step.status, policy)
    current = policy.steps[index]
    if (step.status.strategy, step.status.weight) != (policy.strategy, current.weight or current.percent):
        return _enter(step, index)
    if step.status.since is None:
        if sight.arrived:
            return step.change(since=timestamp(step.now))
        return _fail(step, Reason.NOT_SERVED, "the routers did not go over to it in time") if step.late else step.status
    if sight.failed and not sight.lacking:
        return _fail(step, Reason.CHECK_FAILED, sight.failed)
    if step.passed(parse_duration(current.hold)) and not sight.lacking:
        return _enter(step, index + 1) if index + 1 < len(policy.steps) else _promote(step, candidate)
    return _fail(step, Reason.TOO_FEW_REQUESTS, sight.lacking) if step.late and sight.lacking else step.status


def _enter(step: _Step, index: int) -> ReleaseStatus:
    policy = step.sight.policy
    share = policy.steps[index].weight or policy.steps[index].percent or 0
    return step.change(
        state=ReleaseState.PROGRESSING,
        reason=Reason.PROGRESSING,
        message="",
        strategy=policy.strategy,
        step=index + 1,
        weight=share,
        since=None,
    )


def _index(status: ReleaseStatus, policy: Release) -> int:
    """Give the place of the step; the last one if the steps have become fewer."""
    return min(max(status.step, 1), len(policy.steps)) - 1


# Ends ----------------------------------------------------------------------------------------------------------------


def _fail(step: _Step, reason: Reason, message: str) -> ReleaseStatus:
    if step.sight.policy.on_failure is ReleaseFailure.PAUSE:
        return step.change(state=ReleaseState.PAUSED, reason=reason, message=message)
    return _roll_back(step, reason, message)


def _promote(step: _Step, candidate: ReleaseVersion) -> ReleaseStatus:
    return _leave(
        step,
        [step.status.served],
        state=ReleaseState.PROMOTED,
        reason=Reason.PROMOTED,
        message="",
        since=timestamp(step.now),
        served=candidate,
        candidate=None,
        rejected=None,
    )


def _roll_back(step: _Step, reason: Reason, message: str) -> ReleaseStatus:
    candidate = step.status.candidate
    assert candidate is not None  # noqa: S101 - only a release that goes on is rolled back
    return _leave(
        step,
        [candidate],
        state=ReleaseState.ROLLED_BACK,
        reason=reason,
        message=message,
        since=timestamp(step.now),
        candidate=None,
        rejected=rejection(candidate.hash, step.sight.policy),
    )


def _revert(step: _Step) -> ReleaseStatus:
    """What is asked for is what is served."""
    if step.status.candidate is None and step.status.state is ReleaseState.PROMOTED:
        return _rest(step)
    return _leave(
        step,
        [step.status.candidate],
        state=ReleaseState.PROMOTED,
        reason=Reason.REVERTED,
        message="",
        since=timestamp(step.now),
        candidate=None,
        rejected=None,
    )


def _rest(step: _Step) -> ReleaseStatus:
    """Let go of the revisions that all routers have left."""
    if step.status.leaving and step.sight.arrived:
        return step.change(leaving=[])
    return step.status


def _leave(look: _Step, leaving: Iterable[ReleaseVersion | None], **fields: Any) -> ReleaseStatus:
    """Change the status, and keep the revisions of versions until all routers have left them."""
    after = look.change(**fields)
    known = [*look.status.leaving, *(service for version in leaving for service in services_of(version))]
    needed = set(pins_of(after.model_copy(update={"leaving": []})))
    left = sorted({service for service in known if service not in needed})
    return after.model_copy(update={"leaving": left[-MAX_LEAVING:]})
