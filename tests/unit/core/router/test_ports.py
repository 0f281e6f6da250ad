"""Ports of graphs: one each, the same for as long as the graph lives."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rondo.core.router.ports import FIRST, LAST, NoPortError, assign

NAMES = st.sets(st.sampled_from([f"g{number}" for number in range(12)]))


@given(st.lists(NAMES, min_size=1, max_size=12))
def test_ports_are_unique_and_stay_while_their_graph_lives(times: list[set[str]]) -> None:
    known: dict[str, int] = {}
    last = 0
    for live in times:
        ports, last = assign(live, known, last)
        assert ports.keys() == live
        assert len(set(ports.values())) == len(ports)
        assert all(FIRST <= port <= LAST for port in ports.values())
        assert all(ports[name] == known[name] for name in live & known.keys())
        known = ports


@given(NAMES, NAMES)
def test_the_order_of_names_means_nothing(before: set[str], now: set[str]) -> None:
    known, last = assign(before, {})
    assert assign(sorted(now), known, last) == assign(sorted(now, reverse=True), known, last)


@given(st.dictionaries(st.sampled_from(["a", "b", "c", "d"]), st.integers(0, 65535)))
def test_whatever_somebody_wrote_into_the_plan_gives_ports_of_ours(known: dict[str, int]) -> None:
    ports, _ = assign({"a", "b", "c", "e"}, known)
    assert len(set(ports.values())) == 4
    assert all(FIRST <= port <= LAST for port in ports.values())


def test_a_free_port_is_the_last_to_be_given_again() -> None:
    ports, last = assign({"a", "b"}, {})
    ports, last = assign({"a"}, ports, last)
    ports, last = assign({"a", "c"}, ports, last)
    assert ports == {"a": FIRST, "c": FIRST + 2}


def test_after_the_last_port_comes_the_first_that_is_free() -> None:
    assert assign({"a", "b"}, {"a": FIRST}, LAST)[0] == {"a": FIRST, "b": FIRST + 1}


def test_more_graphs_than_ports_are_an_error() -> None:
    with pytest.raises(NoPortError):
        assign({str(number) for number in range(LAST - FIRST + 2)}, {})
