"""The toy kind in both control planes."""

from __future__ import annotations

import uuid

import pytest

from localcluster.cluster import Cluster
from tests.integration.runtime import toys


@pytest.fixture(scope="session")
def toy_api_server(api_server: Cluster) -> Cluster:
    """The shared control plane, with the toy kind."""
    toys.install(api_server)
    return api_server


@pytest.fixture(scope="module")
def fragile_toy_server(fragile_api_server: Cluster) -> Cluster:
    """The control plane of this module, with the toy kind."""
    toys.install(fragile_api_server)
    return fragile_api_server


@pytest.fixture
def fragile_namespace(fragile_toy_server: Cluster) -> str:
    """A namespace of the test's own on the module's control plane."""
    name = f"test-{uuid.uuid4().hex[:8]}"
    fragile_toy_server.kubectl("create", "namespace", name)
    return name
