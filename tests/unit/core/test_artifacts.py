"""URIs, the store of a pipeline, and the Secret with which it is spoken to."""

from __future__ import annotations

from typing import Any

import pytest

from rondo.api.container import Credentials
from rondo.api.pipeline import Artifacts
from rondo.core.artifacts import (
    AnyStore,
    ArtifactStore,
    BucketPath,
    BucketStore,
    ClaimPath,
    attempt_place,
    bucket_store,
    parse_uri,
    secret_for,
    secret_of,
    store_of,
)

CLAIM = ArtifactStore()
BUCKET = BucketStore("s3://ours/rondo", "installed")
MINE: dict[str, Any] = {"credentials": {"secretRef": {"name": "mine"}}}


@pytest.mark.parametrize(
    ("uri", "want"),
    [
        ("pvc://claim/a/b", ClaimPath("claim", "a/b")),
        ("s3://bucket/a", BucketPath("bucket", "a")),
        ("s3://my.bucket-1/a/b/", BucketPath("my.bucket-1", "a/b")),
    ],
)
def test_reads_uris(uri: str, want: ClaimPath | BucketPath) -> None:
    assert parse_uri(uri) == want
    assert parse_uri(want.uri) == want


@pytest.mark.parametrize(
    "uri", ["", "a", "s3://", "s3://bucket", "s3://bucket/", "s3://b/x", "s3://Bucket/x", "s3://bucket/a//b",
            "s3://bucket/../x", "s3://bucket/./x", "gs://bucket/x", "pvc://claim", "pvc://claim/../x"]
)  # fmt: skip
def test_refuses_what_is_no_uri(uri: str) -> None:
    with pytest.raises(ValueError, match="is not a URI such as"):
        parse_uri(uri)


@pytest.mark.parametrize("uri", ["s3://", "s3://b", "s3://bucket/../x", "pvc://claim", "https://bucket"])
def test_refuses_what_is_no_store(uri: str) -> None:
    with pytest.raises(ValueError, match="is not a URI such as s3://BUCKET/PREFIX"):
        bucket_store(uri, None)


@pytest.mark.parametrize(
    ("artifacts", "installed", "want", "secret"),
    [
        (None, CLAIM, CLAIM, None),
        (None, BUCKET, BUCKET, "installed"),
        ({"uri": "s3://mine/x/"}, BUCKET, BucketStore("s3://mine/x"), None),
        ({"uri": "s3://mine", **MINE}, CLAIM, BucketStore("s3://mine", "mine"), "mine"),
        (MINE, CLAIM, CLAIM, "mine"),
        (MINE, BUCKET, BucketStore("s3://ours/rondo", "mine"), "mine"),
    ],
)
def test_a_pipeline_has_its_own_store_or_the_installations(
    artifacts: dict[str, Any] | None, installed: AnyStore, want: AnyStore, secret: str | None
) -> None:
    given = None if artifacts is None else Artifacts.model_validate(artifacts)
    assert store_of(given, installed) == want
    assert secret_of(given, installed) == secret


@pytest.mark.parametrize(
    ("store", "want"),
    [
        (CLAIM, "pvc://rondo-artifacts/p/uid/train-2"),
        (BUCKET, "s3://ours/rondo/p/uid/train-2"),
        (BucketStore("s3://ours"), "s3://ours/p/uid/train-2"),
    ],
)
def test_an_attempt_has_a_place_of_its_own(store: AnyStore, want: str) -> None:
    assert attempt_place(store, pipeline="p", run_uid="uid", stage="train", attempt=2).uri == want


def test_the_installations_secret_is_for_its_own_store_only() -> None:
    assert secret_for(BucketPath("ours", "rondo/x"), None, BUCKET) == "installed"
    assert secret_for(BucketPath("ours", "rondo-x/y"), None, BUCKET) is None
    assert secret_for(BucketPath("ours", "rondo/x"), Credentials.model_validate(MINE["credentials"]), BUCKET) == "mine"
