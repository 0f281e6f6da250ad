"""The test bed: a control plane with fake nodes, the operator as a process of its own, and what it costs."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from localcluster.cluster import Cluster, control_plane
from localcluster.spec import ClusterSpec
from rondo.core.plan import Ref, Resource
from rondo.kube.client import Client, Selector
from rondo.kube.reflector import Reflector
from rondo.kube.session import open_connector, open_session
from tests.integration.conftest import credentials_of

ROOT = Path(__file__).resolve().parents[2]
NAMESPACE = "default"
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Cost:
    """What a process has used so far.

    Attributes:
        cpu: Seconds of CPU time.
        peak: Largest resident set so far, in MiB.
        resident: Resident set now, in MiB.
    """

    cpu: float
    peak: float
    resident: float


@dataclass
class Bed:
    """A cluster with an operator on it.

    Attributes:
        cluster: The control plane.
        client: A client of the bench's own.
        pid: The operator's process.
    """

    cluster: Cluster
    client: Client
    pid: int

    def cost(self) -> Cost:
        """Give what the operator has used so far."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rsplit(")", 1)[1].split()
        status = dict(line.split(":", 1) for line in Path(f"/proc/{self.pid}/status").read_text().splitlines())
        cpu = (int(fields[11]) + int(fields[12])) / _TICKS
        return Cost(cpu, _mebibytes(status["VmHWM"]), _mebibytes(status["VmRSS"]))

    def writes(self) -> Counter[str]:
        """Count what the operator has written so far, by verb and kind; the Lease is not among it."""
        found: Counter[str] = Counter()
        for line in self.cluster.audit_log.read_text().splitlines():
            event = json.loads(line)
            agent = event.get("userAgent", "")
            if event["stage"] != "ResponseComplete" or not agent.startswith("rondo/"):
                continue
            if event["verb"] in {"create", "update", "patch", "delete"}:
                about = event["objectRef"]
                part = f"{about['resource']}/{about['subresource']}" if "subresource" in about else about["resource"]
                found[f"{event['verb']} {part}"] += 1
        found.pop("update leases", None)
        return found


@contextlib.asynccontextmanager
async def bed(name: str, *, operator: bool = True) -> AsyncIterator[Bed]:
    """Give a fresh control plane, with the CRDs and, if wanted, a fresh operator."""
    spec = ClusterSpec(name=name, control_plane_only=True, fake_nodes=3, audit=True)
    with control_plane(spec) as cluster:
        cluster.kubectl("apply", "--server-side", "-f", str(ROOT / "crds"))
        cluster.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=30s")
        found = credentials_of(cluster)
        credentials = replace(found, headers={**found.headers, "User-Agent": "bench"})
        connector = open_connector(credentials)
        async with open_session(credentials, connector) as session:
            client = Client(session, credentials.server)
            if not operator:
                yield Bed(cluster, client, 0)
            else:
                async with _operator(cluster) as pid:
                    yield Bed(cluster, client, pid)
        await connector.close()


@contextlib.asynccontextmanager
async def _operator(cluster: Cluster) -> AsyncIterator[int]:
    environment = {
        **os.environ,
        "KUBECONFIG": str(cluster.kubeconfig),
        "RONDO_LEADER_ELECTION": "false",
        "RONDO_PROBE_PORT": "0",
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "rondo.shell", env=environment, stderr=asyncio.subprocess.PIPE
    )
    assert process.stderr is not None
    async for line in process.stderr:
        if b"synced" in line:
            break
    drain = asyncio.create_task(process.stderr.read())
    try:
        yield process.pid
    finally:
        process.terminate()
        await process.wait()
        drain.cancel()


class Watcher:
    """Sees every object of a kind, and wakes who waits for one."""

    def __init__(self, client: Client, resource: Resource) -> None:
        self.seen: dict[str, dict[str, Any]] = {}
        self._news = asyncio.Event()
        self._reflector = Reflector(client, Selector(resource, NAMESPACE), self)

    @contextlib.asynccontextmanager
    async def watching(self) -> AsyncIterator[Watcher]:
        """Watch while the block runs."""
        task = asyncio.create_task(self._reflector.run())
        await self._reflector.synced.wait()
        try:
            yield self
        finally:
            task.cancel()

    def replaced(self, items: Any, version: str) -> None:  # noqa: ARG002 - a reflector's sink
        self.seen = {item["metadata"]["name"]: item for item in items}
        self._news.set()

    def stored(self, item: dict[str, Any]) -> None:
        self.seen[item["metadata"]["name"]] = item
        self._news.set()

    def deleted(self, item: dict[str, Any]) -> None:
        self.seen.pop(item["metadata"]["name"], None)
        self._news.set()

    async def changed(self) -> None:
        """Wait for the next news."""
        self._news.clear()
        await self._news.wait()


async def create_all(client: Client, resource: Resource, bodies: list[dict[str, Any]]) -> None:
    """Create objects, all at once."""
    refs = [Ref(resource, NAMESPACE, body["metadata"]["name"]) for body in bodies]
    await asyncio.gather(*(client.create(ref, body) for ref, body in zip(refs, bodies, strict=True)))


@contextlib.contextmanager
def stopwatch() -> Iterator[list[float]]:
    """Time a block; the list gets the seconds."""
    taken: list[float] = []
    begun = time.perf_counter()
    yield taken
    taken.append(time.perf_counter() - begun)


def _mebibytes(text: str) -> float:
    return int(text.split(maxsplit=1)[0]) / 1024
