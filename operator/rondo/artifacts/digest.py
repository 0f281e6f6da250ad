"""The digest of an artifact: what it holds, whatever its place, its owner, its times and the order it was written in.

It is `sha256:` and the SHA-256, in hexadecimal, of this sequence of bytes:

1. a header, `rondo-artifact-v1 File` or `rondo-artifact-v1 Directory`, and LF;
2. for each regular file, sorted by the bytes of its name, one record: NAME NUL SIZE NUL SHA256 NUL MODE LF. NAME is the
   path relative to the artifact with `/` between its parts, as the bytes of the file system (empty for an artifact that
   is a file: what the file is called does not count); SIZE the number of bytes in decimal; SHA256 that of the content
   in lower-case hexadecimal; MODE `x` if the owner may execute the file, else `-`.

A name cannot hold NUL and all else is of fixed alphabets, so no two artifacts have the same sequence. Empty
directories, owners, other permissions and times do not count. A symbolic link within the artifact counts as what it
points to.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from io import FileIO
from pathlib import Path
from typing import Final

from rondo.artifacts.tree import Entry, Kind, kind_of, walk

CHUNK: Final = 1 << 20
"""Bytes read at a time: the memory that streaming needs."""


@dataclass(frozen=True, slots=True)
class Summary:
    """What is known of a stored artifact.

    Attributes:
        kind: File or directory.
        digest: `sha256:` and 64 hexadecimal digits, as this module says.
        size: Bytes of all its files.
        files: Number of its files.
    """

    kind: Kind
    digest: str
    size: int
    files: int


@dataclass(slots=True)
class Digest:
    """Sums up an artifact, a file at a time, in the order of `tree.walk`."""

    kind: Kind
    size: int = 0
    files: int = 0
    _hash: hashlib._Hash = field(default_factory=hashlib.sha256)

    def __post_init__(self) -> None:
        self._hash.update(f"rondo-artifact-v1 {self.kind}\n".encode())

    def add(self, entry: Entry, size: int, content: str) -> None:
        """Add a file with its size in bytes and the SHA-256 of its content in hexadecimal."""
        mode = "x" if entry.executable else "-"
        self._hash.update(os.fsencode(entry.name) + f"\0{size}\0{content}\0{mode}\n".encode())
        self.size += size
        self.files += 1

    def summary(self) -> Summary:
        """Give the digest of what has been added."""
        return Summary(self.kind, f"sha256:{self._hash.hexdigest()}", self.size, self.files)


def digest_of(path: Path) -> Summary:
    """Read an artifact and sum it up.

    Raises:
        ArtifactError: It holds what cannot be stored.
        OSError: It is not there or cannot be read.
    """
    digest = Digest(kind_of(path))
    for entry in walk(path):
        if not entry.directory:
            digest.add(entry, *_sum_up(entry.path))
    return digest.summary()


def _sum_up(path: Path) -> tuple[int, str]:
    """Give a file's size and the SHA-256 of its content."""
    content, size = hashlib.sha256(), 0
    with path.open("rb", buffering=0) as file:
        for chunk in chunks(file):
            content.update(chunk)
            size += len(chunk)
    return size, content.hexdigest()


def chunks(file: FileIO) -> Iterator[memoryview]:
    """Yield a file's content piece by piece; each piece is valid only until the next."""
    buffer = bytearray(CHUNK)
    view = memoryview(buffer)
    while count := file.readinto(buffer):
        yield view[:count]
