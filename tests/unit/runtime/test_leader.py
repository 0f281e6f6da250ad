"""Leader election by client-go's rules: never two leaders by their own clocks, whatever the API server does."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from rondo.core.plan import Ref
from rondo.core.resources import LEASE
from rondo.kube.client import Client
from rondo.kube.errors import ApiError
from rondo.runtime.leader import LEASE_SECONDS, RENEW_SECONDS, Elector, LostError
from tests.unit.runtime.api import Api
from tests.unit.runtime.clocks import until

REF = Ref(LEASE, "rondo-system", "rondo")
DOWN = ApiError(0, "Unreachable", "connection refused")


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rondo.runtime.leader.RETRY_SECONDS", 0.001)


@pytest.fixture
def api() -> Api:
    return Api()


@pytest.fixture
def clock() -> Clock:
    return Clock()


def elector(api: Api, clock: Clock, name: str) -> Elector:
    return Elector(cast("Client", api), REF.namespace, REF.name, name, clock=clock)


def holder(api: Api) -> str:
    return str(api.objects[REF]["spec"]["holderIdentity"])


async def stands_by(task: asyncio.Task[None], api: Api) -> None:
    """Let a candidate look at the lease a few times; it must not take it."""
    looks = len(api.calls)
    await until(lambda: len(api.calls) > looks + 3)
    assert not task.done()


async def cancel(*tasks: asyncio.Task[Any]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_the_first_candidate_leads_and_writes_a_lease_that_others_understand(api: Api, clock: Clock) -> None:
    one = elector(api, clock, "one")
    await one.acquire()
    spec = api.objects[REF]["spec"]
    assert one.leading
    assert (spec["holderIdentity"], spec["leaseDurationSeconds"]) == ("one", LEASE_SECONDS)
    assert spec["acquireTime"] == spec["renewTime"]


async def test_another_stands_by_while_the_lease_is_renewed(api: Api, clock: Clock) -> None:
    one, two = elector(api, clock, "one"), elector(api, clock, "two")
    await one.acquire()
    holding, waiting = asyncio.create_task(one.hold()), asyncio.create_task(two.acquire())
    for _ in range(5):
        renewals = api.calls.count("replace rondo")
        await until(lambda before=renewals: api.calls.count("replace rondo") > before + 1)  # type: ignore[misc]
        clock.now += LEASE_SECONDS / 2
    await stands_by(waiting, api)
    await cancel(holding, waiting)
    assert holder(api) == "one"


async def test_a_leader_that_vanishes_is_succeeded_after_the_leases_length(api: Api, clock: Clock) -> None:
    await elector(api, clock, "one").acquire()
    two = elector(api, clock, "two")
    waiting = asyncio.create_task(two.acquire())
    await stands_by(waiting, api)
    clock.now += LEASE_SECONDS - 1
    await stands_by(waiting, api)
    clock.now += 2
    await asyncio.wait_for(waiting, 5)
    assert (holder(api), two.leading) == ("two", True)
    assert api.objects[REF]["spec"]["leaseTransitions"] == 2


async def test_a_lease_is_not_taken_by_what_its_times_say(api: Api, clock: Clock) -> None:
    """Clocks of nodes need not agree: only what the candidate itself has seen not to change counts."""
    await elector(api, clock, "one").acquire()
    api.objects[REF]["spec"]["renewTime"] = "2001-01-01T00:00:00.000000Z"
    waiting = asyncio.create_task(elector(api, clock, "two").acquire())
    await stands_by(waiting, api)
    await cancel(waiting)


async def test_a_released_lease_is_taken_at_once(api: Api, clock: Clock) -> None:
    one, two = elector(api, clock, "one"), elector(api, clock, "two")
    await one.acquire()
    waiting = asyncio.create_task(two.acquire())
    await stands_by(waiting, api)
    await one.release()
    await asyncio.wait_for(waiting, 5)
    assert holder(api) == "two"
    assert not one.leading


async def test_only_the_holder_releases(api: Api, clock: Clock) -> None:
    await elector(api, clock, "one").acquire()
    await elector(api, clock, "two").release()
    assert holder(api) == "one"


async def test_of_two_that_try_at_once_one_leads(api: Api, clock: Clock) -> None:
    both = [elector(api, clock, name) for name in ("one", "two")]
    tasks = [asyncio.create_task(each.acquire()) for each in both]
    await until(lambda: any(each.leading for each in both))
    loser = tasks[[each.leading for each in both].index(False)]
    await stands_by(loser, api)
    assert [each.leading for each in both].count(True) == 1
    await cancel(*tasks)


async def test_a_leader_rides_out_a_short_outage(api: Api, clock: Clock) -> None:
    one = elector(api, clock, "one")
    await one.acquire()
    api.refuse["get rondo"] = [DOWN] * 5
    clock.now += RENEW_SECONDS - 1
    holding = asyncio.create_task(one.hold())
    renewals = api.calls.count("replace rondo")
    await until(lambda: api.calls.count("replace rondo") > renewals)
    assert not holding.done()
    await cancel(holding)


async def test_a_leader_that_cannot_renew_in_time_stops(api: Api, clock: Clock) -> None:
    one = elector(api, clock, "one")
    await one.acquire()
    holding = asyncio.create_task(one.hold())
    await until(lambda: api.calls.count("replace rondo") > 0)
    api.refuse["get rondo"] = [DOWN] * 1_000_000
    clock.now += RENEW_SECONDS + 1
    with pytest.raises(LostError, match="rondo-system/rondo"):
        await asyncio.wait_for(holding, 5)
    assert not one.leading


async def test_a_leader_whose_lease_was_taken_stops_at_once(api: Api, clock: Clock) -> None:
    one = elector(api, clock, "one")
    await one.acquire()
    holding = asyncio.create_task(one.hold())
    lease = api.objects[REF]
    api.have(REF, {**lease, "spec": {**lease["spec"], "holderIdentity": "thief"}})
    with pytest.raises(LostError, match="thief"):
        await asyncio.wait_for(holding, 5)


async def test_a_request_that_hangs_does_not_outlive_the_lease(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """A dead connection answers nothing at all for the session's whole timeout, twice the lease's length."""
    monkeypatch.setattr("rondo.runtime.leader.RENEW_SECONDS", 0.05)
    one = Elector(cast("Client", api), REF.namespace, REF.name, "one")
    await one.acquire()

    async def hang(_: Ref) -> None:
        await asyncio.Event().wait()

    api.get = hang  # type: ignore[method-assign, assignment]
    with pytest.raises(LostError):
        await asyncio.wait_for(one.hold(), 5)
