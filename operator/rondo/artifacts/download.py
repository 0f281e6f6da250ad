"""An input on its way out of a bucket: several files at once, each going on from where a connection was cut.

A file is written where the user's container will read it. What an earlier start of the container has left is kept and
continued, if there is a manifest whose digest tells in the end whether all of it is right.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from io import FileIO
from pathlib import Path
from typing import Final

from rondo.artifacts.bucket import Bucket, Stored
from rondo.artifacts.digest import Digest, Summary, chunks
from rondo.artifacts.errors import ArtifactError, ExitCode
from rondo.artifacts.parallel import in_order
from rondo.artifacts.progress import Progress
from rondo.artifacts.pvc import FILE_MODE, FOLDER_MODE, PROGRAM_MODE
from rondo.artifacts.tree import Entry, Kind

_CUTS: Final = 8
"""So many times in a row a connection may be cut without a byte before that is given up."""

_PAUSE: Final = 0.2
_LONGEST_PAUSE: Final = 10.0


@dataclass(frozen=True, slots=True)
class _File:
    name: str
    stored: Stored


@dataclass(frozen=True, slots=True)
class _Fetched:
    entry: Entry
    content: str


class Download:
    """Writes one artifact to a path."""

    def __init__(self, bucket: Bucket, key: str, progress: Progress) -> None:
        """Take where it is stored."""
        self._bucket = bucket
        self._key = key
        self._progress = progress

    def run(self, target: Path, alone: Stored | None) -> Summary:
        """Write it.

        Args:
            target: The path that becomes the file or the directory.
            alone: The object, if the artifact is a file.

        Raises:
            ArtifactError: It cannot be read.
            OSError: It cannot be written.
        """
        digest = Digest(Kind.DIRECTORY if alone is None else Kind.FILE)
        target.parent.mkdir(FOLDER_MODE, parents=True, exist_ok=True)
        files = self._files() if alone is None else iter((_File("", alone),))

        def fetch(file: _File) -> _Fetched | None:
            return self._fetch(file, target / file.name if file.name else target)

        last = b""
        for file, fetched in in_order(fetch, files, stop=self._progress.stop):
            if fetched is None:
                continue
            if file.name and os.fsencode(file.name) <= last:
                words = "the store lists objects in no order, as S3 directory buckets do; use a general purpose bucket"
                raise ArtifactError(words)
            last = os.fsencode(file.name)
            digest.add(fetched.entry, file.stored.size, fetched.content)
        return digest.summary()

    def _files(self) -> Iterator[_File]:
        """Yield the files of a directory as the store lists them."""
        for stored in self._bucket.find(self._key):
            name = stored.key.removeprefix(f"{self._key}/")
            if any(part in {"", ".", ".."} for part in name.split("/")):
                raise ArtifactError(f"object {stored.key!r} cannot be a file")
            yield _File(name, stored)

    def _fetch(self, file: _File, target: Path) -> _Fetched | None:
        """Fetch a file, unless the object only shows a folder, as consoles make them: `a/`, listed as `a`."""
        if not file.stored.size and self._bucket.look(file.stored.key) is None:
            return None
        target.parent.mkdir(FOLDER_MODE, parents=True, exist_ok=True)
        handle = os.open(target, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, FILE_MODE)
        with FileIO(handle, "r+b") as opened:
            copy = _Copy(self._bucket, file.stored, opened, self._progress)
            copy.resume()
            executable = copy.finish()
        if executable:
            target.chmod(PROGRAM_MODE)
        entry = Entry(file.name, target, directory=False, executable=executable)
        return _Fetched(entry, copy.content.hexdigest())


@dataclass(slots=True)
class _Copy:
    """A file that becomes what an object is."""

    bucket: Bucket
    stored: Stored
    file: FileIO
    progress: Progress
    position: int = 0
    content: hashlib._Hash = field(default_factory=hashlib.sha256)

    def resume(self) -> None:
        """Sum up what is there already."""
        if os.fstat(self.file.fileno()).st_size > self.stored.size:
            self.file.truncate(0)
        for chunk in chunks(self.file):
            self._take_in(chunk)

    def finish(self) -> bool:
        """Copy the rest, going on where a connection was cut; tell whether the file can be executed."""
        cuts = 0
        while True:
            before = self.position
            try:
                return self._copy()
            except ArtifactError as error:
                cuts = 1 if self.position > before else cuts + 1
                if error.code is not ExitCode.STORE or cuts > _CUTS or self.progress.stopped:
                    raise
                where = f"{self.stored.key} at byte {self.position:,} of {self.stored.size:,}"
                print(f"going on with {where} after: {error}", flush=True)  # noqa: T201
                time.sleep(min(_PAUSE * 2 ** (cuts - 1), _LONGEST_PAUSE))

    def _copy(self) -> bool:
        reading = self.bucket.read(self.stored, self.position)
        for chunk in reading.chunks:
            rest = chunk
            while rest:  # A nearly full disk takes a part of it and fails on the rest.
                rest = rest[self.file.write(rest) :]
            self._take_in(chunk)
        if self.position != self.stored.size:
            words = f"the answer ended after {self.position:,} of {self.stored.size:,} bytes"
            raise ArtifactError(words, ExitCode.STORE)
        return reading.executable

    def _take_in(self, chunk: memoryview) -> None:
        self.content.update(chunk)
        self.position += len(chunk)
        self.progress.add(len(chunk))
