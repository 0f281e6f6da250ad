"""What every kind of store does, and which one a URI belongs to."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from rondo.artifacts.config import S3_SCHEME, SCHEME, Config, Input, Output
from rondo.artifacts.digest import Summary
from rondo.artifacts.errors import ArtifactError, ExitCode
from rondo.artifacts.pvc import PvcStore


class Store(Protocol):
    """Holds artifacts by URI."""

    def provide(self, wanted: Input) -> Path:
        """See that an artifact is there for the container to read, is the one expected, and give where it is.

        Raises:
            ArtifactError: It does not exist, cannot be read or is another.
        """

    def put(self, output: Output) -> Summary:
        """Store a file or directory, all of it or nothing.

        Raises:
            ArtifactError: It cannot be stored.
        """


def open_store(uri: str, config: Config) -> Store:
    """Give the store that a URI belongs to.

    Raises:
        ArtifactError: No store has this scheme.
    """
    if uri.startswith(SCHEME):
        return PvcStore(config.claims)
    if uri.startswith(S3_SCHEME):
        from rondo.artifacts.s3 import S3Store  # noqa: PLC0415 (what only buckets need costs memory and time)

        return S3Store()
    known = f"known are {SCHEME}CLAIM/PATH and {S3_SCHEME}BUCKET/PATH"
    raise ArtifactError(f"{uri!r} belongs to no store known here; {known}", ExitCode.CONFIG)
