"""What the generator makes of each thing a model can say, and what it refuses."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Any, Literal

import pytest
from pydantic import ConfigDict, Field

from rondo.api.base import SET, AnyJson, AnyObject, Duration, IntOrString, Model, StatusModel, named_list, rule, rules
from rondo.api.crds import SchemaError, build_crd, structural
from rondo.api.kinds import Column, Kind


class Colour(StrEnum):
    """A colour."""

    RED = "Red"
    GREEN = "Green"


class Inner(Model):
    """Something inside."""

    model_config = ConfigDict(json_schema_extra=rules(rule("self.maxWait != '1s'", "too short")))

    max_wait: Annotated[Duration, Field(description="How long.")] = "10s"


class Tree(Model):
    """Contains itself."""

    children: tuple[Tree, ...] = ()


def schema_of(annotation: Any, *fields: Any) -> Any:
    """Give the schema of a required field of that type."""
    model = type("Holder", (Model,), {"__annotations__": {"it": Annotated[annotation, *(fields or (Field(),))]}})
    return structural(model)["properties"]["it"]


@pytest.mark.parametrize(
    ("annotation", "field", "want"),
    [
        (str, Field(max_length=5, description="Text."), {"description": "Text.", "type": "string", "maxLength": 5}),
        (str | None, Field(max_length=5), {"type": "string", "maxLength": 5}),
        (int, Field(ge=1, le=3), {"type": "integer", "minimum": 1, "maximum": 3}),
        (float, Field(gt=0, lt=1), {"type": "number", "minimum": 0, "exclusiveMinimum": True, "maximum": 1,
                                    "exclusiveMaximum": True}),
        (Colour, Field(), {"description": "A colour.", "type": "string", "enum": ["Red", "Green"]}),
        (Colour | None, Field(description="Which."), {"description": "Which.", "type": "string",
                                                      "enum": ["Red", "Green"]}),
        (Literal["a"], Field(), {"type": "string", "enum": ["a"]}),
        (IntOrString, Field(), {"x-kubernetes-int-or-string": True}),
        (IntOrString | None, Field(description="Size."), {"description": "Size.", "x-kubernetes-int-or-string": True}),
        (AnyJson, Field(), {"x-kubernetes-preserve-unknown-fields": True}),
        (AnyObject | None, Field(), {"type": "object", "x-kubernetes-preserve-unknown-fields": True}),
        (dict[str, IntOrString], Field(max_length=2), {"type": "object", "maxProperties": 2, "additionalProperties":
                                                       {"x-kubernetes-int-or-string": True}}),
        (list[str], Field(max_length=2, json_schema_extra=SET), {"type": "array", "maxItems": 2,
                                                                 "x-kubernetes-list-type": "set",
                                                                 "items": {"type": "string"}}),
    ],
    ids=str,
)  # fmt: skip
def test_what_a_structural_schema_can_say(annotation: Any, field: Any, want: Any) -> None:
    assert schema_of(annotation, field) == want


@pytest.mark.parametrize(
    ("annotation", "field", "want_error"),
    [
        (int | str, Field(), "Holder.it: a field has one type"),
        (list[str] | str, Field(), "Holder.it: a field has one type"),
        (Decimal, Field(), "Holder.it: a field has one type"),
        (tuple[int, str], Field(), "Holder.it: prefixItems cannot be said"),
        (set[str], Field(), "Holder.it: uniqueItems cannot be said"),
        (timedelta, Field(), "Holder.it: the format duration is unknown"),
        (dict[str, Any], Field(), "Holder.it: its fields have no type"),
        (Any, Field(), "Holder.it: has no type"),
        (AnyJson, Field(default=3), r"Holder.it: an untyped value cannot have the default 3"),
        (AnyObject, Field(max_length=3), r"Holder.it: maxProperties cannot be said of an untyped value"),
        (Tree, Field(), r"Holder.it.children\[\]: Tree contains itself"),
        (Annotated[str, Field(deprecated=True)], Field(), "Holder.it: deprecated cannot be said"),
    ],
    ids=str,
)
def test_what_it_cannot_say_is_an_error_with_its_path(annotation: Any, field: Any, want_error: str) -> None:
    with pytest.raises(SchemaError, match=want_error):
        schema_of(annotation, field)


def test_a_default_is_written_as_on_the_wire_and_an_empty_one_not_at_all() -> None:
    class Outer(Model):
        """Outside."""

        inner: Annotated[Inner, Field(description="Inside.")] = Inner()
        names: Annotated[tuple[str, ...], Field(description="Names.")] = ()
        quiet: Annotated[bool, Field(description="No noise.")] = False
        count: Annotated[int, Field(description="How many.")] = 0

    properties = structural(Outer)["properties"]
    assert properties["inner"]["default"] == {"maxWait": "10s"}
    assert properties["count"]["default"] == 0
    assert "default" not in properties["names"]
    assert "default" not in properties["quiet"]


def test_rules_of_a_field_are_added_to_those_of_its_model() -> None:
    schema = schema_of(Inner | None, Field(json_schema_extra=rules(rule("self.maxWait != '2s'", "too short, too"))))
    assert [each["message"] for each in schema["x-kubernetes-validations"]] == ["too short", "too short, too"]


class ThingStatus(StatusModel):
    """How it is."""

    observed_generation: int = -1
    ready: int = 0


THING = Kind(
    name="Thing",
    plural="things",
    short=("th",),
    description="A thing.",
    spec=Inner,
    status=ThingStatus,
    columns=(Column("Ready", ".status.ready", "integer"), Column("Wait", ".spec.maxWait", wide=True)),
    scale={"specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.ready"},
    rules=(rule("self.metadata.name.size() < 9", "too long"),),
    selectable=(".spec.maxWait",),
)


def test_a_crd_carries_what_its_kind_declares() -> None:
    crd = build_crd(THING)
    (version,) = crd["spec"]["versions"]
    assert crd["metadata"]["name"] == "things.rondo.dev"
    assert crd["spec"]["names"] == {
        "kind": "Thing", "listKind": "ThingList", "plural": "things", "singular": "thing", "shortNames": ["th"],
        "categories": ["rondo"],
    }  # fmt: skip
    assert version["subresources"] == {"status": {}, "scale": THING.scale}
    assert version["additionalPrinterColumns"] == [
        {"name": "Ready", "type": "integer", "jsonPath": ".status.ready"},
        {"name": "Wait", "type": "string", "jsonPath": ".spec.maxWait", "priority": 1},
    ]
    assert version["selectableFields"] == [{"jsonPath": ".spec.maxWait"}]
    assert version["schema"]["openAPIV3Schema"]["x-kubernetes-validations"] == [dict(each) for each in THING.rules]


def test_a_status_starts_unobserved_and_has_no_defaults_inside() -> None:
    schema = build_crd(THING)["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    assert schema["properties"]["status"] == {
        "description": "How it is.",
        "type": "object",
        "default": {"observedGeneration": -1},
        "properties": {"observedGeneration": {"type": "integer"}, "ready": {"type": "integer"}},
    }


def test_lists_are_told_apart_by_a_field() -> None:
    class Named(Model):
        """Has a name."""

        name: str

    schema = schema_of(list[Named], Field(max_length=2, json_schema_extra=named_list()))
    assert schema["x-kubernetes-list-map-keys"] == ["name"]
    assert schema["items"]["required"] == ["name"]
