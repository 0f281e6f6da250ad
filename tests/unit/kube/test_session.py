"""The token of the ServiceAccount is read again as the kubelet rotates it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import aiohttp
import pytest

from rondo.kube.session import TOKEN_LIFETIME, TokenFile


class Request:
    """The part of a request that a middleware changes."""

    def __init__(self) -> None:
        self.headers: dict[str, str] = {}


async def send(middleware: TokenFile) -> str:
    request = Request()

    async def handler(_: aiohttp.ClientRequest) -> Any:
        return None

    await middleware(cast("aiohttp.ClientRequest", request), handler)
    return request.headers["Authorization"]


async def test_a_rotated_token_is_used_within_its_lifetime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1_000.0
    monkeypatch.setattr("rondo.kube.session.time.monotonic", lambda: now)
    file = tmp_path / "token"
    file.write_text("first\n")
    middleware = TokenFile(file)
    assert await send(middleware) == "Bearer first"
    file.write_text("second\n")
    assert await send(middleware) == "Bearer first"
    now += TOKEN_LIFETIME + 1
    assert await send(middleware) == "Bearer second"
