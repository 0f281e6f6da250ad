"""One bucket of an S3-compatible store: the only module that knows the client library.

How to reach the store stands in the environment, under the names that all tools use; in a pod they come from the Secret
that `credentials` names: `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_SESSION_TOKEN`, `AWS_ENDPOINT_URL` (else
Amazon's), `AWS_REGION` (else us-east-1), `AWS_CA_BUNDLE` (certificates in PEM or the path of a file with them), and
those of a workload identity (`AWS_ROLE_ARN`, `AWS_WEB_IDENTITY_TOKEN_FILE`, `AWS_CONTAINER_CREDENTIALS_FULL_URI`).
Without credentials requests are not signed, as public buckets want it; the node's own identity is never used.

The library retries what can be retried, `RONDO_S3_RETRIES` times (else 10) within 2 minutes. There is no limit to how
long a transfer takes while bytes flow: only a pause ends it, of `RONDO_S3_TIMEOUT` seconds (else 60) in what is read.
The library does not tell how much of a part is written, so a part of 8 MiB may take 15 times as long: 10 kB/s will do.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import obstore
from obstore.exceptions import BaseError, PreconditionError
from obstore.store import S3Store as Client

from rondo.artifacts.errors import ArtifactError, ExitCode
from rondo.artifacts.parts import LARGE, parts_at_once
from rondo.artifacts.trouble import NoObjectError, Place, explain

if TYPE_CHECKING:
    from obstore import Attributes, GetOptions
    from obstore.store import BackoffConfig, ClientConfig, RetryConfig, S3Config

_CONNECT: Final = timedelta(seconds=10)
_ANSWER: Final = 60
"""Seconds."""

_ANSWERS_A_PART: Final = 15
_RETRIES: Final = 10
_RETRY_TIME: Final = timedelta(minutes=2)
_BACKOFF: Final[BackoffConfig] = {
    "init_backoff": timedelta(milliseconds=500),
    "max_backoff": timedelta(seconds=15),
    "base": 2,
}
_IDENTITIES: Final = (
    "AWS_ACCESS_KEY_ID", "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
)  # fmt: skip
_MODE: Final = "rondo-mode"
"""Metadata of an object: `x` if its owner may execute the file."""

_SMALL: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Stored:
    """An object.

    Attributes:
        key: Its key.
        size: Its bytes.
        etag: What the store calls this content.
    """

    key: str
    size: int
    etag: str | None


@dataclass(frozen=True, slots=True)
class Reading:
    """An object that is being read.

    Attributes:
        executable: Whether its owner may execute the file.
        chunks: Its content from where it was asked for.
    """

    executable: bool
    chunks: Iterator[memoryview]


class Bucket:
    """A bucket."""

    def __init__(self, name: str, environment: Mapping[str, str] = os.environ) -> None:
        """Take its name, and where and as whom to reach it.

        Raises:
            ArtifactError: The environment says something that cannot be.
        """
        endpoint = environment.get("AWS_ENDPOINT_URL_S3") or environment.get("AWS_ENDPOINT_URL")
        region = environment.get("AWS_REGION") or environment.get("AWS_DEFAULT_REGION") or "us-east-1"
        anonymous = not any(environment.get(key) for key in _IDENTITIES)
        self.place = Place(name, _address(endpoint or f"https://s3.{region}.amazonaws.com"), anonymous)
        config: S3Config = {"region": region, "skip_signature": anonymous}
        if endpoint:
            config["endpoint"] = endpoint
        retry: RetryConfig = {
            "max_retries": _number(environment, "RONDO_S3_RETRIES", _RETRIES),
            "retry_timeout": _RETRY_TIME,
            "backoff": _BACKOFF,
        }
        answer = timedelta(seconds=_number(environment, "RONDO_S3_TIMEOUT", _ANSWER))
        client = _client_options(environment, plain=self.place.endpoint.startswith("http://"))
        reads: ClientConfig = {**client, "read_timeout": answer}
        writes: ClientConfig = {**client, "timeout": answer * _ANSWERS_A_PART}
        with self._explained():
            self._reads = Client(name, config=config, client_options=reads, retry_config=retry)
            self._writes = Client(name, config=config, client_options=writes, retry_config=retry)

    def find(self, folder: str) -> Iterator[Stored]:
        """Find the objects whose keys begin with `FOLDER/`, in the order in which the store lists them."""
        with self._explained():
            for page in self._reads.list(folder):
                for meta in page:
                    yield Stored(meta["path"], meta["size"], meta["e_tag"])

    def look(self, key: str) -> Stored | None:
        """Look at an object, if it is there."""
        try:
            with self._explained():
                meta = self._reads.head(key)
        except NoObjectError:
            return None
        return Stored(key, meta["size"], meta["e_tag"])

    def read_small(self, key: str) -> bytes | None:
        """Read a small object in whole, if it is there."""
        try:
            with self._explained():
                found = self._reads.get(key)
                if found.meta["size"] > _SMALL:
                    raise ArtifactError(f"{key} has {found.meta['size']:,} bytes, too many for what it should be")
                return bytes(found.bytes())
        except NoObjectError:
            return None

    def read(self, stored: Stored, start: int) -> Reading:
        """Read an object from a byte on; it has to be what it was when it was listed."""
        options: GetOptions = {"if_match": stored.etag} if stored.etag else {}
        if start >= stored.size:  # There is no such range; the metadata is all that is left to know.
            options["head"] = True
        elif start:
            options["range"] = (start, stored.size)
        with self._explained():
            found = self._reads.get(stored.key, options=options)
            executable = found.attributes.get(_MODE) == "x"
        return Reading(executable, iter(()) if start >= stored.size else self._chunks(found))

    def write_small(self, key: str, content: bytes, *, executable: bool = False) -> None:
        """Write an object in one request; at most `parts.LARGE` bytes."""
        with self._explained():
            self._writes.put(key, content, attributes=_attributes(executable=executable), use_multipart=False)

    def write_large(self, key: str, content: Iterator[bytes], part: int, *, executable: bool = False) -> None:
        """Write an object in parts; if the content raises, nothing is written and that is raised."""
        with self._explained():
            self._writes.put(
                key,
                content,
                attributes=_attributes(executable=executable),
                use_multipart=True,
                chunk_size=part,
                max_concurrency=parts_at_once(part),
            )

    def remove(self, key: str) -> None:
        """Remove an object, if it is there."""
        with self._explained():
            self._writes.delete(key)

    def _chunks(self, found: obstore.GetResult) -> Iterator[memoryview]:
        with self._explained():
            for chunk in found.stream(min_chunk_size=LARGE // 8):
                yield memoryview(chunk)

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Turn what the library raises into words for a person."""
        try:
            yield
        except PreconditionError as error:
            raise ArtifactError("it was changed while it was read", ExitCode.STORE) from error
        except ValueError as error:
            raise ArtifactError(f"a name in it cannot be the key of an object: {error}") from error
        except (BaseError, OSError) as error:
            # The library puts what is behind an error into its words and nowhere else.
            raise explain(str(error), self.place) from None


def _client_options(environment: Mapping[str, str], *, plain: bool) -> ClientConfig:
    options: ClientConfig = {"allow_http": plain, "connect_timeout": _CONNECT, "timeout": timedelta(days=365)}
    authority = environment.get("AWS_CA_BUNDLE", "")
    if authority.startswith("-----BEGIN"):
        options["root_certificate"] = authority
    elif authority:
        options["root_certificate"] = Path(authority).read_bytes()
    return options


def _number(environment: Mapping[str, str], name: str, default: int) -> int:
    text = environment.get(name) or str(default)
    if not (text.isdecimal() and int(text)):
        raise ArtifactError(f"{name}={text!r} is not a number above 0; mend the Secret", ExitCode.DENIED)
    return int(text)


def _address(url: str) -> str:
    """Give an endpoint as it may be shown: without a user and a password."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    if parts.scheme not in {"http", "https"} or not host:
        words = "AWS_ENDPOINT_URL is not a URL such as https://HOST:PORT; mend the Secret"
        raise ArtifactError(words, ExitCode.DENIED)
    return f"{parts.scheme}://{host}"


def _attributes(*, executable: bool) -> Attributes:
    return {_MODE: "x"} if executable else {}
