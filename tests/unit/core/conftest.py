"""The in-memory cluster and its operator."""

from __future__ import annotations

import pytest

from tests.unit.core.cluster import Cluster, Operator


@pytest.fixture
def cluster() -> Cluster:
    return Cluster()


@pytest.fixture
def operator(cluster: Cluster) -> Operator:
    return Operator(cluster)
