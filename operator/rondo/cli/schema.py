"""What the API server checks beyond shape, without an API server: CEL rules and unique names of a CRD's schema.

Shape itself (types, patterns, bounds) is checked by the models from which the schema is made; here stands the rest, so
that `rondo lint` and `kubectl apply` say the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import cel

from rondo.api.base import Json
from rondo.core.problems import Problem

Schema = Mapping[str, Any]

_RULES: Final = "x-kubernetes-validations"
_TRANSITION: Final = "oldSelf"
"""A rule with it compares two versions of an object; a file has one."""


def problems(schema: Schema, value: Json, path: str = "") -> Iterator[Problem]:
    """Find what breaks the rules of a structural schema.

    Args:
        schema: The schema of the value.
        value: Any JSON value; what is not of the schema's type is passed over.
        path: Field path of the value.
    """
    if isinstance(value, Mapping) and schema.get("type") == "object":
        value = with_defaults(schema, value)
        for name, part in value.items():
            below = schema.get("properties", {}).get(name) or schema.get("additionalProperties")
            if isinstance(below, Mapping):
                yield from problems(below, part, f"{path}.{name}".removeprefix("."))
    elif isinstance(value, list) and schema.get("type") == "array":
        yield from _repeated(schema, value, path)
        for index, item in enumerate(value):
            yield from problems(schema["items"], item, f"{path}[{_label(schema, item, index)}]")
    for rule in schema.get(_RULES, ()):
        if _TRANSITION not in rule["rule"] and not _holds(rule["rule"], value):
            where = f"{path}{rule.get('fieldPath', '')}".removeprefix(".")
            # Rules on whole objects name the field themselves.
            yield Problem(where, rule["message"]) if where else Problem(*rule["message"].split(": ", 1))


def with_defaults(schema: Schema, value: Mapping[str, Json]) -> dict[str, Json]:
    """Fill in the defaults of an object, as the API server does before it looks at rules."""
    fields: Mapping[str, Schema] = schema.get("properties", {})
    missing = {name: part["default"] for name, part in fields.items() if "default" in part and name not in value}
    return {**missing, **value}


def _holds(rule: str, value: Json) -> bool:
    """Evaluate a rule; one that has no value, because the object is not of its shape, is not broken."""
    try:
        return cel.evaluate(rule, {"self": value}) is not False
    except (ValueError, TypeError, RuntimeError, KeyError, IndexError, OverflowError):
        return True


def _repeated(schema: Schema, items: Sequence[Json], path: str) -> Iterator[Problem]:
    seen: list[Json] = []
    for index, item in enumerate(items):
        match schema.get("x-kubernetes-list-type"):
            case "map" if isinstance(item, Mapping):
                keys = {key: item.get(key) for key in schema["x-kubernetes-list-map-keys"]}
                said = ", ".join(f"{key} {value!r}" for key, value in keys.items())
            case "set":
                keys, said = item, repr(item)
            case _:
                return
        if keys in seen:
            yield Problem(f"{path}[{index}]", f"{said} stands in this list already")
        seen.append(keys)


def _label(schema: Schema, item: Json, index: int) -> object:
    """Name an item as other problems do: by its key if it has one, else by its place."""
    keys = schema.get("x-kubernetes-list-map-keys", ())
    name = item.get(keys[0]) if keys and isinstance(item, Mapping) else None
    return name if isinstance(name, str) and name else index
