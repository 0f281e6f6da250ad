"""The keyed queue: what has to be looked at, each key by one worker at a time.

A key that is added while it waits is not added twice; one that is added while it is worked on is looked at again
afterwards. Failing keys come back later and later. The same contract as client-go's rate-limiting workqueue.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Hashable
from typing import Final, Generic, TypeVar

K = TypeVar("K", bound=Hashable)

FIRST_BACKOFF: Final = 0.2
LONGEST_BACKOFF: Final = 300.0

MOMENT: Final = 0.5
"""Seconds within which a key is looked at of which only progress is told: what comes meanwhile is one look."""


FAIR: Final = 4
"""Of so many keys that are taken at least one has waited in line, if there is one."""


class Closed(Exception):  # noqa: N818 - an end, not an error
    """The queue takes and gives no more keys."""


class Queue(Generic[K]):
    """A queue of keys; use it from one event loop only.

    Attributes:
        adds: How many keys were put into it so far.
        retries: How many of them because they had failed.
    """

    def __init__(self) -> None:
        self._waiting: deque[K] = deque()
        self._ahead: deque[K] = deque()
        self._turns = 0
        self._queued: set[K] = set()
        self._working: set[K] = set()
        self._again: dict[K, bool] = {}
        self._timers: dict[K, asyncio.TimerHandle] = {}
        self._failures: dict[K, int] = {}
        self._news = asyncio.Event()
        self._closed = False
        self.adds = 0
        self.retries = 0

    def __len__(self) -> int:
        """Count the keys that wait for a worker now."""
        return len(self._waiting) + len(self._ahead)

    def add(self, key: K, *, ahead: bool = False) -> None:
        """Have a key looked at now.

        Args:
            key: The key.
            ahead: Before those that wait in line: something has ended, and what comes next can begin.
        """
        if self._closed or key in self._queued:
            return
        if key in self._working:
            self._again[key] = ahead or self._again.get(key, False)
            return
        self.adds += 1
        self._queued.add(key)
        (self._ahead if ahead else self._waiting).append(key)
        self._news.set()

    def add_soon(self, key: K, moment: float = MOMENT) -> None:
        """Have a key looked at within a moment, in seconds, together with whatever else happens to it until then."""
        if key not in self._queued:
            self.add_after(key, moment)

    def add_after(self, key: K, delay: float) -> None:
        """Have a key looked at after `delay` seconds; of several delays the shortest counts."""
        if delay <= 0:
            self.add(key)
            return
        loop = asyncio.get_running_loop()
        timer = self._timers.get(key)
        if timer is not None and timer.when() <= loop.time() + delay:
            return
        if timer is not None:
            timer.cancel()
        if not self._closed:
            self._timers[key] = loop.call_later(delay, self._due, key)

    def retry(self, key: K, *, at_least: float = 0.0) -> float:
        """Have a failing key looked at again, later each time.

        Args:
            key: The key.
            at_least: Seconds that the API server wants to be left alone.

        Returns:
            The delay in seconds.
        """
        self.retries += 1
        failures = self._failures.get(key, 0)
        self._failures[key] = failures + 1
        delay = min(FIRST_BACKOFF * 2.0 ** min(failures, 16), LONGEST_BACKOFF)
        delay = max(delay * random.uniform(0.8, 1.2), at_least)  # noqa: S311 - jitter is no secret
        self.add_after(key, delay)
        return delay

    def succeed(self, key: K) -> None:
        """Forget a key's failures."""
        self._failures.pop(key, None)

    async def get(self) -> K:
        """Wait for a key and take it; call `done` when the work on it is over.

        A look that was due later is not due any more: this one sees all that there is, and says itself when to look
        again.

        Raises:
            Closed: The queue was closed.
        """
        while not len(self):
            if self._closed:
                raise Closed
            self._news.clear()
            await self._news.wait()
        key = self._next()
        self._queued.discard(key)
        self._working.add(key)
        timer = self._timers.pop(key, None)
        if timer is not None:
            timer.cancel()
        if len(self) or self._closed:
            self._news.set()
        return key

    def _next(self) -> K:
        self._turns += 1
        if self._ahead and (self._turns % FAIR or not self._waiting):
            return self._ahead.popleft()
        return self._waiting.popleft()

    def done(self, key: K, *, rest: float = 0.0) -> None:
        """Say that the work on a key is over.

        Args:
            key: The key.
            rest: Seconds in which it is not worked on again, whatever happens.
        """
        if rest > 0 and not self._closed:
            asyncio.get_running_loop().call_later(rest, self.done, key)
            return
        self._working.discard(key)
        if key in self._again:
            self.add(key, ahead=self._again.pop(key))

    def close(self) -> None:
        """Take no more keys, drop those that wait, and wake all who wait for one."""
        self._closed = True
        self._waiting.clear()
        self._ahead.clear()
        self._queued.clear()
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        self._news.set()

    def _due(self, key: K) -> None:
        self._timers.pop(key, None)
        self.add(key)
