"""Artifacts in buckets of S3-compatible stores: `s3://BUCKET/KEY`.

A file is the object KEY; a directory is the objects below `KEY/`. What is read is downloaded before the user's
container starts; what is stored is uploaded after it has ended. The manifest, `KEY.rondo.json`, comes last, so a crash
at any point leaves either no artifact or a whole one, and storing it again replaces what is there. The digest is the
same as on a claim. That a file can be executed stands in its object's metadata.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Final

from rondo.artifacts import manifest
from rondo.artifacts.bucket import Bucket, Stored
from rondo.artifacts.config import S3_SCHEME, Input, Output
from rondo.artifacts.digest import Summary
from rondo.artifacts.download import Download
from rondo.artifacts.errors import ArtifactError, ExitCode, classify
from rondo.artifacts.hints import listing
from rondo.artifacts.progress import Progress
from rondo.artifacts.tree import Kind
from rondo.artifacts.upload import Upload

_LOOKED_AT: Final = 1000
"""Objects of a folder that are looked at to tell what is there."""


class S3Store:
    """The buckets that the credentials of this container reach."""

    def provide(self, wanted: Input) -> Path:
        """Download an artifact and verify it against its manifest, if it has one.

        Returns:
            Where it has been downloaded to.

        Raises:
            ArtifactError: It does not exist, cannot be read, is incomplete or is another.
        """
        if wanted.path is None:
            raise ArtifactError(f"{wanted.what} {wanted.uri} has no path to be downloaded to", ExitCode.CONFIG)
        name, key = locate(wanted.uri)
        with _named(f"{wanted.what} {wanted.uri} cannot be read"), _open_umask():
            bucket = Bucket(name)
            expected = _expected(bucket, key, wanted)
            alone = bucket.look(key) if expected is None or expected.kind is Kind.FILE else None
            if alone is None and not _holds_any(bucket, key):
                raise _missing(bucket, key)
            with Progress(f"fetching {wanted.what}") as progress:
                _download(Download(bucket, key, progress), Path(wanted.path), alone, expected)
        return Path(wanted.path)

    def put(self, output: Output) -> Summary:
        """Store a file or directory and its manifest; what an earlier try left in its place is replaced.

        Raises:
            ArtifactError: It holds what cannot be stored, or the store is full, refuses it or does not answer.
        """
        name, key = locate(output.uri)
        with _named(f"output {output.name} cannot be stored at {output.uri}"):
            bucket = Bucket(name)
            if bucket.read_small(_manifest(key)) is not None:
                bucket.remove(_manifest(key))
            with Progress(f"storing output {output.name}") as progress:
                summary = Upload(bucket, key, progress).run(Path(output.path))
            bucket.write_small(_manifest(key), manifest.render(summary))
        return summary


def locate(uri: str) -> tuple[str, str]:
    """Split a URI into bucket and key.

    Raises:
        ArtifactError: It is not one.
    """
    bucket, _, key = uri.removeprefix(S3_SCHEME).partition("/")
    key = key.strip("/")
    if not bucket or not key or any(part in {"", ".", ".."} for part in key.split("/")):
        raise ArtifactError(f"{uri!r} is not a URI such as s3://BUCKET/PATH", ExitCode.CONFIG)
    return bucket, key


def _manifest(key: str) -> str:
    return f"{key}{manifest.SUFFIX}"


def _expected(bucket: Bucket, key: str, wanted: Input) -> Summary | None:
    """Read the manifest and see that it is the one that is wanted; what people have stored themselves has none."""
    content = bucket.read_small(_manifest(key))
    if content is None:
        if wanted.digest is None:
            return None
        raise ArtifactError(f"it has no manifest, so it was not stored completely; expected {wanted.digest}")
    found = manifest.parse(content, f"object {_manifest(key)}")
    if wanted.digest not in {None, found.digest}:
        raise ArtifactError(f"it is {found.digest}, not {wanted.digest} as expected")
    return found


def _holds_any(bucket: Bucket, folder: str) -> bool:
    return next(bucket.find(folder), None) is not None


def _missing(bucket: Bucket, key: str) -> ArtifactError:
    place = bucket.place
    return ArtifactError(f"it does not exist in bucket {place.bucket} at {place.endpoint}{_instead(bucket, key)}")


def _instead(bucket: Bucket, key: str) -> str:
    """Tell what the nearest folder of a missing key that holds anything has in it."""
    for folder in _parents(key):
        keys = [stored.key for stored in islice(bucket.find(folder), _LOOKED_AT)]
        names = sorted({key.removeprefix(f"{folder}/").partition("/")[0] for key in keys})
        if names:
            return listing(folder or "it", names)
    return " (it is empty)"


def _parents(key: str) -> Iterator[str]:
    while key:
        key = key.rpartition("/")[0]
        yield key


def _download(download: Download, target: Path, alone: Stored | None, expected: Summary | None) -> None:
    """Download an artifact; what a cut-off start of this container has left is used, unless it turns out wrong."""
    resumed = target.exists()
    if resumed and expected is None:
        _remove(target)
    found = download.run(target, alone)
    if expected is None or found.digest == expected.digest:
        return
    _remove(target)
    if resumed:
        found = download.run(target, alone)
        if found.digest == expected.digest:
            return
        _remove(target)
    words = f"it is {found.digest} ({found.files} files, {found.size:,} bytes), not {expected.digest}"
    raise ArtifactError(f"{words} ({expected.files} files, {expected.size:,} bytes) as its manifest says")


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


@contextmanager
def _named(doing: str) -> Iterator[None]:
    """Begin what went wrong with what was done."""
    try:
        yield
    except ArtifactError as error:
        raise ArtifactError(f"{doing}: {error}", error.code) from error
    except OSError as error:
        at = f" ({error.filename})" if error.filename else ""
        full = "; the node's disk is full" if classify(error) is ExitCode.NO_SPACE else ""
        raise ArtifactError(f"{doing}: {error.strerror}{at}{full}", classify(error)) from error


@contextmanager
def _open_umask() -> Iterator[None]:
    """Let the server of a model be another user than the one that fetches it."""
    before = os.umask(0)
    try:
        yield
    finally:
        os.umask(before)
