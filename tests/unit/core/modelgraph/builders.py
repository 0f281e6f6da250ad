"""Small graphs and what they ask."""

from __future__ import annotations

from typing import Any

from rondo.api.base import API_VERSION
from rondo.api.modelgraph import ModelGraphSpec
from rondo.core.modelgraph.topology import Topology

NAMESPACE = "team"
CREATED = "2026-11-01T12:00:00Z"

Body = dict[str, Any]


def target(name: str, of: str = "", **fields: Any) -> Body:
    """Give a node that asks the ModelDeployment of its name, or of another."""
    return {"name": name, "target": {"name": of or name}, **fields}


def spec(*nodes: Body, protocol: str = "OpenAI", **fields: Any) -> Body:
    """Give the spec of a graph; the first node is its entry."""
    return {"protocol": protocol, "entry": nodes[0]["name"], "nodes": list(nodes), **fields}


def parsed(*nodes: Body, **fields: Any) -> ModelGraphSpec:
    """Give the same, parsed."""
    return ModelGraphSpec.model_validate(spec(*nodes, **fields))


def topology(*nodes: Body, **fields: Any) -> Topology:
    """Give the topology of a graph."""
    return Topology(parsed(*nodes, **fields))


def graph(name: str, *nodes: Body, uid: str = "", generation: int = 1, **fields: Any) -> Body:
    """Give a ModelGraph."""
    metadata = {
        "name": name,
        "namespace": NAMESPACE,
        "uid": uid or f"uid-{name}",
        "generation": generation,
        "creationTimestamp": CREATED,
        "resourceVersion": "1",
    }
    return {"apiVersion": API_VERSION, "kind": "ModelGraph", "metadata": metadata, "spec": spec(*nodes, **fields)}


A, B, C = target("a"), target("b"), target("c")
