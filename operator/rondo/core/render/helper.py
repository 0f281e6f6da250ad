"""The containers of the operator's own image beside the user's: `fetch`, `push` and `verify`."""

from __future__ import annotations

from typing import Any, Final

from rondo.artifacts.config import VARIABLE, Config
from rondo.core.render.container import restricted
from rondo.core.settings import PlannerSettings

RESOURCES: Final = {"requests": {"cpu": "10m", "memory": "32Mi"}, "limits": {"memory": "256Mi"}}
"""No limit of CPU: it would slow down the start of every stage."""


def build_helper(
    verb: str, settings: PlannerSettings, config: Config, mounts: list[dict[str, Any]], *, secret: str | None = None
) -> dict[str, Any]:
    """Build a container that runs one verb of `rondo.artifacts`.

    Args:
        verb: `fetch`, `push` or `verify`; also the container's name.
        settings: Tell the image.
        config: What it is told.
        mounts: Its volume mounts.
        secret: Name of the Secret with the credentials of a bucket.
    """
    credentials = {"envFrom": [{"secretRef": {"name": secret}}]} if secret else {}
    return {
        "name": verb,
        "image": settings.image,
        "imagePullPolicy": settings.image_pull_policy,
        "command": ["python3", "-m", "rondo.artifacts", verb],
        "env": [{"name": VARIABLE, "value": config.to_json()}],
        **credentials,
        "resources": RESOURCES,
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "securityContext": {**restricted(), "readOnlyRootFilesystem": True},
        "volumeMounts": mounts,
    }
