"""What goes wrong with a bucket, and what is said about it."""

from __future__ import annotations

from pathlib import Path

import pytest

from rondo.artifacts.config import Input
from rondo.artifacts.errors import ExitCode
from tests.integration.artifacts.conftest import Ended, Place
from tests.ports import free_port
from tests.s3.proxy import Proxy
from tests.s3.server import KEY, SECRET, running

OTHER = "sha256:" + "0" * 64

CREDENTIALS = [
    ({"AWS_ACCESS_KEY_ID": "nobody"}, "does not know the access key; mend AWS_ACCESS_KEY_ID in the Secret"),
    ({"AWS_SECRET_ACCESS_KEY": "wrong"}, "mend AWS_SECRET_ACCESS_KEY in the Secret"),
    ({"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}, "there are no credentials: name a Secret with"),
    ({"AWS_REGION": "eu-west-1"}, "is in another region; set AWS_REGION in the Secret"),
    ({"RONDO_S3_TIMEOUT": "1m"}, "RONDO_S3_TIMEOUT='1m' is not a number above 0"),
    ({"AWS_ENDPOINT_URL": "minio:9000"}, "AWS_ENDPOINT_URL is not a URL such as https://HOST:PORT"),
]


@pytest.fixture
def stored(place: Place) -> Place:
    (place.out / "model").write_text("m")
    pushed = place.push()
    assert pushed.code is ExitCode.OK, pushed.log
    place.environment["RONDO_S3_RETRIES"] = "3"
    return place


def both(place: Place) -> list[Ended]:
    return [place.push(), place.fetch()]


@pytest.mark.parametrize(("changed", "words"), CREDENTIALS, ids=lambda value: "".join(value) if value else "")
def test_wrong_credentials(stored: Place, changed: dict[str, str], words: str) -> None:
    stored.environment |= changed
    for ended in both(stored):
        assert words in ended.message
        assert stored.uri() in ended.message
        assert ended.code is ExitCode.DENIED
        assert KEY not in ended.log
        assert SECRET not in ended.log


def test_no_such_bucket(stored: Place) -> None:
    stored.bucket = "no-such-bucket"
    for ended in both(stored):
        where = stored.environment["AWS_ENDPOINT_URL"]
        assert f"bucket no-such-bucket does not exist at {where}; create it or mend the URI" in ended.message
        assert ended.code is ExitCode.ARTIFACT


def test_no_such_object(stored: Place) -> None:
    near, far = (
        stored.fetch(Input(f"s3://{stored.bucket}/{key}", path=str(stored.into))) for key in ("runs/1/modle", "x/y/z")
    )
    assert f"it does not exist in bucket {stored.bucket} at " in near.message
    assert near.message.endswith("(in runs/1: model)")
    assert far.message.endswith("(in it: runs)")
    assert (near.code, far.code) == (ExitCode.ARTIFACT, ExitCode.ARTIFACT)


def test_another_digest_and_no_manifest(stored: Place) -> None:
    other = stored.fetch(Input(stored.uri(), digest=OTHER, path=str(stored.into)))
    assert f"not {OTHER} as expected" in other.message
    stored.stored("model.rondo.json").unlink()
    unfinished = stored.fetch(Input(stored.uri(), digest=OTHER, path=str(stored.into)))
    assert f"has no manifest, so it was not stored completely; expected {OTHER}" in unfinished.message
    assert (other.code, unfinished.code) == (ExitCode.ARTIFACT, ExitCode.ARTIFACT)


def test_content_that_its_manifest_does_not_state(stored: Place) -> None:
    stored.stored().write_text("tampered with")
    ended = stored.fetch()
    assert ended.code is ExitCode.ARTIFACT
    assert "as its manifest says" in ended.message
    assert not stored.into.exists()


def test_a_store_with_a_certificate_of_its_own(tmp_path: Path) -> None:
    with running(tmp_path, tls=True) as server:
        place = Place(server, tmp_path)
        (place.out / "model").write_text("m")
        place.environment["RONDO_S3_RETRIES"] = "1"
        refused = place.push()
        assert "its certificate is not trusted; put the authority's into AWS_CA_BUNDLE in the Secret" in refused.message
        assert refused.code is ExitCode.DENIED
        assert server.authority is not None
        for bundle in (server.authority.read_text(), str(server.authority)):
            place.environment["AWS_CA_BUNDLE"] = bundle
            assert place.push().code is ExitCode.OK
        assert place.fetch().code is ExitCode.OK


def test_nobody_listens(stored: Place) -> None:
    endpoint = f"http://127.0.0.1:{free_port()}"
    stored.environment["AWS_ENDPOINT_URL"] = endpoint
    for ended in both(stored):
        assert f"{endpoint} does not answer: connection refused" in ended.message
        assert ended.code is ExitCode.STORE


def test_no_such_host(stored: Place) -> None:
    stored.environment["AWS_ENDPOINT_URL"] = "http://store.invalid"
    ended = stored.fetch()
    assert "http://store.invalid does not answer: its name cannot be resolved" in ended.message
    assert ended.code is ExitCode.STORE


def test_a_store_that_says_nothing(stored: Place, proxy: Proxy) -> None:
    proxy.silent = True
    stored.environment["RONDO_S3_TIMEOUT"] = "1"
    ended = stored.fetch()
    assert f"http://127.0.0.1:{proxy.port} does not answer: no answer in time" in ended.message
    assert ended.code is ExitCode.STORE


ANSWERS = [
    ("403 Forbidden", "<Error><Code>AccessDenied</Code></Error>", "denies access to bucket", ExitCode.DENIED),
    ("403 Forbidden", "<Error><Code>QuotaExceeded</Code></Error>", "is full or over its quota", ExitCode.NO_SPACE),
    ("507 Insufficient Storage", "", "is full or over its quota", ExitCode.NO_SPACE),
    ("503 Slow Down", "<Error><Code>SlowDown</Code></Error>", "(it answered 503 SlowDown)", ExitCode.STORE),
]


@pytest.mark.parametrize(("status", "body", "words", "code"), ANSWERS, ids=lambda value: str(value)[:12])
def test_what_stores_refuse(stored: Place, proxy: Proxy, status: str, body: str, words: str, code: ExitCode) -> None:
    (stored.out / "model").write_text("changed")
    proxy.answers = {"PUT": (status, body)}
    ended = stored.push()
    assert words in ended.message
    assert ended.message.startswith(f"output model cannot be stored at {stored.uri()}: ")
    assert ended.code is code


def test_names_that_cannot_be_keys(place: Place) -> None:
    (place.out / "model").mkdir()
    (place.out / "model" / "tab\tname").write_text("x")
    ended = place.push()
    assert ended.code is ExitCode.ARTIFACT
    assert "cannot be the key of an object" in ended.message
