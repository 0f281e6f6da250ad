"""A wire between a client and the API server that a test can cut, or let go dead without a word."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from urllib.parse import urlsplit

from rondo.kube.session import Credentials


@dataclass
class Wire:
    """Forwards TCP connections to the API server.

    Attributes:
        host: Where the API server listens.
        port: Its port.
        refuse: Whether new connections are closed at once.
    """

    host: str
    port: int
    refuse: bool = False
    _lines: set[Line] = field(default_factory=set)

    def cut(self) -> None:
        """Close all connections, as a load balancer does that is restarted."""
        for line in self._lines:
            line.close()

    def go_dead(self) -> None:
        """Let all open connections carry nothing any more, without closing them; new ones work."""
        for line in self._lines:
            line.dead = True

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carry one connection until either side ends it."""
        if self.refuse:
            writer.close()
            return
        try:
            far_reader, far_writer = await asyncio.open_connection(self.host, self.port)
        except OSError:
            writer.close()
            return
        line = Line(writer, far_writer)
        self._lines.add(line)
        try:
            await asyncio.gather(line.carry(reader, far_writer), line.carry(far_reader, writer))
        finally:
            line.close()
            self._lines.discard(line)


@dataclass(eq=False)
class Line:
    """One connection."""

    near: asyncio.StreamWriter
    far: asyncio.StreamWriter
    dead: bool = False

    async def carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65_536):
                if not self.dead:
                    writer.write(data)
                    await writer.drain()
        if not self.dead:
            self.close()

    def close(self) -> None:
        self.near.close()
        self.far.close()


@asynccontextmanager
async def wired(credentials: Credentials) -> AsyncIterator[tuple[Wire, Credentials]]:
    """Give a wire to an API server and the credentials to use it by."""
    address = urlsplit(credentials.server)
    wire = Wire(address.hostname or "", address.port or 443)
    server = await asyncio.start_server(wire.accept, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    try:
        yield wire, replace(credentials, server=f"https://127.0.0.1:{port}")
    finally:
        server.close()
        wire.cut()
        await server.wait_closed()
