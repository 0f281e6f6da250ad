"""Containers with a model become the server of a ModelDeployment, written in place."""

from __future__ import annotations

from typing import Any, Final

from rondo.api.modelruntime import Protocol
from rondo.kserve.fields import Fields
from rondo.kserve.findings import Report
from rondo.kserve.inferenceservice import Custom

_OF_CONTAINER: Final = ("image", "command", "args", "env", "envFrom", "resources", "volumeMounts", "readinessProbe")
_OF_POD: Final = (
    "volumes", "nodeSelector", "tolerations", "serviceAccountName", "imagePullSecrets", "priorityClassName",
)  # fmt: skip
_OVERLAID: Final = (
    "affinity", "automountServiceAccountToken", "dnsConfig", "dnsPolicy", "enableServiceLinks", "hostAliases",
    "hostIPC", "hostname", "hostNetwork", "hostPID", "initContainers", "nodeName", "preemptionPolicy", "priority",
    "runtimeClassName", "schedulerName", "securityContext", "serviceAccount", "setHostnameAsFQDN",
    "shareProcessNamespace", "subdomain", "terminationGracePeriodSeconds", "topologySpreadConstraints",
)  # fmt: skip
"""Fields of a pod that go into the overlay."""

_MAIN: Final = "main"
_PORT: Final = "http"


def write_server(component: Fields, custom: Custom, report: Report, *, document: int) -> dict[str, Any]:
    """Write the block `server` of a ModelDeployment.

    Args:
        component: The predictor or transformer.
        custom: Its containers.
        report: Takes what differs.
        document: Index of the manifest that is written.
    """
    main = {key: value for key, value in custom.main.items() if value not in (None, [], {}, "")}
    server: dict[str, Any] = {field: main.pop(field) for field in _OF_CONTAINER if field in main}
    number = custom.port
    server |= {"ports": [{"name": _PORT, "containerPort": number}]}
    server.setdefault("readinessProbe", {"tcpSocket": {"port": _PORT}})
    server |= {field: value for field in _OF_POD if (value := component.take(field))}
    server["protocol"] = (custom.protocol or Protocol.KSERVE_V1).value
    for field in ("name", "ports"):
        main.pop(field, None)
    overlay = _overlay(component, custom, main)
    if overlay:
        server["podTemplate"] = overlay
    words = "its pods run as user 65532 without rights; what the image needs beyond that goes into podTemplate"
    report.note(component.at("containers"), words, place="spec.server", document=document)
    return server


def _overlay(component: Fields, custom: Custom, rest: dict[str, Any]) -> dict[str, Any]:
    """Write what the container block does not have as an overlay of the pod template."""
    metadata = {field: value for field in ("labels", "annotations") if (value := component.mapping(field))}
    spec: dict[str, Any] = {
        field: value for field in _OVERLAID if (value := component.take(field)) not in (None, {}, [])
    }
    containers = [{"name": _MAIN, **rest}] if rest else []
    containers += custom.others
    spec |= {"containers": containers} if containers else {}
    return {**({"metadata": metadata} if metadata else {}), **({"spec": spec} if spec else {})}
