"""`sweep`: remove from a claim the artifacts of runs that are gone and that nobody refers to.

Only what `push` has stored is ever touched: artifacts with a manifest, in the folder of a run,
`PIPELINE/RUN-UID/…`; what people have put on the claim has neither. A folder in which anything is younger than the age
is left alone as a whole, so what a run has stored that began after the marks were taken is safe, as long as the marks
are much younger than that: older ones are refused.
"""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from rondo.artifacts import manifest
from rondo.artifacts.config import Sweep
from rondo.artifacts.errors import ArtifactError, ExitCode

SKEW: Final = 300.0
"""Seconds that the clock of a node may be behind that of the operator."""

_UID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_PART: Final = ".rondo-part"


@dataclass(frozen=True, slots=True)
class Artifact:
    """An artifact on a claim.

    Attributes:
        path: Relative to the claim, such as `digits/6a1e…/train-1/model`.
        age: Seconds since anything in the folder of its run was written.
    """

    path: str
    age: float


@dataclass(frozen=True, slots=True)
class Swept:
    """What a sweep did.

    Attributes:
        removed: Number of artifacts that it removed.
        size: Bytes that they took.
        kept: Number of artifacts that stay.
    """

    removed: int
    size: int
    kept: int


def is_garbage(artifact: Artifact, marks: Sweep) -> bool:
    """Decide about an artifact: it is old, its run is gone, and nothing refers to it or into it."""
    pipeline, uid, *_ = artifact.path.split("/")
    if artifact.age < marks.age or uid in marks.runs or pipeline in marks.pipelines:
        return False
    return not any(path == artifact.path or path.startswith(f"{artifact.path}/") for path in marks.paths)


def sweep(root: Path, marks: Sweep, clock: Callable[[], float] = time.time) -> Swept:
    """Remove the garbage of a claim.

    Args:
        root: Where the claim is mounted.
        marks: What stays.
        clock: Seconds since 1970.

    Raises:
        ArtifactError: The marks are too old.
        OSError: The claim cannot be read or written.
    """
    now = clock()
    if not -SKEW <= now - marks.at <= marks.age / 2:
        words = f"the marks are {now - marks.at:.0f} s old, and {marks.age / 2:.0f} s are allowed: nothing is removed"
        raise ArtifactError(words, ExitCode.STORE)
    removed = size = kept = 0
    for folder in _run_folders(root):
        age = now - _newest(folder)
        artifacts = [Artifact(str(path.relative_to(root)), age) for path in _artifacts(folder)]
        garbage = [artifact for artifact in artifacts if is_garbage(artifact, marks)]
        for artifact in garbage:
            size += manifest.read(manifest.place(root / artifact.path)).size
            _remove(root / artifact.path)
            print(f"removed {artifact.path}", flush=True)  # noqa: T201
        removed += len(garbage)
        kept += len(artifacts) - len(garbage)
        if garbage:
            _prune(folder)
    return Swept(removed, size, kept)


def _run_folders(root: Path) -> Iterator[Path]:
    for pipeline in _folders(root):
        yield from (folder for folder in _folders(pipeline) if _UID.fullmatch(folder.name))


def _folders(path: Path) -> Iterable[Path]:
    return sorted(child for child in path.iterdir() if child.is_dir() and not child.is_symlink())


def _artifacts(folder: Path) -> list[Path]:
    """Give what has a manifest; artifacts do not lie within each other, so theirs are not looked into."""
    found: list[Path] = []
    for child in sorted(folder.iterdir()):
        name = child.name
        if name.endswith(manifest.SUFFIX) and not child.is_dir():
            found.append(child.with_name(name.removesuffix(manifest.SUFFIX)))
    stored = set(found)
    for child in _folders(folder):
        if child not in stored:
            found += _artifacts(child)
    return found


def _newest(folder: Path) -> float:
    """Give when anything in a folder was last written, in seconds since 1970."""
    return max(path.lstat().st_mtime for path in (folder, *folder.rglob("*")))


def _remove(path: Path) -> None:
    """Remove an artifact, its manifest last: after a crash the next sweep finds it again."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
    manifest.place(path).unlink(missing_ok=True)


def _prune(folder: Path) -> None:
    """Remove leftovers of cut-off stores, then the folders that are empty."""
    for child in list(folder.iterdir()):
        if child.name.endswith(_PART):
            _remove(child)
        elif child.is_dir() and not child.is_symlink():
            _prune(child)
    if not any(folder.iterdir()):
        folder.rmdir()
