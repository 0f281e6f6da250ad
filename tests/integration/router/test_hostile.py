"""Clients that mean ill: what they send reaches no target, and nobody else waits for it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from tests.integration.router.backends import Backend, backend
from tests.integration.router.process import PATIENCE, RouterProcess, graph
from tests.ports import free_port

Json = Any

pytestmark = pytest.mark.asyncio(loop_scope="module")

SMUGGLED = "GET /admin HTTP/1.1\r\nhost: x\r\n\r\n"

# Name, what is sent, and the status lines that may come; an empty one is a closed connection.
RAW: list[tuple[str, str, set[str]]] = [
    (
        "a length and chunks at once",
        "POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 6\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n" + SMUGGLED,
        {"400", "200", ""},
    ),
    (
        "two lengths",
        "POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\ncontent-length: 50\r\n\r\n{}" + SMUGGLED,
        {"400", ""},
    ),
    ("a length that is none", "POST / HTTP/1.1\r\nhost: x\r\ncontent-length: +2\r\n\r\n{}", {"400", ""}),
    ("a negative length", "POST / HTTP/1.1\r\nhost: x\r\ncontent-length: -1\r\n\r\n{}", {"400", ""}),
    ("a length with a list", "POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 2, 3\r\n\r\n{}", {"400", ""}),
    ("a folded header", "POST / HTTP/1.1\r\nhost: x\r\nx-a: b\r\n c\r\ncontent-length: 2\r\n\r\n{}", {"400", ""}),
    (
        "an encoding in disguise",
        "POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: xchunked\r\ncontent-length: 2\r\n\r\n{}" + SMUGGLED,
        {"400", "501", ""},
    ),
    (
        "chunks that are not last",
        "POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked, identity\r\n\r\n0\r\n\r\n" + SMUGGLED,
        {"400", "501", ""},
    ),
    (
        "a chunk size that is none",
        "POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n",
        {"400", ""},
    ),
    (
        "a chunk size that is too large",
        "POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nffffffffffffffffff\r\n{}\r\n0\r\n\r\n",
        {"400", ""},
    ),
    (
        "a chunk without its end",
        "POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}XX0\r\n\r\n",
        {"400", ""},
    ),
    ("a space before the colon", "POST / HTTP/1.1\r\nhost: x\r\ncontent-length : 2\r\n\r\n{}", {"400", ""}),
    ("a zero in a header", "POST / HTTP/1.1\r\nhost: x\r\nx-a: b\0c\r\ncontent-length: 2\r\n\r\n{}", {"400", ""}),
    ("a bare line feed in a path", "POST /a\nb HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n{}", {"400", ""}),
    ("more headers than anybody needs", "POST / HTTP/1.1\r\n" + "x-a: b\r\n" * 500 + "\r\n", {"431", "400", ""}),
    ("a header without an end", "POST / HTTP/1.1\r\nx-a: " + "b" * 200_000 + "\r\n\r\n", {"431", "400", ""}),
    ("a path without an end", "POST /" + "a" * 200_000 + " HTTP/1.1\r\n\r\n", {"414", "431", "400", ""}),
    ("no HTTP at all", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", {"400", ""}),
    ("another HTTP", "POST / HTTP/3.7\r\nhost: x\r\n\r\n", {"400", "505", ""}),
    ("a tunnel", "CONNECT 127.0.0.1:1 HTTP/1.1\r\nhost: x\r\n\r\n", {"405", "400", ""}),
    (
        "an address instead of a path",
        "POST http://127.0.0.1:1/admin HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n{}",
        {"200"},
    ),
    (
        "an upgrade",
        "POST / HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: h2c\r\ncontent-length: 2\r\n\r\n{}",
        {"200", "400"},
    ),
]


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def served(running: RouterProcess) -> AsyncIterator[tuple[Backend, int]]:
    """A server behind a graph, and its port."""
    async with backend({"json": {"x": 1}}) as server:
        port = free_port()
        nodes = [{"name": "a", "target": {"url": server.url, "protocol": "JSON", "path": "/model"}}]
        await running.serve([graph(nodes, port=port, timeoutMillis=2000)])
        yield server, port


async def talk(port: int, text: bytes) -> bytes:
    """Send bytes, and give all that comes until the connection ends or is quiet."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 20)
    with contextlib.suppress(ConnectionError):
        writer.write(text)
        await writer.drain()
    found = b""
    with contextlib.suppress(ConnectionError, TimeoutError):
        while more := await asyncio.wait_for(reader.read(65536), 0.5):
            found += more
    writer.close()
    return found


