"""Two control planes with the CRDs and the chart's RBAC, and the operator on them under its own ServiceAccount.

On the shared one an operator works in all namespaces for the whole session: `space` is a namespace there. On the
fragile one each test starts operators of its own (`operators`), kills them, cuts their watches or the API server:
`fragile` is a namespace there. Pods are played by kwok as pods.yaml says.
"""

from __future__ import annotations

import json
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml

from localcluster.cluster import Cluster, control_plane
from localcluster.spec import ClusterSpec
from tests.integration.system.processes import ROOT, Nursery, Operator, Operators, open_nursery
from tests.integration.system.space import Plane, Space

SYSTEM = "rondo-system"
PODS = Path(__file__).with_name("pods.yaml")


@pytest.fixture(scope="session")
def nursery() -> Iterator[Nursery]:
    """Starts operators quickly."""
    with open_nursery() as opened:
        yield opened


@pytest.fixture(scope="session")
def shared_plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plane]:
    """The control plane of the session's operator."""
    with _installed("shared", tmp_path_factory.mktemp("shared")) as plane:
        yield plane


@pytest.fixture(scope="session")
def fragile_plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plane]:
    """The control plane that tests may break and that no operator works on but their own."""
    with _installed("broken", tmp_path_factory.mktemp("broken")) as plane:
        yield plane


@pytest.fixture(scope="session")
def shared_operator(
    shared_plane: Plane, nursery: Nursery, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Operator]:
    """The session's operator; it must live to the end and have no bug on the way."""
    operators = Operators(shared_plane, nursery, tmp_path_factory.mktemp("operator"))
    operator = operators.start().works()
    yield operator
    assert operator.alive, operator.said()
    operator.stop()
    assert "Traceback" not in operator.said()


@pytest.fixture
def space(shared_plane: Plane, shared_operator: Operator) -> Iterator[Space]:
    """A namespace of the test's own, in which the session's operator works."""
    assert shared_operator.alive, shared_operator.said()
    with _namespace(shared_plane) as space:
        yield space


@pytest.fixture
def fragile(fragile_plane: Plane) -> Iterator[Space]:
    """A namespace of the test's own on the fragile control plane."""
    with _namespace(fragile_plane) as space:
        yield space


@pytest.fixture
def operators(fragile_plane: Plane, nursery: Nursery, tmp_path: Path) -> Iterator[Operators]:
    """Starts operators on the fragile control plane; those that still run are killed after the test."""
    own = Operators(fragile_plane, nursery, tmp_path)
    yield own
    own.end()
    for operator in own.running:
        assert "Traceback" not in operator.said(), operator.said()


@contextmanager
def _namespace(plane: Plane) -> Iterator[Space]:
    name = f"test-{uuid.uuid4().hex[:8]}"
    plane.cluster.kubectl("create", "namespace", name)
    yield Space(plane, name)
    plane.cluster.kubectl("delete", "namespace", name, "--wait=false")


@contextmanager
def _installed(name: str, folder: Path) -> Iterator[Plane]:
    """Give a control plane with what the chart installs, but the operator's Deployment."""
    spec = ClusterSpec(name=name, fake_nodes=1, fake_stages=str(PODS), audit=True)
    with control_plane(spec) as cluster:
        cluster.kubectl("create", "namespace", SYSTEM)
        cluster.kubectl("create", *(f"--filename={file}" for file in sorted(ROOT.glob("crds/*.rondo.dev.yaml"))))
        cluster.kubectl("create", "-f", "-", stdin=_rights(cluster))
        cluster.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=30s")
        cluster.restart_component("kube-controller-manager")  # its garbage collector looks for new kinds twice a minute
        kubeconfig = folder / "kubeconfig"
        kubeconfig.write_text(_kubeconfig(cluster))
        yield Plane(cluster, kubeconfig)


def _rights(cluster: Cluster) -> str:
    """Render the chart's ServiceAccount, roles and bindings."""
    chart = [str(cluster.programs / "helm"), "template", "rondo", str(ROOT / "charts" / "rondo")]
    command = [*chart, "--namespace", SYSTEM, "--show-only", "templates/rbac.yaml", "--kube-version", "1.35"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def _kubeconfig(cluster: Cluster) -> str:
    """Write a kubeconfig for the operator's ServiceAccount."""
    ca = json.loads(cluster.kubectl("config", "view", "--raw", "-o", "json"))["clusters"][0]["cluster"]
    token = cluster.kubectl("-n", SYSTEM, "create", "token", "rondo", "--duration=2h").strip()
    return yaml.safe_dump(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "c", "cluster": ca}],
            "users": [{"name": "u", "user": {"token": token}}],
            "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
            "current-context": "x",
        }
    )
