"""The reconciler carries out plans in the order of the contract and remembers every outcome."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest

from rondo.core import names
from rondo.core.plan import (
    Action,
    Apply,
    Create,
    Delete,
    EventDraft,
    EventsAbout,
    EventType,
    GetLive,
    ListLive,
    Memory,
    MergePatch,
    Object,
    Plan,
    ReadResult,
    Ref,
    StatusKind,
)
from rondo.core.resources import CORE_EVENT
from rondo.core.view import Key, View
from rondo.kube.client import Client, Listing
from rondo.kube.clock import ServerClock
from rondo.kube.errors import ApiError
from rondo.runtime.controller import Controller
from rondo.runtime.queue import MOMENT, Queue
from rondo.runtime.reconciler import (
    HASTE,
    LONGEST_INTERVAL,
    LONGEST_MOMENT,
    PATIENCE,
    PROGRESS_INTERVAL,
    ROUNDS,
    Outcome,
    Reconciler,
)
from rondo.runtime.store import Store
from rondo.runtime.warnings import AGE
from tests.unit.runtime.api import Api
from tests.unit.runtime.things import OTHER, PART, TOY, TOY_LABEL, key, ref, routes

ME = ref(TOY, "a")
NOTE = EventDraft(EventType.NORMAL, "Made", "Make", "made it")
FORBIDDEN = ApiError(403, "Forbidden", "no")


@dataclass(frozen=True)
class Look:
    """What the toy planner sees."""

    me: Object
    parts: tuple[Object, ...]
    memory: Memory


@dataclass
class World:
    """A reconciler over an API server in memory; `decide` is the planner of the test."""

    api: Api = field(default_factory=Api)
    events: list[str] = field(default_factory=list)
    looks: list[Look] = field(default_factory=list)
    time: float = 1_000.0
    decide: Callable[[Look], Plan] = lambda _: Plan()
    now: datetime | None = None

    def __post_init__(self) -> None:
        self.store = Store(routes())
        self.queue: Queue[Key] = Queue()
        controller = Controller(TOY, _observe, self._plan)
        self.reconciler = Reconciler(
            cast("Client", self.api), self.store, self.queue, {TOY: controller}, self, clock=lambda: self.time
        )
        self.store.put(TOY, self.api.have(ME, {"spec": {}}))

    async def reconcile(self, plan: Plan | None = None) -> Outcome:
        """Reconcile once, by one plan that is the answer to every look if there is one."""
        if plan is not None:
            self.decide = lambda _: plan
        return await self.reconciler.reconcile(key())

    def post(self, about: Object, draft: EventDraft) -> None:
        self.events.append(f"{about['metadata']['name']} {draft.reason}")
        self.api.calls.append(f"event {draft.reason}")

    def memory(self) -> Memory:
        return self.store.memory(key())

    def owned(self, name: str) -> dict[str, Any]:
        return part_of(self.api.objects[ME], name)

    def _plan(self, look: Look, now: datetime) -> Plan:
        self.looks.append(look)
        self.now = now
        return self.decide(look)


def _observe(view: View, at: Key) -> Look | None:
    me = view.get(ref(TOY, at.name))
    return None if me is None else Look(me, tuple(view.children(PART, at)), view.memory(at))


def part_of(owner: Object, name: str) -> dict[str, Any]:
    metadata = {
        "name": name,
        "labels": {TOY_LABEL: owner["metadata"]["name"]},
        "ownerReferences": [names.owner_reference(owner)],
    }
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata}


@pytest.fixture
def world() -> World:
    return World()


def create(world: World, name: str = "p", **fields: Any) -> Create:
    return Create(ref(PART, name), world.owned(name), **fields)


def written(state: str = "done", kind: StatusKind = StatusKind.FACTS, **fields: Any) -> Plan:
    return Plan(status={"state": state}, status_kind=kind, **fields)


async def test_planners_get_the_api_servers_time(world: World) -> None:
    world.api.clock = ServerClock(lambda: 0.0)
    world.api.clock.hear("Sun, 01 Nov 2026 12:00:00 GMT", 0.0)
    await world.reconcile(Plan())
    assert world.now is not None
    assert abs(world.now - datetime(2026, 11, 1, 12, tzinfo=UTC)) <= timedelta(seconds=1)


# Order -------------------------------------------------------------------------------------------------------------


async def test_facts_then_actions_in_order_then_events(world: World) -> None:
    first = world.api.have(ref(PART, "old"), world.owned("old"))
    actions: tuple[Action, ...] = (
        Delete(ref(PART, "old"), first["metadata"]["uid"]),
        create(world),
        Apply(ref(OTHER, "s"), {"metadata": {"name": "s"}}, manager="rondo", owned=False),
        MergePatch(ME, world.api.objects[ME]["metadata"]["uid"], {"spec": {"x": 1}}),
    )
    assert await world.reconcile(written(actions=actions, events=(NOTE,))) == Outcome()
    assert world.api.writes == ["status a", "delete old", "create p", "apply s", "patch a", "event Made"]


async def test_live_reads_are_made_before_anything_and_the_planner_is_asked_again(world: World) -> None:
    world.api.have(ref(PART, "p"), world.owned("p"))
    read = GetLive(ref(PART, "p"))
    listed = ListLive(PART, "team", ((TOY_LABEL, "a"),))
    world.decide = lambda look: Plan(reads=(read, listed)) if read not in look.memory.reads else written("seen")
    assert await world.reconcile() == Outcome()
    assert world.api.calls == ["get p", "list configmaps", "status a"]
    reads = world.looks[-1].memory.reads
    assert reads[read].value["metadata"]["name"] == "p"
    assert [each["metadata"]["name"] for each in reads[listed].value] == ["p"]


async def test_a_read_that_fails_is_a_result_with_the_error(world: World) -> None:
    read = GetLive(ref(PART, "p"))
    world.api.refuse["get p"] = [FORBIDDEN]
    world.decide = lambda look: Plan(reads=(read,)) if read not in look.memory.reads else Plan()
    assert await world.reconcile() == Outcome()
    result: ReadResult = world.looks[-1].memory.reads[read]
    assert result.value is None
    assert result.error is not None
    assert (result.error.code, result.error.reason) == (403, "Forbidden")


async def test_a_planner_that_never_has_enough_backs_off(world: World) -> None:
    outcome = await world.reconcile(Plan(reads=(GetLive(ref(PART, "p")),)))
    assert outcome.failed
    assert world.api.calls == ["get p"] * ROUNDS


async def test_an_object_that_is_not_there_needs_nothing(world: World) -> None:
    world.store.remove(TOY, world.api.objects[ME])
    assert await world.reconcile(written()) == Outcome()
    assert world.api.calls == []


# Status ------------------------------------------------------------------------------------------------------------


async def test_a_status_conflict_takes_in_the_live_object_and_looks_again_at_once(world: World) -> None:
    world.api.have(ME, {**world.api.objects[ME], "spec": {"changed": True}})
    assert await world.reconcile(written(actions=(create(world),), events=(NOTE,))) == Outcome(again=True)
    assert world.api.writes == ["status a"]
    await world.reconcile()
    assert world.looks[-1].me["spec"] == {"changed": True}
    assert "status" in world.api.objects[ME]


async def test_nothing_is_created_by_an_old_view_even_without_a_status_write(world: World) -> None:
    """Another process that leads by now may have created it, and somebody deleted it, since what this one has seen."""
    world.api.have(ME, {**world.api.objects[ME], "spec": {"changed": True}})
    assert await world.reconcile(Plan(actions=(create(world),))) == Outcome(again=True)
    assert world.api.writes == []
    await world.reconcile(Plan(actions=(create(world),)))
    assert world.looks[-1].me["spec"] == {"changed": True}
    assert world.api.writes == ["create p"]


@pytest.mark.parametrize("plan", ["without", "with"])
async def test_a_watch_that_told_the_newer_object_meanwhile_does_not_make_the_plan_new(
    world: World, plan: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run of the same name was made, and told of by the watch, between the plan and the look whether it is old."""
    ask = world.api.get

    async def told_meanwhile(at: Ref) -> Any:
        world.store.put(TOY, world.api.objects[ME])
        return await ask(at)

    monkeypatch.setattr(world.api, "get", told_meanwhile)
    old = create(world)
    world.api.have(ME, {**world.api.objects[ME], "spec": {"changed": True}})
    decided = Plan(actions=(old,)) if plan == "without" else written(actions=(old,))
    assert await world.reconcile(decided) == Outcome(again=True)
    assert "create p" not in world.api.writes


