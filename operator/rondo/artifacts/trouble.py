"""What the failure of a store that is spoken to over HTTP means: words for a person, a class for the operator.

Such a store says what is wrong in an XML document with a code; which codes there are differs a little between stores,
so a code that is not known here is judged by the HTTP status. Where there is no status, nobody answered.
"""

from __future__ import annotations

import html
import re
from dataclasses import dataclass
from typing import Final

from rondo.artifacts.errors import ArtifactError, ExitCode


class NoObjectError(ArtifactError):
    """There is no such object; the bucket itself may be there."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a bucket is, for messages.

    Attributes:
        bucket: Its name.
        endpoint: Address of the store, without credentials.
        anonymous: Whether there are no credentials.
    """

    bucket: str
    endpoint: str
    anonymous: bool


@dataclass(frozen=True, slots=True)
class _Meaning:
    codes: re.Pattern[str]
    statuses: frozenset[str]
    exit_code: ExitCode
    words: str


def _meaning(codes: str, statuses: str, exit_code: ExitCode, words: str) -> _Meaning:
    return _Meaning(re.compile(codes), frozenset(statuses.split()), exit_code, words)


_ANONYMOUS: Final = (
    "there are no credentials: name a Secret with AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY in `credentials`"
)

_MEANINGS: Final = (
    _meaning(
        "NoSuchBucket", "", ExitCode.ARTIFACT, "bucket {bucket} does not exist at {endpoint}; create it or mend the URI"
    ),
    _meaning(
        "InvalidBucketName",
        "",
        ExitCode.ARTIFACT,
        "{bucket} cannot be the name of a bucket at {endpoint}; mend the URI",
    ),
    _meaning(
        "InvalidAccessKeyId|XAdminUserNotFound|InvalidClientTokenId",
        "",
        ExitCode.DENIED,
        "{endpoint} does not know the access key; mend AWS_ACCESS_KEY_ID in the Secret",
    ),
    _meaning(
        "SignatureDoesNotMatch",
        "",
        ExitCode.DENIED,
        "the secret key does not belong to the access key; mend AWS_SECRET_ACCESS_KEY in the Secret",
    ),
    _meaning("Expired.*|InvalidToken", "", ExitCode.DENIED, "the credentials have expired; renew the Secret"),
    _meaning(
        "AuthorizationHeaderMalformed|PermanentRedirect|TemporaryRedirect|IllegalLocationConstraint.*",
        "301 307",
        ExitCode.DENIED,
        "bucket {bucket} is in another region; set AWS_REGION in the Secret",
    ),
    _meaning(
        "Quota.*|.*QuotaExceeded|.*StorageFull|InsufficientStorage|InsufficientCapacity|NoSpace.*",
        "507",
        ExitCode.NO_SPACE,
        "bucket {bucket} at {endpoint} is full or over its quota; make room or raise the quota",
    ),
    _meaning(
        "AccessDenied|.*Forbidden|AllAccessDisabled",
        "401 403",
        ExitCode.DENIED,
        "{endpoint} denies access to bucket {bucket}; the credentials must allow to list, get, put and delete objects",
    ),
)
_OTHER: Final = _meaning("", "", ExitCode.STORE, "{endpoint} failed")

_CERTIFICATE: Final = "[cC]ertificate"
_NETWORK: Final = (
    (_CERTIFICATE, "its certificate is not trusted; put the authority's into AWS_CA_BUNDLE in the Secret"),
    ("dns error", "its name cannot be resolved"),
    ("onnection refused", "connection refused"),
    ("timed ?out|Timeout", "no answer in time"),
    ("reset|closed|incomplete|IncompleteMessage|end of file|body error|decoding", "the connection was cut"),
)


def explain(said: str, place: Place) -> ArtifactError:
    """Give the error that the words of the client library stand for.

    Args:
        said: All that the library says, with the store's answer in it.
        place: The bucket.
    """
    code, status = _first(r"<Code>([^<]*)</Code>", said), _first(r"status code: (\d+)", said)
    if not (code or status):
        mend = ExitCode.DENIED if re.search(_CERTIFICATE, said) else ExitCode.STORE
        return ArtifactError(f"{place.endpoint} does not answer: {_network(said)}", mend)
    if status == "404" and code in {"", "NoSuchKey", "NotFound"}:
        return NoObjectError(f"there is no such object in bucket {place.bucket} at {place.endpoint}")
    meaning = next((each for each in _MEANINGS if each.codes.fullmatch(code)), None)
    meaning = meaning or next((each for each in _MEANINGS if status in each.statuses), _OTHER)
    words = meaning.words.format(bucket=place.bucket, endpoint=place.endpoint)
    if place.anonymous and meaning.exit_code is ExitCode.DENIED:
        words = f"{place.endpoint} denies access to bucket {place.bucket}: {_ANONYMOUS}"
    message = html.unescape(_first(r"<Message>([^<]*)</Message>", said))
    answer = " ".join(part for part in (status, code) if part) + (f": {message}" if message else "")
    return ArtifactError(f"{words} (it answered {answer})", meaning.exit_code)


def _network(said: str) -> str:
    known = next((words for pattern, words in _NETWORK if re.search(pattern, said)), None)
    # An address may hold a password.
    return known or re.sub(r"//[^/@\s]*@", "//", said.splitlines()[0])


def _first(pattern: str, text: str) -> str:
    found = re.search(pattern, text)
    return found[1] if found else ""
