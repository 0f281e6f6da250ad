"""CEL expressions: compiled once, their cost estimated before they run, and never silent about an error.

The dialect is that of common-expression-language (the same engine as the router's `cel` crate). As CEL does with JSON,
all numbers are doubles, so `failed / total <= 0.01` means what it says; a hyphen in a stage's name is written `_`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final

import cel

from rondo.api.base import Json

TEXT_LIMIT: Final = 2048
"""Bytes of an expression."""

DEPTH_LIMIT: Final = 2
"""Comprehensions (`all`, `exists`, `map`, `filter`) inside one another."""

SMALL: Final = 1_000_000
"""What an expression may cost, by `cost_of`, to be evaluated in the operator itself: a few milliseconds at most."""

KEYWORDS: Final = frozenset({
    "as", "break", "const", "continue", "else", "false", "for", "function", "if", "import", "in", "let", "loop",
    "namespace", "null", "package", "return", "true", "var", "void", "while",
})  # fmt: skip
"""Words that CEL keeps for itself: no stage may be called so."""

TYPES: Final = frozenset({"bool", "bytes", "double", "int", "list", "map", "null_type", "string", "uint"})
"""Names that the language itself has, as in `type(x) == list`; the router knows the same."""

_STRING: Final = re.compile(
    r"""[rRbB]{0,2}('''.*?'''|\"\"\".*?\"\"\"|'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*")""", re.DOTALL
)
_MACRO: Final = re.compile(r"\.\s*(all|exists_one|exists|map|filter)\s*\(")
_PATH: Final = re.compile(r"(?<![\w.])(params|run|stages)((?:\s*\.\s*[A-Za-z_]\w*+(?!\s*\())+)")
_BOUND: Final = re.compile(r"\.\s*(?:all|exists_one|exists|map|filter)\s*\(\s*([A-Za-z_]\w*)\s*,")
_LENGTHS: Final = {"params": 2, "run": 2, "stages": 4}
"""Parts of a path that name something; what follows is within a value."""

_STAGE_LENGTHS: Final = {"best": 5, "stats": 5} | dict.fromkeys(
    ("state", "url", "total", "succeeded", "failed", "failedRatio"), 3
)
"""The same, for what a stage has besides results and outputs."""


class ExpressionError(Exception):
    """An expression cannot be compiled or has no value; the message says where and why in one line."""


class ExpressionTooExpensiveError(ExpressionError):
    """An expression would take longer than the operator allows."""


@lru_cache(maxsize=4096)
def compile_expression(text: str) -> cel.Program:
    """Compile an expression and check the bounds that its text alone tells.

    Raises:
        ExpressionError: It is not CEL.
        ExpressionTooExpensiveError: It is too long or nests comprehensions too deeply.
    """
    if len(text.encode()) > TEXT_LIMIT:
        raise ExpressionTooExpensiveError(f"it has more than {TEXT_LIMIT} bytes")
    depth = comprehension_depth(text)
    if depth > DEPTH_LIMIT:
        raise ExpressionTooExpensiveError(f"it nests {depth} comprehensions; {DEPTH_LIMIT} are allowed")
    try:
        return cel.compile(text)
    except ValueError as error:
        raise ExpressionError(_first_line(str(error))) from error


def cost_of(text: str, variables: Mapping[str, Json]) -> int:
    """Estimate what an expression costs before it runs: its text times its values, for each turn of its loops.

    The interpreter copies values wherever they are used, so a long string that is added to itself costs like a loop.
    """
    depth = comprehension_depth(text)
    size = sum(_size(value) for value in variables.values())
    turns: int = max(_longest(variables), 1) ** depth
    return len(text) * max(size, 1) * turns


def evaluate(text: str, variables: Mapping[str, Json]) -> Any:
    """Give the value of an expression.

    It may take minutes if values are large: see `cost_of`.

    Args:
        text: CEL.
        variables: Top-level names and their JSON values; numbers may be of any Python type.

    Raises:
        ExpressionError: It is not CEL, refers to what is not there, or mixes types.
    """
    program = compile_expression(text)
    try:
        return program.execute({name: as_cel(value) for name, value in variables.items()})
    except (ValueError, TypeError, RuntimeError, KeyError, IndexError, OverflowError) as error:
        raise ExpressionError(_explain(error)) from error


def evaluate_bool(text: str, variables: Mapping[str, Json]) -> bool:
    """Give the value of an expression that has to be a bool.

    Raises:
        ExpressionError: As `evaluate`, or the value is of another type.
    """
    return as_bool(evaluate(text, variables))


def as_bool(value: Any) -> bool:
    """Give the value of an expression that has to be a bool.

    Raises:
        ExpressionError: It is of another type.
    """
    if not isinstance(value, bool):
        raise ExpressionError(f"its value is {value!r}, and not true or false")
    return value


def paths_in(text: str) -> set[tuple[str, ...]]:
    """Find what an expression refers to: `(params, NAME)`, `(run, NAME)`, `(stages, NAME, PART, KEY)`.

    Names of stages are as in CEL, with `_` for hyphens. A path of a stage may be shorter.
    """
    found = set()
    for match in _PATH.finditer(without_strings(text)):
        parts = (match[1], *(part.strip() for part in match[2].split(".")[1:]))
        length = _STAGE_LENGTHS.get(parts[2]) if len(parts) > 2 and parts[0] == "stages" else None
        found.add(parts[: length or _LENGTHS[match[1]]])
    return found


def stages_in(text: str) -> set[tuple[str, str, str]]:
    """Find what an expression refers to as `stages.NAME.PART.KEY`, with `_` for hyphens; parts may be empty."""
    padded = ((*path[1:], "", "") for path in paths_in(text) if path[0] == "stages")
    return {(name, part, key) for name, part, key, *_ in padded}


def bound_in(text: str) -> set[str]:
    """Find the variables that the comprehensions of an expression declare."""
    return set(_BOUND.findall(without_strings(text)))


def is_opaque(text: str, variable: str) -> bool:
    """Tell whether an expression uses a variable as a whole, so that nobody can tell what it depends on."""
    plain = without_strings(text)
    uses = len(re.findall(rf"(?<![\w.]){variable}(?!\w)", plain))
    return uses > [match[1] for match in _PATH.finditer(plain)].count(variable)


def cel_name(name: str) -> str:
    """Write a stage's name as CEL expressions do."""
    return name.replace("-", "_")


