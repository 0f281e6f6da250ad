"""From pydantic models to CustomResourceDefinitions with structural schemas.

What a structural schema cannot say is an error with its path, never dropped in silence. The rules are those of the
Kubernetes documentation, "Specifying a structural schema".
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from pydantic import BaseModel

from rondo.api.base import GROUP, VERSION
from rondo.api.kinds import Column, Kind

Schema = dict[str, Any]

_KEPT: Final = frozenset({
    "type", "description", "default", "enum", "format", "pattern", "minLength", "maxLength", "minItems", "maxItems",
    "minProperties", "maxProperties", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "required",
})  # fmt: skip
_HANDLED: Final = frozenset({"properties", "items", "additionalProperties", "anyOf", "$ref", "title"})
_FORMATS: Final = frozenset({"date-time", "date", "byte", "int32", "int64", "float", "double"})
_INT_OR_STRING: Final = "x-kubernetes-int-or-string"
_UNTYPED: Final = "x-kubernetes-preserve-unknown-fields"
_OF_UNTYPED: Final = frozenset({"type", "description", "title", "additionalProperties", _UNTYPED})


class SchemaError(Exception):
    """A model says something that a structural schema cannot."""


def build_crd(kind: Kind) -> dict[str, Any]:
    """Build the CustomResourceDefinition of a kind.

    Raises:
        SchemaError: One of its models cannot be represented.
    """
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": kind.crd_name, "labels": {"app.kubernetes.io/part-of": "rondo"}},
        "spec": {
            "group": GROUP,
            "scope": "Namespaced" if kind.namespaced else "Cluster",
            "names": {
                "kind": kind.name,
                "listKind": f"{kind.name}List",
                "plural": kind.plural,
                "singular": kind.name.lower(),
                "shortNames": list(kind.short),
                "categories": ["rondo"],
            },
            "versions": [_version(kind)],
        },
    }


def structural(model: type[BaseModel], *, defaults: bool = True) -> Schema:
    """Give the structural schema of a model.

    Args:
        model: The model.
        defaults: Whether the API server fills in defaults. Not in a status: it would never be as it was written.

    Raises:
        SchemaError: It cannot be represented.
    """
    document = model.model_json_schema(by_alias=True, mode="validation")
    return _Converter(document.pop("$defs", {}), defaults=defaults).convert(document, model.__name__, ())


def _version(kind: Kind) -> dict[str, Any]:
    subresources: dict[str, Any] = {"status": {}}
    if kind.scale is not None:
        subresources["scale"] = dict(kind.scale)
    version: dict[str, Any] = {
        "name": VERSION,
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": _object_schema(kind)},
        "subresources": subresources,
        "additionalPrinterColumns": [_column(column) for column in kind.columns],
    }
    if kind.selectable:
        version["selectableFields"] = [{"jsonPath": path} for path in kind.selectable]
    return version


def _object_schema(kind: Kind) -> Schema:
    status = structural(kind.status, defaults=False)
    status["default"] = {"observedGeneration": -1}
    schema: Schema = {
        "type": "object",
        "description": kind.description,
        "required": ["spec"],
        "properties": {
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            "metadata": {"type": "object"},
            "spec": structural(kind.spec),
            "status": status,
        },
    }
    if kind.rules:
        schema["x-kubernetes-validations"] = [dict(each) for each in kind.rules]
    return schema


def _column(column: Column) -> dict[str, Any]:
    written: dict[str, Any] = {"name": column.name, "type": column.type, "jsonPath": column.path}
    return {**written, "priority": 1} if column.wide else written


class _Converter:
    """Converts one JSON Schema document, with its definitions written out in place."""

    def __init__(self, definitions: Mapping[str, Schema], *, defaults: bool) -> None:
        self._definitions = definitions
        self._defaults = defaults

    def convert(self, schema: Schema, path: str, inside: tuple[str, ...]) -> Schema:
        """Convert a schema.

        Args:
            schema: JSON Schema as pydantic writes it.
            path: Where it stands, for errors.
            inside: Definitions that it is part of, to find recursion.
        """
        schema, inside = self._resolve(schema, path, inside)
        if schema.get(_UNTYPED):
            return _untyped(schema, path)
        schema = _in_openapi(schema)
        _check_words(schema, path)
        out = {key: value for key, value in schema.items() if key in _KEPT or key.startswith("x-kubernetes-")}
        if out.get(_INT_OR_STRING):
            out.pop("type", None)
        if "default" in out:
            out = _with_default(out) if self._defaults else {k: v for k, v in out.items() if k != "default"}
        out |= self._convert_parts(schema, path, inside)
        if "type" not in out and not out.get(_INT_OR_STRING):
            raise SchemaError(f"{path}: has no type")
        return _in_order(out)

    def _convert_parts(self, schema: Schema, path: str, inside: tuple[str, ...]) -> Schema:
        """Convert what a schema contains."""
        out: Schema = {}
        if "properties" in schema:
            out["properties"] = {
                name: self.convert(part, f"{path}.{name}", inside) for name, part in schema["properties"].items()
            }
        if "items" in schema:
            out["items"] = self.convert(schema["items"], f"{path}[]", inside)
        match schema.get("additionalProperties"):
            case dict(part):
                out["additionalProperties"] = self.convert(part, f"{path}.*", inside)
            case True:
                raise SchemaError(f"{path}: its fields have no type; AnyObject passes an object on as it is")
            case _:  # False: the API server prunes what a schema does not name
                pass
        return out

    def _resolve(self, schema: Schema, path: str, inside: tuple[str, ...]) -> tuple[Schema, tuple[str, ...]]:
        """Write out `$ref`, and take `X | None` for an optional X."""
        if "anyOf" in schema:
            schema = _one_type(schema, path)
        if "$ref" not in schema:
            return schema, inside
        name = schema["$ref"].rsplit("/", 1)[1]
        if name in inside:
            raise SchemaError(f"{path}: {name} contains itself, which a structural schema cannot")
        beside = {key: value for key, value in schema.items() if key != "$ref"}
        return self._resolve(_merged(self._definitions[name], beside), path, (*inside, name))


def _one_type(schema: Schema, path: str) -> Schema:
    """Unwrap `X | None`, and int-or-string, the only union that a structural schema knows."""
    beside = {key: value for key, value in schema.items() if key != "anyOf"}
    choices = [choice for choice in schema["anyOf"] if choice != {"type": "null"}]
    if schema.get(_INT_OR_STRING) and choices == [{"type": "integer"}, {"type": "string"}]:
        return beside
    if len(choices) != 1:
        raise SchemaError(f"{path}: a field has one type; {choices} are several")
    unwrapped = _merged(choices[0], beside)
    return _one_type(unwrapped, path) if "anyOf" in unwrapped else unwrapped


def _untyped(schema: Schema, path: str) -> Schema:
    """Write a value that only the operator can check; the API server takes it as it is."""
    if telling(schema.get("default")) is not None:
        raise SchemaError(f"{path}: an untyped value cannot have the default {schema['default']!r}")
    rest = {key: value for key, value in schema.items() if key != "default"}
    unknown = sorted(rest.keys() - _OF_UNTYPED)
    if unknown:
        raise SchemaError(f"{path}: {', '.join(unknown)} cannot be said of an untyped value")
    kept = ("type", "description", _UNTYPED)
    return _in_order({key: rest[key] for key in kept if key in rest})


def _in_openapi(schema: Schema) -> Schema:
    """Say in OpenAPI 3.0 what JSON Schema has other words for."""
    out = dict(schema)
    if "const" in out:
        out["enum"] = [out.pop("const")]
    for exclusive, bound in (("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum")):
        if exclusive in out:
            out |= {bound: out[exclusive], exclusive: True}
    return out


def _check_words(schema: Schema, path: str) -> None:
    unknown = [key for key in schema if key not in _KEPT | _HANDLED and not key.startswith("x-kubernetes-")]
    if unknown:
        raise SchemaError(f"{path}: {', '.join(unknown)} cannot be said in a structural schema")
    if schema.get("format", "date-time") not in _FORMATS:
        raise SchemaError(f"{path}: the format {schema['format']} is unknown to the API server or means something else")


def _with_default(schema: Schema) -> Schema:
    """Keep a default that tells something."""
    value = telling(schema["default"])
    rest = {key: part for key, part in schema.items() if key != "default"}
    return rest if value is None else {**rest, "default": value}


def telling(default: Any) -> Any:
    """Give what a default tells, or None: an empty one would only be noise, and make `has()` true everywhere."""
    if isinstance(default, dict):
        parts = {key: telling(part) for key, part in default.items()}
        default = {key: part for key, part in parts.items() if part is not None}
    return None if default is False or default in ("", [], {}) else default


def _merged(base: Schema, beside: Schema) -> Schema:
    """Put what stands beside a `$ref` over what it refers to; a field's own rules are added to those of its model."""
    key = "x-kubernetes-validations"
    rules = [*base.get(key, ()), *beside.get(key, ())]
    return {**base, **beside, **({key: rules} if rules else {})}


def _in_order(schema: Schema) -> Schema:
    """Put a schema's words into a fixed order: what it is before what it contains."""
    first = ("description", "type", "default", "enum")
    last = ("required", "properties", "items", "additionalProperties")
    middle = sorted(key for key in schema if key not in first and key not in last)
    return {key: schema[key] for key in (*first, *middle, *last) if key in schema}
