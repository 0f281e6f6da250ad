"""Workers: nothing kills one, and stopping lets what runs come to its end."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import cast

import pytest

from rondo.core.view import Key
from rondo.kube.errors import ApiError
from rondo.runtime.queue import Queue
from rondo.runtime.reconciler import Outcome, Reconciler
from rondo.runtime.workers import REST, SHORT, Workers
from tests.unit.runtime.clocks import until
from tests.unit.runtime.things import key


@dataclass
class Script:
    """A reconciler that does what a test says and writes down when it began and ended."""

    work: Callable[[Key], Awaitable[Outcome]]
    begun: list[str] = field(default_factory=list)
    ended: list[str] = field(default_factory=list)

    async def reconcile(self, at: Key) -> Outcome:
        self.begun.append(at.name)
        try:
            return await self.work(at)
        finally:
            self.ended.append(at.name)


def workers(script: Script, queue: Queue[Key], size: int = 4) -> Workers:
    return Workers(queue, cast("Reconciler", script), size=size)


async def stop(task: asyncio.Task[None]) -> None:
    task.cancel()
    async with asyncio.timeout(10):
        await asyncio.gather(task, return_exceptions=True)


@pytest.mark.parametrize("error", [RuntimeError("a planner's bug"), ApiError(500, "InternalError", "etcd")])
async def test_an_exception_backs_the_key_off_and_the_worker_lives_on(
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    async def work(at: Key) -> Outcome:
        if at.name == "bad" and script.begun.count("bad") == 1:
            raise error
        return Outcome()

    script, queue = Script(work), Queue[Key]()
    task = asyncio.create_task(workers(script, queue, size=1).run())
    with caplog.at_level(logging.WARNING):
        queue.add(key("bad"))
        queue.add(key("good"))
        await until(lambda: script.begun == ["bad", "good", "bad"])
    await stop(task)
    told = [record for record in caplog.records if getattr(record, "key", "") == str(key("bad"))]
    assert len(told) == 1
    assert (told[0].exc_info is not None) == isinstance(error, RuntimeError)


async def test_a_key_that_is_added_while_it_is_worked_on_is_worked_on_again_afterwards() -> None:
    gate = asyncio.Event()
    at_once: list[int] = []

    async def work(_: Key) -> Outcome:
        at_once.append(len(script.begun) - len(script.ended))
        await gate.wait()
        return Outcome()

    script, queue = Script(work), Queue[Key]()
    task = asyncio.create_task(workers(script, queue).run())
    queue.add(key())
    await until(lambda: len(script.begun) == 1)
    queue.add(key())
    gate.set()
    await until(lambda: len(script.ended) == 2)
    await stop(task)
    assert at_once == [1, 1]


async def test_again_and_after_bring_the_key_back() -> None:
    answers = [Outcome(again=True), Outcome(after=0.01), Outcome()]

    async def work(_: Key) -> Outcome:
        return answers.pop(0)

    script, queue = Script(work), Queue[Key]()
    task = asyncio.create_task(workers(script, queue).run())
    queue.add(key())
    await until(lambda: len(script.ended) == 3)
    await stop(task)


async def test_a_key_that_took_long_to_plan_rests_while_others_are_worked_on() -> None:
    begun: list[tuple[str, float]] = []

    async def work(at: Key) -> Outcome:
        begun.append((at.name, asyncio.get_running_loop().time()))
        large = at.name == "large"
        return Outcome(again=len(begun) == 1, effort=0.05 if large else SHORT)

    script, queue = Script(work), Queue[Key]()
    task = asyncio.create_task(workers(script, queue, size=1).run())
    queue.add(key("large"))
    queue.add(key("small"))
    await until(lambda: len(begun) == 3)
    await stop(task)
    assert [name for name, _ in begun] == ["large", "small", "large"]
    assert begun[2][1] - begun[0][1] >= REST * 0.05


async def test_stopping_finishes_what_runs_and_begins_nothing_more() -> None:
    gate = asyncio.Event()

    async def work(_: Key) -> Outcome:
        await gate.wait()
        finished.append(_.name)
        return Outcome()

    finished: list[str] = []
    script, queue = Script(work), Queue[Key]()
    task = asyncio.create_task(workers(script, queue, size=1).run())
    queue.add(key("running"))
    queue.add(key("waiting"))
    await until(lambda: script.begun == ["running"])
    task.cancel()
    await asyncio.sleep(0)
    gate.set()
    await stop(task)
    assert finished == ["running"]
    assert script.begun == ["running"]


async def test_stopping_does_not_wait_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rondo.runtime.workers.STOP_TIMEOUT", 0.01)

    async def work(_: Key) -> Outcome:
        await asyncio.Event().wait()
        return Outcome()

    script, queue = Script(work), Queue[Key]()
    task = asyncio.create_task(workers(script, queue).run())
    queue.add(key())
    await until(lambda: bool(script.begun))
    await stop(task)
    assert script.ended == ["a"]


async def test_the_longest_reconcile_is_known() -> None:
    time = 100.0

    async def work(_: Key) -> Outcome:
        await asyncio.Event().wait()
        return Outcome()

    script, queue = Script(work), Queue[Key]()
    pool = Workers(queue, cast("Reconciler", script), clock=lambda: time)
    assert pool.longest == 0.0
    task = asyncio.create_task(pool.run())
    queue.add(key())
    await until(lambda: bool(script.begun))
    time = 142.0
    assert pool.longest == 42.0
    for worker in asyncio.all_tasks():
        if worker.get_name().startswith("worker-"):
            worker.cancel()
    await stop(task)
