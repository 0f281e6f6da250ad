"""What ends a command with words for the person at the terminal, and with which exit code."""

from __future__ import annotations

from typing import Final

FAILED: Final = 1
"""What was asked for was looked at, and it failed."""

UNKNOWN: Final = 2
"""It could not be found out."""

INTERRUPTED: Final = 130
"""By Ctrl-C, as shells have it."""


class CommandError(Exception):
    """A command cannot go on; the message says why and what to do."""

    def __init__(self, message: str, code: int = UNKNOWN) -> None:
        self.code = code
        super().__init__(message)
