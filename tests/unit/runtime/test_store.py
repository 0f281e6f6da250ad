"""The store: the latest view of each object wins, in whatever order views come."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rondo.core.plan import Failure, GetLive, Object, ReadResult
from rondo.core.view import Key, View
from rondo.runtime.routes import Route, itself
from rondo.runtime.store import Store
from tests.unit.runtime.things import OTHER, PART, TOY, key, part, ref, routes, thing, toy

NOW = datetime(2026, 11, 1, tzinfo=UTC)


@pytest.fixture
def store() -> Store:
    return Store(routes())


def names_of(things: Any) -> list[str]:
    return sorted(each["metadata"]["name"] for each in things)


# Views -------------------------------------------------------------------------------------------------------------


def test_an_object_is_filed_under_its_owner_and_wakes_it(store: Store) -> None:
    assert store.put(PART, part("p", of="a")) == [key("a")]
    assert names_of(store.children(PART, key("a"))) == ["p"]
    assert names_of(store.children(PART, key("b"))) == []


def test_the_same_view_again_wakes_nobody(store: Store) -> None:
    store.put(PART, part("p", 3))
    assert store.put(PART, part("p", 3)) == []


def test_an_older_view_is_dropped(store: Store) -> None:
    store.put(PART, part("p", 10, data={"n": "new"}))
    assert store.put(PART, part("p", 9, data={"n": "old"})) == []
    assert store.get(ref(PART, "p"))["data"] == {"n": "new"}  # type: ignore[index]


def test_versions_are_compared_as_numbers(store: Store) -> None:
    store.put(PART, part("p", 9))
    store.put(PART, part("p", 10, data={"n": "ten"}))
    assert store.get(ref(PART, "p"))["data"] == {"n": "ten"}  # type: ignore[index]


def test_a_late_answer_does_not_bring_a_deleted_object_back(store: Store) -> None:
    store.put(PART, part("p", 1))
    assert store.remove(PART, part("p", 5)) == [key("a")]
    assert store.put(PART, part("p", 4)) == []
    assert store.get(ref(PART, "p")) is None


def test_a_deletion_that_overtakes_the_answer_to_the_creation_wins(store: Store) -> None:
    store.remove(PART, part("p", 5))
    assert store.put(PART, part("p", 4)) == []
    assert list(store.children(PART, key("a"))) == []


def test_an_object_of_the_same_name_is_another(store: Store) -> None:
    store.put(PART, part("p", 1, uid="first"))
    store.put(PART, part("p", 7, uid="second"))
    assert store.remove(PART, part("p", 6, uid="first")) == []
    assert store.get(ref(PART, "p"))["metadata"]["uid"] == "second"  # type: ignore[index]


def test_an_object_that_left_the_selector_may_come_back(store: Store) -> None:
    """A watch says DELETED when a label goes, with the version of that change; the object lives on."""
    store.put(PART, part("p", 1))
    store.remove(PART, part("p", 5))
    assert store.put(PART, part("p", 6)) == [key("a")]
    assert names_of(store.children(PART, key("a"))) == ["p"]


def test_an_object_that_changes_hands_wakes_both(store: Store) -> None:
    store.put(PART, part("p", 1, of="a"))
    assert set(store.put(PART, part("p", 2, of="b"))) == {key("a"), key("b")}
    assert list(store.children(PART, key("a"))) == []
    assert names_of(store.children(PART, key("b"))) == ["p"]


def test_managed_fields_are_never_kept(store: Store) -> None:
    store.put(OTHER, thing(OTHER, "s", metadata={"managedFields": [{"manager": "x"}]}))
    assert "managedFields" not in store.get(ref(OTHER, "s"))["metadata"]  # type: ignore[index]


def test_a_route_trims_what_is_kept_but_not_what_is_given() -> None:
    def trim(each: Object) -> dict[str, Any]:
        return {key: value for key, value in each.items() if key != "data"}

    store = Store([dataclasses.replace(routes()[1], trim=trim)])
    given = part("p", data={"big": "x"})
    store.put(PART, given)
    assert "data" not in store.get(ref(PART, "p"))  # type: ignore[operator]
    assert "data" in given


def test_an_object_that_its_route_cannot_read_is_left_out_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    store = Store([Route(PART, owners=lambda each: [key(each["metadata"]["labels"]["missing"])])])
    assert listed(store, [part("p")], "1") == []
    assert store.put(PART, thing(PART, "q", metadata={"labels": {"missing": "a"}})) == [key("a")]
    assert names_of(store.select(PART, "")) == ["q"]
    assert [record.getMessage() for record in caplog.records] == [
        "ConfigMap team/p is left out: its route cannot read it"
    ]


def test_watchers_see_the_store_with_the_new_object_in_it() -> None:
    def watchers(each: Object, view: View) -> list[Any]:
        assert view.get(ref(PART, each["metadata"]["name"])) is not None
        return [key("watcher")]

    store = Store([Route(PART, watchers=watchers)])
    assert store.put(PART, part("p")) == [key("watcher")]


def test_select_gives_a_namespace_or_all(store: Store) -> None:
    store.put(PART, part("p"))
    store.put(PART, part("q", namespace="elsewhere"))
    assert names_of(store.select(PART, "team")) == ["p"]
    assert names_of(store.select(PART, "")) == ["p", "q"]


def listed(store: Store, things: list[dict[str, Any]], version: str, namespace: str = "") -> list[Key]:
    """Take in a complete list; give all keys that are to be looked at."""
    new = [at for each in things for at in store.put(PART, each)]
    uids = {each["metadata"]["uid"] for each in things}
    return new + store.keep_only(PART, uids, version, namespace)


# Lists -------------------------------------------------------------------------------------------------------------


def test_a_list_removes_what_it_does_not_show_and_wakes_the_owner(store: Store) -> None:
    store.put(PART, part("kept", 1, of="a"))
    store.put(PART, part("gone", 2, of="b"))
    assert listed(store, [part("kept", 1, of="a")], "10") == [key("b")]
    assert names_of(store.select(PART, "")) == ["kept"]


def test_a_list_that_is_older_than_a_creation_does_not_remove_it(store: Store) -> None:
    store.put(PART, part("new", 11))
    assert listed(store, [], "10") == []
    assert names_of(store.select(PART, "")) == ["new"]


def test_a_list_that_is_older_than_a_deletion_does_not_undo_it(store: Store) -> None:
    store.put(PART, part("p", 1))
    store.remove(PART, part("p", 12))
    assert listed(store, [part("p", 1)], "10") == []
    assert names_of(store.select(PART, "")) == []


def test_what_was_made_again_under_its_name_buries_the_old(store: Store) -> None:
    store.put(PART, part("p", 1, uid="old"))
    listed(store, [part("p", 5, uid="new")], "10")
    store.remove(PART, part("p", 11, uid="new"))
    store.put(PART, part("p", 2, uid="old"))
    assert names_of(store.select(PART, "")) == []


def test_a_list_of_a_namespace_leaves_the_others_alone(store: Store) -> None:
    store.put(PART, part("here", 1))
    store.put(PART, part("there", 1, namespace="elsewhere"))
    listed(store, [], "10", "team")
    assert names_of(store.select(PART, "")) == ["there"]


# A history of the cluster, delivered in any order that the API can produce -------------------------------------------


@st.composite
def histories(draw: st.DrawFn) -> list[tuple[str, dict[str, Any]]]:
    """What happened to three names: (type, object) as a watch tells it, with rising versions."""
    alive: dict[str, int] = {}
    events: list[tuple[str, dict[str, Any]]] = []
    for version in range(1, draw(st.integers(1, 25)) + 1):
        name = draw(st.sampled_from("pqr"))
        of = draw(st.sampled_from("ab"))
        if name in alive and draw(st.booleans()):
            events.append(("DELETED", part(name, version, uid=f"{name}{alive.pop(name)}", of=of)))
        else:
            kind = "MODIFIED" if name in alive else "ADDED"
            alive.setdefault(name, version)
            events.append((kind, part(name, version, uid=f"{name}{alive[name]}", of=of, data={"v": str(version)})))
    return events


def state_after(events: list[tuple[str, dict[str, Any]]]) -> dict[str, dict[str, Any]]:
    state: dict[str, dict[str, Any]] = {}
    for type_, each in events:
        name = each["metadata"]["name"]
        if type_ == "DELETED":
            state.pop(name, None)
        else:
            state[name] = each
    return state


@given(st.data())
def test_late_answers_and_old_lists_never_change_where_the_store_ends(data: st.DataObject) -> None:
    events = data.draw(histories())
    store = Store(routes())
    for seen, (type_, each) in enumerate(events, start=1):
        deliver(store, type_, each)
        for late in data.draw(st.lists(st.integers(0, seen - 1), max_size=3)):
            if events[late][0] != "DELETED":
                store.put(PART, events[late][1])
        if data.draw(st.booleans()):
            until = data.draw(st.integers(0, seen))
            listed(store, list(state_after(events[:until]).values()), str(until))
    assert {name: each["data"] for name, each in known(store).items()} == {
        name: each["data"] for name, each in state_after(events).items()
    }
    for owner in "ab":
        filed = {each["metadata"]["name"] for each in store.children(PART, key(owner))}
        assert filed == {n for n, e in known(store).items() if e["metadata"]["labels"]["toys.example/toy"] == owner}


@given(histories(), st.data())
def test_a_list_makes_up_for_everything_missed(events: list[tuple[str, dict[str, Any]]], data: st.DataObject) -> None:
    store = Store(routes())
    for type_, each in events:
        if data.draw(st.booleans()):
            deliver(store, type_, each)
    truth = state_after(events)
    listed(store, list(truth.values()), str(len(events)))
    assert {name: each["data"] for name, each in known(store).items()} == {n: e["data"] for n, e in truth.items()}


def deliver(store: Store, type_: str, each: dict[str, Any]) -> None:
    if type_ == "DELETED":
        store.remove(PART, each)
    else:
        store.put(PART, each)


def known(store: Store) -> dict[str, Object]:
    return {each["metadata"]["name"]: each for each in store.select(PART, "")}


# Finished objects ----------------------------------------------------------------------------------------------------


def test_forgetting_drops_the_children_and_keeps_the_object(store: Store) -> None:
    store.put(TOY, toy("a"))
    store.put(PART, part("p", of="a"))
    store.forget_children(key("a"), "uid-a")
    assert store.get(ref(TOY, "a")) is not None
    assert list(store.children(PART, key("a"))) == []
    assert store.get(ref(PART, "p")) is None


def test_what_is_also_somebody_elses_work_is_kept() -> None:
    """As what a run has deployed, which is a key of its own, beside the run that waited for it."""

    def owners(each: Object) -> list[Key]:
        return [itself(each, PART), key(each["metadata"]["labels"]["toys.example/toy"])]

    store = Store([Route(TOY, owners=lambda each: [itself(each, TOY)]), Route(PART, owners=owners)])
    store.put(TOY, toy("a"))
    store.put(PART, part("p", 1, of="a"))
    store.forget_children(key("a"), "uid-a")
    assert store.get(ref(PART, "p")) is not None
    assert names_of(store.select(PART, "")) == ["p"]
    assert list(store.children(PART, key("a"))) == []
    assert store.put(PART, part("p", 2, of="a", data={"n": "new"})) == [Key(PART, "team", "p")]


def test_children_of_a_forgotten_object_are_not_kept_and_wake_nobody(store: Store) -> None:
    store.put(TOY, toy("a"))
    store.forget_children(key("a"), "uid-a")
    assert store.put(PART, part("late", 9, of="a")) == []
    assert store.get(ref(PART, "late")) is None


def test_a_forgotten_object_is_still_seen_changing_and_going(store: Store) -> None:
    store.put(TOY, toy("a", 1))
    store.forget_children(key("a"), "uid-a")
    assert store.put(TOY, toy("a", 2, spec={"changed": True})) == [key("a")]
    assert store.remove(TOY, toy("a", 3)) == [key("a")]


def test_a_new_object_of_a_forgotten_name_has_its_children_kept(store: Store) -> None:
    store.put(TOY, toy("a", 1))
    store.forget_children(key("a"), "uid-a")
    store.remove(TOY, toy("a", 2))
    store.put(TOY, toy("a", 3, uid="another"))
    assert store.put(PART, part("p", 4, of="a")) == [key("a")]
    assert names_of(store.children(PART, key("a"))) == ["p"]


# Memory --------------------------------------------------------------------------------------------------------------


def failure(message: str) -> Failure:
    return Failure(500, "InternalError", message, NOW)


def test_equal_failures_in_a_row_are_counted_from_the_first(store: Store) -> None:
    store.remember_failure(key(), ref(PART, "p"), failure("no"))
    store.remember_failure(key(), ref(PART, "p"), dataclasses.replace(failure("no"), at=NOW.replace(year=2027)))
    got = store.memory(key()).failures[ref(PART, "p")]
    assert (got.count, got.at) == (2, NOW)


def test_another_failure_counts_anew(store: Store) -> None:
    store.remember_failure(key(), ref(PART, "p"), failure("no"))
    store.remember_failure(key(), ref(PART, "p"), failure("never"))
    assert store.memory(key()).failures[ref(PART, "p")].count == 1


def test_a_success_ends_the_failures_of_that_object_only(store: Store) -> None:
    store.remember_failure(key(), ref(PART, "p"), failure("no"))
    store.remember_failure(key(), ref(PART, "q"), failure("no"))
    store.remember_success(key(), ref(PART, "p"))
    assert set(store.memory(key()).failures) == {ref(PART, "q")}


def test_reads_last_until_the_next_reconcile_begins(store: Store) -> None:
    read = GetLive(ref(PART, "p"))
    store.begin(key())
    store.remember_reads(key(), {read: ReadResult(NOW)})
    assert read in store.memory(key()).reads
    store.begin(key())
    assert store.memory(key()).reads == {}


def test_the_first_reconcile_knows_that_it_is(store: Store) -> None:
    store.begin(key())
    assert store.memory(key()).first_seen
    store.begin(key())
    assert not store.memory(key()).first_seen


def test_what_was_created_is_remembered_through_reconciles(store: Store) -> None:
    store.begin(key())
    store.remember_success(key(), ref(PART, "p"), created="uid-p")
    store.begin(key())
    assert store.memory(key()).created == {ref(PART, "p"): "uid-p"}
