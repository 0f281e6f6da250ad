"""`rondo watch` as a process, beside statuses that the tests write in the operator's stead."""

from __future__ import annotations

import json
import os
import queue
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import pytest

from localcluster.cluster import Cluster

CRDS = sorted((Path(__file__).parents[3] / "crds").glob("*.rondo.dev.yaml"))
RONDO = Path(sys.executable).with_name("rondo")
PATIENCE = 30.0


@pytest.fixture(scope="session", autouse=True)
def interruptible() -> Iterator[None]:
    """Let processes be interrupted, also where the tests run in a shell's background, which has them ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@dataclass
class Watch:
    """A running `rondo watch` and the lines that it has said."""

    process: subprocess.Popen[str]
    lines: queue.Queue[str] = field(default_factory=queue.Queue)

    def __post_init__(self) -> None:
        threading.Thread(target=self._pump, daemon=True).start()

    def _pump(self) -> None:
        for line in self.process.stdout or ():
            self.lines.put(line.rstrip("\n"))

    def expect(self, pattern: str) -> str:
        """Wait for a line, and give it.

        Raises:
            AssertionError: It did not come in time; with what came instead.
        """
        until, seen = time.monotonic() + PATIENCE, []
        while (left := until - time.monotonic()) > 0:
            try:
                line = self.lines.get(timeout=left)
            except queue.Empty:
                break
            if re.search(pattern, line):
                return line
            seen.append(line)
        raise AssertionError(f"no line like {pattern!r} within {PATIENCE} s, but {seen}")

    def end(self) -> int:
        """Wait for the exit code."""
        return self.process.wait(PATIENCE)


class Start(Protocol):
    """Starts `rondo watch` in a namespace."""

    def __call__(self, *arguments: str, namespace: str, cluster: Cluster = ...) -> Watch:
        """Start it."""


@pytest.fixture(scope="session")
def rondo_server(api_server: Cluster) -> Cluster:
    """The shared control plane with the CRDs and no operator."""
    return with_crds(api_server)


def with_crds(cluster: Cluster) -> Cluster:
    cluster.kubectl("apply", "--server-side", *(f"--filename={file}" for file in CRDS))
    cluster.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=30s")
    return cluster


@pytest.fixture
def watch(api_server: Cluster) -> Iterator[Start]:
    """Start `rondo watch`; it is ended with the test."""
    with ExitStack() as stack:

        def start(*arguments: str, namespace: str, cluster: Cluster = api_server) -> Watch:
            environment = {**os.environ, "KUBECONFIG": str(cluster.kubeconfig), "PYTHONUNBUFFERED": "1"}
            process = stack.enter_context(
                subprocess.Popen(
                    [RONDO, "watch", "-n", namespace, *arguments],
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    text=True,
                    env=environment,
                )
            )
            stack.callback(process.kill)
            return Watch(process)

        yield start


def create(cluster: Cluster, namespace: str, thing: Mapping[str, Any]) -> dict[str, Any]:
    """Create an object, its status too, and give what the API server made of it."""
    made: dict[str, Any] = json.loads(
        cluster.kubectl("create", "-n", namespace, "-f", "-", "-o", "json", stdin=json.dumps(thing))
    )
    if thing.get("status"):
        set_status(cluster, namespace, thing)
    return made


def set_status(cluster: Cluster, namespace: str, thing: Mapping[str, Any]) -> None:
    """Write an object's status as the operator would."""
    plural = f"{thing['kind'].lower()}s.rondo.dev"
    patch = json.dumps({"status": thing["status"]})
    name = thing["metadata"]["name"]
    cluster.kubectl("patch", plural, name, "-n", namespace, "--subresource=status", "--type=merge", "-p", patch)
