"""Conditions of KServe as CEL: true where gjson says that a path exists.

An expression that comes out has a value for any JSON: each step looks at the type first, since in CEL a member of what
is no object is an error, and in gjson it just does not exist.

Two comparisons of gjson are not taken over, because nobody can want them: a number with a word (gjson takes the word
for 0) and `<` and the like of a string with a number.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Final

from rondo.core.expressions import KEYWORDS
from rondo.kserve.gjson import ConditionError, Each, Member, Path, Query, Wrapped, parse

_IDENTIFIER: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_NUMBER: Final = re.compile(r"[+-]?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?")


def translate(condition: str, base: str) -> str:
    """Write a condition as CEL.

    Args:
        condition: A path of gjson.
        base: The JSON value that it looks at, as CEL: `request.body`.

    Raises:
        ConditionError: It has something that cannot be translated.
    """
    path = parse(condition)
    return _joined(_exists(base, path, 0)) or "true"


def negated(expression: str) -> str:
    """Write the opposite of an expression."""
    return f"!({expression})"


def _joined(conditions: Iterator[str]) -> str:
    return " && ".join(dict.fromkeys(conditions))


def _exists(base: str, path: Path, depth: int) -> Iterator[str]:
    """Give the conditions under which something is at a path."""
    for position, segment in enumerate(path):
        rest = path[position + 1 :]
        match segment:
            case Member():
                yield from _is_there(base, segment)
                base = _member(base, segment)
            case Each():
                # gjson gives a list, be it empty, of whatever follows.
                yield f"type({base}) == list"
                return
            case Wrapped():
                yield from _wrapped(base, rest, depth)
                return
            case Query(every=True):
                yield f"type({base}) == list"
                return
            case Query():
                yield f"type({base}) == list"
                variable, body = _predicate(segment, depth)
                yield f"{base}.exists({variable}, {body})"
                if not rest:
                    return
                base = f"{base}.filter({variable}, {body})[0]"


def _wrapped(base: str, rest: Path, depth: int) -> Iterator[str]:
    """Give the conditions of a path over a list with one element: the list need not be made."""
    match rest:
        case (Query(every=False) as query, *more):
            yield from _matches(query, base, depth)
            yield from _exists(base, tuple(more), depth)
        case (Member() as member, *more) if member.index == 0:
            yield from _exists(base, tuple(more), depth)
        case (Member(), *_):
            yield "false"
        case _:
            return


def _predicate(query: Query, depth: int) -> tuple[str, str]:
    """Give a variable and the condition that an element has to fulfil."""
    variable = "e" if depth == 0 else f"e{depth + 1}"
    return variable, _joined(_matches(query, variable, depth + 1)) or "true"


def _matches(query: Query, element: str, depth: int) -> Iterator[str]:
    if not query.path and not query.operator:
        raise ConditionError("an empty query #() is not translated")
    if any(isinstance(segment, Query) and segment.every for segment in query.path):
        raise ConditionError("a query for all elements (#(...)#) within a query is not translated")
    yield from _exists(element, query.path, depth)
    if query.operator:
        yield _compared(_value(element, query.path, depth), query)


def _value(base: str, path: Path, depth: int) -> str:
    """Give what is at a path, where it is there."""
    for segment in path:
        match segment:
            case Member():
                base = _member(base, segment)
            case Each() if segment is path[-1]:
                return f"double(size({base}))"
            case Query():
                variable, body = _predicate(segment, depth)
                base = f"{base}.filter({variable}, {body})[0]"
            case _:
                raise ConditionError("each element (#.) is not compared with anything")
    return base


def _is_there(base: str, member: Member) -> Iterator[str]:
    index = member.index
    if index is not None:
        yield f"type({base}) == list"
        yield f"size({base}) > {index}"
        return
    yield f"type({base}) == map"
    plain = _is_plain(member.name)
    yield f"has({base}.{member.name})" if plain else f"{_string(member.name)} in {base}"


def _member(base: str, member: Member) -> str:
    if member.index is not None:
        return f"{base}[{member.index}]"
    return f"{base}.{member.name}" if _is_plain(member.name) else f"{base}[{_string(member.name)}]"


def _is_plain(name: str) -> bool:
    return bool(_IDENTIFIER.fullmatch(name)) and name not in KEYWORDS


def _compared(value: str, query: Query) -> str:
    """Compare as gjson does: by the type of the value that is there, whatever the other was written as."""
    match query.operator:
        case "==":
            return _equal(value, query.value)
        case "!=":
            return f"type({value}) in [string, double, bool] && !({_equal(value, query.value)})"
        case "%" | "!%":
            matches = f"{value}.matches({_string(_pattern(query.value))})"
            said = matches if query.operator == "%" else negated(matches)
            return f"type({value}) == string && {said}"
        case operator:
            number = _number(query.value)
            if number is None or query.quoted:
                return f"type({value}) == string && {value} {operator} {_string(query.value)}"
            # A length is a number whatever is in the list.
            known = "" if value.startswith("double(") else f"type({value}) == double && "
            return f"{known}{value} {operator} {number}"


def _equal(value: str, literal: str) -> str:
    other = _number(literal) or (literal if literal in {"true", "false"} else None)
    return f"{value} == {_string(literal)}" if other is None else f"{value} in [{other}, {_string(literal)}]"


def _number(literal: str) -> str | None:
    """Write a number as CEL does a double; None if it is none."""
    return repr(float(literal)) if _NUMBER.fullmatch(literal) else None


def _pattern(glob: str) -> str:
    """Write a pattern of `*` and `?` as a regular expression."""
    parts = re.findall(r"\\.|.", glob, re.DOTALL)
    return f"(?s)^{''.join(_of_pattern(part) for part in parts)}$"


def _of_pattern(part: str) -> str:
    match part:
        case "*":
            return ".*"
        case "?":
            return "."
        case _:
            return re.escape(part[-1])


def _string(text: str) -> str:
    """Write a string as CEL does."""
    written = json.dumps(text, ensure_ascii=False)[1:-1].replace('\\"', '"').replace("'", "\\'")
    return f"'{written}'"
