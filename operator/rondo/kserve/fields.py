"""An object of a manifest that knows which of its fields were read, so that none is lost without a word."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from rondo.api.base import Json
from rondo.core.problems import Problem

_EMPTY: Final[tuple[Json, ...]] = (None, "", {}, [])
"""Values that say nothing: those with which the API server and kubectl fill manifests up."""


class ShapeError(Exception):
    """A value is not of the type that KServe's schema says."""

    def __init__(self, path: str, wanted: str, value: Json) -> None:
        self.problem = Problem(path, f"must be {wanted}, is {_shown(value)}")
        super().__init__(str(self.problem))


class Fields:
    """An object and what was read of it.

    Attributes:
        path: Its field path.
    """

    def __init__(self, content: Json, path: str) -> None:
        if not isinstance(content, Mapping):
            raise ShapeError(path, "an object", content)
        self.path = path
        self._content: Mapping[str, Any] = content
        self._read: set[str] = set()
        self._parts: list[Fields] = []

    def at(self, name: str) -> str:
        """Give the field path of a field."""
        part = f"[{name}]" if "." in name or "/" in name else f".{name}"
        return f"{self.path}{part}".removeprefix(".")

    def names(self) -> tuple[str, ...]:
        """Give the names of all fields, in the order written."""
        return tuple(self._content)

    def has(self, name: str) -> bool:
        """Tell whether a field says something."""
        return self._content.get(name) not in _EMPTY

    def take(self, name: str) -> Json:
        """Read a field, whatever it is; None if it is absent."""
        self._read.add(name)
        return self._content.get(name)

    def text(self, name: str) -> str:
        """Read a string; empty if it is absent."""
        value = self.take(name)
        if value is None:
            return ""
        if not isinstance(value, str):
            raise ShapeError(self.at(name), "a string", value)
        return value

    def number(self, name: str) -> int | None:
        """Read a whole number of 0 or more; None if it is absent."""
        value = self.take(name)
        if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 0):
            raise ShapeError(self.at(name), "a whole number, not below 0", value)
        return value

    def flag(self, name: str) -> bool:
        """Read a boolean; False if it is absent."""
        value = self.take(name)
        if value is not None and not isinstance(value, bool):
            raise ShapeError(self.at(name), "true or false", value)
        return bool(value)

    def mapping(self, name: str) -> dict[str, Any]:
        """Read an object as it is; empty if it is absent."""
        value = self.take(name)
        if value is not None and not isinstance(value, Mapping):
            raise ShapeError(self.at(name), "an object", value)
        return dict(value or {})

    def listing(self, name: str) -> list[Any]:
        """Read a list as it is; empty if it is absent."""
        value = self.take(name)
        if value is not None and not isinstance(value, list):
            raise ShapeError(self.at(name), "a list", value)
        return list(value or [])

    def part(self, name: str) -> Fields | None:
        """Read an object field by field; None if it is absent."""
        value = self.take(name)
        return None if value is None else self._keep(Fields(value, self.at(name)))

    def parts(self, name: str) -> list[Fields]:
        """Read a list of objects field by field."""
        path = self.at(name)
        return [self._keep(Fields(value, f"{path}[{index}]")) for index, value in enumerate(self.listing(name))]

    def left(self) -> Iterator[str]:
        """Give the paths of fields that say something and were not read, here and below."""
        for name, value in self._content.items():
            if name not in self._read and value not in _EMPTY:
                yield self.at(name)
        for part in self._parts:
            yield from part.left()

    def _keep(self, part: Fields) -> Fields:
        self._parts.append(part)
        return part


def _shown(value: Json) -> str:
    match value:
        case Mapping():
            return "an object"
        case list():
            return "a list"
        case _:
            return repr(value)
