"""What serves the model: a ModelRuntime's container with the deployment's own additions, or one written in place.

A ModelRuntime belongs to the platform team; `allow` says what a ModelDeployment may add to it, and anything else is
refused by name rather than ignored.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from rondo.api.container import EnvVar, ServingContainer
from rondo.api.modeldeployment import ModelDeploymentSpec
from rondo.api.modelruntime import Allowed, ModelRuntimeSpec, Protocol
from rondo.core.deployment.canonical import digest
from rondo.core.problems import Problem

PORT_NAME = "http"
"""Name of the container port that answers; the Service finds it by name, so that revisions may differ in its number."""


@dataclass(frozen=True)
class ChosenServer:
    """What is to serve the model.

    Attributes:
        block: The container block, with the deployment's additions.
        protocol: What it speaks.
        runtime: Name of the ModelRuntime, empty for a server written in place.
        digest: Digest of what came from the ModelRuntime, empty for a server written in place.
    """

    block: ServingContainer
    protocol: Protocol
    runtime: str = ""
    digest: str = ""


def from_runtime(name: str, runtime: ModelRuntimeSpec, spec: ModelDeploymentSpec) -> ChosenServer:
    """Give the server of a deployment that names a ModelRuntime."""
    return ChosenServer(extend(runtime.server, spec), runtime.protocol, name, runtime_digest(runtime))


def in_place(spec: ModelDeploymentSpec) -> ChosenServer | None:
    """Give the server that is written into the deployment itself, if one is."""
    return None if spec.server is None else ChosenServer(extend(spec.server, spec), spec.server.protocol)


def runtime_digest(runtime: ModelRuntimeSpec) -> str:
    """Digest what a revision takes over from a ModelRuntime."""
    parts: dict[str, Any] = runtime.model_dump(
        mode="json", by_alias=True, exclude_defaults=True, include={"protocol", "server"}
    )
    return digest(parts)


def extend(block: ServingContainer, spec: ModelDeploymentSpec) -> ServingContainer:
    """Add the deployment's own fields to a container block."""
    changes: dict[str, Any] = {
        "env": _merge_env(block.env, spec.env),
        "node_selector": {**block.node_selector, **spec.node_selector},
        "tolerations": [*block.tolerations, *spec.tolerations],
    }
    if spec.args:
        changes["args"] = [*(block.args or ()), *spec.args]
    if spec.resources is not None:
        changes["resources"] = spec.resources
    return block.model_copy(update=changes)


def not_allowed(name: str, runtime: ModelRuntimeSpec, spec: ModelDeploymentSpec) -> list[Problem]:
    """Find the fields of a deployment that its ModelRuntime does not let it set."""
    allowed = ", ".join(runtime.allow) or "nothing"
    words = f"ModelRuntime {name} does not allow it (it allows {allowed}); leave it out or choose another runtime"
    refused = [field for field, is_set in _set_fields(spec).items() if is_set and field not in runtime.allow]
    return [Problem(f"spec.{field.value}", words) for field in refused]


def block_problems(block: ServingContainer, path: str) -> list[Problem]:
    """Find what a container block lacks; the CRDs' rules ask for it too, but objects may be older than the rules."""
    image = [] if block.image else [Problem(f"{path}.image", "give the image of the server")]
    answers = any(port.name == PORT_NAME for port in block.ports)
    ports = [] if answers else [Problem(f"{path}.ports", f"give the port that answers requests, named {PORT_NAME}")]
    return [*image, *ports]


def _set_fields(spec: ModelDeploymentSpec) -> Mapping[Allowed, bool]:
    return {
        Allowed.ARGS: bool(spec.args),
        Allowed.ENV: bool(spec.env),
        Allowed.RESOURCES: spec.resources is not None,
        Allowed.NODE_SELECTOR: bool(spec.node_selector),
        Allowed.TOLERATIONS: bool(spec.tolerations),
    }


def _merge_env(base: Iterable[EnvVar], own: Iterable[EnvVar]) -> list[EnvVar]:
    """Put the deployment's variables over those of the same name, in their place, and the others after them."""
    merged = {variable.name: variable for variable in base}
    merged |= {variable.name: variable for variable in own}
    return list(merged.values())
