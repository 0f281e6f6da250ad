"""An output on its way into a bucket: several files at once, large ones in parts, what is there whole not again.

What a store has from an earlier try is told by its size and ETag. That is the MD5 in most stores; where it is not, as
in those that encrypt with their own keys, the file is stored again.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from rondo.artifacts.bucket import Bucket, Stored
from rondo.artifacts.digest import Digest, Summary, chunks
from rondo.artifacts.errors import ArtifactError, classify
from rondo.artifacts.parallel import in_order
from rondo.artifacts.parts import LARGE, part_size, sum_up
from rondo.artifacts.progress import Progress
from rondo.artifacts.tree import Entry, Kind, kind_of, walk

_REMEMBERED: Final = 100_000
"""Objects of an earlier try that are remembered; memory stays bounded."""


class Upload:
    """Stores one file or directory under a key."""

    def __init__(self, bucket: Bucket, key: str, progress: Progress) -> None:
        """Take where to store it."""
        self._bucket = bucket
        self._key = key
        self._progress = progress
        self._there: dict[str, Stored] = {}
        self._one_large = threading.Lock()

    def run(self, source: Path) -> Summary:
        """Store it, without its manifest.

        Raises:
            ArtifactError: It cannot be stored.
            OSError: It cannot be read.
        """
        digest = Digest(kind_of(source))
        self._clear(source, digest.kind)
        files = (entry for entry in walk(source) if not entry.directory)
        for entry, (size, content) in in_order(self._store, files, stop=self._progress.stop):
            digest.add(entry, size, content)
        return digest.summary()

    def _clear(self, source: Path, kind: Kind) -> None:
        """Remove what an earlier try has left and is not wanted any more, and remember the rest."""
        alone = self._bucket.look(self._key)
        if alone is not None and kind is Kind.DIRECTORY:
            self._bucket.remove(alone.key)
        elif alone is not None:
            self._there[alone.key] = alone
        for stored in self._bucket.find(self._key):
            place = source / stored.key.removeprefix(f"{self._key}/")
            if kind is Kind.FILE or not place.is_file():
                self._bucket.remove(stored.key)
            elif len(self._there) < _REMEMBERED:
                self._there[stored.key] = stored

    def _store(self, entry: Entry) -> tuple[int, str]:
        """Store a file and give its size and the SHA-256 of its content."""
        key = f"{self._key}/{entry.name}" if entry.name else self._key
        size = entry.path.stat().st_size
        with _naming(entry):
            return self._kept(entry, key, size) or self._stored(entry, key, size)

    def _kept(self, entry: Entry, key: str, size: int) -> tuple[int, str] | None:
        """Sum up a file whose object is there whole, with the same mode."""
        there = self._there.get(key)
        if there is None or there.etag is None or there.size != size:
            return None
        content = sum_up(entry.path, size)
        if (content.size, content.etag) != (there.size, there.etag.strip('"')):
            return None
        if self._bucket.read(there, there.size).executable is not entry.executable:
            return None
        self._progress.add(size)
        return content.size, content.sha256

    def _stored(self, entry: Entry, key: str, size: int) -> tuple[int, str]:
        if size > LARGE:
            with self._one_large:
                return self._store_large(entry, key, size)
        content = _read(entry.path)
        self._bucket.write_small(key, content, executable=entry.executable)
        self._progress.add(len(content))
        return len(content), hashlib.sha256(content).hexdigest()

    def _store_large(self, entry: Entry, key: str, size: int) -> tuple[int, str]:
        sha256, count = hashlib.sha256(), 0

        def content() -> Iterator[bytes]:
            nonlocal count
            for chunk in _chunks(entry.path):
                sha256.update(chunk)
                count += len(chunk)
                self._progress.add(len(chunk))
                yield chunk

        self._bucket.write_large(key, content(), part_size(size), executable=entry.executable)
        return count, sha256.hexdigest()


def _read(path: Path) -> bytes:
    """Read a small file; one that has grown since is cut, which its own digest then tells."""
    with path.open("rb") as file:
        return file.read(LARGE)


def _chunks(path: Path) -> Iterator[bytes]:
    """Yield a file's content; that it cannot be read is not to be taken for an error of the store."""
    try:
        with path.open("rb", buffering=0) as file:
            for chunk in chunks(file):
                yield bytes(chunk)
    except OSError as error:
        raise ArtifactError(f"it cannot be read: {error.strerror}", classify(error)) from error


@contextmanager
def _naming(entry: Entry) -> Iterator[None]:
    """Name the file of a directory that an error is about."""
    try:
        yield
    except ArtifactError as error:
        if not entry.name:
            raise
        raise ArtifactError(f"file {entry.name}: {error}", error.code) from error
