"""What every kind's models share: the base class, the scalar types, and how a CEL rule is written down.

The models in this package are the one source of the CRDs, the reference pages and the Python SDK;
`rondo.api.crds` turns them into structural schemas. Fields are snake_case here and camelCase on the wire.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, TypeAlias

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

GROUP = "rondo.dev"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"

Json: TypeAlias = Any
"""Any JSON value: None, bool, int, float, str, list or dict. In a schema: preserve-unknown-fields."""


class Model(BaseModel):
    """A part of a spec: immutable, camelCase on the wire, and strict about fields it does not know.

    The API server prunes unknown fields by the CRD's schema; what still reaches the operator was written under a
    newer schema than this operator's, and is refused rather than ignored.
    """

    model_config = ConfigDict(alias_generator=to_camel, extra="forbid", frozen=True, populate_by_name=True)


class StatusModel(BaseModel):
    """A part of a status: written by some version of the operator, so fields of another version are ignored."""

    model_config = ConfigDict(alias_generator=to_camel, extra="ignore", frozen=True, populate_by_name=True)


def rule(
    expression: str, message: str, *, path: str | None = None, optional_old_self: bool = False
) -> dict[str, str | bool]:
    """Write one CEL rule of a CRD schema (`x-kubernetes-validations`).

    Args:
        expression: CEL over `self` (and `oldSelf`, which makes it a transition rule).
        message: What a person reads when it is false: what is wrong and what would be right.
        path: JSONPath of the field to blame, relative to where the rule stands, such as `.default`.
        optional_old_self: Also evaluate at creation, with `oldSelf` as an optional.
    """
    written: dict[str, str | bool] = {"rule": expression, "message": message}
    if path is not None:
        written["fieldPath"] = path
    if optional_old_self:
        written["optionalOldSelf"] = True
    return written


def rules(*written: Mapping[str, str | bool]) -> dict[str, Any]:
    """Give the `json_schema_extra` of a field or model that carries these CEL rules."""
    return {"x-kubernetes-validations": [dict(each) for each in written]}


NAME_PATTERN = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"
IDENTIFIER_PATTERN = r"^[A-Za-z_][A-Za-z0-9_]*$"
DURATION_PATTERN = r"^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$"

ObjectName: TypeAlias = Annotated[str, Field(min_length=1, max_length=253)]
"""The name of an object of the same namespace."""

StageName: TypeAlias = Annotated[str, Field(min_length=1, max_length=40, pattern=NAME_PATTERN)]
"""A DNS label: stage and node names become parts of object names."""

Identifier: TypeAlias = Annotated[str, Field(min_length=1, max_length=63, pattern=IDENTIFIER_PATTERN)]
"""The name of a param, a result or an output: one word, so that a reference needs no quoting."""

Duration: TypeAlias = Annotated[str, Field(max_length=32, pattern=DURATION_PATTERN)]
"""A length of time as Go writes it: `90s`, `1h30m`, `168h`."""

IntOrString: TypeAlias = Annotated[int | str, Field(json_schema_extra={"x-kubernetes-int-or-string": True})]
"""Kubernetes' int-or-string; quantities such as `2`, `500m`, `16Gi` are of this type."""

AnyJson: TypeAlias = Annotated[Json, Field(json_schema_extra={"x-kubernetes-preserve-unknown-fields": True})]
"""A value whose type only the operator can check."""

AnyObject: TypeAlias = Annotated[
    dict[str, Json], Field(json_schema_extra={"type": "object", "x-kubernetes-preserve-unknown-fields": True})
]
"""An object of the Kubernetes API that is passed on as it is."""


def named_list(key: str = "name", *, also: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Give the `json_schema_extra` of a list whose items are told apart by one field (`list-type: map`)."""
    return {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": [key], **(also or {})}


ATOMIC_LIST: dict[str, Any] = {"x-kubernetes-list-type": "atomic"}
"""The `json_schema_extra` of a list that one writer replaces as a whole.

The API server keeps no owner of each of its fields then: in a status of 200 stages that is a third of the object.
"""

ATOMIC_MAP: dict[str, Any] = {"x-kubernetes-map-type": "atomic"}
"""The `json_schema_extra` of an object that is replaced as a whole, or never."""

SET: dict[str, Any] = {"x-kubernetes-list-type": "set"}
"""The `json_schema_extra` of a list of scalars in which none may occur twice."""
