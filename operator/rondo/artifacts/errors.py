"""How `fetch`, `verify` and `push` fail: a message for a person and an exit code for the operator."""

from __future__ import annotations

import errno
from enum import IntEnum


class ExitCode(IntEnum):
    """Exit code by the class of the failure.

    Attributes:
        OK: All done.
        ARTIFACT: An artifact is missing, is not the expected one or cannot be stored as it is: the user's to mend.
        CONFIG: The container was started wrongly: a fault of the operator or its image.
        NO_SPACE: The store is full or over its quota.
        DENIED: The store or a file refuses this user, or is read-only.
        STORE: Any other failure of input or output; trying again may help.
    """

    OK = 0
    ARTIFACT = 1
    CONFIG = 2
    NO_SPACE = 3
    DENIED = 4
    STORE = 5


class ArtifactError(Exception):
    """A failure with its words and its class.

    Attributes:
        code: The exit code that stands for its class.
    """

    def __init__(self, message: str, code: ExitCode = ExitCode.ARTIFACT) -> None:
        self.code = code
        super().__init__(message)


def classify(error: OSError) -> ExitCode:
    """Give the class of an operating system's error."""
    match error.errno:
        case errno.ENOSPC | errno.EDQUOT | errno.EFBIG:
            return ExitCode.NO_SPACE
        case errno.EACCES | errno.EPERM | errno.EROFS:
            return ExitCode.DENIED
        case _:
            return ExitCode.STORE
