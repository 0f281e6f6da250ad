"""Small objects that the API server takes, to be spoilt in one place each."""

from __future__ import annotations

from typing import Any

from rondo.api.base import API_VERSION

Body = dict[str, Any]


def thing(kind: str, spec: Body, name: str = "x") -> Body:
    """Give an object."""
    return {"apiVersion": API_VERSION, "kind": kind, "metadata": {"name": name}, "spec": spec}


def job(**fields: Any) -> Body:
    """Give a job stage named `a`; fields of the job."""
    return {"name": "a", "job": {"image": "busybox", **fields}}


def gate(name: str = "g", **fields: Any) -> Body:
    """Give a gate."""
    return {"name": name, "gate": {"checks": [{"expression": "true"}]}, **fields}


def pipeline(*stages: Body, name: str = "x", **spec: Any) -> Body:
    """Give a Pipeline; `finally_` is its field `finally`."""
    fields = {key.rstrip("_"): value for key, value in spec.items()}
    return thing("Pipeline", {"stages": list(stages or [job()]), **fields}, name)


def env(**sources: Any) -> Body:
    """Give a variable with these sources."""
    return {"name": "V", "valueFrom": sources}


def run(name: str = "x", **spec: Any) -> Body:
    """Give a PipelineRun of the Pipeline `p`."""
    return thing("PipelineRun", {"pipeline": {"name": "p"}, **spec}, name)


def run_of(**reference: Any) -> Body:
    """Give a PipelineRun of what is referred to."""
    return thing("PipelineRun", {"pipeline": reference})


SERVER: Body = {"image": "server", "ports": [{"name": "http", "containerPort": 8080}]}


def model_deployment(name: str = "x", **spec: Any) -> Body:
    """Give a ModelDeployment."""
    return thing("ModelDeployment", spec or {"runtime": "sklearn"}, name)


def model_runtime(**server: Any) -> Body:
    """Give a ModelRuntime."""
    return thing("ModelRuntime", {"protocol": "JSON", "server": server or SERVER})


def graph(*nodes: Body, entry: str = "a", name: str = "x", **spec: Any) -> Body:
    """Give a ModelGraph; the first node should be named `a`."""
    return thing("ModelGraph", {"protocol": "JSON", "entry": entry, "nodes": list(nodes), **spec}, name)


def node(name: str = "a", **fields: Any) -> Body:
    """Give a node, by default one that sends requests to a model."""
    return {"name": name, **(fields or {"target": {"name": "m"}})}


def approval(**spec: Any) -> Body:
    """Give an undecided Approval."""
    return thing("Approval", {"run": "r", "stage": "s", "approvers": {"groups": ["leads"]}, **spec})
