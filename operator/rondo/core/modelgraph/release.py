"""The state machine of releases: one pure step from the status of a release and what is seen to its next status.

The status is all there is: what is served follows from it (`parts`), and after a crash between any two writes the next
look goes on from it. One version is served, another may be a candidate:

- Preparing: the candidate's revisions get pods and Services of their own; it gets no request.
- Progressing: it answers, or is shown, the part of the step; Paused: the same until somebody decides.
- Promoted: the candidate is what is served. RolledBack: what was served before is, and what failed is remembered.
  Reverted: the candidate is not asked for any more; what was served before is.

The first version is served at once. A candidate that neither spec nor members ask for any more is left at once, also
while nobody can tell yet what will be asked for. While the graph is not accepted a release goes no further, but it
still fails.
"""

from __future__ import annotations

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
from rondo.core.conditions import shorten, timestamp
from rondo.core.deployment.canonical import digest
from rondo.core.durations import parse_duration, parse_time
from rondo.core.modelgraph.versions import Wanted, pins_of, policy_hash, services_of

SETTLE: Final = timedelta(seconds=2)
"""So long a new Service may have endpoints before every node's proxy knows of them."""

MAX_LEAVING: Final = 256

GRACE: Final = timedelta(seconds=30)
"""So long a release may still come to its end after it was first seen to be late.

An operator that was just started has heard of none of the routers, nor what they counted."""


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
    TIMED_OUT = "TimedOut"
    PLAN_REFUSED = "PlanRefused"
    ABORTED = "Aborted"


@dataclass(frozen=True)
class Sight:
    """What a step of the machine goes by.

    Attributes:
        policy: How releases are made.
        wanted: Which version is asked for; None while the graph is not accepted.
        unready: Why the candidate's revisions do not all answer; empty if they do.
        arrived: Every router that answers serves what the status says.
        refused: What routers say against the candidate; empty if they take it.
        lost: What is served by the status is nowhere to be found any more, so nothing can be gone back to.
        lacking: What is missing to judge this step by; empty if there were enough requests.
        failed: The checks that do not hold by now, in words.
    """

    policy: Release
    wanted: Wanted | None
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
    def deadline(self) -> datetime:
        """When the release has to be through."""
        return deadline_of(self.status, self.sight.policy)

    @property
    def chosen(self) -> ReleaseAction | None:
        """What somebody has decided about this very release."""
        decision = self.sight.policy.decision
        return decision.action if decision is not None and decision.number == self.status.number else None

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
    wanted = sight.wanted
    if status is None:
        return None if wanted is None or wanted.unsettled else _begin_first(sight.policy, wanted, now)
    step = _Step(_freed(status) if sight.arrived else status, sight, now)
    if sight.lost:
        return _lose(step)
    if wanted is not None:
        return _follow(step, wanted)
    return step.status if status.candidate is None else _end(step) or step.status


def _freed(status: ReleaseStatus) -> ReleaseStatus:
    """Let go of the revisions that all routers have left."""
    return status.model_copy(update={"leaving": []}) if status.leaving else status


def _follow(step: _Step, wanted: Wanted) -> ReleaseStatus:
    """Go by what is asked for."""
    status = step.status
    candidate, served = status.candidate, status.served
    if candidate is not None and wanted.hash == candidate.hash:
        return _go_on(step, candidate)
    if served is not None and (wanted.unsettled or wanted.hash == served.hash):
        back = candidate is not None or (status.state is ReleaseState.ROLLED_BACK and not wanted.assumed)
        return _revert(step) if back else status
    if wanted.unsettled or (candidate is None and status.rejected == rejection(wanted.hash, step.sight.policy)):
        return status
    return _begin(step, wanted)


def wake_at(status: ReleaseStatus | None, policy: Release, now: datetime) -> datetime | None:
    """Give the next time at which a release may go on though nothing happens; None if it waits for somebody."""
    if status is None or status.candidate is None or status.state is ReleaseState.PAUSED:
        return None
    times = [deadline_of(status, policy)]
    if status.overdue is not None:
        times.append(parse_time(status.overdue) + GRACE)
    if status.since is not None:
        hold = parse_duration(policy.steps[_index(status, policy)].hold)
        times.append(parse_time(status.since) + (SETTLE if status.state is ReleaseState.PREPARING else hold))
    return min((time for time in times if time > now), default=None)


def deadline_of(status: ReleaseStatus, policy: Release) -> datetime:
    """Give the time at which a release has to be through."""
    return parse_time(status.began) + parse_duration(policy.timeout)


def rejection(version: str, policy: Release) -> str:
    """Give the hash under which a version that was rolled back is remembered, from its own."""
    return digest([version, policy_hash(policy)])


def epoch_of(status: ReleaseStatus) -> str:
    """Name what requests are counted for: this step of this release."""
    version = "" if status.candidate is None else status.candidate.hash
    return f"{status.number}.{status.step}.{status.weight}.{status.strategy[0]}.{version}"


# Beginnings ----------------------------------------------------------------------------------------------------------


def _begin_first(policy: Release, wanted: Wanted, now: datetime) -> ReleaseStatus:
    return ReleaseStatus(
        number=1,
        state=ReleaseState.PREPARING,
        reason=Reason.FIRST,
        strategy=policy.strategy,
        began=timestamp(now),
        candidate=wanted.version(1),
    )


def _begin(step: _Step, wanted: Wanted) -> ReleaseStatus:
    """Begin the next release from what is served; a candidate that was under way leaves."""
    number = step.status.number + 1
    return _leave(
        step,
        step.status.candidate,
        number=number,
        state=ReleaseState.PREPARING,
        reason=Reason.PROGRESSING if step.status.served is not None else Reason.FIRST,
        message="",
        strategy=step.sight.policy.strategy,
        step=0,
        weight=0,
        began=timestamp(step.now),
        since=None,
        overdue=None,
        candidate=wanted.version(number),
        rejected=None,
    )


