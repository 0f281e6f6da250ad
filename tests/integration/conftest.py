"""A real control plane for the tests of this folder, and what most of them need of it.

`api_server` is shared by the whole session: work in the `namespace` that each test gets and leave the rest alone.
`fragile_api_server` is for tests that cut, kill or compact it; each module that asks has one of its own. Both have the
Job controller and a fake node on which the pods of Jobs succeed at once.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import pytest_asyncio

from localcluster.cluster import Cluster, control_plane
from localcluster.spec import ClusterSpec
from rondo.kube.client import Client
from rondo.kube.session import Credentials, open_connector, open_session
from rondo.shell.login import find_credentials

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker(pytest.mark.integration)


@pytest.fixture(scope="session")
def api_server() -> Iterator[Cluster]:
    """A control plane for the session."""
    with control_plane(ClusterSpec(name="integration", fake_nodes=1)) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def fragile_api_server() -> Iterator[Cluster]:
    """A control plane that the tests of one module may break."""
    with control_plane(ClusterSpec(name="fragile", fake_nodes=1)) as cluster:
        yield cluster


@pytest.fixture
def namespace(api_server: Cluster) -> Iterator[str]:
    """A namespace of the test's own; it is deleted afterwards without waiting."""
    name = f"test-{uuid.uuid4().hex[:8]}"
    api_server.kubectl("create", "namespace", name)
    yield name
    api_server.kubectl("delete", "namespace", name, "--wait=false")


@pytest.fixture
def credentials(api_server: Cluster) -> Credentials:
    """The administrator's way to the shared control plane, found as the operator finds it."""
    return credentials_of(api_server)


@pytest_asyncio.fixture
async def client(credentials: Credentials) -> AsyncIterator[Client]:
    """A client of the shared control plane."""
    async with open_client(credentials) as opened:
        yield opened


def credentials_of(cluster: Cluster) -> Credentials:
    """Read a control plane's kubeconfig by the operator's own login."""
    before = os.environ.get("KUBECONFIG")
    os.environ["KUBECONFIG"] = str(cluster.kubeconfig)
    try:
        return find_credentials()
    finally:
        if before is None:
            del os.environ["KUBECONFIG"]
        else:
            os.environ["KUBECONFIG"] = before


@asynccontextmanager
async def open_client(credentials: Credentials) -> AsyncIterator[Client]:
    """Give a client with connections of its own until the block ends."""
    connector = open_connector(credentials)
    async with open_session(credentials, connector) as session:
        yield Client(session, credentials.server)
    await connector.close()


def restart_api_server(cluster: Cluster) -> None:
    """Kill the API server and start it again, and with it whoever else speaks to it.

    The Job controller, the scheduler and kwok would back off for up to half a minute, and a new kwok would wait for the
    old one's Lease of the node to expire, which is not what is tested.
    """
    others = ("kube-controller-manager", "kube-scheduler", "kwok")
    for name in ("kube-apiserver", *others):
        cluster.stop_component(name)
    cluster.start_component("kube-apiserver")
    cluster.kubectl("delete", "leases", "--all", "--namespace=kube-node-lease")
    with ThreadPoolExecutor() as pool:
        list(pool.map(cluster.start_component, others))
