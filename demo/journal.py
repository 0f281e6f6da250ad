"""What the demo says: one line a step, with the time since the beginning."""

from __future__ import annotations

import time
from collections.abc import Callable

_INDENT = " " * 9


class Journal:
    """Announces steps, and what becomes of them below."""

    def __init__(self, write: Callable[[str], None], clock: Callable[[], float] = time.monotonic) -> None:
        """Begin to count.

        Args:
            write: Writes a line.
            clock: Gives seconds.
        """
        self._write = write
        self._clock = clock
        self._begun = clock()

    def step(self, words: str) -> None:
        """Announce a step."""
        self._write(f"[{stamp(self._clock() - self._begun)}] {words}")

    def detail(self, words: str) -> None:
        """Tell something about the step that goes on."""
        for line in words.splitlines():
            self._write(f"{_INDENT}{line}".rstrip())

    def fail(self, words: str) -> None:
        """Tell why it does not go on."""
        self.step(f"FAILED: {words}")


def stamp(seconds: float) -> str:
    """Write a number of seconds as ` 0:07` or `12:40`."""
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes:3}:{rest:02}"
