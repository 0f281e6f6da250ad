"""Ports for servers that tests start as processes.

They lie below those that the system gives to outgoing connections (from 32768) and those of clusters
(`localcluster.ports`), and each process of tests begins at a place of its own. So nobody takes a port between the
choice and its use.
"""

from __future__ import annotations

import itertools
import os
import socket
from collections.abc import Iterator
from typing import Final

FIRST: Final = 10_000
COUNT: Final = 10_000


def _candidates() -> Iterator[int]:
    start = os.getpid() * 997 % COUNT
    return itertools.cycle(FIRST + (start + step) % COUNT for step in range(COUNT))


_turns: Final = _candidates()


def free_port() -> int:
    """Give a port that nobody listens on, and that this process has not been given for long.

    Raises:
        OSError: There is none.
    """
    for port in itertools.islice(_turns, COUNT):
        with socket.socket() as probe:
            try:
                probe.bind(("", port))
            except OSError:
                continue
            return port
    raise OSError(f"no free port from {FIRST} to {FIRST + COUNT - 1}")
