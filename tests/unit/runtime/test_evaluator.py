"""Expensive expressions: evaluated elsewhere, with limits of time and memory, and nobody waits for them."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from rondo.core.plan import PENDING, Evaluate, ReadResult
from rondo.core.resources import PIPELINE_RUN
from rondo.core.view import Key
from rondo.runtime.evaluator import Evaluator

KEY = Key(PIPELINE_RUN, "team", "r")
HOSTILE = Evaluate("params.l.map(a, a * 2.0).size() > 1", json.dumps({"params": {"l": list(range(100_000))}}))
GREEDY = Evaluate("params.l.map(a, params.l).size() > 1", json.dumps({"params": {"l": ["x" * 1000] * 3000}}))


@pytest.fixture
def woken() -> asyncio.Queue[Key]:
    return asyncio.Queue()


@pytest_asyncio.fixture
async def evaluator(woken: asyncio.Queue[Key]) -> AsyncIterator[Evaluator]:
    made = Evaluator(woken.put_nowait)
    yield made
    await made.close()


async def answer(evaluator: Evaluator, woken: asyncio.Queue[Key], read: Evaluate) -> ReadResult:
    """Look, wait until the key is woken, and look again."""
    first = evaluator.look(read, KEY)
    assert first.error is not None
    assert first.error.reason == PENDING
    async with asyncio.timeout(20):
        assert await woken.get() == KEY
    return evaluator.look(read, KEY)


async def test_an_answer_wakes_the_key_and_is_kept(evaluator: Evaluator, woken: asyncio.Queue[Key]) -> None:
    read = Evaluate("params.n + 1.0", json.dumps({"params": {"n": 2}}))
    assert (await answer(evaluator, woken, read)).value == 3.0
    assert evaluator.look(read, KEY).value == 3.0
    assert woken.empty()


async def test_what_has_no_value_says_why(evaluator: Evaluator, woken: asyncio.Queue[Key]) -> None:
    found = await answer(evaluator, woken, Evaluate("params.m > 1.0", json.dumps({"params": {}})))
    assert found.error is not None
    assert found.error.reason == "ExpressionError"
    assert "m" in found.error.message


@pytest.mark.parametrize(
    ("read", "words"),
    [(HOSTILE, "it takes longer than 1 s"), (GREEDY, "it (takes longer than 1 s|needs more memory than it may have)")],
)
async def test_limits_hold_and_the_next_is_evaluated_all_the_same(
    evaluator: Evaluator, woken: asyncio.Queue[Key], read: Evaluate, words: str
) -> None:
    found = await answer(evaluator, woken, read)
    assert found.error is not None
    with pytest.raises(AssertionError, match=words):
        raise AssertionError(found.error.message)
    assert (await answer(evaluator, woken, Evaluate("1.0 < 2.0", "{}"))).value is True


async def test_other_work_goes_on_meanwhile(evaluator: Evaluator, woken: asyncio.Queue[Key]) -> None:
    """The event loop is never held for a tenth of a second, which would be felt by everybody else."""
    waiting = asyncio.create_task(answer(evaluator, woken, HOSTILE))
    longest = 0.0
    while not waiting.done():
        before = time.thread_time()  # of this thread's own, whatever else the machine does
        await asyncio.sleep(0)
        longest = max(longest, time.thread_time() - before)
    assert longest < 0.1


async def test_what_nobody_waited_for_ends_with_the_operator(woken: asyncio.Queue[Key]) -> None:
    evaluator = Evaluator(woken.put_nowait)
    evaluator.look(HOSTILE, KEY)
    await asyncio.sleep(0)
    await evaluator.close()
    assert woken.empty()
