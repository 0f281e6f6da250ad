"""The manifest of an artifact: the JSON file `PATH.rondo.json` beside it, written last.

In a bucket it is the object `KEY.rondo.json`. An artifact with a manifest is complete. Its fields: `version` (1),
`kind` (`File` or `Directory`), `digest`, `size` in bytes, `files` (their number). What people have put on a claim or
into a bucket of their own has none.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from rondo.artifacts.digest import Summary
from rondo.artifacts.errors import ArtifactError, ExitCode
from rondo.artifacts.tree import Kind

SUFFIX: Final = ".rondo.json"
VERSION: Final = 1


def place(artifact: Path) -> Path:
    """Give the place of an artifact's manifest."""
    return artifact.with_name(artifact.name + SUFFIX)


def render(summary: Summary) -> bytes:
    """Give the manifest's content."""
    return json.dumps({"version": VERSION, **asdict(summary)}, indent=2).encode() + b"\n"


def read(path: Path) -> Summary:
    """Read the manifest at a path.

    Raises:
        ArtifactError: It is not a manifest of this version.
        OSError: It is not there or cannot be read.
    """
    return parse(path.read_bytes(), str(path))


def parse(content: bytes, where: str) -> Summary:
    """Read a manifest's content.

    Args:
        content: It.
        where: What to call it in messages.

    Raises:
        ArtifactError: It is not a manifest of this version.
    """
    try:
        fields: dict[str, Any] = json.loads(content)
        version = fields["version"]
        summary = Summary(Kind(fields["kind"]), str(fields["digest"]), int(fields["size"]), int(fields["files"]))
    except (KeyError, TypeError, ValueError) as error:
        raise ArtifactError(f"{where} is not a manifest: {error!r}", ExitCode.STORE) from error
    if version != VERSION:
        raise ArtifactError(f"{where} is a manifest of version {version}; this image reads {VERSION}", ExitCode.STORE)
    return summary
