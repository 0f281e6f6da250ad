"""The state machine of releases, transition by transition."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from rondo.api.release import PinnedMember, Release, ReleaseStatus
from rondo.core.conditions import MESSAGE_LIMIT
from rondo.core.modelgraph.release import GRACE, SETTLE, Sight, advance, epoch_of, wake_at
from rondo.core.modelgraph.versions import Wanted, pins_of

START = datetime(2026, 11, 1, 12, 0, 0, tzinfo=UTC)
HOLD = timedelta(minutes=10)
STEPS = [{"weight": 10, "hold": "10m"}, {"weight": 50, "hold": "10m"}]


def wants(spec: str, revision: str) -> Wanted:
    return Wanted(spec, (PinnedMember(name="a", revision=revision),))


ONE, TWO, THREE = wants("s1", "r1"), wants("s2", "r1"), wants("s1", "r2")


def policy(**fields: Any) -> Release:
    return Release.model_validate({"steps": STEPS, **fields})


def sight(wanted: Wanted | None = TWO, *, arrived: bool = True, release: Release | None = None, **fields: Any) -> Sight:
    return Sight(policy=release or policy(), wanted=wanted, arrived=arrived, **fields)


class Story:
    """A release over time: each look goes on until nothing changes."""

    def __init__(self) -> None:
        self.now = START
        self.status: ReleaseStatus | None = None

    def look(self, seen: Sight, *, after: timedelta = timedelta(0)) -> str:
        """Look once everything is seen, and give state, step and weight."""
        self.now += after
        for _ in range(20):
            status = advance(self.status, seen, self.now)
            if status == self.status:
                break
            self.status = status
        else:
            raise AssertionError(f"never settles: {self.status}")
        return self.words

    @property
    def words(self) -> str:
        found = self.status
        return "" if found is None else f"{found.number} {found.state} {found.step}/{found.weight} {found.reason}"

    @property
    def served(self) -> str:
        assert self.status is not None
        return "" if self.status.served is None else self.status.served.hash


@pytest.fixture
def story() -> Story:
    """A graph whose first version is served."""
    story = Story()
    story.look(sight(ONE))
    assert story.look(sight(ONE), after=timedelta(seconds=2)) == "1 Promoted 0/0 Promoted"
    return story


def begin(story: Story, wanted: Wanted = TWO, release: Release | None = None) -> str:
    """Begin a release and go to its first step."""
    story.look(sight(wanted, release=release))
    return story.look(sight(wanted, release=release), after=timedelta(seconds=2))


def test_the_first_version_waits_for_its_members_and_is_served_at_once() -> None:
    story = Story()
    assert story.look(sight(Wanted("s1", (), "a has no revision"))) == ""
    assert story.look(sight(ONE, unready="a has no pod")) == "1 Preparing 0/0 First"
    assert story.look(sight(ONE, unready="a has no pod"), after=timedelta(hours=9)) == "1 Preparing 0/0 First"
    assert story.look(sight(ONE)) == "1 Preparing 0/0 First"
    assert story.look(sight(ONE), after=timedelta(seconds=2)) == "1 Promoted 0/0 Promoted"
    assert story.served == ONE.hash


def test_steps_follow_one_another_and_the_last_is_followed_by_promotion(story: Story) -> None:
    assert begin(story) == "2 Progressing 1/10 Progressing"
    assert story.served == ONE.hash
    assert story.look(sight(), after=HOLD - timedelta(seconds=1)) == "2 Progressing 1/10 Progressing"
    assert story.look(sight(), after=timedelta(seconds=1)) == "2 Progressing 2/50 Progressing"
    assert story.look(sight(), after=HOLD) == "2 Promoted 2/50 Promoted"
    assert story.served == TWO.hash
    assert story.look(sight(), after=HOLD) == "2 Promoted 2/50 Promoted"


def test_a_hold_begins_when_all_routers_are_at_the_step(story: Story) -> None:
    story.look(sight())
    story.look(sight(arrived=False), after=timedelta(seconds=2))
    assert story.look(sight(arrived=False), after=HOLD) == "2 Progressing 1/10 Progressing"
    assert story.look(sight(), after=HOLD) == "2 Progressing 1/10 Progressing"
    assert story.look(sight(), after=HOLD) == "2 Progressing 2/50 Progressing"


def test_a_member_that_was_rolled_out_begins_a_release_too(story: Story) -> None:
    assert begin(story, THREE) == "2 Progressing 1/10 Progressing"
    assert list(pins_of(story.status)) == ["a-r1", "a-r2"]


FAILURES = [
    ("a check fails", {"failed": "slow"}, timedelta(0), "CheckFailed", "slow"),
    ("a check fails at the end", {"failed": "slow"}, HOLD, "CheckFailed", "slow"),
    ("a check fails before all routers are there", {"failed": "slow", "arrived": False}, HOLD, "CheckFailed", "slow"),
    ("routers refuse it", {"refused": "bad"}, timedelta(0), "PlanRefused", "a router refuses it: bad"),
]


@pytest.mark.parametrize(
    ("seen", "after", "reason", "message"), [f[1:] for f in FAILURES], ids=[f[0] for f in FAILURES]
)
def test_a_failed_release_is_rolled_back_and_not_tried_again(
    story: Story, seen: dict[str, Any], after: timedelta, reason: str, message: str
) -> None:
    begin(story)
    assert story.look(sight(**seen), after=after) == f"2 RolledBack 1/10 {reason}"
    assert story.status is not None
    assert story.status.message == message
    assert story.served == ONE.hash
    assert story.look(sight(), after=timedelta(days=1)) == f"2 RolledBack 1/10 {reason}"
    assert begin(story, THREE) == "3 Progressing 1/10 Progressing"


LATE = [
    ("too few requests", {"lacking": "3 of 10"}, "TooFewRequests", "3 of 10"),
    ("no pod answers", {"unready": "a has no pod"}, "MemberNotReady", "a has no pod"),
    ("routers are not there", {"arrived": False}, "NotServed", "the routers did not go over to it in time"),
    ("only time is lacking", {}, "TimedOut", "its steps were not through within 21m"),
]


@pytest.mark.parametrize(("lack", "reason", "message"), [c[1:] for c in LATE], ids=[c[0] for c in LATE])
def test_a_release_that_is_late_fails_by_what_it_lacks(
    story: Story, lack: dict[str, Any], reason: str, message: str
) -> None:
    soon = policy(timeout="21m")
    begin(story, release=soon)
    assert story.look(sight(release=soon, lacking="0 of 10"), after=timedelta(minutes=20)).startswith("2 Progressing")
    seen: dict[str, Any] = {"release": soon, **lack}
    late = story.look(sight(**seen), after=timedelta(minutes=1))
    assert late.startswith("2 Progressing")
    assert wake_at(story.status, soon, story.now) == story.now + GRACE
    assert story.look(sight(**seen), after=GRACE - timedelta(seconds=1)) == late
    assert story.look(sight(**seen), after=timedelta(seconds=1)).removeprefix("2 RolledBack ").split()[1] == reason
    assert story.status is not None
    assert story.status.message == message


def test_a_release_that_was_through_while_nobody_looked_is_promoted(story: Story) -> None:
    begin(story)
    story.look(sight(), after=HOLD)
    unheard = sight(arrived=False, lacking="0 of 10")
    assert story.look(unheard, after=timedelta(hours=9)) == "2 Progressing 2/50 Progressing"
    assert story.look(sight(), after=timedelta(seconds=5)) == "2 Promoted 2/50 Promoted"


def test_a_longer_timeout_begins_its_end_anew(story: Story) -> None:
    begin(story)
    story.look(sight(lacking="x"), after=timedelta(hours=2))
    longer = policy(timeout="4h")
    story.look(sight(release=longer, lacking="x"), after=timedelta(hours=1))
    assert story.look(sight(release=longer, lacking="x"), after=timedelta(hours=1)).startswith("2 Progressing")
    assert story.look(sight(release=longer, lacking="x"), after=GRACE).startswith("2 RolledBack")


def test_a_candidate_that_does_not_answer_goes_no_further(story: Story) -> None:
    begin(story, THREE)
    assert story.look(sight(THREE, unready="a has no pod"), after=HOLD) == "2 Progressing 1/10 Progressing"
    promote = policy(decision={"number": 2, "action": "Promote"})
    assert story.look(sight(THREE, unready="x", release=promote)) == "2 Progressing 1/10 Progressing"
    assert story.look(sight(THREE)) == "2 Progressing 2/50 Progressing"
    assert story.look(sight(THREE, unready="a has no pod"), after=HOLD) == "2 Progressing 2/50 Progressing"
    assert story.look(sight(THREE, release=promote)) == "2 Promoted 2/50 Promoted"


ENDS: list[tuple[str, dict[str, Any], str]] = [
    ("nothing", {}, "2 Progressing 1/10 Progressing"),
    ("a check fails", {"failed": "slow"}, "2 RolledBack 1/10 CheckFailed"),
    ("routers refuse it", {"refused": "bad"}, "2 RolledBack 1/10 PlanRefused"),
    ("it is aborted", {"release": policy(decision={"number": 2, "action": "Abort"})}, "2 RolledBack 1/10 Aborted"),
    (
        "it is promoted",
        {"release": policy(decision={"number": 2, "action": "Promote"})},
        "2 Progressing 1/10 Progressing",
    ),
]


@pytest.mark.parametrize(("seen", "want"), [case[1:] for case in ENDS], ids=[case[0] for case in ENDS])
def test_a_release_of_a_graph_that_is_not_accepted_can_only_fail(story: Story, seen: dict[str, Any], want: str) -> None:
    begin(story)
    assert story.look(sight(None, **seen), after=HOLD) == want


def test_a_release_of_a_graph_that_is_not_accepted_fails_when_it_is_late(story: Story) -> None:
    begin(story)
    story.look(sight(None), after=timedelta(hours=2))
    assert story.look(sight(None), after=GRACE) == "2 RolledBack 1/10 TimedOut"
    assert Story().look(sight(None)) == ""


def test_a_failing_check_waits_for_enough_requests(story: Story) -> None:
    begin(story)
    assert story.look(sight(failed="slow", lacking="3 of 10"), after=HOLD) == "2 Progressing 1/10 Progressing"


def test_a_member_that_never_answers_fails_the_release_after_its_timeout(story: Story) -> None:
    story.look(sight(THREE, unready="a has no pod"))
    assert story.look(sight(THREE, unready="a has no pod"), after=HOLD) == "2 Preparing 0/0 Progressing"
    after = timedelta(hours=2)
    assert story.look(sight(THREE, unready="a has no pod"), after=after) == "2 Preparing 0/0 Progressing"
    assert story.look(sight(THREE, unready="a has no pod"), after=GRACE) == "2 RolledBack 0/0 MemberNotReady"


def test_routers_that_never_go_over_fail_the_release(story: Story) -> None:
    story.look(sight())
    story.look(sight(arrived=False), after=timedelta(seconds=2))
    story.look(sight(arrived=False), after=timedelta(hours=2))
    assert story.look(sight(arrived=False), after=GRACE) == "2 RolledBack 1/10 NotServed"


def test_what_was_rolled_back_is_tried_again_with_other_checks(story: Story) -> None:
    begin(story)
    story.look(sight(failed="slow"))
    looser = policy(minRequests=5)
    assert begin(story, TWO, looser) == "3 Progressing 1/10 Progressing"


def test_going_back_ends_a_release_and_forgets_a_failure(story: Story) -> None:
    begin(story)
    assert story.look(sight(ONE)) == "2 Reverted 1/10 Reverted"
    begin(story)
    story.look(sight(failed="slow"))
    assert story.look(sight(ONE)) == "3 Reverted 1/10 Reverted"
    assert begin(story) == "4 Progressing 1/10 Progressing"


def test_a_change_during_a_release_begins_anew_from_what_is_served(story: Story) -> None:
    begin(story)
    story.look(sight(), after=HOLD)
    assert story.look(sight(THREE, unready="x")) == "3 Preparing 0/0 Progressing"
    assert story.served == ONE.hash


def test_a_paused_release_waits_for_a_decision_about_it(story: Story) -> None:
    pausing = policy(onFailure="Pause")
    begin(story, release=pausing)
    assert story.look(sight(release=pausing, failed="slow")) == "2 Paused 1/10 CheckFailed"
    assert wake_at(story.status, pausing, story.now) is None
    stale = policy(onFailure="Pause", decision={"number": 1, "action": "Promote"})
    assert story.look(sight(release=stale), after=timedelta(days=1)) == "2 Paused 1/10 CheckFailed"
    other = Story()
    other.status, other.now = story.status, story.now
    promote = policy(onFailure="Pause", decision={"number": 2, "action": "Promote"})
    assert story.look(sight(release=promote)) == "2 Promoted 1/10 Promoted"
    abort = policy(onFailure="Pause", decision={"number": 2, "action": "Abort"})
    assert other.look(sight(release=abort)) == "2 RolledBack 1/10 Aborted"
    assert other.look(sight(release=pausing)) == "2 RolledBack 1/10 Aborted"


def test_a_decision_ends_a_release_at_any_step(story: Story) -> None:
    begin(story)
    promote = policy(decision={"number": 2, "action": "Promote"})
    assert story.look(sight(release=promote, lacking="0 of 1")) == "2 Promoted 1/10 Promoted"


def test_a_promotion_by_hand_waits_for_the_members(story: Story) -> None:
    promote = policy(decision={"number": 2, "action": "Promote"})
    assert story.look(sight(THREE, release=promote, unready="x")) == "2 Preparing 0/0 Progressing"
    story.look(sight(THREE, release=promote))
    assert story.look(sight(THREE, release=promote), after=timedelta(seconds=2)) == "2 Promoted 0/0 Promoted"


def test_other_steps_hold_from_when_they_are_there(story: Story) -> None:
    begin(story)
    epoch = epoch_of(story.status or pytest.fail("no status"))
    heavier = policy(steps=[{"weight": 20, "hold": "10m"}])
    assert story.look(sight(release=heavier), after=HOLD) == "2 Progressing 1/20 Progressing"
    assert epoch_of(story.status or pytest.fail("no status")) != epoch
    assert story.look(sight(release=heavier), after=HOLD) == "2 Promoted 1/20 Promoted"


def test_what_is_served_and_lost_is_replaced_at_once(story: Story) -> None:
    begin(story)
    assert story.look(sight(lost=True), after=HOLD) == "2 Progressing 1/10 Progressing"
    assert story.served == ""
    assert story.look(sight()) == "2 Promoted 1/10 Promoted"


def test_revisions_are_kept_until_all_routers_have_left_them(story: Story) -> None:
    begin(story, THREE)
    story.look(sight(THREE), after=HOLD)
    story.look(sight(THREE, arrived=False), after=HOLD)
    assert sorted(pins_of(story.status)) == ["a-r1", "a-r2"]
    assert story.look(sight(THREE)) == "2 Promoted 2/50 Promoted"
    assert list(pins_of(story.status)) == ["a-r2"]


WAITING = [("another spec", wants("s3", "r1")), ("the spec that is served", ONE)]


@pytest.mark.parametrize("wanted", [case[1] for case in WAITING], ids=[case[0] for case in WAITING])
def test_what_is_not_asked_for_any_more_is_left_at_once_whatever_is_waited_for(story: Story, wanted: Wanted) -> None:
    begin(story)
    waiting = replace(wanted, unsettled="b is rolled out", assumed=True)
    assert story.look(sight(waiting), after=HOLD) == "2 Reverted 1/10 Reverted"
    assert story.served == ONE.hash
    assert story.look(sight(waiting), after=HOLD) == "2 Reverted 1/10 Reverted"


def test_a_first_version_that_is_replaced_waits_for_the_next() -> None:
    story = Story()
    story.look(sight(ONE, unready="x"))
    assert story.look(sight(replace(TWO, unsettled="x", assumed=True))) == "1 Preparing 0/0 First"
    assert story.look(sight(TWO, unready="x")) == "2 Preparing 0/0 First"


def test_a_member_that_offers_nothing_does_not_make_a_failure_forgotten(story: Story) -> None:
    begin(story, THREE)
    story.look(sight(THREE, failed="slow"))
    assert story.look(sight(replace(ONE, assumed=True))) == "2 RolledBack 1/10 CheckFailed"
    assert begin(story, THREE) == "2 RolledBack 1/10 CheckFailed"
    assert story.look(sight(ONE)) == "2 Reverted 1/10 Reverted"
    assert begin(story, THREE) == "3 Progressing 1/10 Progressing"


def test_another_strategy_begins_with_its_first_step(story: Story) -> None:
    shadow = policy(strategy="Shadow", steps=[{"percent": 50, "hold": "10m"}, {"percent": 100, "hold": "10m"}])
    begin(story, release=shadow)
    assert story.look(sight(release=shadow), after=HOLD) == "2 Progressing 2/100 Progressing"
    assert story.look(sight()) == "2 Progressing 1/10 Progressing"


def test_revisions_that_candidates_have_left_do_not_pile_up(story: Story) -> None:
    for number in range(3, 9):
        begin(story, wants("s1", f"r{number}"))
    assert list(pins_of(story.status)) == ["a-r1", "a-r8"]


def test_what_is_lost_is_kept_until_all_routers_have_left_it(story: Story) -> None:
    begin(story, THREE)
    story.status = advance(story.status, sight(THREE, lost=True, arrived=False), story.now)
    assert sorted(pins_of(story.status)) == ["a-r1", "a-r2"]
    story.look(sight(THREE, arrived=False))
    assert sorted(pins_of(story.status)) == ["a-r1", "a-r2"]
    assert story.look(sight(THREE)) == "2 Promoted 1/10 Promoted"
    assert list(pins_of(story.status)) == ["a-r2"]


def test_what_is_lost_while_nothing_takes_its_place_is_not_called_promoted(story: Story) -> None:
    waiting = replace(ONE, unsettled="a is rolled out", assumed=True)
    story.status = advance(story.status, sight(waiting, lost=True), story.now)
    assert story.look(sight(waiting)) == "1 Preparing 0/0 First"
    assert story.look(sight(ONE)) == "2 Preparing 0/0 First"


def test_a_settling_time_is_never_shorter_than_it_says(story: Story) -> None:
    story.now += timedelta(milliseconds=900)
    story.look(sight())
    assert story.look(sight(), after=SETTLE - timedelta(milliseconds=1)) == "2 Preparing 0/0 Progressing"
    assert story.look(sight(), after=timedelta(milliseconds=101)) == "2 Progressing 1/10 Progressing"


def test_long_words_are_told_in_short(story: Story) -> None:
    begin(story)
    story.look(sight(failed="slow " * 1000))
    assert story.status is not None
    assert len(story.status.message) <= MESSAGE_LIMIT


def test_a_member_that_is_about_to_change_does_not_stop_a_release(story: Story) -> None:
    begin(story)
    moving = replace(TWO, unsettled="a is rolled out")
    assert story.look(sight(moving), after=HOLD) == "2 Progressing 2/50 Progressing"


def test_it_wakes_at_the_end_of_a_hold_and_of_the_timeout(story: Story) -> None:
    begin(story)
    assert wake_at(story.status, policy(), story.now) == story.now + HOLD
    assert wake_at(story.status, policy(), story.now + HOLD) == START + timedelta(hours=2, seconds=2)
    story.look(sight(failed="slow"))
    assert wake_at(story.status, policy(), story.now) is None
