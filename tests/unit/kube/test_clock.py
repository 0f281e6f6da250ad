"""The API server's clock as its answers tell it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rondo.kube.clock import ServerClock

NOON = datetime(2026, 11, 1, 12, 0, 0, 400_000, tzinfo=UTC)
SECOND = timedelta(seconds=1)


class Server:
    """An API server whose clock shows `now`, and a machine whose monotonic clock goes with it."""

    def __init__(self) -> None:
        self.now = NOON
        self.mine = 1_000.0
        self.clock = ServerClock(lambda: self.mine)

    def wait(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)
        self.mine += seconds

    def answer(self, *, there: float = 0.01, back: float = 0.01) -> None:
        """Ask, and take so many seconds there and back."""
        asked = self.mine
        self.wait(there)
        date = format_datetime(self.now.replace(microsecond=0), usegmt=True)
        self.wait(back)
        self.clock.hear(date, asked)

    def error(self) -> timedelta:
        return abs(self.clock.now() - self.now)


@pytest.fixture
def server() -> Server:
    return Server()


def test_before_any_answer_it_is_this_machines(server: Server) -> None:
    assert abs(server.clock.now() - datetime.now(UTC)) < SECOND


def test_one_answer_is_enough_however_far_off_this_machine_is(server: Server) -> None:
    server.answer()
    assert server.error() <= SECOND


def test_between_answers_time_goes_on(server: Server) -> None:
    server.answer()
    server.wait(3600)
    assert server.error() <= SECOND


def test_an_answer_that_took_long_spoils_nothing(server: Server) -> None:
    server.answer()
    before = server.error()
    server.wait(1)
    server.answer(there=0.1, back=30)
    server.answer(there=30, back=0.1)
    assert server.error() <= before + timedelta(seconds=0.2)


def test_a_server_whose_clock_is_set_is_followed(server: Server) -> None:
    server.answer()
    server.now -= timedelta(hours=3)
    server.answer()
    assert server.error() <= SECOND


@pytest.mark.parametrize("date", ["", "yesterday", "Sun, 99 Nov 2026 12:00:00 GMT"])
def test_what_is_no_date_counts_for_nothing(server: Server, date: str) -> None:
    server.answer()
    server.clock.hear(date, server.mine)
    assert server.error() <= SECOND


DELAYS = st.floats(0, 60)


@given(st.lists(st.tuples(DELAYS, DELAYS, DELAYS), max_size=20))
def test_whatever_the_network_does_it_is_off_by_no_more_than_the_quickest_answer_allows(
    answers: list[tuple[float, float, float]],
) -> None:
    server = Server()
    server.answer()
    for pause, there, back in answers:
        server.wait(pause)
        server.answer(there=there, back=back)
        assert server.error() <= timedelta(seconds=1.1)
