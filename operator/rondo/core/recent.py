"""What was worked out a moment ago, kept so that not every look works it out again; it decides nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

V = TypeVar("V")


class Recent(Generic[V]):
    """One value for each of a limited number of keys, made again when what it is made from is another object.

    Args:
        size: Number of keys; the one that was not asked for longest goes first.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._known: dict[object, tuple[object, V]] = {}

    def get(self, key: object, source: object, make: Callable[[], V]) -> V:
        """Give the value of a key.

        Args:
            key: Whose value; hashable.
            source: The object that it is made from, or None if that never changes.
            make: Makes it.
        """
        known = self._known.pop(key, None)
        if known is None or known[0] is not source:
            known = source, make()
        while len(self._known) >= self._size:
            del self._known[next(iter(self._known))]
        self._known[key] = known
        return known[1]

    def forget(self, key: object) -> None:
        """Keep nothing of a key."""
        self._known.pop(key, None)
