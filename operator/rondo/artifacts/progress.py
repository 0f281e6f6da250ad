"""How far a transfer is: a line in the log from time to time, so that a slow store does not look like a stuck one."""

from __future__ import annotations

import threading
import time
from types import TracebackType
from typing import Final

from rondo.artifacts.errors import ArtifactError, ExitCode

INTERVAL: Final = 10.0
"""Seconds between two lines."""


class Progress:
    """Counts the bytes of one transfer, from any thread, and says how many there were while it is entered."""

    def __init__(self, doing: str) -> None:
        """Take what is done, such as `storing output model`."""
        self._doing = doing
        self._bytes = 0
        self._lock = threading.Lock()
        self._over = threading.Event()
        self.stopped = False
        self._speaker = threading.Thread(target=self._speak, daemon=True)

    def __enter__(self) -> Progress:
        self._speaker.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._speaker.join()

    def add(self, count: int) -> None:
        """Count bytes.

        Raises:
            ArtifactError: The transfer was stopped.
        """
        if self.stopped:
            raise ArtifactError(f"{self._doing} was stopped", ExitCode.STORE)
        with self._lock:
            self._bytes += count

    def stop(self) -> None:
        """End what other threads are at with their next bytes: another part of the same transfer has failed."""
        self.stopped = True

    def _speak(self) -> None:
        started, before = time.monotonic(), 0
        while not self._over.wait(INTERVAL):
            now, took = self._bytes, time.monotonic() - started
            speed = (now - before) / INTERVAL / 1e6
            print(f"{self._doing}: {now:,} bytes after {took:.0f} s, {speed:,.1f} MB/s", flush=True)  # noqa: T201
            before = now
