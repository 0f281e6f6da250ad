"""What kustomize has to know of our kinds: how lists merge, which fields name other objects, where images stand.

Without it a patch of one stage replaces all stages, and renamed ConfigMaps, Secrets and images are not followed.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final

from rondo.api.base import GROUP, VERSION
from rondo.api.crds import Schema, structural
from rondo.api.generate.text import SOURCE, YAML_HEADER, yaml_of
from rondo.api.kinds import KINDS, Kind

_REFERENCES: Final = {
    "secretKeyRef/name": ("Secret",),
    "secretRef/name": ("Secret",),
    "imagePullSecrets/name": ("Secret",),
    "configMapKeyRef/name": ("ConfigMap",),
    "configMapRef/name": ("ConfigMap",),
    "serviceAccountName": ("ServiceAccount",),
    "priorityClassName": ("PriorityClass",),
    "spec/pipeline/name": ("Pipeline",),
    "deploy/name": ("ModelDeployment", "ModelGraph"),
    "target/name": ("ModelDeployment", "ModelGraph", "Service"),
    "spec/runtime": ("ModelRuntime",),
}
"""The ends of paths that name an object, and the kinds that it may be of."""

_GROUPS: Final = {"PriorityClass": "scheduling.k8s.io"} | {kind.name: GROUP for kind in KINDS}

Paths = list[tuple[Kind, str]]


def merge_schema() -> str:
    """Write the OpenAPI document from which kustomize reads the merge keys of lists."""
    definitions = {}
    for kind in KINDS:
        spec = _merging(structural(kind.spec)) or {"type": "object"}
        definitions[f"dev.rondo.{VERSION}.{kind.name}"] = {
            "type": "object",
            "x-kubernetes-group-version-kind": [{"group": GROUP, "kind": kind.name, "version": VERSION}],
            "properties": {"spec": spec},
        }
    info = {"title": "Rondo", "version": VERSION, "description": SOURCE}
    document = {"swagger": "2.0", "info": info, "paths": {}, "definitions": definitions}
    return json.dumps(document, indent=1) + "\n"


def transformer_configuration() -> str:
    """Write kustomize's configuration of name references and images."""
    paths = [(kind, path) for kind in KINDS for path in _paths(structural(kind.spec), "spec")]
    images = [_field(kind, path) for kind, path in paths if path.endswith("/image")]
    references = [_references(target, paths) for target in sorted({k for kinds in _REFERENCES.values() for k in kinds})]
    return YAML_HEADER + yaml_of({"images": images, "nameReference": references})


def _references(target: str, paths: Paths) -> dict[str, Any]:
    """Give all fields that name objects of a kind."""
    ends = tuple(f"/{end}" for end, kinds in _REFERENCES.items() if target in kinds)
    fields = [_field(kind, path) for kind, path in paths if f"/{path}".endswith(ends)]
    group = {"group": _GROUPS[target]} if target in _GROUPS else {}
    return {**group, "kind": target, "fieldSpecs": fields}


def _field(kind: Kind, path: str) -> dict[str, Any]:
    return {"group": GROUP, "kind": kind.name, "path": path}


def _paths(schema: Schema, path: str) -> Iterator[str]:
    """Give the paths of all fields, as kustomize writes them: lists are not marked."""
    inside = schema.get("items", schema)
    for name, part in inside.get("properties", {}).items():
        yield f"{path}/{name}"
        yield from _paths(part, f"{path}/{name}")


def _merging(schema: Schema) -> Schema | None:
    """Keep of a schema the lists that merge by a key, and what leads there."""
    if schema.get("x-kubernetes-list-type") == "map":
        (key,) = schema["x-kubernetes-list-map-keys"]
        items = _merging(schema["items"]) or {"type": "object"}
        strategy = {"x-kubernetes-patch-strategy": "merge", "x-kubernetes-patch-merge-key": key}
        return {"type": "array", **strategy, "items": items}
    merging = {name: _merging(part) for name, part in schema.get("properties", {}).items()}
    parts = {name: part for name, part in merging.items() if part is not None}
    return {"type": "object", "properties": parts} if parts else None
