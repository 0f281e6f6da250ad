"""From a revision to its Deployment and Service, and from a spec to the pod template that a revision freezes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from rondo.api.modeldeployment import ModelDeploymentSpec, ModelSource
from rondo.core import names
from rondo.core.artifacts import BucketPath, parse_uri, secret_for
from rondo.core.deployment.model import MODEL_PATH, add_model, claim_affinity
from rondo.core.deployment.revision import ORIGIN, REVISION, Revision
from rondo.core.deployment.server import PORT_NAME, ChosenServer
from rondo.core.durations import parse_duration
from rondo.core.plan import Object
from rondo.core.references import Lookup, lookup_in
from rondo.core.render import container
from rondo.core.settings import PlannerSettings

DRAIN: Final = 5
"""Seconds that a pod still answers after it was told to end, until every node has stopped sending it requests."""

_OLD_REPLICA_SETS: Final = 2
"""ReplicaSets kept by the Deployment; going back is by our own revisions, so they only help a person who looks."""


def build_template(
    owner: Object, *, hash_: str, server: ChosenServer, model: ModelSource, settings: PlannerSettings
) -> dict[str, Any]:
    """Render the pod template of a new revision.

    Args:
        owner: The ModelDeployment.
        hash_: The revision's hash, which labels its pods.
        server: What serves the model.
        model: Which model.
        settings: The installation's settings.

    Raises:
        ValueError: The URI of the model is not one.
        references.UnresolvedError: The server refers to something else than `$(model.path)` and `$(model.name)`.
    """
    name, place = owner["metadata"]["name"], parse_uri(model.uri)
    secret = secret_for(place, model.credentials, settings.store) if isinstance(place, BucketPath) else None
    pod = container.render_pod(server.block, model_lookup(name))
    pod["containers"][0]["lifecycle"] = {"preStop": {"sleep": {"seconds": DRAIN}}}
    add_model(pod, place, secret, settings)
    own = {**labels(name), REVISION: hash_}
    template: dict[str, Any] = {"metadata": {"labels": dict(own)}, "spec": pod}
    claim_affinity(template, place, settings.store)
    template = container.apply_overlay(template, server.block)
    # The selector has to match whatever an overlay says.
    metadata = template.get("metadata") or {}
    return {**template, "metadata": {**metadata, "labels": {**(metadata.get("labels") or {}), **own}}}


def model_lookup(name: str) -> Lookup:
    """Give the values of the references in a server: `$(model.path)` and `$(model.name)`."""
    return lookup_in({"model": {"path": MODEL_PATH, "name": name}})


def build_deployment(owner: Object, spec: ModelDeploymentSpec, revision: Revision) -> dict[str, Any]:
    """Build the Deployment that rolls a revision out, pod by pod, and never below the number that is asked for."""
    metadata = owner["metadata"]
    deadline = max(1, int(parse_duration(spec.rollout.timeout).total_seconds()))
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {**_metadata(owner), "annotations": {ORIGIN: revision.origin.to_json()}},
        "spec": {
            "replicas": spec.replicas,
            "paused": False,
            "revisionHistoryLimit": _OLD_REPLICA_SETS,
            "progressDeadlineSeconds": deadline,
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
            "selector": {"matchLabels": selector(metadata["name"])},
            "template": revision.template,
        },
    }


def build_service(owner: Object) -> dict[str, Any]:
    """Build the Service; it goes by the name of the port, so revisions may listen on different ones."""
    port = {"name": "http", "port": 80, "targetPort": PORT_NAME, "protocol": "TCP"}
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": _metadata(owner),
        "spec": {"selector": selector(owner["metadata"]["name"]), "ports": [port]},
    }


def selector(deployment: str) -> dict[str, str]:
    """Give the labels by which a deployment's pods are found; they never change, for a Deployment's cannot."""
    return {names.MANAGED_BY: names.MANAGER, names.MODEL_DEPLOYMENT: deployment}


def labels(deployment: str) -> dict[str, str]:
    """Give the labels of all that is made for a deployment: an allow-list, never a copy of its own labels."""
    return {
        "app.kubernetes.io/name": "modeldeployment",
        "app.kubernetes.io/instance": deployment,
        **selector(deployment),
    }


def url(owner: Object) -> str:
    """Give the address at which a deployment answers within the cluster."""
    metadata: Mapping[str, str] = owner["metadata"]
    return service_url(metadata["name"], metadata["namespace"])


def service_url(name: str, namespace: str) -> str:
    """Give the address of port 80 of a Service within the cluster."""
    return f"http://{name}.{namespace}.svc"


def _metadata(owner: Object) -> dict[str, Any]:
    return {
        "name": owner["metadata"]["name"],
        "namespace": owner["metadata"]["namespace"],
        "labels": labels(owner["metadata"]["name"]),
        "ownerReferences": [names.owner_reference(owner)],
    }
