"""What comes of a manifest of KServe: manifests of Rondo, and in words what differs.

A `Note` says what is otherwise than it was, and the manifests hold all the same. A `Problem` says what cannot be
expressed; what was written beside it lacks that.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from rondo.api.base import Json
from rondo.core.problems import Problem


@dataclass(frozen=True, slots=True)
class Note:
    """A difference.

    Attributes:
        path: Field path in KServe's manifest.
        message: What differs, and what to do about it.
        document: Index of the written manifest that it concerns.
        place: Field path in that manifest; empty for the manifest as a whole.
    """

    path: str
    message: str
    document: int = 0
    place: str = ""

    def __str__(self) -> str:
        """Give it in one line."""
        return f"{self.path}: {self.message}"


@dataclass(frozen=True)
class Imported:
    """What one manifest becomes.

    Attributes:
        documents: Manifests, in the order in which they are to be applied.
        notes: What differs.
        problems: What cannot be expressed.
        remarks: What differs between the two for every object of this kind, whatever is in it.
    """

    documents: tuple[Mapping[str, Json], ...] = ()
    notes: tuple[Note, ...] = ()
    problems: tuple[Problem, ...] = ()
    remarks: tuple[str, ...] = ()


@dataclass
class Report:
    """Gathers notes and problems while a manifest is translated."""

    notes: list[Note] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)

    def note(self, path: str, message: str, *, place: str = "", document: int = 0) -> None:
        """Add a difference."""
        self.notes.append(Note(path, message, document, place))

    def problem(self, path: str, message: str) -> None:
        """Add what cannot be expressed, once."""
        found = Problem(path, message)
        if found not in self.problems:
            self.problems.append(found)
