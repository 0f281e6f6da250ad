r"""Conditions as KServe writes them: paths of gjson, read into a tree.

What is read is what a condition needs: members by name or index, `#` (the length, or each element), queries such as
`#(class=="dog")` and `#(score>=0.5)#`, and `@this`. Anything else is refused by name.

The language is described in the documentation of github.com/tidwall/gjson (SYNTAX.md).
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Final, TypeAlias

OPERATORS: Final = ("==", "!=", "<=", ">=", "!%", "=", "<", ">", "%")
"""Longest first. `=` is `==`."""

_WORD: Final = re.compile(r"(?:\\.|[^.|\\])+")
_INDEX: Final = re.compile(r"0|[1-9][0-9]{0,3}")
_OPENING: Final = {"(": ")", "[": "]", "{": "}"}


class ConditionError(Exception):
    """A condition uses what cannot be translated; the message says what."""


@dataclass(frozen=True, slots=True)
class Member:
    """A member of an object, or by a number an element of a list."""

    name: str

    @property
    def index(self) -> int | None:
        """The place in a list, if it can be one."""
        return int(self.name) if _INDEX.fullmatch(self.name) else None


@dataclass(frozen=True, slots=True)
class Each:
    """`#`: the length of a list if nothing follows, else what follows of each element."""


@dataclass(frozen=True, slots=True)
class Wrapped:
    """`[@this]`: the value as the only element of a list."""


@dataclass(frozen=True, slots=True)
class Query:
    """`#(PATH OPERATOR VALUE)`: the first element that matches, or with a `#` behind it all that do.

    Attributes:
        path: Where the value is in an element; empty for the element itself.
        operator: How it is compared; empty to ask only whether it is there.
        value: What with.
        quoted: Whether the value was written in quotes.
        every: All elements that match.
    """

    path: Path
    operator: str = ""
    value: str = ""
    quoted: bool = False
    every: bool = False


Segment: TypeAlias = Member | Each | Wrapped | Query
Path: TypeAlias = tuple[Segment, ...]


def parse(text: str) -> Path:
    """Read a path.

    Raises:
        ConditionError: It has something that is not read here.
    """
    found: list[Segment] = []
    position = 0
    while position < len(text):
        segment, position = _segment(text, position, first=not found)
        if segment is not None:
            found.append(segment)
        if position == len(text):
            break
        if text[position] not in ".|":
            raise ConditionError(f"{text[position:]!r} cannot follow {text[:position]!r}")
        if text[position] == "|" and any(isinstance(each, Each | Query) for each in found):
            raise ConditionError("a pipe (|) after # is not translated")
        position += 1
        if position == len(text):
            raise ConditionError(f"{text!r} ends with {text[-1]!r}")
    return tuple(found)


def _segment(text: str, start: int, *, first: bool) -> tuple[Segment | None, int]:
    """Read a segment; None for one that changes nothing."""
    if text.startswith("[@this]", start) and first:
        return Wrapped(), start + len("[@this]")
    if text[start] in "[{":
        raise ConditionError("of lists and objects made by a path only [@this] at its beginning is translated")
    if text[start] == "!":
        raise ConditionError("a literal (!) is not translated")
    if text[start] == "#":
        return _hash(text, start)
    word = _WORD.match(text, start)
    if word is None:
        raise ConditionError(f"there is an empty name in {text!r}")
    if word[0] == "@this":
        return None, word.end()
    return Member(_name(word[0])), word.end()


def _name(word: str) -> str:
    if word.startswith("@"):
        raise ConditionError(f"the modifier {word} is not translated, only @this")
    if re.search(r"(?<!\\)[*?]", word):
        raise ConditionError(f"a wildcard in a name ({word}) is not translated")
    return re.sub(r"\\(.)", r"\1", word)


def _hash(text: str, start: int) -> tuple[Segment, int]:
    after = text[start + 1 : start + 2]
    if after in {"", ".", "|"}:
        return Each(), start + 1
    if after != "(":
        raise ConditionError(f"{text[start:]!r}: after # there is a dot or a query in parentheses")
    end = _closing(text, start + 1)
    every = text[end : end + 1] == "#"
    return _query(text[start + 2 : end - 1], every=every), end + every


def _closing(text: str, start: int) -> int:
    """Give the position behind the parenthesis that closes the one at `start`."""
    expected: list[str] = []
    position = start
    while position < len(text):
        char = text[position]
        if char == "\\":
            position += 1
        elif char == '"':
            position = _end_of_string(text, position) - 1
        elif char in _OPENING:
            expected.append(_OPENING[char])
        elif char in _OPENING.values():
            if expected.pop() != char:
                raise ConditionError(f"{text!r}: {char!r} closes nothing")
            if not expected:
                return position + 1
        position += 1
    raise ConditionError(f"{text!r}: a query is not closed")


def _end_of_string(text: str, start: int) -> int:
    string = re.compile(r'"(?:\\.|[^"\\])*"').match(text, start)
    if string is None:
        raise ConditionError(f"{text!r}: a quote is not closed")
    return string.end()


def _query(inner: str, *, every: bool) -> Query:
    position, operator = _operator(inner)
    path = parse(inner[:position].strip())
    value = inner[position + len(operator) :].strip()
    if any(isinstance(segment, Wrapped) for segment in path):
        raise ConditionError("[@this] within a query is not translated")
    if operator and value.startswith("~"):
        raise ConditionError(f"comparing with {value} is not translated")
    quoted = len(value) > 1 and value.startswith('"') and _end_of_string(value, 0) == len(value)
    return Query(path, "==" if operator == "=" else operator, _unquoted(value) if quoted else value, quoted, every)


def _operator(inner: str) -> tuple[int, str]:
    """Find the operator of a query and its position; an empty one at the end if there is none."""
    position = 0
    while position < len(inner):
        char = inner[position]
        if char == "\\":
            position += 1
        elif char == "(":
            position = _closing(inner, position) - 1
        else:
            found = next((each for each in OPERATORS if inner.startswith(each, position)), "")
            if found:
                return position, found
        position += 1
    return len(inner), ""


def _unquoted(value: str) -> str:
    try:
        return str(json.loads(value))
    except ValueError:
        return re.sub(r"\\(.)", r"\1", value[1:-1])
