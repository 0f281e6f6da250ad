"""The test bed: a control plane with fake nodes, the operator as a process of its own, and what it costs."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator, Set
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import aiohttp
from prometheus_client.parser import text_string_to_metric_families

from localcluster.cluster import Cluster, control_plane
from localcluster.spec import ClusterSpec
from rondo.core.plan import Object, Ref, Resource
from rondo.core.resources import JOB
from rondo.kube.client import Client, Selector
from rondo.kube.reflector import Reflector
from rondo.kube.session import open_connector, open_session
from tests.integration.conftest import credentials_of
from tests.ports import free_port

ROOT = Path(__file__).resolve().parents[2]
AGENT: Final = "bench"
NAMESPACES: Final = Resource("", "v1", "Namespace", "namespaces", namespaced=False)
SERVICE_ACCOUNTS: Final = Resource("", "v1", "ServiceAccount", "serviceaccounts")
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Cost:
    """What the operator has used so far.

    Attributes:
        cpu: Seconds of CPU time.
        peak: Largest resident set so far, in MiB.
        resident: Resident set now, in MiB.
        reconciles: How often it has looked at a run.
    """

    cpu: float
    peak: float
    resident: float
    reconciles: int


@dataclass(frozen=True)
class Operator:
    """The operator's process.

    Attributes:
        pid: The process.
        port: Where it serves its metrics.
        synced: Seconds from its start until it had listed everything.
    """

    pid: int
    port: int
    synced: float

    async def cost(self) -> Cost:
        """Give what the operator has used so far."""
        return Cost(*_used(self.pid), await self._reconciles())

    async def _reconciles(self) -> int:
        async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{self.port}/metrics") as answer:
            families = text_string_to_metric_families(await answer.text())
        samples = [each for family in families for each in family.samples]
        return int(
            sum(
                each.value
                for each in samples
                if each.name == "controller_runtime_reconcile_total" and each.labels["controller"] == "PipelineRun"
            )
        )


@dataclass
class Bed:
    """A control plane.

    Attributes:
        cluster: Its processes.
        client: A client of the bench's own.
    """

    cluster: Cluster
    client: Client

    @contextlib.asynccontextmanager
    async def operator(self) -> AsyncIterator[Operator]:
        """Run the operator, once it has listed everything, while the block runs."""
        port = free_port()
        compiled = self.cluster.layout.places.folder / "compiled"  # as in the image, where modules are compiled
        environment = {
            **{name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"},
            "PYTHONPYCACHEPREFIX": str(compiled),
            "KUBECONFIG": str(self.cluster.kubeconfig),
            "RONDO_LEADER_ELECTION": "false",
            "RONDO_PROBE_PORT": str(port),
        }
        begun = time.perf_counter()
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "rondo.shell", env=environment, stderr=asyncio.subprocess.PIPE
        )
        assert process.stderr is not None
        said = b""
        async for line in process.stderr:
            said += line
            if b"synced" in line:
                break
        else:
            raise RuntimeError(f"the operator has ended: {said.decode()}")
        drain = asyncio.create_task(process.stderr.read())
        try:
            yield Operator(process.pid, port, time.perf_counter() - begun)
        finally:
            process.terminate()
            await process.wait()
            drain.cancel()

    async def namespace(self, name: str) -> str:
        """Make a namespace in which pods can be created."""
        body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
        await self.client.create(Ref(NAMESPACES, "", name), body)
        there = asyncio.Event()
        async with watching(self.client, SERVICE_ACCOUNTS, name, lambda _: there.set()):
            await there.wait()
        return name

    async def settled(self, namespace: str) -> None:
        """Wait until the Job controller has done with all Jobs of a namespace."""
        open_: set[str] = set()
        over = asyncio.Event()

        def see(job: Object) -> None:
            name = job["metadata"]["name"]
            (open_.discard if "completionTime" in job["status"] else open_.add)(name)
            (over.clear if open_ else over.set)()

        if (await self.client.list(Selector(JOB, namespace))).items:
            async with watching(self.client, JOB, namespace, see):
                await over.wait()


@contextlib.asynccontextmanager
async def bed(name: str) -> AsyncIterator[Bed]:
    """Give a fresh control plane with the CRDs."""
    spec = ClusterSpec(name=name, control_plane_only=True, fake_nodes=3, audit=True)
    with control_plane(spec) as cluster:
        cluster.kubectl("apply", "--server-side", "-f", str(ROOT / "crds"))
        cluster.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=30s")
        found = credentials_of(cluster)
        credentials = replace(found, headers={**found.headers, "User-Agent": AGENT})
        connector = open_connector(credentials)
        async with open_session(credentials, connector) as session:
            yield Bed(cluster, Client(session, credentials.server))
        await connector.close()


@dataclass(frozen=True)
class _Sink:
    """Passes on every object that a reflector sees, but for deletions."""

    see: Callable[[Object], None]

    def stored(self, item: dict[str, Any]) -> None:
        self.see(item)

    def listed(self, uids: Set[str], version: str) -> None:
        """Nothing waits for what is not there."""

    def deleted(self, item: dict[str, Any]) -> None:
        """Nothing waits for an end."""


@contextlib.asynccontextmanager
async def watching(
    client: Client, resource: Resource, namespace: str, see: Callable[[Object], None]
) -> AsyncIterator[None]:
    """Have every view of the objects of a kind seen while the block runs."""
    reflector = Reflector(client, Selector(resource, namespace), _Sink(see))
    task = asyncio.create_task(reflector.run())
    await reflector.synced.wait()
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def create_all(client: Client, resource: Resource, namespace: str, bodies: list[dict[str, Any]]) -> None:
    """Create objects, all at once."""
    refs = [Ref(resource, namespace, body["metadata"]["name"]) for body in bodies]
    await asyncio.gather(*(client.create(ref, body) for ref, body in zip(refs, bodies, strict=True)))


@contextlib.contextmanager
def stopwatch() -> Iterator[list[float]]:
    """Time a block; the list gets the seconds."""
    taken: list[float] = []
    begun = time.perf_counter()
    yield taken
    taken.append(time.perf_counter() - begun)


def busy_by_others(seconds: float = 1.0) -> float:
    """Give the share of the machine's CPUs that was busy for a while in which this process only slept."""
    before = _ticks()
    time.sleep(seconds)
    busy, total = (after - then for after, then in zip(_ticks(), before, strict=True))
    return busy / total


def _used(pid: int) -> tuple[float, float, float]:
    """Give seconds of CPU time, largest and present resident set of a process."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return (int(fields[11]) + int(fields[12])) / _TICKS, _mebibytes(status["VmHWM"]), _mebibytes(status["VmRSS"])


def _ticks() -> tuple[int, int]:
    """Give the ticks that all CPUs together were busy, and all of them."""
    fields = [int(field) for field in Path("/proc/stat").read_text().splitlines()[0].split()[1:]]
    return sum(fields) - fields[3] - fields[4], sum(fields)


def _mebibytes(text: str) -> float:
    return int(text.split(maxsplit=1)[0]) / 1024