async def test_nothing_is_deleted_by_an_old_view_either(world: World) -> None:
    """What belongs to nobody by an old view may be what the process that leads by now has just made."""
    world.api.have(ref(PART, "p"), world.owned("p"))
    world.api.have(ME, {**world.api.objects[ME], "spec": {"changed": True}})
    uid = world.api.objects[ref(PART, "p")]["metadata"]["uid"]
    assert await world.reconcile(Plan(actions=(Delete(ref(PART, "p"), uid),))) == Outcome(again=True)
    assert world.api.writes == []


async def test_a_status_that_was_accepted_says_that_the_view_is_not_old(world: World) -> None:
    await world.reconcile(written(actions=(create(world),)))
    assert world.api.calls == ["status a", "create p"]


async def test_a_conflict_that_a_fresh_object_does_not_end_backs_off(world: World) -> None:
    """A webhook or a quota may answer 409 too: without a pause that would be a loop as fast as the network."""
    world.api.refuse["status a"] = [ApiError(409, "Conflict", "webhook says no")]
    assert (await world.reconcile(written())).failed


async def test_a_status_of_an_object_that_is_gone_drops_it(world: World) -> None:
    del world.api.objects[ME]
    assert await world.reconcile(written()) == Outcome(again=True)
    assert world.store.get(ME) is None


