"""The objects of a router, from its name, the graphs that it serves and the installation's settings.

They belong to all of these graphs, as owners of which none is the controller: when the last one goes, Kubernetes
removes them, also while no operator runs. The graphs' own Services are not among them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Final

from rondo.core import names
from rondo.core.modelgraph.credentials import Credential
from rondo.core.plan import Object, Resource
from rondo.core.render.container import pod_security, restricted
from rondo.core.resources import (
    CONFIG_MAP,
    DEPLOYMENT,
    HORIZONTAL_POD_AUTOSCALER,
    NETWORK_POLICY,
    POD_DISRUPTION_BUDGET,
    ROLE,
    ROLE_BINDING,
    SECRET,
    SERVICE,
    SERVICE_ACCOUNT,
)
from rondo.core.router.observed import ADMIN_PORT
from rondo.core.router.ports import FIRST, LAST
from rondo.core.settings import PlannerSettings

CREDENTIALS: Final = "/etc/rondo/credentials"
"""Where the router finds the files of `Credential`."""

_SOURCES: Final = {SECRET.kind: "secret", CONFIG_MAP.kind: "configMap"}
"""How a projected volume calls what it takes from objects of a kind."""

GRACE: Final = 45
"""Seconds in which a router that was told to end finishes what it has begun."""

BUSY: Final = 70
"""Per cent of the requested CPU above which an autoscaler adds pods."""

KINDS: Final = (
    SERVICE_ACCOUNT, ROLE, ROLE_BINDING, CONFIG_MAP, NETWORK_POLICY, POD_DISRUPTION_BUDGET, DEPLOYMENT,
    HORIZONTAL_POD_AUTOSCALER,
)  # fmt: skip
"""What a router consists of, in the order in which it is applied."""


@dataclass(frozen=True)
class Wanted:
    """A router that shall be there.

    Attributes:
        name: Its name, and that of all its objects.
        namespace: Its namespace.
        owners: The graphs that it serves.
        data: Data of its ConfigMap.
        credentials: Keys of Secrets and ConfigMaps that its graphs need.
        replicas: Its pods, if a graph says so.
        settings: The installation's settings.
    """

    name: str
    namespace: str
    owners: Sequence[Object]
    data: Mapping[str, str]
    credentials: frozenset[Credential]
    replicas: int | None
    settings: PlannerSettings

    @property
    def fewest(self) -> int:
        """Its pods, without an autoscaler's."""
        return self.settings.router.replicas if self.replicas is None else self.replicas

    @property
    def scaled(self) -> bool:
        """Whether an autoscaler sets its number of pods."""
        return self.replicas is None and self.settings.router.max_replicas > self.fewest


def build_objects(wanted: Wanted) -> dict[Resource, dict[str, Any]]:
    """Build all objects of a router."""
    parts: dict[Resource, dict[str, Any]] = {
        SERVICE_ACCOUNT: {},
        ROLE: _role(wanted),
        ROLE_BINDING: _binding(wanted),
        CONFIG_MAP: {"data": dict(wanted.data)},
        NETWORK_POLICY: {"spec": _policy(wanted)},
        POD_DISRUPTION_BUDGET: {"spec": {"maxUnavailable": 1, "selector": {"matchLabels": selector(wanted.name)}}},
        DEPLOYMENT: {"spec": _deployment(wanted)},
    }
    if wanted.scaled:
        parts[HORIZONTAL_POD_AUTOSCALER] = {"spec": _autoscaler(wanted)}
    return {resource: {**_head(wanted, resource), **part} for resource, part in parts.items()}


def build_first_config(name: str, graph: Object, data: Mapping[str, str]) -> dict[str, Any]:
    """Build the ConfigMap of a router that has none yet.

    Args:
        name: The router.
        graph: The graph that needs it.
        data: An empty plan.
    """
    metadata = graph["metadata"]
    return {
        "apiVersion": CONFIG_MAP.api_version,
        "kind": CONFIG_MAP.kind,
        "metadata": {
            "name": name,
            "namespace": metadata["namespace"],
            "labels": _labels(name),
            "ownerReferences": owner_references([graph]),
        },
        "data": dict(data),
    }


def build_service(graph: Object, router: str, port: int) -> dict[str, Any]:
    """Build the Service of a graph, which leads to its port of a router."""
    metadata = graph["metadata"]
    return {
        "apiVersion": SERVICE.api_version,
        "kind": SERVICE.kind,
        "metadata": {
            "name": metadata["name"],
            "namespace": metadata["namespace"],
            "labels": graph_labels(metadata["name"]),
            "ownerReferences": [names.owner_reference(graph)],
        },
        "spec": {
            "selector": selector(router),
            "ports": [{"name": "http", "port": 80, "targetPort": port, "protocol": "TCP"}],
        },
    }


def leads_to(service: Object) -> str:
    """Give the router to which the Service of a graph leads."""
    router: str = (service["spec"].get("selector") or {}).get(names.ROUTER, "")
    return router


def port_of(service: Object) -> int | None:
    """Give the port of the router to which the Service of a graph leads."""
    ports = (port.get("targetPort") for port in service["spec"].get("ports", ()))
    return next((port for port in ports if isinstance(port, int)), None)


def selector(router: str) -> dict[str, str]:
    """Give the labels by which a router's pods are found; they never change, for a Deployment's cannot."""
    return {names.MANAGED_BY: names.MANAGER, names.ROUTER: router}


