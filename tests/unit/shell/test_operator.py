"""The end of the process: the engine finishes what it does before kopf cancels whatever it finds."""

from __future__ import annotations

import asyncio

import pytest

from rondo.shell.operator import run_and_end


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
