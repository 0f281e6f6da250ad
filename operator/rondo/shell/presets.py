"""Preset ModelRuntimes: applied at start from the files that the chart mounts, never by force.

They cannot be part of the chart's release, because Helm does not know their kind before it has installed the CRDs.
"""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import Any, Final

import yaml

from rondo.core.plan import Ref
from rondo.core.resources import MODEL_RUNTIME
from rondo.kube.client import Client
from rondo.kube.errors import ApiError

MANAGER: Final = "rondo-presets"
RETRY_SECONDS: Final = 5.0

log = logging.getLogger(__name__)


async def apply_runtimes(client: Client, folder: Path) -> None:
    """Apply each ModelRuntime of a folder; fields that somebody else has changed stay as they are.

    Args:
        client: The API server.
        folder: YAML files, one ModelRuntime each.
    """
    for body in read_runtimes(folder):
        ref = Ref(MODEL_RUNTIME, "", body["metadata"]["name"])
        while not await _apply(client, ref, body):  # noqa: ASYNC110 - it is the API server that is waited for
            await asyncio.sleep(RETRY_SECONDS)


def read_runtimes(folder: Path) -> list[dict[str, Any]]:
    """Read the ModelRuntimes of a folder, one a file."""
    return [yaml.safe_load(file.read_text()) for file in sorted(folder.glob("*.yaml"))]


async def _apply(client: Client, ref: Ref, body: dict[str, Any]) -> bool:
    """Apply one; tell whether it is settled, which a conflict or a refusal also is."""
    try:
        await client.apply(ref, body, manager=MANAGER, force=False)
    except ApiError as error:
        log.warning("%s was not applied: %s", ref, error)
        return 400 <= error.code < 500 and error.code != 429
    return True
