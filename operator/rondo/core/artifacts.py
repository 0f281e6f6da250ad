"""Where artifacts are: URIs, the places that attempts write to, and the claims that hold them.

An artifact's URI is `pvc://CLAIM/PATH`, a file or a directory on that claim, or `s3://BUCKET/PATH`, an object or all
objects below it. What a stage stores goes to a place of its attempt, so a failed attempt can never be mistaken for a
good one.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final, TypeAlias, assert_never

from rondo.api.container import Credentials
from rondo.api.pipeline import AccessMode, Artifacts
from rondo.core import names
from rondo.core.plan import Create, Ref
from rondo.core.resources import PERSISTENT_VOLUME_CLAIM

SCHEME: Final = "pvc://"
S3_SCHEME: Final = "s3://"

_BUCKET: Final = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")


@dataclass(frozen=True, slots=True)
class ArtifactStore:
    """A claim of each namespace as its default store, as the operator's settings describe it.

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
class BucketStore:
    """A folder of a bucket as a store.

    Attributes:
        uri: `s3://BUCKET` or `s3://BUCKET/PREFIX`, without a slash at its end.
        secret: Name of the Secret with the credentials, in the namespace of each run; None for a workload identity.
    """

    uri: str
    secret: str | None = None


AnyStore: TypeAlias = ArtifactStore | BucketStore


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


@dataclass(frozen=True, slots=True)
class BucketPath:
    """A place in a bucket."""

    bucket: str
    path: str

    @property
    def uri(self) -> str:
        """`s3://BUCKET/PATH`."""
        return f"{S3_SCHEME}{self.bucket}/{self.path}"

    def below(self, part: str) -> BucketPath:
        """Give the place of this name in this folder."""
        return BucketPath(self.bucket, f"{self.path}/{part}")


Place: TypeAlias = ClaimPath | BucketPath


def parse_uri(uri: str) -> Place:
    """Read the URI of an artifact.

    Raises:
        ValueError: It is of another scheme, or claim, bucket or path are missing or lead upwards.
    """
    scheme, _, rest = uri.partition("://")
    where, _, path = rest.partition("/")
    path = path.strip("/")
    parts = path.split("/")
    if where and path and ".." not in parts:
        if scheme == "pvc":
            return ClaimPath(where, path)
        if scheme == "s3" and _BUCKET.fullmatch(where) and not {"", "."} & set(parts):
            return BucketPath(where, path)
    raise ValueError(f"{uri!r} is not a URI such as {SCHEME}CLAIM/PATH or {S3_SCHEME}BUCKET/PATH")


def bucket_store(uri: str, secret: str | None) -> BucketStore:
    """Give the store that a folder of a bucket is.

    Raises:
        ValueError: It is not a URI such as `s3://BUCKET/PREFIX`.
    """
    bare = uri.rstrip("/")
    try:
        if bare.startswith(S3_SCHEME):
            parse_uri(f"{bare}/RUN")
            return BucketStore(bare, secret)
    except ValueError:
        pass
    raise ValueError(f"{uri!r} is not a URI such as {S3_SCHEME}BUCKET/PREFIX")


def store_of(artifacts: Artifacts | None, installed: AnyStore) -> AnyStore:
    """Give the store of a pipeline: its own, else the installation's, perhaps with credentials of its own."""
    if artifacts is None:
        return installed
    uri = artifacts.uri or (installed.uri if isinstance(installed, BucketStore) else None)
    return installed if uri is None else BucketStore(uri.rstrip("/"), secret_of(artifacts, installed))


def secret_of(artifacts: Artifacts | None, installed: AnyStore) -> str | None:
    """Name the Secret with which the pods of a pipeline speak to buckets, if there is one."""
    if artifacts is not None and artifacts.credentials is not None:
        return artifacts.credentials.secret_ref.name
    own = artifacts is not None and artifacts.uri is not None
    return installed.secret if isinstance(installed, BucketStore) and not own else None


def secret_for(place: BucketPath, given: Credentials | None, installed: AnyStore) -> str | None:
    """Name the Secret with which a bucket is read: the given one, or the installation's if it is in its store."""
    if given is not None:
        return given.secret_ref.name
    inside = isinstance(installed, BucketStore) and place.uri.startswith(f"{installed.uri}/")
    return installed.secret if isinstance(installed, BucketStore) and inside else None


def attempt_place(store: AnyStore, *, pipeline: str, run_uid: str, stage: str, attempt: int) -> Place:
    """Give the folder that one attempt of a stage stores its outputs in."""
    path = f"{pipeline or 'inline'}/{run_uid}/{stage}-{attempt}"
    match store:
        case ArtifactStore():
            return ClaimPath(store.claim, path)
        case BucketStore():
            bucket, _, prefix = store.uri.removeprefix(S3_SCHEME).partition("/")
            return BucketPath(bucket, f"{prefix}/{path}" if prefix else path)
        case _:
            assert_never(store)


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
