"""Workers: take keys from the queue, reconcile them, and put them back as the outcome says."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from rondo.core.view import Key
from rondo.kube.errors import ApiError
from rondo.runtime.queue import Closed, Queue
from rondo.runtime.reconciler import Outcome, Reconciler

WORKERS: Final = 16
"""Keys that are worked on at once; while one waits for the API server the others go on."""

REST: Final = 4.0
"""A key rests for so many times as long as it took to plan, lest one large object takes the time of all others."""

SHORT: Final = 0.005
"""Seconds of planning that need no rest."""

STOP_TIMEOUT: Final = 5.0
"""Seconds that running reconciles get to finish when the operator stops."""

log = logging.getLogger(__name__)


@dataclass
class Workers:
    """A pool of workers on one queue.

    Attributes:
        queue: Where keys come from.
        reconciler: What is done with them.
        size: How many workers.
        clock: Monotonic seconds.
        results: How many reconciles there were, by kind and result: `success`, `error`, `requeue`, `requeue_after`.
        seconds: How long they took in all, by kind.
    """

    queue: Queue[Key]
    reconciler: Reconciler
    size: int = WORKERS
    clock: Callable[[], float] = time.monotonic
    results: Counter[tuple[str, str]] = field(default_factory=Counter)
    seconds: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    _busy: dict[Key, float] = field(default_factory=dict)

    @property
    def busy(self) -> int:
        """How many workers have something to do."""
        return len(self._busy)

    @property
    def longest(self) -> float:
        """Seconds that the longest running reconcile has taken so far."""
        return max((self.clock() - begun for begun in self._busy.values()), default=0.0)

    async def run(self) -> None:
        """Work until cancelled; then finish what runs, for a few seconds at most."""
        tasks = [asyncio.create_task(self._work(), name=f"worker-{index}") for index in range(self.size)]
        try:
            await asyncio.wait(tasks)  # not gather: cancelling that would cancel the workers with it
        finally:
            self.queue.close()
            await asyncio.wait(tasks, timeout=STOP_TIMEOUT)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _work(self) -> None:
        with contextlib.suppress(Closed):
            while True:
                key = await self.queue.get()
                self._busy[key], rest = self.clock(), 0.0
                try:
                    outcome = await self._reconcile(key)
                    self._put_back(key, outcome)
                    rest = REST * outcome.effort if outcome.effort > SHORT else 0.0
                finally:
                    self.seconds[key.resource.kind] += self.clock() - self._busy.pop(key)
                    self.queue.done(key, rest=rest)

    async def _reconcile(self, key: Key) -> Outcome:
        """Reconcile a key; whatever goes wrong is an outcome, so that no worker ever dies."""
        try:
            return await self.reconciler.reconcile(key)
        except ApiError as error:
            log.warning("%s: %s", key, error, extra={"key": str(key)})
            return Outcome(failed=True, pause=error.retry_after or 0.0)
        except Exception:
            log.exception("%s: reconcile failed", key, extra={"key": str(key)})
        return Outcome(failed=True)

    def _put_back(self, key: Key, outcome: Outcome) -> None:
        self.results[key.resource.kind, outcome.name] += 1
        if outcome.failed:
            self.queue.retry(key, at_least=outcome.pause)
        else:
            self.queue.succeed(key)
        if outcome.again:
            self.queue.add(key)
        if outcome.after is not None:
            self.queue.add_after(key, outcome.after)
