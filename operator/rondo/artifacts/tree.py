"""The files of an artifact, in the order and with the names that its digest is made of.

An artifact is a file or a directory. Of a directory only regular files count: an artifact means the same in a store
that knows no directories. A symbolic link that stays inside the artifact stands for what it points to; one that leads
outside, and anything that is neither file nor directory, is refused by name rather than stored as something else.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

from rondo.artifacts.errors import ArtifactError

_SPECIAL: Final = {
    stat.S_IFSOCK: "a socket",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFCHR: "a character device",
    stat.S_IFBLK: "a block device",
}


class Kind(StrEnum):
    """What an artifact is."""

    FILE = "File"
    DIRECTORY = "Directory"


@dataclass(frozen=True, slots=True)
class Entry:
    """A file or a directory inside an artifact.

    Attributes:
        name: Path relative to the artifact, parts joined by `/`; empty for an artifact that is a file.
        path: Where it can be opened.
        directory: Whether it is a directory.
        executable: Whether its owner may execute it.
    """

    name: str
    path: Path
    directory: bool
    executable: bool


def kind_of(path: Path) -> Kind:
    """Tell what the artifact at a path is.

    Raises:
        ArtifactError: It is a socket, a device or a pipe.
        OSError: Nothing is there, or it cannot be looked at.
    """
    return Kind.DIRECTORY if _entry("", path).directory else Kind.FILE


def walk(root: Path) -> Iterator[Entry]:
    """Yield what an artifact holds, files sorted by the bytes of their names, each directory before what is in it.

    Memory grows with the depth and with the largest single directory, not with the number of files.

    Raises:
        ArtifactError: A link leads outside or in a circle, or something is neither file nor directory.
        OSError: Something cannot be read.
    """
    real = root.resolve(strict=True)
    entry = _entry("", real)
    if entry.directory:
        yield from _walk(real, "", within=(real,))
    else:
        yield entry


def _walk(folder: Path, prefix: str, *, within: tuple[Path, ...]) -> Iterator[Entry]:
    """Walk one directory; `within` holds the real paths of the artifact and of all directories down to this one."""
    entries = [_look(found, prefix, within) for found in folder.iterdir()]
    # A directory sorts as its name and the `/` that follows it in its files' names, so whole names come out sorted.
    entries.sort(key=lambda entry: os.fsencode(f"{entry.name}/" if entry.directory else entry.name))
    for entry in entries:
        yield entry
        if entry.directory:
            yield from _walk(entry.path, f"{entry.name}/", within=(*within, entry.path.resolve()))


def _look(path: Path, prefix: str, within: tuple[Path, ...]) -> Entry:
    if path.is_symlink():
        _check_link(path, within)
    return _entry(prefix + path.name, path)


def _check_link(path: Path, within: tuple[Path, ...]) -> None:
    real, root = Path(os.path.realpath(path)), within[0]
    link = f"{path} is a symbolic link to {path.readlink()}"
    if not real.is_relative_to(root):
        raise ArtifactError(f"{link}, which is outside {root}; only links within an artifact can be stored")
    if real in within:
        raise ArtifactError(f"{link}, a directory that it stands in; a circle cannot be stored")
    if not real.exists():
        raise ArtifactError(f"{link}, which does not exist")


def _entry(name: str, path: Path) -> Entry:
    mode = path.stat().st_mode
    if not (stat.S_ISDIR(mode) or stat.S_ISREG(mode)):
        what = _SPECIAL.get(stat.S_IFMT(mode), "neither a file nor a directory")
        raise ArtifactError(f"{path} is {what}; only files and directories can be stored")
    return Entry(name, path, stat.S_ISDIR(mode), bool(mode & stat.S_IXUSR))
