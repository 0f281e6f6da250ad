"""The queue: no key is lost, none is worked on twice at once, and delays keep their order."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from rondo.runtime.queue import FAIR, FIRST_BACKOFF, LONGEST_BACKOFF, MOMENT, Closed, Queue
from tests.unit.runtime.clocks import ManualLoop

KEYS = st.sampled_from("abcd")
DELAYS = st.sampled_from([0.0, 0.5, 1.0, 2.0, 5.0])


class QueueMachine(RuleBasedStateMachine):
    """Any order of events against the plainest model: the set of keys that somebody still owes a look."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = ManualLoop()
        self.queue: Queue[str] = Queue()
        self.owed: set[str] = set()
        self.due: dict[str, float] = {}
        self.working: set[str] = set()

    @rule(key=KEYS, ahead=st.booleans())
    def add(self, key: str, *, ahead: bool) -> None:
        self.queue.add(key, ahead=ahead)
        self.owed.add(key)

    @rule(key=KEYS, delay=DELAYS)
    def add_after(self, key: str, delay: float) -> None:
        async def call() -> None:
            self.queue.add_after(key, delay)

        self.loop.run_until_complete(call())
        if delay:
            self.due[key] = min(self.due.get(key, float("inf")), self.loop.time() + delay)
        else:
            self.owed.add(key)

    @rule(seconds=st.sampled_from([0.25, 0.5, 1.0, 3.0]))
    def pass_time(self, seconds: float) -> None:
        self.loop.pass_time(seconds)
        ripe = {key for key, at in self.due.items() if at <= self.loop.time()}
        self.owed |= ripe
        self.due = {key: at for key, at in self.due.items() if key not in ripe}

    @precondition(lambda self: len(self.queue) > 0)
    @rule()
    def take(self) -> None:
        key = self.loop.run_until_complete(self.queue.get())
        assert key not in self.working, f"{key} is worked on twice"
        assert key in self.owed, f"{key} was given though nobody asked"
        self.owed.discard(key)
        self.due.pop(key, None)
        self.working.add(key)

    @precondition(lambda self: self.working)
    @rule(data=st.data())
    def finish(self, data: st.DataObject) -> None:
        key = data.draw(st.sampled_from(sorted(self.working)))
        self.queue.done(key)
        self.working.discard(key)

    @invariant()
    def waits_exactly_for_what_is_owed(self) -> None:
        assert len(self.queue) == len(self.owed - self.working)

    def teardown(self) -> None:
        for key in sorted(self.working):
            self.queue.done(key)
        self.working.clear()
        self.pass_time(10.0)
        while len(self.queue):
            self.take()
        assert not self.owed
        self.queue.close()
        self.loop.close()


TestQueueMachine = QueueMachine.TestCase
TestQueueMachine.settings = settings(max_examples=200, stateful_step_count=40, deadline=None)


@pytest.fixture
def loop() -> Iterator[ManualLoop]:
    loop = ManualLoop()
    yield loop
    loop.close()


def test_the_order_is_first_in_first_out(loop: ManualLoop) -> None:
    queue: Queue[str] = Queue()
    for key in "cabca":
        queue.add(key)
    taken = [loop.run_until_complete(queue.get()) for _ in range(len(queue))]
    assert taken == ["c", "a", "b"]


def test_what_has_ended_goes_before_what_begins_but_the_line_moves_on(loop: ManualLoop) -> None:
    queue: Queue[str] = Queue()
    for key in "abc":
        queue.add(key)
    for key in "vwxyz":
        queue.add(key, ahead=True)
    taken = "".join(loop.run_until_complete(queue.get()) for _ in range(len(queue)))
    assert [taken.index(key) for key in "vwxyz"] == sorted(taken.index(key) for key in "vwxyz")
    assert taken.index("v") == 0
    assert taken.index("a") < FAIR
    assert taken.index("z") < taken.index("c")


def test_what_ends_while_its_key_is_worked_on_goes_ahead_afterwards(loop: ManualLoop) -> None:
    queue: Queue[str] = Queue()
    queue.add("a")
    loop.run_until_complete(queue.get())
    queue.add("b")
    queue.add("a", ahead=True)
    queue.done("a")
    assert loop.run_until_complete(queue.get()) == "a"


