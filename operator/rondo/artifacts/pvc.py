"""Artifacts on PersistentVolumeClaims: `pvc://CLAIM/PATH`.

What is read is mounted into the user's container by subPath, read-only, and never copied, so here it is only checked.
What is stored is copied under a temporary name, flushed to the disk, renamed, and only then given its manifest: a crash
at any point leaves either no artifact or a whole one, and storing it again replaces what is there.

Modes: folders 0775, files 0644, or 0755 if executable, whatever the umask. Anyone may read, since a server may run as
another user than the stage that trained its model. Members of the group (the pods' fsGroup; Kubernetes marks the volume
setgid, so new folders keep it) may add attempts and delete old ones. Nobody but the writer may change a file.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import shutil
from collections.abc import Iterator, Mapping
from io import FileIO
from pathlib import Path
from typing import Final

from rondo.artifacts import manifest
from rondo.artifacts.config import SCHEME, Input, Output
from rondo.artifacts.digest import Digest, Summary, chunks
from rondo.artifacts.errors import ArtifactError, ExitCode, classify
from rondo.artifacts.hints import instead
from rondo.artifacts.tree import Entry, Kind, kind_of, walk

FOLDER_MODE: Final = 0o775
FILE_MODE: Final = 0o644
PROGRAM_MODE: Final = 0o755

_PART: Final = ".rondo-part"


class PvcStore:
    """The claims that are mounted in this container."""

    def __init__(self, claims: Mapping[str, str]) -> None:
        """Take the path at which each claim is mounted, by its name."""
        self._claims = {claim: Path(path) for claim, path in claims.items()}

    def provide(self, wanted: Input) -> Path:
        """See that an artifact exists, can be read and, if a digest is given, that its manifest states that one.

        Returns:
            Where it is on the mounted claim.

        Raises:
            ArtifactError: It does not exist on the claim, cannot be read, is incomplete or is another.
        """
        claim, path = self._locate(wanted.uri)
        try:
            if not path.exists():
                hint = instead(path, self._claims[claim])
                raise ArtifactError(f"{wanted.what} {wanted.uri} does not exist on claim {claim}{hint}")
            _check_access(wanted, path)
            if wanted.digest is not None:
                _check_digest(wanted, path)
        except OSError as error:
            message = f"{wanted.what} {wanted.uri} cannot be read: {_explain(error)}"
            raise ArtifactError(message, classify(error)) from error
        return path

    def put(self, output: Output) -> Summary:
        """Store a file or directory and its manifest; what an earlier try left in its place is replaced.

        Raises:
            ArtifactError: It holds what cannot be stored, or the claim is full, read-only, not writable or failing.
        """
        claim, target = self._locate(output.uri)
        part = _part(target)
        try:
            with _umask(0):
                _make_folders(target.parent)
                _remove(part)
                summary = _copy(Path(output.path), part)
                _publish(part, target, summary)
        except OSError as error:
            why = self._full(claim) if classify(error) is ExitCode.NO_SPACE else _explain(error)
            message = f"output {output.name} cannot be stored at {output.uri}: {why}"
            raise ArtifactError(message, classify(error)) from error
        finally:
            with contextlib.suppress(OSError):
                _remove(part)
        return summary

    def _locate(self, uri: str) -> tuple[str, Path]:
        """Split a URI into its claim and the path at which it can be opened here."""
        claim, _, path = uri.removeprefix(SCHEME).partition("/")
        path = path.strip("/")
        if not path or ".." in path.split("/"):
            raise ArtifactError(f"{uri!r} is not a URI such as pvc://CLAIM/PATH", ExitCode.CONFIG)
        if claim not in self._claims:
            raise ArtifactError(f"claim {claim} of {uri} is not mounted in this container", ExitCode.CONFIG)
        return claim, self._claims[claim] / path

    def _full(self, claim: str) -> str:
        space = os.statvfs(self._claims[claim])
        free, size = space.f_bavail * space.f_frsize, space.f_blocks * space.f_frsize
        return f"claim {claim} is full: {free:,} of {size:,} bytes are free"


def _check_access(wanted: Input, path: Path) -> None:
    if os.access(path, os.R_OK | os.X_OK if path.is_dir() else os.R_OK):
        return
    status = path.stat()
    raise ArtifactError(
        f"{wanted.what} {wanted.uri} cannot be read by user {os.getuid()}: "
        f"it belongs to user {status.st_uid}, mode {status.st_mode & 0o7777:04o}",
        ExitCode.DENIED,
    )


def _check_digest(wanted: Input, path: Path) -> None:
    try:
        found = manifest.read(manifest.place(path))
    except FileNotFoundError:
        raise ArtifactError(
            f"{wanted.what} {wanted.uri} has no manifest, so it was not stored completely; expected {wanted.digest}"
        ) from None
    if found.digest != wanted.digest:
        raise ArtifactError(f"{wanted.what} {wanted.uri} is {found.digest}, not {wanted.digest} as expected")
    if found.kind is not kind_of(path):
        raise ArtifactError(f"{wanted.what} {wanted.uri} is not a {found.kind}, as its manifest says")


def _copy(source: Path, target: Path) -> Summary:
    """Copy a tree, summing it up on the way."""
    digest = Digest(kind_of(source))
    if digest.kind is Kind.DIRECTORY:
        target.mkdir(FOLDER_MODE)
    for entry in walk(source):
        place = target / entry.name if entry.name else target
        if entry.directory:
            place.mkdir(FOLDER_MODE)
        else:
            digest.add(entry, *_copy_file(entry, place))
    return digest.summary()


def _copy_file(entry: Entry, target: Path) -> tuple[int, str]:
    """Copy a file and give its size and the SHA-256 of its content."""
    content, size = hashlib.sha256(), 0
    mode = PROGRAM_MODE if entry.executable else FILE_MODE
    with entry.path.open("rb", buffering=0) as file, _create(target, mode) as copy:
        for chunk in chunks(file):
            content.update(chunk)
            size += len(chunk)
            while chunk:  # A nearly full disk takes a part of it and fails on the rest.
                chunk = chunk[copy.write(chunk) :]  # noqa: PLW2901
    return size, content.hexdigest()


def _create(path: Path, mode: int) -> FileIO:
    return FileIO(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb")


def _publish(part: Path, target: Path, summary: Summary) -> None:
    """Flush a finished copy, give it its name and write its manifest last."""
    # All is flushed after all is written: the first flush of a journal carries most of the others.
    for path in (part, *(entry.path for entry in walk(part))):
        _sync(path)
    place = manifest.place(target)
    _remove(place)
    _remove(target)
    part.rename(target)
    _remove(_part(place))
    with _create(_part(place), FILE_MODE) as file:
        file.write(manifest.render(summary))
        os.fsync(file.fileno())
    _part(place).rename(place)
    _sync(target.parent)


def _part(path: Path) -> Path:
    """Give the temporary name of a path: always the same, so that a crash's leftover is found and removed."""
    return path.with_name(path.name + _PART)


def _make_folders(path: Path) -> None:
    if path.is_dir():
        return
    _make_folders(path.parent)
    with contextlib.suppress(FileExistsError):  # Another stage's push may have been first.
        path.mkdir(FOLDER_MODE)
    _sync(path.parent)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _explain(error: OSError) -> str:
    at = f" ({error.filename})" if error.filename else ""
    match error.errno:
        case errno.EROFS:
            return f"it is mounted read-only{at}"
        case errno.EACCES | errno.EPERM:
            return f"permission denied for user {os.getuid()}, group {os.getgid()}{at}"
        case _:
            return f"{error.strerror}{at}"


@contextlib.contextmanager
def _umask(mask: int) -> Iterator[None]:
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)
