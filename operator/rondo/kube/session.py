"""The HTTP session with the API server: one bounded pool of connections for everybody in the process."""

from __future__ import annotations

import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import aiohttp

POOL_SIZE: Final = 64
"""Connections at most; unlimited ones run into the API server's priority and fairness at start-up."""

REQUEST_TIMEOUT: Final = 30.0
"""Seconds for a whole request that is not a watch."""

TOKEN_LIFETIME: Final = 60.0
"""Seconds after which the token file is read again; the kubelet rotates it."""


@dataclass(frozen=True)
class Credentials:
    """How to reach the API server and who we are.

    Attributes:
        server: Base URL.
        tls: TLS context with the CA and, if there is one, the client's certificate.
        headers: Headers of every request.
        token_file: File with a bearer token that is read again as it rotates.
    """

    server: str
    tls: ssl.SSLContext
    headers: Mapping[str, str] = field(default_factory=dict)
    token_file: Path | None = None


class TokenFile:
    """The bearer token of a ServiceAccount, read again once a minute."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._token = ""
        self._read_at = float("-inf")

    async def __call__(
        self, request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        """Put the token on a request (aiohttp's client middleware)."""
        if time.monotonic() - self._read_at > TOKEN_LIFETIME:
            self._token = self._path.read_text().strip()
            self._read_at = time.monotonic()
        request.headers["Authorization"] = f"Bearer {self._token}"
        return await handler(request)


def open_connector(credentials: Credentials, watches: int = 0) -> aiohttp.TCPConnector:
    """Open the pool of connections; whoever opens it closes it.

    Args:
        credentials: How to reach the API server.
        watches: Connections that are always in use, besides those of requests that come and go.
    """
    return aiohttp.TCPConnector(limit=POOL_SIZE + watches, ssl=credentials.tls)


def open_session(credentials: Credentials, connector: aiohttp.TCPConnector) -> aiohttp.ClientSession:
    """Open a session on a pool; closing the session leaves the pool open."""
    middlewares = (TokenFile(credentials.token_file),) if credentials.token_file is not None else ()
    return aiohttp.ClientSession(
        connector=connector,
        connector_owner=False,
        headers=dict(credentials.headers),
        middlewares=middlewares,
        timeout=aiohttp.ClientTimeout(total=REQUEST_TIMEOUT),
    )
