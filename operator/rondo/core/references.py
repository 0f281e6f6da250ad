"""References: `$(a.b.c)` paths in the values of a spec, replaced by values.

A reference is a *path* that begins with a known root (`params`, `stages`, `run`, `model`) and has at least two parts;
anything else in `$(…)` belongs to the shell or to Kubernetes and is not touched. Alone in a scalar it keeps its value's
type. `$$(…)` stands for a literal `$(…)`. Replacement works on the parsed structure, never on YAML or shell text.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from rondo.api.base import Json

ROOTS: Final = ("params", "stages", "run", "model", "item", "upstream")

_REFERENCE: Final = re.compile(rf"(?P<escape>\$?)\$\((?P<path>(?:{'|'.join(ROOTS)})(?:\.[A-Za-z0-9_-]+)+)\)")
_SHELLS: Final = frozenset({"sh", "bash", "dash", "ash", "zsh", "ksh", "python", "python3", "perl", "ruby", "node"})
_COMMAND_FLAG: Final = re.compile(r"^-[a-z]*[ce]$")

Path = tuple[str, ...]
Lookup = Callable[[Path], Json]
"""Gives the value of a path. Raises UnresolvedError if there is none."""


class UnresolvedError(Exception):
    """A reference has no value.

    Attributes:
        path: The path without `$(…)`, such as `stages.train.results.auc`.
        why: What is wrong with it, in words.
    """

    def __init__(self, path: Path, why: str) -> None:
        self.path = ".".join(path)
        self.why = why
        super().__init__(f"$({self.path}): {why}")


@dataclass(frozen=True, slots=True)
class Found:
    """A reference and where it stands.

    Attributes:
        where: Field path of the scalar, such as `stages[2].job.args[0]`.
        path: The parts of the reference.
    """

    where: str
    path: Path

    def __str__(self) -> str:
        """Give the reference as written: `$(a.b.c)`."""
        return f"$({'.'.join(self.path)})"


def find(value: Json, where: str = "") -> Iterator[Found]:
    """Find all references in a JSON value, with the field path of each."""
    match value:
        case str():
            yield from (Found(where, _parts(m)) for m in _REFERENCE.finditer(value) if not m["escape"])
        case dict():
            for key, item in value.items():
                yield from find(item, f"{where}.{key}" if where else str(key))
        case list():
            for index, item in enumerate(value):
                yield from find(item, f"{where}[{index}]")
        case _:
            return


def whole(text: str) -> Path | None:
    """Give the path of a text that is one reference and nothing else, or None."""
    found = _REFERENCE.fullmatch(text)
    return None if found is None or found["escape"] else _parts(found)


def replace(value: Json, lookup: Lookup) -> Json:
    """Replace all references in a JSON value.

    Args:
        value: Any JSON value; it is not changed.
        lookup: Gives each path's value.

    Raises:
        UnresolvedError: A reference has no value.
    """
    match value:
        case str():
            return _replace_scalar(value, lookup)
        case dict():
            return {key: replace(item, lookup) for key, item in value.items()}
        case list():
            return [replace(item, lookup) for item in value]
        case _:
            return value


def replace_text(text: str, lookup: Lookup) -> str:
    """Replace the references in a text that Kubernetes expands again (command, args, env values).

    Kubernetes replaces `$(VAR)` by the container's variables, so a value that holds `$(` is escaped as `$$(`:
    a parameter must not be able to read a secret. What the spec itself says, `$(VAR)` and `$$(x)`, is left as it is.

    Raises:
        UnresolvedError: A reference has no value.
    """

    def put(found: re.Match[str]) -> str:
        if found["escape"]:
            return found[0]
        return text_of(lookup(_parts(found))).replace("$(", "$$(")

    return _REFERENCE.sub(put, text)


def text_of(value: Json) -> str:
    """Write a value inside a text: strings as they are, all else as JSON."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def in_shell_text(command: list[str]) -> Iterator[tuple[int, Found]]:
    """Find references inside program text on a command line: the argument after a shell's or interpreter's `-c`.

    A value pasted into program text is an injection; `env` and `"$VAR"` are the way. Yields the argument's index too.
    """
    shells = [i for i, word in enumerate(command) if word.rsplit("/", 1)[-1] in _SHELLS]
    for index in range(1, len(command)):
        if shells and shells[0] < index and _COMMAND_FLAG.match(command[index - 1]):
            yield from ((index, found) for found in find(command[index]))


def _replace_scalar(text: str, lookup: Lookup) -> Json:
    alone = whole(text)
    if alone is not None:
        return lookup(alone)

    def put(found: re.Match[str]) -> str:
        return found[0][1:] if found["escape"] else text_of(lookup(_parts(found)))

    return _REFERENCE.sub(put, text)


def _parts(found: re.Match[str]) -> Path:
    return tuple(found["path"].split("."))


def lookup_in(values: dict[str, Any]) -> Lookup:
    """Make a Lookup over nested dictionaries; used where all values are known beforehand."""

    def look(path: Path) -> Json:
        value: Any = values
        for part in path:
            if not isinstance(value, dict) or part not in value:
                raise UnresolvedError(path, f"there is no {part}")
            value = value[part]
        return value

    return look
