"""The model in the pod: mounted read-only from its claim, after an init container has seen that it is there.

Without that look a missing model shows as an empty folder, and the server says something about it that names no model.
"""

from __future__ import annotations

from typing import Any, Final

from rondo.api.pipeline import AccessMode
from rondo.artifacts.config import Config, Input
from rondo.core import names
from rondo.core.artifacts import ArtifactStore, ClaimPath, together
from rondo.core.render import container
from rondo.core.render.helper import build_helper
from rondo.core.settings import PlannerSettings

MODEL_PATH: Final = "/mnt/models"
"""Where the server finds the model: `$(model.path)`; a file or a directory, as it is on the claim."""

VERIFY: Final = "verify"
"""Name of the init container that looks whether the model is there."""

_VOLUME: Final = "rondo-model"
_CLAIM_PATH: Final = "/rondo/claim"


def add_model(pod: dict[str, Any], place: ClaimPath, settings: PlannerSettings) -> None:
    """Mount a model into a pod under construction.

    Args:
        pod: A pod spec with the container `main`.
        place: Where the model is.
        settings: Tell the image that looks whether it is there.
    """
    source = {"persistentVolumeClaim": {"claimName": place.claim}}
    container.add_volume(pod, _VOLUME, source, MODEL_PATH, subPath=place.path, readOnly=True)
    pod.setdefault("initContainers", []).append(_verify(place, settings))


def claim_affinity(template: dict[str, Any], place: ClaimPath, store: ArtifactStore) -> None:
    """Keep pods that mount the artifact claim on one node, if only one node can mount it.

    Args:
        template: A pod template with `metadata.labels` and `spec`, under construction.
        place: Where the model is. Nothing is known of the access mode of other claims, so nothing is done about them.
        store: The namespace's default store.
    """
    if place.claim == store.claim and store.access_mode is AccessMode.READ_WRITE_ONCE:
        label = {names.ARTIFACTS: place.claim}
        template["metadata"]["labels"] |= label
        together(template["spec"], label)


def _verify(place: ClaimPath, settings: PlannerSettings) -> dict[str, Any]:
    wanted = Config(claims={place.claim: _CLAIM_PATH}, inputs=(Input(uri=place.uri, what="model"),))
    mounts = [{"name": _VOLUME, "mountPath": _CLAIM_PATH, "readOnly": True}]
    return build_helper(VERIFY, settings, wanted, mounts)