def graph_labels(graph: str) -> dict[str, str]:
    """Give the labels of what is made for one graph."""
    return {
        "app.kubernetes.io/name": "modelgraph",
        "app.kubernetes.io/instance": graph,
        names.MANAGED_BY: names.MANAGER,
        names.MODEL_GRAPH: graph,
    }


def owner_references(graphs: Iterable[Object]) -> list[dict[str, Any]]:
    """Give the references to owners of which none is the controller, in a fixed order."""
    owners = sorted(graphs, key=lambda graph: str(graph["metadata"]["name"]))
    return [
        {
            "apiVersion": graph["apiVersion"],
            "kind": graph["kind"],
            "name": graph["metadata"]["name"],
            "uid": graph["metadata"]["uid"],
        }
        for graph in owners
    ]


def _head(wanted: Wanted, resource: Resource) -> dict[str, Any]:
    return {
        "apiVersion": resource.api_version,
        "kind": resource.kind,
        "metadata": {
            "name": wanted.name,
            "namespace": wanted.namespace,
            "labels": _labels(wanted.name),
            "ownerReferences": owner_references(wanted.owners),
        },
    }


def _labels(router: str) -> dict[str, str]:
    return {"app.kubernetes.io/name": "rondo-router", "app.kubernetes.io/instance": router, **selector(router)}


def _role(wanted: Wanted) -> dict[str, Any]:
    """Let it read its own plan and nothing else.

    A watch of one object begins with a list of that one; without its name in the request both are refused.
    """
    verbs = ["get", "list", "watch"]
    return {"rules": [{"apiGroups": [""], "resources": ["configmaps"], "resourceNames": [wanted.name], "verbs": verbs}]}


def _binding(wanted: Wanted) -> dict[str, Any]:
    return {
        "roleRef": {"apiGroup": ROLE.group, "kind": ROLE.kind, "name": wanted.name},
        "subjects": [{"kind": SERVICE_ACCOUNT.kind, "name": wanted.name, "namespace": wanted.namespace}],
    }


def _policy(wanted: Wanted) -> dict[str, Any]:
    ports = [
        {"port": ADMIN_PORT, "protocol": "TCP"},
        {"port": FIRST, "endPort": LAST, "protocol": "TCP"},
    ]
    return {
        "podSelector": {"matchLabels": selector(wanted.name)},
        "policyTypes": ["Ingress"],
        "ingress": [{"ports": ports}],
    }


def _autoscaler(wanted: Wanted) -> dict[str, Any]:
    target = {"type": "Utilization", "averageUtilization": BUSY}
    return {
        "scaleTargetRef": {"apiVersion": DEPLOYMENT.api_version, "kind": DEPLOYMENT.kind, "name": wanted.name},
        "minReplicas": wanted.fewest,
        "maxReplicas": wanted.settings.router.max_replicas,
        "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": target}}],
    }


def _deployment(wanted: Wanted) -> dict[str, Any]:
    """Build a Deployment that no request falls through: new pods answer before old ones are told to end."""
    spec: dict[str, Any] = {
        "revisionHistoryLimit": 2,
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
        "selector": {"matchLabels": selector(wanted.name)},
        "template": {"metadata": {"labels": _labels(wanted.name)}, "spec": _pod(wanted)},
    }
    return spec if wanted.scaled else {**spec, "replicas": wanted.fewest}


def _pod(wanted: Wanted) -> dict[str, Any]:
    spread = {
        "maxSkew": 1,
        "topologyKey": "kubernetes.io/hostname",
        "whenUnsatisfiable": "ScheduleAnyway",
        "labelSelector": {"matchLabels": selector(wanted.name)},
    }
    return {
        "serviceAccountName": wanted.name,
        "automountServiceAccountToken": True,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": GRACE,
        "securityContext": pod_security(),
        "topologySpreadConstraints": [spread],
        "containers": [_container(wanted)],
        "volumes": [{"name": "credentials", "projected": {"sources": _credentials(wanted.credentials)}}],
    }


def _container(wanted: Wanted) -> dict[str, Any]:
    return {
        "name": "router",
        "image": wanted.settings.router.image,
        "imagePullPolicy": wanted.settings.image_pull_policy,
        "args": ["--plan-configmap", wanted.name, "--namespace", wanted.namespace],
        "ports": [{"name": "admin", "containerPort": ADMIN_PORT, "protocol": "TCP"}],
        "readinessProbe": {"httpGet": {"path": "/readyz", "port": "admin"}, "periodSeconds": 2, "failureThreshold": 2},
        "livenessProbe": {"httpGet": {"path": "/livez", "port": "admin"}, "periodSeconds": 10, "failureThreshold": 3},
        "resources": {key: dict(value) for key, value in wanted.settings.router.resources.items()},
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "securityContext": {**restricted(), "readOnlyRootFilesystem": True},
        "volumeMounts": [{"name": "credentials", "mountPath": CREDENTIALS, "readOnly": True}],
    }


def _credentials(credentials: Iterable[Credential]) -> list[dict[str, Any]]:
    """Project each Secret and ConfigMap into a folder; one that is not there yet hinders nothing else."""
    objects = groupby(sorted(credentials), key=lambda credential: (credential.kind, credential.name))
    return [
        {
            _SOURCES[kind]: {
                "name": name,
                "items": [{"key": credential.key, "path": credential.file} for credential in wanted],
                "optional": True,
            }
        }
        for (kind, name), wanted in objects
    ]
