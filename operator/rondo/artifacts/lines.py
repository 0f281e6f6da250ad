"""The lines of a JSON Lines file, each an item of a fan-out: counted by `push`, one picked by `fetch`.

A line is any JSON value in UTF-8; empty lines do not count.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from rondo.artifacts.errors import ArtifactError

LONGEST: Final = 1 << 20
"""Bytes of a line: what it takes to read one."""


def count(path: Path, what: str) -> int:
    """Count the items of a file.

    Args:
        path: The file.
        what: What to call it in messages.

    Raises:
        ArtifactError: It is a directory, or a line is too long or is not JSON.
    """
    if path.is_dir():
        raise ArtifactError(f"{what}: {path} is a directory; forEach.itemsFrom takes a file of JSON lines")
    total = 0
    for number, line in _read(path, what):
        try:
            json.loads(line)
        except ValueError as error:
            raise ArtifactError(f"{what}: line {number} of {path} is not JSON: {error}") from error
        total += 1
    return total


def pick(path: Path, index: int, what: str) -> bytes:
    """Give an item of a file.

    Args:
        path: The file.
        index: Which item, from 0.
        what: What to call the file in messages.

    Raises:
        ArtifactError: It has no such item.
    """
    total = 0
    for _, line in _read(path, what):
        if total == index:
            return line
        total += 1
    raise ArtifactError(f"{what}: {path} has {total} items, so there is no item {index}")


def _read(path: Path, what: str) -> Iterator[tuple[int, bytes]]:
    """Yield the number, from 1, and the content of each line that is not empty."""
    with path.open("rb") as file:
        number = 0
        while line := file.readline(LONGEST + 1):
            number += 1
            if len(line) > LONGEST:
                raise ArtifactError(f"{what}: line {number} of {path} has more than {LONGEST:,} bytes")
            if content := line.strip():
                yield number, content
