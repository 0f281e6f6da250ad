"""The API server's clock, told by the `Date` of its answers.

Planners compare the present with times that the API server wrote: when a Job was created, when a pod has to be gone.
This machine's clock may be hours off, and may jump; so may the next leader's.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime


@dataclass
class ServerClock:
    """What the API server's clock shows, carried on by a monotonic clock between two answers.

    Attributes:
        monotonic: Seconds that never jump.
    """

    monotonic: Callable[[], float] = time.monotonic
    _offset: float | None = None
    _last: tuple[str, float] = ("", 0.0)

    def now(self) -> datetime:
        """Give the time, timezone-aware UTC; this machine's as long as no answer has come."""
        if self._offset is None:
            return datetime.now(UTC)
        return datetime.fromtimestamp(self.monotonic() + self._offset, UTC)

    def hear(self, date: str, asked: float) -> None:
        """Take in the `Date` of an answer that has just come.

        It was written between question and answer, and has whole seconds: that bounds what the clock can show. What is
        known is moved no further than into these bounds, so an answer that took long tells little and spoils nothing.

        Args:
            date: The header; one that is no date counts for nothing.
            asked: When the question was sent, by `monotonic`.
        """
        if date != self._last[0]:
            try:
                self._last = date, parsedate_to_datetime(date).timestamp()
            except ValueError:
                return
        told = self._last[1]
        least, most = told - self.monotonic(), told + 1.0 - asked
        if self._offset is None:
            self._offset = time.time() - self.monotonic()
        self._offset = min(max(self._offset, least), most)