async def test_a_refused_status_is_a_failure_of_the_object_itself_and_stops_the_actions(world: World) -> None:
    world.api.refuse["status a"] = [FORBIDDEN]
    outcome = await world.reconcile(written(actions=(create(world),), events=(NOTE,)))
    assert outcome.failed
    assert world.api.writes == ["status a"]
    assert world.memory().failures[ME].reason == "Forbidden"
    await world.reconcile()
    assert ME not in world.memory().failures


async def test_a_status_that_would_be_refused_again_is_told_by_an_event(world: World) -> None:
    world.api.refuse["status a"] = [ApiError(500, "HTTP500", "etcdserver: request is too large"), FORBIDDEN]
    await world.reconcile(written(events=(NOTE,)))
    assert world.events == ["a StatusRefused"]
    await world.reconcile()
    assert world.events == ["a StatusRefused"]


async def test_progress_waits_for_the_rest_of_the_second_and_facts_do_not(world: World) -> None:
    await world.reconcile(written("one", StatusKind.PROGRESS))
    world.time += 0.25
    assert (await world.reconcile(written("two", StatusKind.PROGRESS))).after == pytest.approx(0.75)
    assert world.api.objects[ME]["status"] == {"state": "one"}
    await world.reconcile(written("three", StatusKind.FACTS))
    assert world.api.objects[ME]["status"] == {"state": "three"}
    world.time += 1.01
    assert (await world.reconcile(written("four", StatusKind.PROGRESS))).after is None
    assert world.api.objects[ME]["status"] == {"state": "four"}


async def test_progress_that_waits_does_not_hold_up_actions_and_keeps_its_events(world: World) -> None:
    await world.reconcile(written("one", StatusKind.PROGRESS))
    plan = written("two", StatusKind.PROGRESS, actions=(create(world),), events=(NOTE,))
    await world.reconcile(plan)
    assert world.api.writes == ["status a", "create p"]
    world.time += 1.01
    world.decide = lambda _: written("two", StatusKind.PROGRESS, events=(NOTE,))
    await world.reconcile()
    assert world.events == ["a Made"]


async def test_the_sooner_of_two_reasons_to_look_again_counts(world: World) -> None:
    await world.reconcile(written("one", StatusKind.PROGRESS))
    assert (await world.reconcile(written("two", StatusKind.PROGRESS, requeue_after=0.5))).after == 0.5
    assert (await world.reconcile(written("two", StatusKind.PROGRESS, requeue_after=60.0))).after == 1.0


async def test_a_status_that_is_there_already_is_not_written_again(world: World) -> None:
    await world.reconcile(written())
    await world.reconcile(written())
    assert world.api.writes == ["status a"]


# Actions -----------------------------------------------------------------------------------------------------------


async def test_planners_read_their_own_writes(world: World) -> None:
    def decide(look: Look) -> Plan:
        return Plan() if look.parts else Plan(actions=(create(world),))

    world.decide = decide
    await world.reconcile()
    await world.reconcile()
    assert world.api.writes == ["create p"]
    assert world.memory().created == {ref(PART, "p"): world.api.objects[ref(PART, "p")]["metadata"]["uid"]}


async def test_the_answer_to_an_own_write_that_tells_only_progress_is_looked_at_within_a_moment(world: World) -> None:
    minor = [replace(route, minor=lambda thing: thing["metadata"]["name"] == "p") for route in routes()]
    world.store = world.reconciler.store = Store(minor)
    world.store.put(TOY, world.api.objects[ME])
    await world.reconcile(Plan(actions=(create(world, "p"),)))
    assert len(world.queue) == 0
    async with asyncio.timeout(10):
        assert await world.queue.get() == key()
    await world.reconcile(Plan(actions=(create(world, "q"),)))
    world.queue.done(key())
    assert len(world.queue) == 1


