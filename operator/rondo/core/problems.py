"""What is wrong with a spec: the field's path, and in words what is wrong and what would be right."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import pydantic

SHOWN: Final = 5
"""So many problems go into a condition's message; a linter shows all."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong.

    Attributes:
        path: Field path such as `spec.stages[train].needs`.
        message: What is wrong and what would be right.
    """

    path: str
    message: str

    def __str__(self) -> str:
        """Give it in one line."""
        return f"{self.path}: {self.message}"


def summarize(problems: Sequence[Problem]) -> str:
    """Put problems into one message: the first few in full, the rest as a count."""
    shown = "; ".join(str(problem) for problem in problems[:SHOWN])
    rest = len(problems) - SHOWN
    return f"{shown}; and {rest} more" if rest > 0 else shown


def from_validation_error(error: pydantic.ValidationError, root: str) -> list[Problem]:
    """Turn pydantic's errors into problems below a field path."""
    return [Problem(field_path(root, e["loc"]), _words(e)) for e in error.errors(include_url=False)]


def field_path(root: str, location: Sequence[int | str]) -> str:
    """Write a location as a field path: `spec.stages[0].name`."""
    return root + "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location)


def _words(error: Any) -> str:
    value = error.get("input")
    given = f" (it is {value!r})" if isinstance(value, str | int | float | bool) else ""
    message: str = error["msg"]
    if error["type"] == "extra_forbidden":
        return "there is no such field"
    return f"{message[0].lower()}{message[1:]}{given}"
