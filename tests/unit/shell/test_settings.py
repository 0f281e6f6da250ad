"""What the environment says about artifacts."""

from __future__ import annotations

import pytest

from rondo.core.artifacts import AnyStore, ArtifactStore, BucketStore
from rondo.shell.settings import from_environment


@pytest.mark.parametrize(
    ("environment", "want"),
    [
        ({}, ArtifactStore()),
        ({"RONDO_ARTIFACTS_CLAIM": "c", "RONDO_ARTIFACTS_SECRET": "s"}, ArtifactStore(claim="c")),
        ({"RONDO_ARTIFACTS_URI": "s3://bucket/a/"}, BucketStore("s3://bucket/a")),
        ({"RONDO_ARTIFACTS_URI": "s3://bucket", "RONDO_ARTIFACTS_SECRET": "s"}, BucketStore("s3://bucket", "s")),
    ],
)
def test_the_store(environment: dict[str, str], want: AnyStore) -> None:
    assert from_environment(environment).planner.store == want


def test_a_uri_that_is_none_is_named() -> None:
    with pytest.raises(ValueError, match="RONDO_ARTIFACTS_URI: 'pvc://c' is not a URI such as s3://BUCKET/PREFIX"):
        from_environment({"RONDO_ARTIFACTS_URI": "pvc://c"})