async def test_a_failed_action_does_not_stop_the_others_and_is_in_the_next_look(world: World) -> None:
    world.api.refuse["create p"] = [FORBIDDEN]
    outcome = await world.reconcile(Plan(actions=(create(world), create(world, "q"))))
    assert outcome.failed
    assert ref(PART, "q") in world.api.objects
    await world.reconcile(Plan())
    assert world.looks[-1].memory.failures[ref(PART, "p")].message == "no"


async def test_a_success_ends_the_failure(world: World) -> None:
    world.api.refuse["create p"] = [FORBIDDEN]
    await world.reconcile(Plan(actions=(create(world),)))
    assert not (await world.reconcile()).failed
    assert world.memory().failures == {}


async def test_a_name_that_is_taken_by_our_own_child_counts_as_created(world: World) -> None:
    there = world.api.have(ref(PART, "p"), world.owned("p"))
    assert not (await world.reconcile(Plan(actions=(create(world),)))).failed
    assert world.memory().created == {ref(PART, "p"): there["metadata"]["uid"]}
    assert world.store.get(ref(PART, "p")) is not None


@pytest.mark.parametrize("foreign", [{}, {"metadata": {"ownerReferences": [{"uid": "x", "controller": True}]}}])
async def test_a_name_that_is_taken_by_somebody_else_is_a_name_conflict(world: World, foreign: dict[str, Any]) -> None:
    before = world.api.have(ref(PART, "p"), foreign)
    assert (await world.reconcile(Plan(actions=(create(world),)))).failed
    assert world.memory().failures[ref(PART, "p")].reason == "NameConflict"
    assert world.api.objects[ref(PART, "p")] == before
    assert world.store.get(ref(PART, "p")) is None


async def test_a_shared_object_may_be_anybodys(world: World) -> None:
    world.api.have(ref(PART, "p"), {})
    assert not (await world.reconcile(Plan(actions=(create(world, shared=True),)))).failed
    assert world.store.get(ref(PART, "p")) is not None


async def test_an_apply_leaves_somebody_elses_object_alone(world: World) -> None:
    before = world.api.have(ref(PART, "p"), {})
    assert (await world.reconcile(Plan(actions=(Apply(ref(PART, "p"), world.owned("p"), "rondo"),)))).failed
    assert world.memory().failures[ref(PART, "p")].reason == "NameConflict"
    assert world.api.objects[ref(PART, "p")] == before


async def test_a_conflict_of_field_managers_is_a_failure_with_its_words(world: World) -> None:
    world.api.refuse["apply p"] = [ApiError(409, "Conflict", "conflict with argocd: .spec.model")]
    await world.reconcile(Plan(actions=(Apply(ref(PART, "p"), world.owned("p"), "rondo"),)))
    got = world.memory().failures[ref(PART, "p")]
    assert (got.reason, got.message) == ("Conflict", "conflict with argocd: .spec.model")


async def test_a_patch_of_what_is_gone_is_done_and_ends_its_failure(world: World) -> None:
    patch = MergePatch(ref(PART, "p"), "uid", {"spec": {}})
    world.api.refuse["patch p"] = [FORBIDDEN]
    await world.reconcile(Plan(actions=(patch,)))
    assert not (await world.reconcile()).failed
    assert world.memory().failures == {}


async def test_many_creations_are_made_together_but_not_all_at_once(world: World) -> None:
    count = 40
    plan = Plan(actions=tuple(create(world, f"p{index}") for index in range(count)))
    assert not (await world.reconcile(plan)).failed
    assert len(world.memory().created) == count


async def test_an_answer_wakes_everybody_else_whom_the_object_concerns(world: World) -> None:
    """The watch will tell it again, which is no news by then."""
    made = ref(TOY, "b")
    await world.reconcile(Plan(actions=(Create(made, {"metadata": {}, "spec": {}}, shared=True),)))
    assert await world.queue.get() == key("b")


async def test_what_an_action_changed_is_looked_at_again(world: World) -> None:
    """The last step may hang on an object that nobody else ever changes, such as a ConfigMap."""
    await world.reconcile(Plan(actions=(create(world),)))
    assert len(world.queue) == 1
    assert await world.queue.get() == key("a")


