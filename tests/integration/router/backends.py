"""Servers that answer as models do on good and bad days, over real sockets."""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any

Json = Any


@dataclass(frozen=True)
class Seen:
    """A request that a backend got.

    Attributes:
        method: Such as `POST`.
        path: With its query.
        headers: Names in lower case; of several the last.
        body: The bytes.
    """

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Json:
        """The body as JSON."""
        return json.loads(self.body)


@dataclass
class Backend:
    """One server.

    Attributes:
        does: How it answers, by the words of `cases.yaml`: one mapping for every request, or a list of mappings, of
            which the last goes on.
        seen: What it was asked.
        broken: Connections that the other side closed before the answer was complete.
        scheme: http or https.
        port: Where it listens.
        connections: How many were opened to it.
    """

    does: Json
    seen: list[Seen] = field(default_factory=list)
    broken: int = 0
    scheme: str = "http"
    port: int = 0
    connections: int = 0
    news: asyncio.Condition = field(default_factory=asyncio.Condition)

    @property
    def url(self) -> str:
        """Its address."""
        return f"{self.scheme}://127.0.0.1:{self.port}"

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection."""
        self.connections += 1
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while (request := await read_request(reader)) is not None:
                number = len(self.seen)
                async with self.news:
                    self.seen.append(request)
                    self.news.notify_all()
                if not await self._answer(self._turn(number), request, reader, writer):
                    break
        writer.close()

    def _turn(self, number: int) -> Mapping[str, Json]:
        turns = self.does if isinstance(self.does, list) else [self.does]
        turn: Mapping[str, Json] = turns[min(number, len(turns) - 1)]
        return turn

    async def _answer(
        self, turn: Mapping[str, Json], request: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        """Answer one request; tell whether the connection goes on."""
        if "after" in turn and not await self._pause(turn["after"], reader):
            return False
        if "hangUp" in turn:
            return False
        if "raw" in turn:
            writer.write(turn["raw"].encode())
            await writer.drain()
            return False
        if "events" in turn:
            return await self._stream(turn, reader, writer)
        body = body_of(turn, request)
        status, headers = turn.get("status", 200), dict(turn.get("headers", {}))
        headers.setdefault("content-type", "application/json")
        length = turn.get("claims", len(body))
        lines = [f"HTTP/1.1 {status} X", f"content-length: {length}", *(f"{k}: {v}" for k, v in headers.items())]
        writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + body)
        await writer.drain()
        return "claims" not in turn

    async def _pause(self, seconds: float, reader: asyncio.StreamReader) -> bool:
        """Wait; tell whether the other side is still there."""
        try:
            gone = await asyncio.wait_for(reader.read(1), seconds)
        except TimeoutError:
            return True
        assert gone == b"", "a request came before the last was answered"
        self.broken += 1
        return False

    async def _stream(
        self, turn: Mapping[str, Json], reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
        writer.write(head.encode())
        for event in turn["events"]:
            if not await self._pause(turn.get("every", 0.0), reader):
                return False
            data = f"data: {event if isinstance(event, str) else json.dumps(event)}\n\n".encode()
            writer.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
            await writer.drain()
        if turn.get("breaks"):
            return False
        writer.write(b"0\r\n\r\n")
        await writer.drain()
        return True


def body_of(turn: Mapping[str, Json], request: Seen) -> bytes:
    """Give the body of an answer: as it is, an echo of the request, or a list of numbers of a size."""
    if "echo" in turn:
        told = {"body": request.json if request.body else None, "path": request.path, "headers": request.headers}
        return json.dumps(told).encode()
    if "text" in turn:
        return str(turn["text"]).encode()
    if "size" in turn:
        count: int = (turn["size"] - 3) // 2
        return b"[" + b"0," * count + b"0]"
    if "deep" in turn:
        depth: int = turn["deep"]
        return b"[" * depth + b"]" * depth
    return json.dumps(turn.get("json", {})).encode()


async def read_request(reader: asyncio.StreamReader) -> Seen | None:
    """Read a request as strictly as HTTP/1.1 is written; None at the end of the connection."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return None
    first, *lines = head.decode("latin-1").split("\r\n")[:-2]
    method, path, _ = first.split(" ")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    assert "transfer-encoding" not in headers, "the router knows the length of what it sends"
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Seen(method, path, headers, body)


@contextlib.asynccontextmanager
async def backend(does: Json, tls: ssl.SSLContext | None = None) -> AsyncIterator[Backend]:
    """Run a server, of HTTPS if it is given a certificate."""
    made = Backend(does, scheme="http" if tls is None else "https")
    server = await asyncio.start_server(made.handle, "127.0.0.1", 0, ssl=tls)
    made.port = server.sockets[0].getsockname()[1]
    async with server:
        yield made
        server.close()
