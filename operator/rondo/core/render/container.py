"""From the container block of the API to a container and the fields of its pod."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from rondo.api.container import Container
from rondo.core import references
from rondo.core.references import Lookup
from rondo.core.render.overlay import overlay

UID: Final = 65532
"""User, group and fsGroup of everything that Rondo starts: distroless' `nonroot`."""

_POD_FIELDS: Final = ("nodeSelector", "tolerations", "imagePullSecrets", "priorityClassName", "volumes")
_CONTAINER_FIELDS: Final = (
    "image", "command", "args", "env", "envFrom", "ports", "resources", "volumeMounts", "readinessProbe",
)  # fmt: skip
_SHARED_MEMORY: Final = "/dev/shm"  # noqa: S108 - the path that programs expect
_EXPANDED: Final = ("command", "args")
"""Fields in which Kubernetes itself expands `$(VAR)`, besides env values."""


def render_pod(block: Container, lookup: Lookup) -> dict[str, Any]:
    """Render the `spec` of a pod with one container `main`, without the `podTemplate` overlay.

    It runs as a user without rights and gets no token of a ServiceAccount unless one is named.

    Args:
        block: The container block.
        lookup: Values of the references in it.

    Raises:
        references.UnresolvedError: A reference has no value.
    """
    fields = resolve(block, lookup)
    main: dict[str, Any] = {"name": "main"}
    main |= {key: fields[key] for key in _CONTAINER_FIELDS if key in fields}
    main["terminationMessagePolicy"] = "FallbackToLogsOnError"
    main["securityContext"] = restricted()
    pod: dict[str, Any] = {key: fields[key] for key in _POD_FIELDS if key in fields}
    pod |= {
        "automountServiceAccountToken": "serviceAccountName" in fields,
        "enableServiceLinks": False,
        "securityContext": pod_security(),
        "containers": [main],
    }
    if "serviceAccountName" in fields:
        pod["serviceAccountName"] = fields["serviceAccountName"]
    if block.shm is not None:
        shm = {"emptyDir": {"medium": "Memory", "sizeLimit": fields["shm"]}}
        add_volume(pod, "rondo-shm", shm, _SHARED_MEMORY)
    return pod


def apply_overlay(template: Mapping[str, Any], block: Container) -> dict[str, Any]:
    """Merge the block's `podTemplate` overlay into a rendered template (`metadata`, `spec`)."""
    return overlay(template, block.pod_template) if block.pod_template else dict(template)


def resolve(block: Container, lookup: Lookup) -> dict[str, Any]:
    """Give the block as JSON with its references replaced; fields at their defaults are left out.

    Raises:
        references.UnresolvedError: A reference has no value.
    """
    fields: dict[str, Any] = block.model_dump(
        mode="json", by_alias=True, exclude_defaults=True, exclude={"pod_template"}
    )
    expanded = {key: fields.pop(key) for key in _EXPANDED if key in fields}
    env = fields.pop("env", None)
    resolved: dict[str, Any] = references.replace(fields, lookup)
    resolved |= {key: [references.replace_text(word, lookup) for word in words] for key, words in expanded.items()}
    if env is not None:
        resolved["env"] = [_variable(variable, lookup) for variable in env]
    return resolved


def add_volume(pod: dict[str, Any], name: str, source: Mapping[str, Any], path: str, **mount: Any) -> None:
    """Add a volume to a pod under construction and mount it into `main`; a volume that is there is only mounted."""
    volumes = pod.setdefault("volumes", [])
    if all(volume["name"] != name for volume in volumes):
        volumes.append({"name": name, **source})
    pod["containers"][0].setdefault("volumeMounts", []).append({"name": name, "mountPath": path, **mount})


def restricted() -> dict[str, Any]:
    """Give the security context of a container under the restricted Pod Security Standard."""
    return {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}


def pod_security() -> dict[str, Any]:
    """Give the security context of a pod: one user and group for all its containers, so that they share files."""
    return {
        "runAsNonRoot": True,
        "runAsUser": UID,
        "runAsGroup": UID,
        "fsGroup": UID,
        "fsGroupChangePolicy": "OnRootMismatch",
        "seccompProfile": {"type": "RuntimeDefault"},
    }


def _variable(variable: dict[str, Any], lookup: Lookup) -> dict[str, Any]:
    if "value" not in variable:
        return variable
    return {**variable, "value": references.replace_text(variable["value"], lookup)}