def test_backoff_doubles_with_jitter_and_has_an_end(loop: ManualLoop) -> None:
    async def delays() -> list[float]:
        queue: Queue[str] = Queue()
        return [queue.retry("a") for _ in range(20)]

    got = loop.run_until_complete(delays())
    for number, delay in enumerate(got):
        nominal = min(FIRST_BACKOFF * 2**number, LONGEST_BACKOFF)
        assert nominal * 0.8 <= delay <= nominal * 1.2


def test_a_success_starts_backoff_anew(loop: ManualLoop) -> None:
    async def delays() -> tuple[float, float]:
        queue: Queue[str] = Queue()
        late = [queue.retry("a") for _ in range(6)]
        queue.succeed("a")
        return late[-1], queue.retry("a")

    late, fresh = loop.run_until_complete(delays())
    assert fresh <= FIRST_BACKOFF * 1.2 < late


def test_backoff_of_one_key_does_not_delay_another(loop: ManualLoop) -> None:
    async def delays() -> float:
        queue: Queue[str] = Queue()
        for _ in range(6):
            queue.retry("a")
        return queue.retry("b")

    assert loop.run_until_complete(delays()) <= FIRST_BACKOFF * 1.2


def test_progress_that_comes_together_is_one_look_and_an_end_does_not_wait_for_it(loop: ManualLoop) -> None:
    async def tell(queue: Queue[str]) -> None:
        for key in "aab":
            queue.add_soon(key)

    queue: Queue[str] = Queue()
    loop.run_until_complete(tell(queue))
    assert len(queue) == 0
    queue.add("b")
    assert loop.run_until_complete(queue.get()) == "b"
    loop.pass_time(MOMENT)
    assert [loop.run_until_complete(queue.get()), len(queue)] == ["a", 0]


def test_what_is_told_during_a_look_is_another_look(loop: ManualLoop) -> None:
    async def tell(queue: Queue[str]) -> None:
        queue.add_soon("a")

    queue: Queue[str] = Queue()
    queue.add("a")
    loop.run_until_complete(queue.get())
    loop.run_until_complete(tell(queue))
    loop.pass_time(MOMENT)
    assert len(queue) == 0
    queue.done("a")
    assert len(queue) == 1


def test_a_key_that_rests_is_given_afterwards_if_something_happened_meanwhile(loop: ManualLoop) -> None:
    async def finish(queue: Queue[str], *keys: str) -> None:
        for key in keys:
            queue.done(key, rest=2.0)

    queue: Queue[str] = Queue()
    for key in "ab":
        queue.add(key)
        loop.run_until_complete(queue.get())
    loop.run_until_complete(finish(queue, "a", "b"))
    queue.add("a")
    loop.pass_time(1.9)
    assert len(queue) == 0
    loop.pass_time(0.2)
    assert [loop.run_until_complete(queue.get()), len(queue)] == ["a", 0]


async def test_a_cancelled_getter_takes_no_key_with_it() -> None:
    queue: Queue[str] = Queue()
    getter = asyncio.create_task(queue.get())
    await asyncio.sleep(0)
    queue.add("a")
    getter.cancel()
    await asyncio.gather(getter, return_exceptions=True)
    async with asyncio.timeout(5):
        assert await queue.get() == "a"


async def test_every_waiting_getter_gets_a_key() -> None:
    queue: Queue[int] = Queue()
    getters = [asyncio.create_task(queue.get()) for _ in range(5)]
    await asyncio.sleep(0)
    for key in range(5):
        queue.add(key)
    async with asyncio.timeout(5):
        assert sorted(await asyncio.gather(*getters)) == [0, 1, 2, 3, 4]


async def test_closing_wakes_all_and_gives_nothing_more() -> None:
    queue: Queue[str] = Queue()
    getters = [asyncio.create_task(queue.get()) for _ in range(3)]
    await asyncio.sleep(0)
    queue.add_after("late", 0.001)
    queue.close()
    async with asyncio.timeout(5):
        ends = await asyncio.gather(*getters, return_exceptions=True)
    assert all(isinstance(end, Closed) for end in ends)
    queue.add("a")
    assert len(queue) == 0


def test_the_api_servers_wish_counts_if_it_is_longer(loop: ManualLoop) -> None:
    async def delays() -> tuple[float, float]:
        queue: Queue[str] = Queue()
        return queue.retry("a", at_least=7.0), queue.retry("b", at_least=0.001)

    long, short = loop.run_until_complete(delays())
    assert long == 7.0
    assert short >= FIRST_BACKOFF * 0.8
