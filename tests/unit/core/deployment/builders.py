"""Objects of the API as people, the API server, the Deployment controller and a kubelet write them."""

from __future__ import annotations

from typing import Any

from rondo.api.base import API_VERSION

NAMESPACE = "team"
CREATED = "2026-11-01T12:00:00Z"
URI = "pvc://rondo-artifacts/digits/6a1e/evaluate-1/model"


def modeldeployment(name: str = "digits", **spec: Any) -> dict[str, Any]:
    """Give a ModelDeployment with a model and a runtime; a field that is None is left out."""
    fields = {"model": {"uri": URI, "version": "1"}, "runtime": "sklearn", "replicas": 2, **spec}
    return {
        "apiVersion": API_VERSION,
        "kind": "ModelDeployment",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {key: value for key, value in fields.items() if value is not None},
    }


def runtime(name: str = "sklearn", *, image: str = "sklearn:1", **spec: Any) -> dict[str, Any]:
    """Give a ModelRuntime as the preset is written."""
    block = {
        "image": image,
        "args": ["start"],
        "env": [
            {"name": "MODEL_NAME", "value": "$(model.name)"},
            {"name": "MODEL_URI", "value": "$(model.path)"},
            {"name": "WORKERS", "value": "0"},
        ],
        "ports": [{"name": "http", "containerPort": 8080}],
        "readinessProbe": {"httpGet": {"path": "/v2/models/$(model.name)/ready", "port": "http"}},
        "resources": {"requests": {"cpu": "1000m", "memory": "256Mi"}},
    }
    return {
        "apiVersion": API_VERSION,
        "kind": "ModelRuntime",
        "metadata": {"name": name},
        "spec": {"protocol": "OpenInference", "server": {**block, **spec.pop("server", {})}, **spec},
    }


def server(**fields: Any) -> dict[str, Any]:
    """Give a server written in place."""
    return {"image": "own:1", "ports": [{"name": "http", "containerPort": 9000}], **fields}


# Pods ----------------------------------------------------------------------------------------------------------------


def condition(type_: str, status: str, reason: str = "", message: str = "") -> dict[str, Any]:
    return {"type": type_, "status": status, "reason": reason, "message": message}


def container(
    name: str = "main",
    *,
    state: dict[str, Any],
    last: dict[str, Any] | None = None,
    ready: bool = False,
    restarts: int = 0,
) -> dict[str, Any]:
    """Give a container status."""
    return {
        "name": name,
        "image": "sklearn:1",
        "ready": ready,
        "restartCount": restarts,
        "state": state,
        "lastState": last or {},
    }


def terminated(code: int, *, reason: str = "Error", message: str = "") -> dict[str, Any]:
    return {"terminated": {"exitCode": code, "reason": reason, "message": message}}


def waiting(reason: str, message: str = "") -> dict[str, Any]:
    return {"waiting": {"reason": reason, "message": message}}


def warning(reason: str, message: str) -> dict[str, Any]:
    """Give a core/v1 Event about a pod."""
    return {"type": "Warning", "reason": reason, "message": message}


RUNNING: dict[str, Any] = {"running": {"startedAt": CREATED}}
VERIFIED = container("verify", state=terminated(0, reason="Completed"), ready=True)


def pending(*containers: dict[str, Any], init: tuple[dict[str, Any], ...] = (VERIFIED,)) -> dict[str, Any]:
    """Give the status of a pod that is bound to a node and does not run yet."""
    return {
        "phase": "Pending",
        "conditions": [condition("PodScheduled", "True"), condition("Ready", "False", "ContainersNotReady")],
        "initContainerStatuses": list(init),
        "containerStatuses": list(containers) or [container(state=waiting("PodInitializing"))],
    }


def running(main: dict[str, Any]) -> dict[str, Any]:
    """Give the status of a pod whose init containers are done."""
    ready = "True" if main["ready"] else "False"
    return {
        "phase": "Running",
        "conditions": [condition("PodScheduled", "True"), condition("Ready", ready)],
        "initContainerStatuses": [VERIFIED],
        "containerStatuses": [main],
    }


READY = running(container(state=RUNNING, ready=True))
LOADING = running(container(state=RUNNING))
GATED = {**LOADING, "containerStatuses": [container(state=RUNNING, ready=True)]}
EVICTED = {"phase": "Failed", "reason": "Evicted", "message": "The node was low on resource: memory."}
INITIALIZING = pending()
UNSCHEDULABLE = {
    "phase": "Pending",
    "conditions": [
        condition("PodScheduled", "False", "Unschedulable", "0/1 nodes are available: 1 Insufficient nvidia.com/gpu.")
    ],
}
IMAGE_MISSING = pending(container(state=waiting("ImagePullBackOff", 'Back-off pulling image "sklearn:1"')))
IMAGE_NAME_WRONG = pending(container(state=waiting("InvalidImageName", 'couldn\'t parse image name "Sk:::1"')))
CRASHING = running(
    container(
        state=waiting("CrashLoopBackOff", "back-off 10s restarting failed container"),
        last=terminated(1, message="ModuleNotFoundError: No module named 'lightgbm'\n"),
        restarts=3,
    )
)
JUST_CRASHED = running(container(state=terminated(1, message="ValueError: bad pickle\n")))
OOM_RESTARTED = running(container(state=RUNNING, last=terminated(137, reason="OOMKilled"), restarts=1))
OOM_LOOP = running(container(state=waiting("CrashLoopBackOff"), last=terminated(137, reason="OOMKilled"), restarts=4))
MISSING_MESSAGE = f"model {URI} does not exist on claim rondo-artifacts"
MODEL_MISSING = pending(init=(container("verify", state=terminated(1, message=MISSING_MESSAGE)),))
MODEL_MISSING_LOOP = pending(
    init=(
        container("verify", state=waiting("CrashLoopBackOff"), last=terminated(1, message=MISSING_MESSAGE), restarts=5),
    )
)
NO_OBJECT = "model s3://models/m cannot be read: it does not exist in bucket models"
MODEL_NOT_IN_BUCKET = pending(init=(container("fetch", state=terminated(1, message=NO_OBJECT)),))
NO_STORE = "model s3://models/m cannot be read: http://minio does not answer: connection refused"
STORE_AWAY = pending(
    init=(container("fetch", state=waiting("CrashLoopBackOff"), last=terminated(5, message=NO_STORE), restarts=2),)
)
MODEL_DENIED = pending(
    init=(container("verify", state=terminated(4, message=f"model {URI} cannot be read by user 65532")),)
)
