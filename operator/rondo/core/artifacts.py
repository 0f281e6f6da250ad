"""Where artifacts are: URIs, the places that attempts write to, and the claims that hold them.

An artifact's URI is `pvc://CLAIM/PATH`; the path is a file or a directory on that claim. What a stage stores goes to a
place of its attempt, so a failed attempt can never be mistaken for a good one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from rondo.api.pipeline import AccessMode
from rondo.core import names
from rondo.core.plan import Create, Ref
from rondo.core.resources import PERSISTENT_VOLUME_CLAIM

SCHEME: Final = "pvc://"


@dataclass(frozen=True, slots=True)
class ArtifactStore:
    """The namespace's default store, as the operator's settings describe it.

    Attributes:
        claim: Name of the PersistentVolumeClaim; one a namespace, created on first use, never owned by a run.
        size: Its size as a quantity.
        access_mode: With ReadWriteOnce all pods that use it are kept on one node.
        storage_class: Storage class, or None for the cluster's default.
    """

    claim: str = "rondo-artifacts"
    size: str = "10Gi"
    access_mode: AccessMode = AccessMode.READ_WRITE_ONCE
    storage_class: str | None = None


@dataclass(frozen=True, slots=True)
class ClaimPath:
    """A place on a claim."""

    claim: str
    path: str

    @property
    def uri(self) -> str:
        """`pvc://CLAIM/PATH`."""
        return f"{SCHEME}{self.claim}/{self.path}"

    def below(self, part: str) -> ClaimPath:
        """Give the place of this name in this folder."""
        return ClaimPath(self.claim, f"{self.path}/{part}")


def parse_uri(uri: str) -> ClaimPath:
    """Read a `pvc://` URI.

    Raises:
        ValueError: It is another scheme, or claim or path is missing or leads upwards.
    """
    if not uri.startswith(SCHEME):
        raise ValueError(f"{uri!r} is not a URI such as pvc://CLAIM/PATH")
    claim, _, path = uri.removeprefix(SCHEME).partition("/")
    path = path.strip("/")
    if not claim or not path or ".." in path.split("/"):
        raise ValueError(f"{uri!r} is not a URI such as pvc://CLAIM/PATH")
    return ClaimPath(claim, path)


def attempt_place(store: ArtifactStore, *, pipeline: str, run_uid: str, stage: str, attempt: int) -> ClaimPath:
    """Give the folder that one attempt of a stage stores its outputs in."""
    return ClaimPath(store.claim, f"{pipeline or 'inline'}/{run_uid}/{stage}-{attempt}")


def store_claim(store: ArtifactStore, namespace: str) -> Create:
    """Give the action that creates the namespace's claim for artifacts, unless somebody has."""
    ref = Ref(PERSISTENT_VOLUME_CLAIM, namespace, store.claim)
    return Create(ref, build_claim(store.claim, namespace, store), shared=True)


def build_claim(name: str, namespace: str, store: ArtifactStore) -> dict[str, Any]:
    """Give a PersistentVolumeClaim."""
    spec: dict[str, Any] = {
        "accessModes": [store.access_mode.value],
        "resources": {"requests": {"storage": store.size}},
    }
    if store.storage_class is not None:
        spec["storageClassName"] = store.storage_class
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": name, "namespace": namespace, "labels": {names.MANAGED_BY: names.MANAGER}},
        "spec": spec,
    }


def together(pod: dict[str, Any], labels: dict[str, str]) -> dict[str, Any]:
    """Give the pod affinity that keeps pods with these labels on one node, for volumes that only one node can mount.

    The scheduler lets the first such pod go anywhere, and forgets pods that have ended.
    """
    term = {"labelSelector": {"matchLabels": labels}, "topologyKey": "kubernetes.io/hostname"}
    affinity = pod.setdefault("affinity", {}).setdefault("podAffinity", {})
    affinity.setdefault("requiredDuringSchedulingIgnoredDuringExecution", []).append(term)
    return pod
