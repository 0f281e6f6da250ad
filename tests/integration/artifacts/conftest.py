"""A real S3 server, and `push` and `fetch` as the processes that run in pods."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from rondo.artifacts.command import TERMINATION_LOG
from rondo.artifacts.config import VARIABLE, Config, Input, Output
from rondo.artifacts.errors import ExitCode
from tests.s3.proxy import Proxy, proxied
from tests.s3.server import Server, running

OPERATOR = Path(__file__).parents[3] / "operator"
MEMORY = """
import atexit, os, pathlib
def tell():
    words = pathlib.Path("/proc/self/status").read_text().split()
    pathlib.Path(os.environ["MEMORY"]).write_text(words[words.index("VmHWM:") + 1])
atexit.register(tell)
"""
"""A process's own look at the most memory it held: getrusage would count that of the test, from before its exec."""


@dataclass(frozen=True)
class Ended:
    """How a process ended.

    Attributes:
        code: Its exit code.
        message: Its termination message.
        log: What it printed.
        memory: The most memory that it held, in MiB.
    """

    code: ExitCode
    message: str
    log: str
    memory: float


@dataclass
class Place:
    """A bucket, a folder `out` that a stage has written and a folder `into` for what is fetched."""

    server: Server
    root: Path
    bucket: str = field(default_factory=lambda: f"test-{uuid.uuid4().hex[:8]}")
    environment: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.objects = self.server.bucket(self.bucket)
        self.out = self.root / "out"
        self.out.mkdir()
        self.environment = self.server.environment()

    def uri(self, name: str = "model") -> str:
        return f"s3://{self.bucket}/runs/1/{name}"

    def stored(self, name: str = "model") -> Path:
        return self.objects / "runs" / "1" / name

    @property
    def into(self) -> Path:
        return self.root / "into"

    def push(self, *names: str) -> Ended:
        """Run `push` and tell it that the user's container has ended."""
        return self._run("push", self.outputs(*names))

    def outputs(self, *names: str) -> Config:
        """Give what `push` is told."""
        outputs = (Output(name, str(self.out / name), self.uri(name)) for name in names or ("model",))
        return Config(outputs=tuple(outputs))

    def fetch(self, *inputs: Input) -> Ended:
        """Run `fetch`, of what `push` stores unless it is told otherwise."""
        wanted = inputs or (Input(self.uri(), what="input /in", path=str(self.into)),)
        return self._run("fetch", Config(inputs=wanted))

    def start(self, verb: str, config: Config) -> subprocess.Popen[str]:
        environment: Mapping[str, str] = {
            VARIABLE: config.to_json(),
            TERMINATION_LOG: str(self.root / "termination-log"),
            "MEMORY": str(self.root / "memory"),
            "PYTHONPATH": f"{OPERATOR}:{self.root / 'site'}",
            "PATH": os.environ["PATH"],
            **self.environment,
        }
        (self.root / "termination-log").write_text("")
        (self.root / "site").mkdir(exist_ok=True)
        (self.root / "site" / "sitecustomize.py").write_text(MEMORY)
        command = [sys.executable, "-m", "rondo.artifacts", verb]
        return subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, bufsize=1
        )

    def _run(self, verb: str, config: Config) -> Ended:
        with self.start(verb, config) as process:
            assert process.stdout is not None
            log = ""
            if verb == "push":
                log = process.stdout.readline()
                process.send_signal(signal.SIGTERM)
            log += process.stdout.read()
            code = ExitCode(process.wait())
        memory = int((self.root / "memory").read_text()) / 1024
        return Ended(code, (self.root / "termination-log").read_text(), log, memory)


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """An S3 server for the session; each test has a bucket of its own."""
    with running(tmp_path_factory.mktemp("s3")) as server:
        yield server


@pytest.fixture
def place(server: Server, tmp_path: Path) -> Place:
    """A bucket and folders of the test's own."""
    return Place(server, tmp_path)


@pytest.fixture
def proxy(place: Place) -> Iterator[Proxy]:
    """A proxy between the processes of `place` and the server."""
    with proxied(place.server.port) as proxy:
        place.environment |= place.server.environment(proxy.port)
        yield proxy
