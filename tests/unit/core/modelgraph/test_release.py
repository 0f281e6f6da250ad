"""The state machine of releases, transition by transition."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from rondo.api.release import PinnedMember, Release, ReleaseStatus
from rondo.core.modelgraph.release import Sight, advance, epoch_of, wake_at
from rondo.core.modelgraph.versions import Wanted, pins_of

START = datetime(2026, 11, 1, 12, 0, 0, tzinfo=UTC)
HOLD = timedelta(minutes=10)
STEPS = [{"weight": 10, "hold": "10m"}, {"weight": 50, "hold": "10m"}]


def wants(spec: str, revision: str) -> Wanted:
    return Wanted(spec, (PinnedMember(name="a", revision=revision),))


ONE, TWO, THREE = wants("s1", "r1"), wants("s2", "r1"), wants("s1", "r2")


def policy(**fields: Any) -> Release:
    return Release.model_validate({"steps": STEPS, **fields})


def sight(wanted: Wanted = TWO, *, arrived: bool = True, release: Release | None = None, **fields: Any) -> Sight:
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
    ("too few requests", {"lacking": "3 of 10"}, timedelta(hours=2), "TooFewRequests", "3 of 10"),
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


def test_a_failing_check_waits_for_enough_requests(story: Story) -> None:
    begin(story)
    assert story.look(sight(failed="slow", lacking="3 of 10"), after=HOLD) == "2 Progressing 1/10 Progressing"


def test_a_member_that_never_answers_fails_the_release_after_its_timeout(story: Story) -> None:
    story.look(sight(THREE, unready="a has no pod"))
    assert story.look(sight(THREE, unready="a has no pod"), after=HOLD) == "2 Preparing 0/0 Progressing"
    after = timedelta(hours=2)
    assert story.look(sight(THREE, unready="a has no pod"), after=after) == "2 RolledBack 0/0 MemberNotReady"


def test_routers_that_never_go_over_fail_the_release(story: Story) -> None:
    story.look(sight())
    story.look(sight(arrived=False), after=timedelta(seconds=2))
    assert story.look(sight(arrived=False), after=timedelta(hours=2)) == "2 RolledBack 1/10 NotServed"


def test_what_was_rolled_back_is_tried_again_with_other_checks(story: Story) -> None:
    begin(story)
    story.look(sight(failed="slow"))
    looser = policy(minRequests=5)
    assert begin(story, TWO, looser) == "3 Progressing 1/10 Progressing"


def test_going_back_ends_a_release_and_forgets_a_failure(story: Story) -> None:
    begin(story)
    assert story.look(sight(ONE)) == "2 Promoted 1/10 Reverted"
    begin(story)
    story.look(sight(failed="slow"))
    assert story.look(sight(ONE)) == "3 Promoted 1/10 Reverted"
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


def test_another_spec_whose_member_is_not_there_yet_stops_what_it_replaces(story: Story) -> None:
    begin(story)
    waiting = replace(wants("s3", "r1"), unsettled="a is rolled out")
    assert story.look(sight(waiting, failed="slow"), after=HOLD) == "2 Progressing 1/10 Progressing"


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
