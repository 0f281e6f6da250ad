"""Two replicas of the operator as processes, one Lease: one works, and the other takes over."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from localcluster.cluster import Cluster
from rondo.core.plan import Ref
from rondo.core.resources import LEASE
from rondo.kube.client import Client
from rondo.runtime.leader import LEASE_SECONDS, RETRY_SECONDS
from tests.integration.runtime.harness import until
from tests.ports import free_port

ROOT = Path(__file__).parents[3]


class Replica:
    """One process of the operator."""

    def __init__(self, cluster: Cluster, namespace: str, identity: str, log: Path) -> None:
        self.identity = identity
        self.port = free_port()
        self.log = log
        environment = {
            **os.environ,
            "KUBECONFIG": str(cluster.kubeconfig),
            "PYTHONPATH": str(ROOT / "operator"),
            "RONDO_NAMESPACE": namespace,
            "RONDO_WATCH_NAMESPACES": namespace,
            "RONDO_IDENTITY": identity,
            "RONDO_PROBE_PORT": str(self.port),
        }
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "rondo.shell"], env=environment, stdout=output, stderr=output
            )

    def ask(self, path: str) -> tuple[int, str]:
        """Give the status and the text of a probe; 0 while nothing listens."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=5) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()
        except OSError:
            return 0, ""

    @property
    def leads(self) -> bool:
        """Whether it says that it leads."""
        return "leader_election_master_status 1.0" in self.ask("/metrics")[1]

    def end(self) -> None:
        """Be sure that it is gone."""
        self.process.kill()
        self.process.wait()


@pytest.fixture
def replicas(api_server: Cluster, namespace: str, tmp_path: Path) -> Iterator[tuple[Replica, Replica]]:
    """Two replicas, the first of which leads."""
    api_server.kubectl("apply", "-f", str(ROOT / "crds"))
    first = Replica(api_server, namespace, "first", tmp_path / "first.log")
    second = None
    try:
        _wait(lambda: first.leads and first.ask("/readyz")[0] == 200, first)
        second = Replica(api_server, namespace, "second", tmp_path / "second.log")
        _wait(lambda: second.ask("/readyz")[0] == 200, second)
        yield first, second
    finally:
        for each in (first, second):
            if each is not None:
                each.end()


async def test_one_leads_and_the_other_stands_by_ready(
    replicas: tuple[Replica, Replica], client: Client, namespace: str
) -> None:
    first, second = replicas
    assert await holder(client, namespace) == "first"
    assert (first.leads, second.leads) == (True, False)
    assert [each.ask("/livez")[0] for each in replicas] == [200, 200]
    first_metrics = first.ask("/metrics")[1]
    assert "workqueue_depth" in first_metrics
    assert 'rest_client_requests_total{code="200",kind="Pipeline",method="GET"}' in first_metrics


async def test_a_leader_that_is_told_to_stop_hands_over_at_once(
    replicas: tuple[Replica, Replica], client: Client, namespace: str
) -> None:
    first, second = replicas
    first.process.terminate()
    begun = time.monotonic()
    await until(lambda: second.leads, seconds=30, what="the second to lead")
    assert time.monotonic() - begun < LEASE_SECONDS - RETRY_SECONDS
    assert await asyncio.to_thread(first.process.wait, 30) == 0
    assert await holder(client, namespace) == "second"


async def test_a_leader_that_hangs_is_succeeded_and_ends_when_it_wakes(
    replicas: tuple[Replica, Replica], client: Client, namespace: str
) -> None:
    first, second = replicas
    first.process.send_signal(signal.SIGSTOP)
    await until(lambda: second.leads, seconds=3 * LEASE_SECONDS, what="the second to lead")
    assert await holder(client, namespace) == "second"
    first.process.send_signal(signal.SIGCONT)
    assert await asyncio.to_thread(first.process.wait, 30) == 1
    assert second.leads
    assert "; ending" in first.log.read_text()


async def holder(client: Client, namespace: str) -> Any:
    """Give who holds the Lease."""
    lease = await client.get(Ref(LEASE, namespace, "rondo"))
    return None if lease is None else lease["spec"]["holderIdentity"]


def _wait(condition: Any, replica: Replica) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert replica.process.poll() is None, replica.log.read_text()
        assert time.monotonic() < deadline, replica.log.read_text()
        time.sleep(0.05)
