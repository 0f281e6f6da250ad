"""Which port of a router each graph has: one of its own, the same as long as the graph lives."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

FIRST: Final = 20_000
LAST: Final = 29_999


class NoPortError(Exception):
    """All ports are taken."""


def assign(names: Iterable[str], known: Mapping[str, int], last: int = 0) -> tuple[dict[str, int], int]:
    """Give each name a port of its own.

    A name that has one keeps it. A new one gets the next free one after the port that was given last, so a port that
    has just become free is the last to be given again: whoever still has the old address asks nobody then, and not
    another graph.

    Args:
        names: All names, each once.
        known: The ports that names had so far; those of names that are gone become free.
        last: The port that was given last; 0 if none was.

    Returns:
        The ports by name, and the port that was given last.

    Raises:
        NoPortError: There are more names than ports.
    """
    names = sorted(names)
    given: dict[str, int] = {}
    for name in names:
        port = known.get(name)
        if port is not None and FIRST <= port <= LAST and port not in given.values():
            given[name] = port
    last = last or max(given.values(), default=FIRST - 1)
    taken = set(given.values())
    for name in names:
        if name not in given:
            last = _next_free(last, taken)
            taken.add(last)
            given[name] = last
    return given, last


def _next_free(after: int, taken: set[int]) -> int:
    count = LAST - FIRST + 1
    for step in range(1, count + 1):
        port = FIRST + (after - FIRST + step) % count
        if port not in taken:
            return port
    raise NoPortError(f"all {count} ports of the router are taken")
