"""Objects, kinds and routes of a toy world for the engine's tests."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rondo.core.plan import Object, Ref, Resource
from rondo.core.view import Key
from rondo.runtime.routes import Route, itself

TOY = Resource("toys.example", "v1", "Toy", "toys")
PART = Resource("", "v1", "ConfigMap", "configmaps")
OTHER = Resource("", "v1", "Secret", "secrets")
NAMESPACE = "team"
TOY_LABEL = "toys.example/toy"


def thing(
    resource: Resource, name: str, version: int = 1, *, uid: str = "", namespace: str = NAMESPACE, **fields: Any
) -> dict[str, Any]:
    """An object as the API server gives it; its uid is its name unless a test says otherwise."""
    metadata = {
        "name": name,
        "namespace": namespace,
        "uid": uid or f"uid-{name}",
        "resourceVersion": str(version),
        **fields.pop("metadata", {}),
    }
    return {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": metadata, **fields}


def toy(name: str = "a", version: int = 1, **fields: Any) -> dict[str, Any]:
    return thing(TOY, name, version, **fields)


def part(name: str, version: int = 1, *, of: str = "a", **fields: Any) -> dict[str, Any]:
    """A child, labelled with its toy's name."""
    return thing(PART, name, version, metadata={"labels": {TOY_LABEL: of}}, **fields)


def key(name: str = "a") -> Key:
    return Key(TOY, NAMESPACE, name)


def ref(resource: Resource, name: str) -> Ref:
    return Ref(resource, NAMESPACE, name)


def owners_of_part(child: Object) -> Iterable[Key]:
    name = child["metadata"].get("labels", {}).get(TOY_LABEL)
    if name:
        yield Key(TOY, child["metadata"]["namespace"], name)


def routes() -> list[Route]:
    return [
        Route(TOY, owners=lambda thing: [itself(thing, TOY)]),
        Route(PART, labels=TOY_LABEL, owners=owners_of_part),
    ]