def _lose(step: _Step) -> ReleaseStatus:
    """Forget what nobody has any more; what is asked for now is then the first version."""
    kept: dict[str, Any] = {"served": None, "rejected": None}
    if step.status.candidate is None:
        kept |= {"state": ReleaseState.PREPARING, "reason": Reason.FIRST, "message": "", "since": None}
    return _leave(step, step.status.served, **kept)


# While it goes on ----------------------------------------------------------------------------------------------------


def _go_on(step: _Step, candidate: ReleaseVersion) -> ReleaseStatus:
    status = step.status
    ended = _end(step)
    if ended is not None:
        return ended
    if status.state is ReleaseState.PREPARING:
        return _prepare(step, candidate)
    if status.served is None:
        return _promote(step, candidate)
    if step.sight.unready:
        return status
    if step.chosen is ReleaseAction.PROMOTE:
        return _promote(step, candidate)
    return _hold(step, candidate) if status.state is ReleaseState.PROGRESSING else status


def _prepare(step: _Step, candidate: ReleaseVersion) -> ReleaseStatus:
    if step.sight.unready:
        return step.status if step.status.since is None else step.change(since=None)
    if step.status.since is None:
        return step.change(since=_from(step.now))
    if not step.passed(SETTLE):
        return step.status
    at_once = step.status.served is None or step.chosen is ReleaseAction.PROMOTE
    return _promote(step, candidate) if at_once else _enter(step, 0)


def _hold(step: _Step, candidate: ReleaseVersion) -> ReleaseStatus:
    policy, sight, status = step.sight.policy, step.sight, step.status
    if status.strategy is not policy.strategy:
        return _enter(step, 0)
    index = _index(status, policy)
    current = policy.steps[index]
    if status.weight != (current.weight or current.percent):
        return _enter(step, index)
    if not sight.arrived:
        return status
    if status.since is None:
        return step.change(since=_from(step.now))
    if sight.lacking or not step.passed(parse_duration(current.hold)):
        return status
    return _enter(step, index + 1) if index + 1 < len(policy.steps) else _promote(step, candidate)


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


def _end(step: _Step) -> ReleaseStatus | None:
    """Give how a release ends badly by now; None if it does not. The first has nothing to go back to."""
    status, sight = step.status, step.sight
    if status.served is None:
        return None
    if sight.refused:
        return _roll_back(step, Reason.PLAN_REFUSED, f"a router refuses it: {sight.refused}")
    if step.chosen is ReleaseAction.ABORT:
        return _roll_back(step, Reason.ABORTED, "it was aborted by spec.release.decision")
    if status.state is ReleaseState.PAUSED:
        return None
    judged = status.state is ReleaseState.PROGRESSING and step.chosen is None and not sight.lacking
    if judged and sight.failed:
        return _fail(step, Reason.CHECK_FAILED, sight.failed)
    return _expire(step) if step.now >= step.deadline else None


def _expire(step: _Step) -> ReleaseStatus | None:
    """Fail a release that takes too long, a moment after that was first seen; None within it."""
    seen = step.status.overdue
    if seen is None or parse_time(seen) < step.deadline:
        return step.change(overdue=_from(step.now))
    return None if step.now < parse_time(seen) + GRACE else _fail(step, *_what_lacked(step))


def _what_lacked(step: _Step) -> tuple[Reason, str]:
    """Say what a release lacked to be through in time."""
    sight = step.sight
    if sight.unready:
        return Reason.MEMBER_NOT_READY, sight.unready
    if not sight.arrived:
        return Reason.NOT_SERVED, "the routers did not go over to it in time"
    if sight.lacking:
        return Reason.TOO_FEW_REQUESTS, sight.lacking
    why = "" if sight.wanted is not None else ", for the graph is not accepted"
    return Reason.TIMED_OUT, f"its steps were not through within {sight.policy.timeout}{why}"


def _fail(step: _Step, reason: Reason, message: str) -> ReleaseStatus:
    routed = step.status.state is ReleaseState.PROGRESSING
    if routed and step.sight.policy.on_failure is ReleaseFailure.PAUSE:
        return step.change(state=ReleaseState.PAUSED, reason=reason, message=shorten(message))
    return _roll_back(step, reason, message)


def _promote(step: _Step, candidate: ReleaseVersion) -> ReleaseStatus:
    return _leave(
        step,
        step.status.served,
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
        candidate,
        state=ReleaseState.ROLLED_BACK,
        reason=reason,
        message=shorten(message),
        since=timestamp(step.now),
        candidate=None,
        rejected=rejection(candidate.hash, step.sight.policy),
    )


def _revert(step: _Step) -> ReleaseStatus:
    """Stay with what is served: it is what is asked for, or at least the candidate is not."""
    return _leave(
        step,
        step.status.candidate,
        state=ReleaseState.REVERTED,
        reason=Reason.REVERTED,
        message="",
        since=timestamp(step.now),
        candidate=None,
        rejected=None,
    )


def _leave(look: _Step, leaving: ReleaseVersion | None, **fields: Any) -> ReleaseStatus:
    """Change the status, and keep the revisions of a version until all routers have left them."""
    after = look.change(**fields)
    known = {*look.status.leaving, *services_of(leaving)}
    left = sorted(known - set(pins_of(after.model_copy(update={"leaving": []}))))
    return after.model_copy(update={"leaving": left[-MAX_LEAVING:]})


def _from(now: datetime) -> str:
    """Write a time from which something has to last: status has whole seconds, so none of it may be before."""
    return timestamp(now + timedelta(microseconds=999_999))
