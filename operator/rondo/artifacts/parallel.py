"""Several files at once, their outcomes in the files' order: many small files wait for the network, not for bytes."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final, TypeVar

Item = TypeVar("Item")
Outcome = TypeVar("Outcome")

WORKERS: Final = 4
_WINDOW: Final = 64
"""So many files may wait for the outcome of an earlier one; memory does not grow with their number."""


def in_order(
    work: Callable[[Item], Outcome], items: Iterable[Item], *, stop: Callable[[], None]
) -> Iterator[tuple[Item, Outcome]]:
    """Do the work for several items at once, and give each with its outcome, in their order.

    The first failure, whichever item it is of, ends the others and is what is raised.

    Args:
        work: What to do.
        items: What to do it for.
        stop: Makes work that goes on fail soon.
    """
    failures: list[BaseException] = []

    def guarded(item: Item) -> Outcome:
        try:
            return work(item)
        except BaseException as error:
            failures.append(error)
            stop()
            raise

    pending: deque[tuple[Item, Future[Outcome]]] = deque()
    with ThreadPoolExecutor(WORKERS) as pool:
        try:
            for item in items:
                pending.append((item, pool.submit(guarded, item)))
                if len(pending) >= _WINDOW:
                    yield _first(pending)
            while pending:
                yield _first(pending)
        except BaseException:
            stop()
            pool.shutdown(cancel_futures=True)
            if failures:
                raise failures[0] from None
            raise


def _first(pending: deque[tuple[Item, Future[Outcome]]]) -> tuple[Item, Outcome]:
    item, future = pending.popleft()
    return item, future.result()
