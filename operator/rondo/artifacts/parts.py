"""How files are cut into the parts of a multipart upload, and what a store calls the outcome.

S3 takes at most 10,000 parts of an object, so large files have larger parts; as many are sent at once as memory allows.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from rondo.artifacts.digest import chunks
from rondo.artifacts.errors import ArtifactError

LARGE: Final = 8 << 20
"""A file of more bytes is stored in parts."""

_PARTS: Final = 9_990
_MAX_PART: Final = 64 << 20
_MEMORY: Final = 32 << 20
"""Bytes of parts that are on their way at once, besides the one that is being read."""

MAX_FILE: Final = _PARTS * _MAX_PART
"""The largest file that can be stored, 670 GB: with larger parts memory would not do."""


def part_size(size: int) -> int:
    """Give the size of the parts of a file, in bytes.

    Raises:
        ArtifactError: The file is too large.
    """
    if size > MAX_FILE:
        raise ArtifactError(f"it has {size:,} bytes; a file in a bucket may have {MAX_FILE:,}: split it")
    mebibyte = 1 << 20
    return max(LARGE, -(-size // (_PARTS * mebibyte)) * mebibyte)


def parts_at_once(part: int) -> int:
    """Give how many parts of a size may be on their way at once."""
    return max(1, _MEMORY // part)


@dataclass(frozen=True, slots=True)
class Content:
    """What a file holds.

    Attributes:
        size: Bytes.
        sha256: Hexadecimal.
        etag: What most stores call it: the MD5, or for a file in parts the MD5 of the parts' MD5s and their number.
    """

    size: int
    sha256: str
    etag: str


def sum_up(path: Path, size: int) -> Content:
    """Read a file that is to be compared with an object of this size."""
    part, sha256, md5s = part_size(size), hashlib.sha256(), [hashlib.md5(usedforsecurity=False)]
    found = inside = 0
    for chunk in _pieces(path, part):
        if inside == part:
            md5s.append(hashlib.md5(usedforsecurity=False))
            inside = 0
        sha256.update(chunk)
        md5s[-1].update(chunk)
        found, inside = found + len(chunk), inside + len(chunk)
    if size <= LARGE:
        return Content(found, sha256.hexdigest(), md5s[0].hexdigest())
    whole = hashlib.md5(b"".join(each.digest() for each in md5s), usedforsecurity=False)
    return Content(found, sha256.hexdigest(), f"{whole.hexdigest()}-{len(md5s)}")


def _pieces(path: Path, part: int) -> Iterator[memoryview]:
    """Yield a file's content so that no piece crosses the border of a part."""
    inside = 0
    with path.open("rb", buffering=0) as file:
        for chunk in chunks(file):
            cut = min(part - inside, len(chunk))
            yield chunk[:cut]
            inside = (inside + cut) % part
            if cut < len(chunk):
                yield chunk[cut:]
                inside = len(chunk) - cut
