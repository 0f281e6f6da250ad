"""What is left when `up` is killed in its middle: nothing after `down`, and a whole cluster after another `up`."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from localcluster import cluster, images, kind, places, processes
from localcluster.spec import ClusterSpec
from tests.localcluster.traces import gather

pytestmark = pytest.mark.localcluster

NAME = "crash"


def kill_up_at(moment: str) -> None:
    """Start `up` as a process and kill it as soon as the component runs, or as the cluster's record is there."""
    own = places.places(NAME)
    command = [sys.executable, "-m", "localcluster", "up", "--name", NAME]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as running:
        deadline = time.monotonic() + 60
        while not (own.record.exists() if moment == "record" else moment in processes.find_components(own.folder)):
            assert running.poll() is None, f"up ended before {moment}"
            assert time.monotonic() < deadline, f"no {moment}"
        running.send_signal(signal.SIGKILL)
    assert running.returncode == -signal.SIGKILL


@pytest.mark.parametrize("moment", ["record", "etcd", "kube-scheduler", "containerd", "kubelet"])
def test_down_after_a_crash_leaves_nothing(moment: str) -> None:
    before = gather(NAME)
    kill_up_at(moment)
    cluster.down(NAME)
    assert gather(NAME) == before
    assert not places.places(NAME).folder.exists()


def test_up_after_a_crash_completes_the_cluster_and_down_survives_a_crash_of_everything(pod_archive: Path) -> None:
    before = gather(NAME)
    kill_up_at("containerd")
    made = cluster.up(ClusterSpec(name=NAME))
    try:
        images.load(made.layout, str(pod_archive))
        made.kubectl("run", "sleeper", "--image=localhost/rondo-tests/pod:1", "--restart=Never", "--", "sleep", "1h")
        made.kubectl("wait", "--for=condition=Ready", "pod/sleeper", "--timeout=60s")
        # Shims and containers outlive containerd and the kubelet; only their control groups and marks tell of them.
        for process in processes.find_components(made.layout.places.folder).values():
            os.kill(process.pid, signal.SIGKILL)
    finally:
        cluster.down(NAME)
    assert gather(NAME) == before


def test_a_record_that_cannot_be_read_does_not_stop_down() -> None:
    before = gather(NAME)
    kill_up_at("kubelet")
    places.places(NAME).record.write_text("{")
    ip_forward = before.ip_forward
    cluster.down(NAME)
    after = gather(NAME)
    Path("/proc/sys/net/ipv4/ip_forward").write_text(ip_forward)
    assert (after.interfaces, after.mounts, after.cgroups, after.processes, after.files) == (
        before.interfaces,
        before.mounts,
        before.cgroups,
        before.processes,
        before.files,
    )


def test_a_dead_cluster_whose_state_is_elsewhere_does_not_stop_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = gather(NAME)
    kill_up_at("kubelet")
    processes.kill_all(places.places(NAME).folder)
    with monkeypatch.context() as patch:
        patch.setenv(places.STATE_VARIABLE, str(tmp_path))
        try:
            cluster.up(ClusterSpec(name="other"))
        finally:
            cluster.down("other")
    cluster.down(NAME)
    assert gather(NAME) == before


def test_kind_creates_and_deletes_a_whole_node(tmp_path: Path) -> None:
    before = gather(NAME)
    file = tmp_path / "kubeconfig"
    file.write_text(json.dumps({"apiVersion": "v1", "kind": "Config", "contexts": [{"name": "other", "context": {}}]}))
    assert kind.main(["create", "cluster", f"--name={NAME}", f"--kubeconfig={file}"]) == 0
    command = [str(cluster.get(NAME).programs / "kubectl"), f"--kubeconfig={file}", "get", "nodes", "--output=name"]
    assert subprocess.run(command, check=True, capture_output=True, text=True).stdout == f"node/{NAME}-control-plane\n"
    assert kind.main(["delete", "cluster", f"--name={NAME}", f"--kubeconfig={file}"]) == 0
    assert "other" in file.read_text()
    assert f"kind-{NAME}" not in file.read_text()
    assert gather(NAME) == before
