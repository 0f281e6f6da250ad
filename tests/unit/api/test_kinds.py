"""Rules that every schema of the API keeps."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest

from rondo.api.crds import build_crd
from rondo.api.kinds import KINDS, PLANNED, Kind

ALL = (*KINDS, *PLANNED)
YAML_BOOLEANS = {"y", "n", "yes", "no", "on", "off", "true", "false"}
every_kind = pytest.mark.parametrize("kind", ALL, ids=[kind.name for kind in ALL])


def schema_of(kind: Kind) -> dict[str, Any]:
    schema: dict[str, Any] = build_crd(kind)["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    return schema


def walk(schema: dict[str, Any], path: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Give every schema within a schema, with its path."""
    yield path, schema
    for name, part in schema.get("properties", {}).items():
        yield from walk(part, f"{path}.{name}")
    for key, mark in (("items", "[]"), ("additionalProperties", ".*")):
        if key in schema:
            yield from walk(schema[key], path + mark)


def of_spec(kind: Kind) -> list[tuple[str, dict[str, Any]]]:
    return list(walk(schema_of(kind)["properties"]["spec"], "spec"))


@every_kind
def test_no_key_and_no_value_is_a_boolean_of_yaml(kind: Kind) -> None:
    words = [(path, word) for path, schema in walk(schema_of(kind), "") for word in schema.get("properties", {})]
    words += [(path, str(word)) for path, schema in walk(schema_of(kind), "") for word in schema.get("enum", ())]
    assert [(path, word) for path, word in words if word.lower() in YAML_BOOLEANS] == []


@every_kind
def test_whatever_a_user_writes_is_bounded(kind: Kind) -> None:
    """The API server estimates the cost of a rule by these bounds; one that is missing counts as very large."""
    bound = {"string": ("maxLength", "enum"), "array": ("maxItems",)}
    unbounded = [
        path
        for path, schema in of_spec(kind)
        if schema.get("type") in bound and not any(word in schema for word in bound[schema["type"]])
    ]
    unbounded += [
        path for path, part in of_spec(kind) if "additionalProperties" in part and "maxProperties" not in part
    ]
    assert unbounded == []


@every_kind
def test_every_field_of_a_spec_is_explained_in_one_plain_sentence_or_two(kind: Kind) -> None:
    fields = [(path, schema) for path, schema in of_spec(kind) if not path.endswith(("[]", ".*"))]
    assert [path for path, schema in fields if not schema.get("description")] == []
    assert [path for path, schema in fields if len(schema["description"]) > 200] == []


@every_kind
def test_lists_of_objects_with_a_name_are_maps_by_it(kind: Kind) -> None:
    """Otherwise a patch of one item replaces all others, and no two tools can each own some."""
    lists = [
        path
        for path, schema in of_spec(kind)
        if "name" in schema.get("items", {}).get("properties", {}) and "x-kubernetes-list-type" not in schema
    ]
    assert [path for path in lists if not path.endswith(".volumeMounts")] == []


@every_kind
def test_rules_have_messages_and_blame_fields_that_exist(kind: Kind) -> None:
    for path, schema in walk(schema_of(kind), ""):
        for rule in schema.get("x-kubernetes-validations", ()):
            assert rule["message"], path
            blamed = rule.get("fieldPath")
            assert blamed is None or blamed.removeprefix(".") in schema["properties"], (path, blamed)


@every_kind
def test_columns_and_scale_read_fields_that_exist(kind: Kind) -> None:
    schema = schema_of(kind)
    paths = [column.path for column in kind.columns] + list((kind.scale or {}).values()) + list(kind.selectable)
    for path in paths:
        if not path.startswith(".metadata"):
            assert field_at(schema, path) is not None, path


def field_at(schema: dict[str, Any], path: str) -> dict[str, Any] | None:
    """Find what a JSONPath names: fields, and items by a condition."""
    found: dict[str, Any] | None = schema
    for part in re.sub(r"\[\?\([^)]*\)\]", "", path).removeprefix(".").split("."):
        inside = (found or {}).get("items", found or {})
        found = inside.get("properties", {}).get(part)
    return found


def test_names_are_unique() -> None:
    names = [name for kind in ALL for name in (kind.name.lower(), kind.plural, *kind.short)]
    assert len(names) == len(set(names))


@every_kind
def test_a_crd_fits_into_the_annotation_of_kubectl_apply(kind: Kind) -> None:
    """The annotation last-applied-configuration may have 262,144 bytes; half of it leaves room to grow."""
    assert len(str(build_crd(kind))) < 131_072