async def test_the_api_servers_wish_for_a_pause_is_kept(world: World) -> None:
    world.api.refuse["create p"] = [ApiError(429, "TooManyRequests", "busy", retry_after=7.0)]
    outcome = await world.reconcile(Plan(actions=(create(world),)))
    assert outcome == Outcome(failed=True, pause=7.0)


# The end of an object ------------------------------------------------------------------------------------------------


async def test_a_later_object_of_the_same_name_starts_with_no_memory(world: World) -> None:
    await world.reconcile(Plan(actions=(create(world),)))
    world.store.remove(TOY, world.api.objects.pop(ME))
    await world.reconcile()
    world.store.put(TOY, world.api.have(ME, {"spec": {}}))
    await world.reconcile(Plan())
    assert world.looks[-1].memory == Memory(first_seen=True)


async def test_a_finished_object_keeps_no_children(world: World) -> None:
    await world.reconcile(Plan(actions=(create(world),)))
    await world.reconcile(Plan(forget=True))
    assert list(world.store.children(PART, key())) == []
    assert world.store.get(ME) is not None


async def test_children_are_kept_while_an_action_still_fails(world: World) -> None:
    await world.reconcile(Plan(actions=(create(world),)))
    world.api.refuse["create q"] = [FORBIDDEN]
    await world.reconcile(Plan(actions=(create(world, "q"),), forget=True))
    assert list(world.store.children(PART, key()))


async def test_what_a_kind_without_a_route_was_created_is_not_kept_for_ever(world: World) -> None:
    """Nobody watches it, so nobody would ever take it out of the store."""
    action = Create(ref(OTHER, "s"), part_of(world.api.objects[ME], "s"))
    await world.reconcile(Plan(actions=(action,)))
    world.store.remove(TOY, world.api.objects.pop(ME))
    await world.reconcile()
    assert world.store.get(ref(OTHER, "s")) is None


# A loaded API server -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("pause", "expected"), [(0.1, PROGRESS_INTERVAL + PATIENCE * 0.1), (5.0, LONGEST_INTERVAL)])
async def test_progress_waits_longer_while_writes_take_long(world: World, pause: float, expected: float) -> None:
    plain = world.api.replace_status

    async def slow(*arguments: Any) -> dict[str, Any]:
        world.time += pause
        return await plain(*arguments)

    world.api.replace_status = slow  # type: ignore[method-assign, assignment]
    for index in range(40):
        await world.reconcile(written(str(index)))
    outcome = await world.reconcile(written("words", StatusKind.PROGRESS))
    assert outcome.after == pytest.approx(expected, rel=0.05)
    assert world.reconciler.moment == pytest.approx(min(MOMENT + HASTE * pause, LONGEST_MOMENT), rel=0.05)
    world.api.replace_status = plain  # type: ignore[method-assign]
    for index in range(80):
        await world.reconcile(written(str(index)))
    outcome = await world.reconcile(written("words", StatusKind.PROGRESS))
    assert outcome.after == pytest.approx(PROGRESS_INTERVAL, rel=0.05)


async def test_warnings_about_all_objects_of_a_namespace_are_one_list_in_a_while(world: World) -> None:
    for number, uid in [(2, "p"), (1, "p"), (3, "q")]:
        told = {"involvedObject": {"uid": uid}, "lastTimestamp": f"2030-01-01T00:00:0{number}Z"}
        world.api.have(ref(CORE_EVENT, f"{uid}{number}"), told)
    reads = tuple(EventsAbout(space, uid) for space, uid in [("team", "p"), ("team", "q"), ("team", "r"), ("", "p")])
    world.decide = lambda look: Plan() if reads[0] in look.memory.reads else Plan(reads=reads)
    for _ in range(3):
        assert await world.reconcile() == Outcome()
    assert world.api.calls == ["list events"] * 2
    found = [[event["metadata"]["name"] for event in world.memory().reads[read].value] for read in reads[:3]]
    assert found == [["p1", "p2"], ["q3"], []]
    world.time += AGE
    await world.reconcile()
    assert world.api.calls == ["list events"] * 4


async def test_warnings_that_cannot_be_read_are_an_error_of_each_read(world: World) -> None:
    read = EventsAbout("team", "p")

    async def refuse(_: object) -> Listing:
        raise FORBIDDEN

    world.api.list = refuse  # type: ignore[method-assign, assignment]
    await world.reconcile(Plan(reads=(read,)))
    error = world.memory().reads[read].error
    assert error is not None
    assert error.message == "no"
