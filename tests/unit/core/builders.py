"""Fluent builders of specs and objects for the tables."""

from __future__ import annotations

from typing import Any

from rondo.api.base import API_VERSION
from tests.unit.core.cluster import NAMESPACE

IMAGE = "python:3.12"


def job(name: str, **fields: Any) -> dict[str, Any]:
    """A job stage that needs nothing, or what `needs` says."""
    block = {"image": IMAGE, "command": ["work"], **fields.pop("job", {})}
    return {"name": name, "job": block, **fields}


def gate(name: str, *expressions: str, **fields: Any) -> dict[str, Any]:
    return {"name": name, "gate": {"checks": [{"expression": text} for text in expressions]}, **fields}


def deploy(name: str, target: str = "model", spec: dict[str, Any] | None = None, **fields: Any) -> dict[str, Any]:
    spec = spec or {"runtime": "sklearn", "model": {"uri": "pvc://models/1"}}
    return {"name": name, "deploy": {"name": target, "spec": spec}, **fields}


def pipeline_spec(*stages: dict[str, Any], **fields: Any) -> dict[str, Any]:
    """A spec; `finally_` is its field `finally`."""
    return {"stages": list(stages), **{key.rstrip("_"): value for key, value in fields.items()}}


def pipeline(*stages: dict[str, Any], name: str = "digits", **fields: Any) -> dict[str, Any]:
    return {
        "apiVersion": API_VERSION,
        "kind": "Pipeline",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": pipeline_spec(*stages, **fields),
    }


def inline_run(*stages: dict[str, Any], name: str = "r", **fields: Any) -> dict[str, Any]:
    return run({"spec": pipeline_spec(*stages, **fields)}, name=name)


def run(of: dict[str, Any], name: str = "r", **fields: Any) -> dict[str, Any]:
    return {
        "apiVersion": API_VERSION,
        "kind": "PipelineRun",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {"pipeline": of, **fields},
    }