@pytest.mark.parametrize(("text", "allowed"), [each[1:] for each in RAW], ids=[each[0] for each in RAW])
async def test_bytes_that_are_wrong(served: tuple[Backend, int], text: str, allowed: set[str]) -> None:
    server, port = served
    before = len(server.seen)
    given = await talk(port, text.encode("latin-1"))
    assert given[9:12].decode() in allowed, given[:200]
    for seen in server.seen[before:]:
        assert seen.path == "/model", "only what the plan says is asked"
    assert await alive(port)


async def alive(port: int) -> bool:
    """Tell whether a request that is right is answered."""
    given = await talk(port, b"POST / HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 2\r\n\r\n{}")
    return given.startswith(b"HTTP/1.1 200")


async def test_clients_that_send_nothing_do_not_hold_up_others(served: tuple[Backend, int]) -> None:
    _, port = served
    slow = [await asyncio.open_connection("127.0.0.1", port) for _ in range(200)]
    for _, writer in slow:
        writer.write(b"POST / HTTP/1.1\r\nhost: x\r\n")
    assert await alive(port)
    for _, writer in slow:
        writer.close()


async def test_a_body_that_never_comes_is_given_up(served: tuple[Backend, int]) -> None:
    _, port = served
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n{")
    head = await asyncio.wait_for(reader.readline(), PATIENCE)
    assert head.startswith(b"HTTP/1.1 408")
    writer.close()


async def test_chunks_without_an_end_are_cut_off(served: tuple[Backend, int]) -> None:
    _, port = served
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n")
    with contextlib.suppress(ConnectionError):
        for _ in range(100):
            writer.write(b"10000\r\n" + b"x" * 65536 + b"\r\n")
            await writer.drain()
    head = b""
    with contextlib.suppress(ConnectionError):
        head = await asyncio.wait_for(reader.readline(), PATIENCE)
    assert head.startswith(b"HTTP/1.1 413") or head == b""
    writer.close()
    assert await alive(port)


async def test_a_body_in_lists_in_lists_is_an_error_and_nothing_worse(running: RouterProcess) -> None:
    async with backend({"json": 1}) as server:
        port = free_port()
        nodes = [
            {"name": "s", "switch": [{"when": "request.body.size() >= 0", "node": "a"}]},
            {"name": "a", "target": {"url": server.url, "protocol": "JSON"}},
        ]
        await running.serve([graph(nodes, port=port)])
        for body in ("[" * 100_000, "[" * 100_000 + "]" * 100_000, '{"a":' * 50_000 + "1" + "}" * 50_000):
            async with running.session.post(f"http://127.0.0.1:{port}/", data=body) as answer:
                assert answer.status == 404
                assert "the body is not JSON" in await answer.text()
        assert server.seen == []


async def test_an_expression_over_too_much_is_refused_and_holds_up_nobody(running: RouterProcess) -> None:
    async with backend({"json": 1}) as server:
        port = free_port()
        loops = "request.body.n.all(x, request.body.n.all(y, x + y >= 0.0))"
        nodes = [
            {"name": "s", "switch": [{"when": loops, "node": "a"}]},
            {"name": "a", "target": {"url": server.url, "protocol": "JSON"}},
        ]
        await running.serve([graph(nodes, port=port)])
        url = f"http://127.0.0.1:{port}/"
        async with running.session.post(url, json={"n": list(range(5000))}) as answer:
            assert answer.status == 404
            assert "takes too long" in await answer.text()
        async with running.session.post(url, json={"n": [1, 2]}) as answer:
            assert answer.status == 200
