"""The model in the pod: read-only, after an init container has seen that it is there or has downloaded it.

What is on a claim is mounted straight from it. Without the look a missing model shows as an empty folder, and the
server says something about it that names no model.
"""

from __future__ import annotations

from typing import Any, Final, assert_never

from rondo.api.pipeline import AccessMode
from rondo.artifacts.config import Config, Input
from rondo.core import names
from rondo.core.artifacts import AnyStore, ArtifactStore, BucketPath, ClaimPath, Place, together
from rondo.core.render import container
from rondo.core.render.helper import build_helper
from rondo.core.settings import PlannerSettings

MODEL_PATH: Final = "/mnt/models"
"""Where the server finds the model: `$(model.path)`; a file or a directory, as it is on the claim."""

VERIFY: Final = "verify"
"""Name of the init container that looks whether the model is there."""

FETCH: Final = "fetch"
"""Name of the init container that downloads the model."""

_VOLUME: Final = "rondo-model"
_CLAIM_PATH: Final = "/rondo/claim"
_DOWNLOAD_PATH: Final = "/rondo/download"
_DOWNLOADED: Final = "model"


def add_model(pod: dict[str, Any], place: Place, secret: str | None, settings: PlannerSettings) -> None:
    """Mount a model into a pod under construction.

    Args:
        pod: A pod spec with the container `main`.
        place: Where the model is.
        secret: Name of the Secret with the credentials of its bucket.
        settings: Tell the image that looks whether it is there.
    """
    match place:
        case ClaimPath(claim, path):
            source: dict[str, Any] = {"persistentVolumeClaim": {"claimName": claim}}
            helper = _verify(place, settings)
        case BucketPath():
            source, path = {"emptyDir": {}}, _DOWNLOADED
            helper = _fetch(place, secret, settings)
        case _:
            assert_never(place)
    container.add_volume(pod, _VOLUME, source, MODEL_PATH, subPath=path, readOnly=True)
    pod.setdefault("initContainers", []).append(helper)


def claim_affinity(template: dict[str, Any], place: Place, store: AnyStore) -> None:
    """Keep pods that mount the artifact claim on one node, if only one node can mount it.

    Args:
        template: A pod template with `metadata.labels` and `spec`, under construction.
        place: Where the model is. Nothing is known of the access mode of other claims, so nothing is done about them.
        store: The namespace's default store.
    """
    if not isinstance(store, ArtifactStore) or store.access_mode is not AccessMode.READ_WRITE_ONCE:
        return
    if isinstance(place, ClaimPath) and place.claim == store.claim:
        label = {names.ARTIFACTS: place.claim}
        template["metadata"]["labels"] |= label
        together(template["spec"], label)


def _verify(place: ClaimPath, settings: PlannerSettings) -> dict[str, Any]:
    wanted = Config(claims={place.claim: _CLAIM_PATH}, inputs=(Input(uri=place.uri, what="model"),))
    mounts = [{"name": _VOLUME, "mountPath": _CLAIM_PATH, "readOnly": True}]
    return build_helper(VERIFY, settings, wanted, mounts)


def _fetch(place: BucketPath, secret: str | None, settings: PlannerSettings) -> dict[str, Any]:
    path = f"{_DOWNLOAD_PATH}/{_DOWNLOADED}"
    wanted = Config(inputs=(Input(uri=place.uri, what="model", path=path),))
    return build_helper(FETCH, settings, wanted, [{"name": _VOLUME, "mountPath": _DOWNLOAD_PATH}], secret=secret)
