"""Outcomes in the order of the items, and the first failure whichever item it is of."""

from __future__ import annotations

import threading

import pytest

from rondo.artifacts.parallel import in_order


def test_outcomes_come_in_the_order_of_the_items() -> None:
    later = threading.Event()

    def work(item: int) -> int:
        if item == 0:
            assert later.wait(10)
        if item == 1:
            later.set()
        return item * 2

    assert list(in_order(work, range(200), stop=lambda: None)) == [(item, item * 2) for item in range(200)]


def test_the_first_failure_ends_the_others_and_is_raised() -> None:
    stopped = threading.Event()

    def work(item: int) -> None:
        if item == 0:
            assert stopped.wait(10)
            raise RuntimeError("stopped")
        if item == 1:
            raise ValueError("the cause")

    with pytest.raises(ValueError, match="the cause"):
        list(in_order(work, range(1000), stop=stopped.set))
    assert stopped.is_set()


def test_a_consumer_that_gives_up_ends_the_work() -> None:
    stopped = threading.Event()
    outcomes = in_order(lambda item: item, range(100), stop=stopped.set)
    assert next(outcomes) == (0, 0)
    del outcomes
    assert stopped.is_set()
