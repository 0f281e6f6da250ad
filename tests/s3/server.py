"""versitygw as a process of the tests."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from localcluster import certificates, toolchain
from tests.ports import free_port

KEY = "rondo-test"
SECRET = "rondo-test-secret"  # noqa: S105 (of a server that lives as long as a test)
DEADLINE = 30.0


def program() -> Path:
    """Give the server's program, built on first use."""
    package = "github.com/versity/versitygw/cmd/versitygw"
    return toolchain.tool(Path(__file__).parent, "versitygw", package, lambda text: print(text, file=sys.stderr))


@dataclass(frozen=True)
class Server:
    """A running server.

    Attributes:
        port: Where it listens on 127.0.0.1.
        root: Its folder: a bucket is a folder in it, an object a file.
        authority: Certificate of the authority that has signed the server's own, if it speaks TLS.
    """

    port: int
    root: Path
    authority: Path | None = None

    def bucket(self, name: str) -> Path:
        """Make a bucket and give its folder."""
        folder = self.root / name
        folder.mkdir()
        return folder

    def environment(self, port: int | None = None) -> dict[str, str]:
        """Give what a Secret holds to reach it, perhaps through a proxy at another port."""
        return {
            "AWS_ACCESS_KEY_ID": KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_ENDPOINT_URL": f"{'http' if self.authority is None else 'https'}://127.0.0.1:{port or self.port}",
            "AWS_REGION": "us-east-1",
        }


@contextlib.contextmanager
def running(folder: Path, *, tls: bool = False) -> Iterator[Server]:
    """Run a server whose files are in a folder until the block ends."""
    root = folder / "buckets"
    root.mkdir()
    port = free_port()
    command = [str(program()), f"--port=127.0.0.1:{port}"]
    if tls:
        certificates.issue(folder, [certificates.Certificate("server", "server", names=("IP:127.0.0.1",))])
        command += [f"--cert={folder / 'server.crt'}", f"--key={folder / 'server.key'}"]
    command += ["posix", str(root)]
    keys = {"ROOT_ACCESS_KEY": KEY, "ROOT_SECRET_KEY": SECRET}
    with (folder / "log").open("wb") as log, subprocess.Popen(command, env=keys, stdout=log, stderr=log) as process:
        try:
            _await_listener(port, process, folder / "log")
            yield Server(port, root, folder / "ca.crt" if tls else None)
        finally:
            process.terminate()


def _await_listener(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + DEADLINE
    while True:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=5):
            return
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < end, log.read_text()
        time.sleep(0.02)
