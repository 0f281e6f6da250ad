"""Control planes alone: real processes, several side by side, and the faults that tests of the operator provoke."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from localcluster import places, processes
from localcluster.cluster import Cluster, control_plane, down, names, up
from localcluster.errors import LocalClusterError
from localcluster.spec import ClusterSpec

pytestmark = pytest.mark.localcluster

JOB = {
    "apiVersion": "batch/v1",
    "kind": "Job",
    "metadata": {"name": "job"},
    "spec": {
        "completions": 3,
        "parallelism": 3,
        "template": {
            "spec": {
                "restartPolicy": "Never",
                "containers": [{"name": "main", "image": "none", "resources": {"limits": {"nvidia.com/gpu": "2"}}}],
                "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}],
            },
        },
    },
}
CLAIM = {
    "apiVersion": "v1",
    "kind": "PersistentVolumeClaim",
    "metadata": {"name": "data"},
    "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
}


@pytest.fixture(scope="module")
def with_nodes() -> Iterator[Cluster]:
    with control_plane(ClusterSpec(name="nodes", fake_nodes=2, fake_gpus=4, audit=True)) as made:
        yield made


@pytest.fixture(scope="module")
def bare() -> Iterator[Cluster]:
    with control_plane(ClusterSpec(name="bare", controllers=False)) as made:
        yield made


def test_two_stand_side_by_side_and_know_nothing_of_each_other(with_nodes: Cluster, bare: Cluster) -> None:
    with_nodes.kubectl("create", "configmap", "only-here")
    assert "only-here" not in bare.kubectl("get", "configmap", "--output=name")
    assert with_nodes.layout.ports != bare.layout.ports
    assert {with_nodes.name, bare.name} <= set(names())


def test_jobs_run_on_fake_nodes_with_fake_gpus_and_claims(with_nodes: Cluster) -> None:
    for manifest in (CLAIM, JOB):
        with_nodes.kubectl("apply", "--filename=-", stdin=json.dumps(manifest))
    with_nodes.kubectl("wait", "--for=condition=complete", "job/job", "--timeout=30s")
    claim = json.loads(with_nodes.kubectl("get", "pvc", "data", "--output=json"))
    assert claim["status"]["phase"] == "Bound"


def test_the_audit_log_tells_who_wrote_what(with_nodes: Cluster) -> None:
    with_nodes.kubectl("create", "configmap", "audited")
    events = [json.loads(line) for line in with_nodes.audit_log.read_text().splitlines()]
    written = [each for each in events if each["verb"] == "create" and each["objectRef"].get("name") == "audited"]
    assert [each["user"]["username"] for each in written] == ["admin"]


def test_authorization_is_rbac(bare: Cluster) -> None:
    with pytest.raises(LocalClusterError, match="Forbidden"):
        bare.kubectl("get", "pods", "--as=somebody")


def test_up_again_changes_nothing_and_says_so(with_nodes: Cluster) -> None:
    said: list[str] = []
    before = {each.pid for each in processes.find_all(with_nodes.layout.places.folder)}
    assert up(with_nodes.layout.spec, said.append) == with_nodes
    assert said == [f"cluster {with_nodes.name!r} is already running"]
    assert {each.pid for each in processes.find_all(with_nodes.layout.places.folder)} == before


def test_up_with_another_spec_is_refused_by_field(with_nodes: Cluster) -> None:
    wanted = ClusterSpec(name=with_nodes.name, control_plane_only=True, fake_nodes=5, fake_gpus=4, audit=True)
    with pytest.raises(LocalClusterError, match="fake_nodes is 2, not 5"):
        up(wanted)


def test_up_starts_what_has_died(bare: Cluster) -> None:
    bare.stop_component("kube-apiserver")
    with pytest.raises(LocalClusterError):
        bare.kubectl("get", "namespaces")
    up(bare.layout.spec)
    assert "namespace/default" in bare.kubectl("get", "namespaces", "--output=name")


def test_a_watch_from_before_a_compaction_is_told_that_it_expired(bare: Cluster) -> None:
    old = json.loads(bare.kubectl("get", "--raw=/api/v1/configmaps"))["metadata"]["resourceVersion"]
    bare.kubectl("create", "configmap", "kept")
    assert bare.compact_etcd() > int(old)
    bare.restart_component("kube-apiserver")
    watch = f"/api/v1/configmaps?watch=1&timeoutSeconds=1&resourceVersion={old}"
    assert json.loads(bare.kubectl("get", f"--raw={watch}"))["object"]["code"] == 410
    assert "configmap/kept" in bare.kubectl("get", "configmap", "--output=name")


def test_an_unknown_component_is_told(bare: Cluster) -> None:
    with pytest.raises(LocalClusterError, match="no component 'kubelet'; it has etcd, kube-apiserver"):
        bare.restart_component("kubelet")


def test_a_component_that_dies_at_its_start_is_told_with_its_log() -> None:
    spec = ClusterSpec(name="dies", control_plane_only=True, flags={"kube-apiserver": ("--no-such-flag",)})
    started = time.monotonic()
    with pytest.raises(LocalClusterError, match=r"(?s)kube-apiserver ended at its start.*unknown flag: --no-such-flag"):
        up(spec)
    assert time.monotonic() - started < 20
    down(spec.name)
    assert not places.places(spec.name).folder.exists()


def test_down_leaves_no_process_and_no_file() -> None:
    with control_plane(ClusterSpec(name="gone", controllers=False)) as made:
        folder = made.layout.places.folder
        assert len(processes.find_all(folder)) == 2
    assert processes.find_all(folder) == []
    assert not folder.exists()
    assert made.name not in names()
    down(made.name)


def test_the_command_line_tells_the_state(with_nodes: Cluster, state_root: Path) -> None:
    command = [sys.executable, "-m", "localcluster", "status", "--name", with_nodes.name]
    result = subprocess.run(command, check=True, capture_output=True, text=True)
    assert "kwok                     running, pid " in result.stdout
    assert f"{with_nodes.name}-fake-1" in result.stdout
    assert str(state_root) in result.stdout
