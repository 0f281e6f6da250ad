"""What the words of a store and of the network mean."""

from __future__ import annotations

import pytest

from rondo.artifacts.errors import ExitCode
from rondo.artifacts.trouble import NoObjectError, Place, explain

PLACE = Place("models", "https://s3.example", anonymous=False)


def answer(status: str, code: str, message: str = "") -> str:
    body = f"<Error><Code>{code}</Code><Message>{message}</Message></Error>" if code else ""
    return f"Generic S3 error: Error performing PUT in 1ms - Server returned non-2xx status code: {status}: {body}"


CASES = [
    (answer("404 Not Found", "NoSuchBucket"), ExitCode.ARTIFACT, "bucket models does not exist at https://s3.example;"),
    (answer("403 Forbidden", "InvalidAccessKeyId"), ExitCode.DENIED, "mend AWS_ACCESS_KEY_ID in the Secret"),
    (answer("403 Forbidden", "SignatureDoesNotMatch"), ExitCode.DENIED, "mend AWS_SECRET_ACCESS_KEY in the Secret"),
    (answer("400 Bad Request", "ExpiredToken"), ExitCode.DENIED, "the credentials have expired"),
    (answer("301 Moved Permanently", ""), ExitCode.DENIED, "set AWS_REGION in the Secret"),
    (answer("403 Forbidden", "QuotaExceeded", "&lt;5 GiB&gt;"), ExitCode.NO_SPACE, "QuotaExceeded: <5 GiB>"),
    (answer("507 Insufficient Storage", "XMinioStorageFull"), ExitCode.NO_SPACE, "full or over its quota; make room"),
    (answer("403 Forbidden", "SomethingNew", "no"), ExitCode.DENIED, "(it answered 403 SomethingNew: no)"),
    (answer("500 Internal Server Error", "InternalError"), ExitCode.STORE, "s3.example failed (it answered 500"),
    ('HTTP error: error sending request\n"dns error"', ExitCode.STORE, "does not answer: its name cannot be resolved"),
    ("tcp connect error: Connection refused", ExitCode.STORE, "does not answer: connection refused"),
    ("InvalidCertificate(UnknownIssuer)", ExitCode.DENIED, "put the authority's into AWS_CA_BUNDLE"),
    ("request or response body error: operation timed out", ExitCode.STORE, "does not answer: no answer in time"),
    ("GET http://me:pw@host/x failed", ExitCode.STORE, "does not answer: GET http://host/x failed"),
    ("something else\nat length", ExitCode.STORE, "does not answer: something else"),
]  # fmt: skip


@pytest.mark.parametrize(("said", "code", "words"), CASES)
def test_means(said: str, code: ExitCode, words: str) -> None:
    error = explain(said, PLACE)
    assert words in str(error)
    assert error.code is code
    assert not isinstance(error, NoObjectError)


@pytest.mark.parametrize("code", ["", "NoSuchKey"])
def test_a_missing_object_can_be_told_from_a_missing_bucket(code: str) -> None:
    assert isinstance(explain(answer("404 Not Found", code), PLACE), NoObjectError)


def test_without_credentials_a_refusal_asks_for_them() -> None:
    error = explain(answer("403 Forbidden", "AccessDenied"), Place("models", "https://s3.example", anonymous=True))
    assert "there are no credentials: name a Secret with AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY" in str(error)
