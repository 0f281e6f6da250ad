"""A server without a model of its own becomes an ordinary Deployment with a Service.

A ModelDeployment serves a model: it waits for one. A transformer, or a container that brings its model in the image,
has none to be told. A graph asks it as `kind: Service`.
"""

from __future__ import annotations

from typing import Any, Final

from rondo.api.base import Json
from rondo.kserve.inferenceservice import MAIN, Custom
from rondo.kserve.services import HTTP

NAME_LABEL: Final = "app.kubernetes.io/name"


def build_workload(
    metadata: dict[str, Any], custom: Custom, pod: dict[str, Any], spec: dict[str, Any], template: dict[str, Any]
) -> list[dict[str, Json]]:
    """Write a Deployment and its Service.

    Args:
        metadata: Of both.
        custom: The containers.
        pod: What else the pod's spec has.
        spec: What else the Deployment's spec has: replicas, strategy.
        template: Metadata of the pods.
    """
    labels = {NAME_LABEL: metadata["name"]}
    number = custom.port
    container = {
        "name": MAIN,
        "ports": [{"containerPort": number}],
        "readinessProbe": {"tcpSocket": {"port": number}},
        **{key: value for key, value in custom.main.items() if value not in (None, [], {})},
    }
    with_labels = {**template, "labels": {**template.get("labels", {}), **labels}}
    deployment = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": metadata,
        "spec": {
            **spec,
            "selector": {"matchLabels": labels},
            "template": {"metadata": with_labels, "spec": {"containers": [container, *custom.others], **pod}},
        },
    }
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata,
        "spec": {"selector": labels, "ports": [{"name": "http", "port": HTTP, "targetPort": number}]},
    }
    return [deployment, service]
