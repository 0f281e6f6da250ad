"""Manifests of KServe, short to write."""

from __future__ import annotations

from typing import Any

Json = Any


def graph(root: Json, **nodes: Json) -> Json:
    """Give an InferenceGraph."""
    return {
        "apiVersion": "serving.kserve.io/v1alpha1",
        "kind": "InferenceGraph",
        "metadata": {"name": "g"},
        "spec": {"nodes": {"root": root, **nodes}},
    }


def router(type_: str, *steps: Json) -> Json:
    """Give a router."""
    return {"routerType": type_, "steps": list(steps)}


def service(name: str = "iris", **components: Json) -> Json:
    """Give an InferenceService."""
    return {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": {"name": name},
        "spec": components,
    }


def sklearn(uri: str = "pvc://models/iris/1", **fields: Json) -> Json:
    """Give a predictor with a model."""
    return {"model": {"modelFormat": {"name": "sklearn"}, "protocolVersion": "v2", "storageUri": uri}, **fields}


def custom(*env: Json, **fields: Json) -> Json:
    """Give a component with a container."""
    return {"containers": [{"name": "kserve-container", "image": "x:1", "env": list(env), **fields}]}
