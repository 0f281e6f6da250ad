"""The end of the process: the engine finishes what it does before kopf cancels whatever it finds."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

import pytest

from rondo.shell.operator import leave_torn_streams, run_and_end


async def test_the_engine_ends_before_the_watches() -> None:
    ended: list[str] = []
    running = asyncio.create_task(run_and_end(_until_cancelled("engine", ended), _until_cancelled("watches", ended)))
    await _turns(3)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert ended == ["engine", "watches"]


@pytest.mark.parametrize("name", ["engine", "watches"])
async def test_a_failure_of_either_ends_both_and_is_told(name: str) -> None:
    ended: list[str] = []
    other = _until_cancelled("other", ended)
    pair = (_fail(), other) if name == "engine" else (other, _fail())
    with pytest.raises(RuntimeError, match="lost"):
        await run_and_end(*pair)
    assert ended == ["other"]


def test_at_the_end_only_generators_may_be_torn(caplog: pytest.LogCaptureFixture) -> None:
    """As `asyncio.run` closes what is left when the operator has ended: its handler is the last to be asked."""

    async def watch() -> AsyncGenerator[int, None]:
        try:
            yield 1
        finally:
            raise RuntimeError("generator didn't stop after athrow()")

    async def end() -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(leave_torn_streams)
        kept.append(watch())
        await anext(kept[0])
        loop.call_exception_handler({"message": "something else"})

    kept: list[AsyncGenerator[int, None]] = []
    asyncio.run(end())
    assert [record.message for record in caplog.records] == ["something else"]


async def _until_cancelled(name: str, ended: list[str]) -> None:
    """Run until cancelled, and then have some work in hand still."""
    try:
        await asyncio.Event().wait()
    finally:
        await _turns(10)
        ended.append(name)


async def _fail() -> None:
    await _turns(3)
    raise RuntimeError("lost")


async def _turns(count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(0)
