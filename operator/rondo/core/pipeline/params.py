"""Typed parameters and results: is this JSON value what was declared?"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final, assert_never

from rondo.api.base import Json
from rondo.api.pipeline import Param, ParamType, PipelineSpec
from rondo.core.graph import nearest
from rondo.core.problems import Problem

_ARTICLE: Final = {ParamType.ARRAY: "an", ParamType.INTEGER: "an", ParamType.OBJECT: "an"}


def has_type(value: Json, type_: ParamType) -> bool:
    """Tell whether a JSON value is of a declared type. An integer is also a number; a bool is neither."""
    match type_:
        case ParamType.STRING:
            return isinstance(value, str)
        case ParamType.INTEGER:
            return isinstance(value, int) and not isinstance(value, bool)
        case ParamType.NUMBER:
            return isinstance(value, int | float) and not isinstance(value, bool)
        case ParamType.BOOLEAN:
            return isinstance(value, bool)
        case ParamType.ARRAY:
            return isinstance(value, list)
        case ParamType.OBJECT:
            return isinstance(value, dict)
        case _:
            assert_never(type_)


def type_error(value: Json, type_: ParamType) -> str:
    """Say in words that a value is not of a type, with what to change where a string was meant as another type."""
    hint = ""
    if isinstance(value, str) and type_ in {ParamType.INTEGER, ParamType.NUMBER, ParamType.BOOLEAN}:
        hint = "; write it without quotes"
    elif type_ is ParamType.STRING and not isinstance(value, str):
        hint = "; write it in quotes"
    return f"{value!r} is not {_ARTICLE.get(type_, 'a')} {type_.value}{hint}"


def value_problems(param: Param, value: Json, path: str) -> Iterable[Problem]:
    """Check one value against its declaration."""
    if not has_type(value, param.type):
        yield Problem(path, type_error(value, param.type))
        return
    if param.enum and value not in param.enum:
        yield Problem(path, f"{value!r} is not one of {', '.join(map(repr, param.enum))}")
    if isinstance(value, int | float) and not isinstance(value, bool):
        yield from _bounds(param, value, path)
    if param.pattern is not None and isinstance(value, str) and not re.fullmatch(param.pattern, value):
        yield Problem(path, f"{value!r} does not match {param.pattern}")


def declaration_problems(spec: PipelineSpec) -> Iterable[Problem]:
    """Check the declarations themselves: patterns, defaults, and the values that `spec.run.params` gives."""
    for param in spec.params:
        path = f"spec.params[{param.name}]"
        try:
            re.compile(param.pattern or "")
        except re.error as error:
            yield Problem(f"{path}.pattern", f"{param.pattern!r} is not a regular expression: {error}")
            continue
        if param.default is not None:
            yield from value_problems(param, param.default, f"{path}.default")
    yield from given_problems(spec, spec.run.params, "spec.run.params")


def given_problems(spec: PipelineSpec, given: Mapping[str, Json], where: str) -> Iterable[Problem]:
    """Check given values: every name is declared, and each value is what its declaration says."""
    declared = {param.name: param for param in spec.params}
    for name, value in given.items():
        if name not in declared:
            yield Problem(f"{where}.{name}", f"there is no parameter {name}{nearest(name, declared)}")
        else:
            yield from value_problems(declared[name], value, f"{where}.{name}")


def missing(spec: PipelineSpec, given: Mapping[str, Json]) -> list[str]:
    """Name the required parameters that have no value yet."""
    values = resolve(spec, given)
    return [param.name for param in spec.params if param.name not in values]


def resolve(spec: PipelineSpec, given: Mapping[str, Json]) -> dict[str, Any]:
    """Give the value of each parameter: what the run gives, else `spec.run.params`, else the default."""
    values: dict[str, Any] = {}
    for param in spec.params:
        for source in (given, spec.run.params):
            if param.name in source:
                values[param.name] = source[param.name]
                break
        else:
            if param.default is not None:
                values[param.name] = param.default
    return values


def _bounds(param: Param, value: float, path: str) -> Iterable[Problem]:
    if param.minimum is not None and value < param.minimum:
        yield Problem(path, f"{value} is less than the minimum {param.minimum:g}")
    if param.maximum is not None and value > param.maximum:
        yield Problem(path, f"{value} is more than the maximum {param.maximum:g}")
