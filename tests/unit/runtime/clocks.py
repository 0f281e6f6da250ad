"""Time in tests: an event loop whose clock stands still until it is moved, and waiting for what other tasks do."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class ManualLoop(asyncio.SelectorEventLoop):
    """Timers fire when `pass_time` says so, so that no test waits for them."""

    def __init__(self) -> None:
        self._offset = 1_000.0
        super().__init__()

    def time(self) -> float:
        return self._offset

    def pass_time(self, seconds: float) -> None:
        """Move the clock and run all that is due by then, and what that makes ready."""

        async def turn() -> None:
            for _ in range(3):
                await asyncio.sleep(0)

        self._offset += seconds
        self.run_until_complete(turn())


async def until(condition: Callable[[], bool]) -> None:
    """Let other tasks work until a condition holds; ten seconds at most."""
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - what is waited for has no event of its own
            await asyncio.sleep(0.001)
