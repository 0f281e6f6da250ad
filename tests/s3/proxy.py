"""A TCP proxy that does to connections what networks and stores do: cuts, slowness, refusals, silence."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

_PIECE = 1 << 16


@dataclass
class Proxy:
    """Stands before a server; what it does can be changed while it runs.

    Attributes:
        upstream: Port of the server.
        cut_after: Bytes of one connection, either way, after which it is cut.
        cuts: So many connections are cut.
        rate: Bytes a second of each connection, either way; 0 for no limit.
        answers: Answer of the proxy's own to requests with a method: status line and body.
        silent: Whether it never says anything.
        down: Bytes that went to the client.
        up: Bytes that went to the server.
    """

    upstream: int
    cut_after: int = 1 << 62
    cuts: int = 0
    rate: int = 0
    answers: dict[str, tuple[str, str]] = field(default_factory=dict)
    silent: bool = False
    down: int = 0
    up: int = 0
    port: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def take_cut(self, count: int) -> bool:
        """Tell whether a connection with so many bytes is to be cut now."""
        with self._lock:
            if count < self.cut_after or not self.cuts:
                return False
            self.cuts -= 1
            return True

    def count(self, *, down: int = 0, up: int = 0) -> None:
        """Count bytes."""
        with self._lock:
            self.down += down
            self.up += up


@contextlib.contextmanager
def proxied(upstream: int) -> Iterator[Proxy]:
    """Run a proxy before a port until the block ends."""
    proxy = Proxy(upstream)
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listener:
        proxy.port = listener.getsockname()[1]
        threading.Thread(target=_accept, args=(proxy, listener), daemon=True).start()
        yield proxy


def _accept(proxy: Proxy, listener: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while True:
            client, _ = listener.accept()
            threading.Thread(target=_serve, args=(proxy, client), daemon=True).start()


def _serve(proxy: Proxy, client: socket.socket) -> None:
    with contextlib.suppress(OSError), client:
        head = b""
        while b"\r\n\r\n" not in head:
            piece = client.recv(_PIECE)
            if not piece:
                return
            head += piece
        method = head.split(b" ", 1)[0].decode()
        if proxy.silent:
            client.recv(_PIECE)
        elif method in proxy.answers:
            _answer(client, head, *proxy.answers[method])
        else:
            with socket.create_connection(("127.0.0.1", proxy.upstream)) as server:
                server.sendall(head)
                threading.Thread(target=_pump, args=(proxy, client, server, "up"), daemon=True).start()
                _pump(proxy, server, client, "down")


def _answer(client: socket.socket, head: bytes, status: str, body: str) -> None:
    fields, _, content = head.partition(b"\r\n\r\n")
    lengths = [line.split(b":")[1] for line in fields.split(b"\r\n") if line.lower().startswith(b"content-length")]
    left = int(lengths[0]) - len(content) if lengths else 0
    while left > 0:
        left -= len(client.recv(_PIECE)) or left
    text = body.encode()
    client.sendall(f"HTTP/1.1 {status}\r\ncontent-length: {len(text)}\r\nconnection: close\r\n\r\n".encode() + text)


def _pump(proxy: Proxy, source: socket.socket, target: socket.socket, way: str) -> None:
    total = 0
    with contextlib.suppress(OSError):
        while piece := source.recv(_PIECE):
            target.sendall(piece)
            total += len(piece)
            proxy.count(**{way: len(piece)})
            if proxy.rate:
                time.sleep(len(piece) / proxy.rate)
            if proxy.take_cut(total):
                break
    for end in (source, target):
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