def as_cel(value: Json) -> Json:
    """Turn integers into doubles throughout a JSON value; booleans stay booleans."""
    match value:
        case bool():
            return value
        case int():
            return float(value)
        case dict():
            return {key: as_cel(item) for key, item in value.items()}
        case list() | tuple():
            return [as_cel(item) for item in value]
        case _:
            return value


def comprehension_depth(text: str) -> int:
    """Count how deeply comprehensions stand inside one another."""
    plain = without_strings(text)
    openings = {m.end() - 1 for m in _MACRO.finditer(plain)}
    stack: list[bool] = []
    deepest = 0
    for position, char in enumerate(plain):
        if char == "(":
            stack.append(position in openings)
            deepest = max(deepest, sum(stack))
        elif char == ")" and stack:
            stack.pop()
    return deepest


def _size(value: Json) -> int:
    """Count the characters and other values in a value."""
    match value:
        case dict():
            return sum(len(key) + _size(item) for key, item in value.items()) + 1
        case list() | tuple():
            return sum(map(_size, value)) + 1
        case str():
            return len(value) + 1
        case _:
            return 4


def _longest(value: Json) -> int:
    """Give the length of the longest list or map anywhere in a value."""
    match value:
        case dict():
            return max(len(value), max(map(_longest, value.values()), default=0))
        case list() | tuple():
            return max(len(value), max(map(_longest, value), default=0))
        case _:
            return 0


def without_strings(text: str) -> str:
    """Give an expression with all its string literals empty."""
    return _STRING.sub("''", text)


def _explain(error: Exception) -> str:
    if isinstance(error, KeyError):
        return f"there is no {error.args[0]!r}"
    words = _first_line(str(error))
    if "float / int" in words or "Unsupported" in words:
        return f"{words.split('. CEL')[0]} (numbers are doubles here: write 1.0, not 1)"
    return words


def _first_line(message: str) -> str:
    return message.strip().splitlines()[0] if message.strip() else "unknown error"
