"""`rondo watch` on a real API server: what it says, when it ends, and with which exit code."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from localcluster.cluster import Cluster
from rondo.api.pipeline import LastRun
from rondo.api.pipelinerun import StageState
from tests.integration.cli.conftest import RONDO, Start, create, set_status, with_crds
from tests.unit.cli import builders
from tests.unit.cli.builders import done, ended, running, said, stage

COLOURS = re.compile(r"\x1b\[[0-9;]*m")
JOB = {"image": "x", "command": ["true"]}
STAGES = {"stages": [{"name": "train", "job": JOB}]}


def a_run(thing: dict[str, Any]) -> dict[str, Any]:
    """Give an object a spec that the API server accepts, and only the metadata that people write."""
    specs = {
        "PipelineRun": {"pipeline": {"spec": STAGES}},
        "Pipeline": STAGES,
        "ModelDeployment": {"runtime": "sklearn"},
    }
    metadata = {key: value for key, value in thing["metadata"].items() if key in {"name", "annotations"}}
    return {**thing, "metadata": metadata, "spec": specs[thing["kind"]]}


NEW = a_run({**builders.run(), "status": {}})
RUNNING = a_run(builders.run(running("train"), message="0/1 stages done; train running"))
SUCCEEDED = a_run(ended("True", "1/1 stages succeeded", done("train", 7)))
FAILED = a_run(
    ended("False", "0/1 stages succeeded; train failed: exit code 3", stage("train", StageState.FAILED, attempt=1))
)


def test_follows_a_run_to_its_end(rondo_server: Cluster, namespace: str, watch: Start) -> None:
    create(rondo_server, namespace, NEW)
    shown = watch("digits-1", namespace=namespace)
    shown.expect("^digits-1 Pending: the operator has not looked at it yet$")
    set_status(rondo_server, namespace, RUNNING)
    shown.expect("^digits-1/train Running$")
    set_status(rondo_server, namespace, SUCCEEDED)
    shown.expect("^digits-1/train Succeeded after 7s$")
    shown.expect("^digits-1 Succeeded after 1m00s: 1/1 stages succeeded$")
    assert shown.end() == 0


def test_a_failed_run_is_exit_code_1(rondo_server: Cluster, namespace: str, watch: Start) -> None:
    create(rondo_server, namespace, FAILED)
    shown = watch(namespace=namespace)
    shown.expect("^digits-1 Failed after 1m00s: 0/1 stages succeeded; train failed: exit code 3$")
    assert shown.end() == 1


@pytest.mark.parametrize(
    ("status", "reason", "words", "code"),
    [("True", "Ready", "1/1 pods serve", 0), ("False", "ImagePull", "cannot pull image y", 1)],
)
def test_waits_for_what_the_run_deployed(
    rondo_server: Cluster, namespace: str, watch: Start, status: str, reason: str, words: str, code: int
) -> None:
    uid = create(rondo_server, namespace, SUCCEEDED)["metadata"]["uid"]
    deployed = a_run(builders.deployment(deployed_by=f"digits-1/release/{uid}"))
    waiting = builders.deployment(said("Ready", "False", "NotReady", "0/1 pods"))["status"]
    create(rondo_server, namespace, {**deployed, "status": waiting})
    shown = watch("digits-1", namespace=namespace)
    shown.expect("^ModelDeployment digits Progressing: 0/1 pods$")
    over = builders.deployment(said("Ready", status, reason, words), said("Stalled", str(status == "False"), reason))
    set_status(rondo_server, namespace, {**deployed, "status": over["status"]})
    shown.expect(f"^ModelDeployment digits (Ready|Stalled): {words}$")
    assert shown.end() == code


def test_of_a_pipeline_the_run_of_the_spec_as_it_is_now(rondo_server: Cluster, namespace: str, watch: Start) -> None:
    create(rondo_server, namespace, {**a_run(builders.pipeline()), "status": {}})
    shown = watch("digits", namespace=namespace)
    shown.expect("^waiting for the operator to look at generation 1 of Pipeline digits$")
    create(rondo_server, namespace, SUCCEEDED)
    ready = builders.pipeline(said("Ready", "True", "Idle"), last_run=LastRun(name="digits-1"))
    set_status(rondo_server, namespace, a_run(ready))
    shown.expect("^digits-1 Succeeded")
    assert shown.end() == 0


def test_a_run_that_is_deleted_ends_it(rondo_server: Cluster, namespace: str, watch: Start) -> None:
    create(rondo_server, namespace, RUNNING)
    shown = watch("run/digits-1", namespace=namespace)
    shown.expect("^digits-1/train Running$")
    rondo_server.kubectl("delete", "pipelinerun", "digits-1", "-n", namespace)
    shown.expect("^rondo: PipelineRun digits-1 was deleted$")
    assert shown.end() == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nobody"], "there is no Pipeline, PipelineRun, ModelGraph or ModelDeployment nobody in namespace "),
        (["pipeline/nobody"], "there is no Pipeline nobody in namespace "),
        ([], "there is no PipelineRun in namespace "),
    ],
)
@pytest.mark.usefixtures("rondo_server")
def test_what_is_not_there(namespace: str, watch: Start, arguments: list[str], words: str) -> None:
    shown = watch(*arguments, namespace=namespace)
    shown.expect(f"^rondo: {words}{namespace}$")
    assert shown.end() == 2


def test_without_rights_it_names_what_is_missing(
    rondo_server: Cluster, namespace: str, watch: Start, tmp_path: Path
) -> None:
    config = json.loads(rondo_server.kubectl("config", "view", "--raw", "--flatten", "-o", "json"))
    token = rondo_server.kubectl("create", "token", "default", "-n", namespace).strip()
    config["users"][0]["user"] = {"token": token}
    file = tmp_path / "kubeconfig"
    file.write_text(json.dumps(config))
    shown = watch("digits", f"--kubeconfig={file}", namespace=namespace)
    shown.expect(f"^rondo: you may not read pipelines.rondo.dev in namespace {namespace}; the role view allows it$")
    assert shown.end() == 2


def test_an_api_server_that_goes_away_and_comes_back(fragile_api_server: Cluster, watch: Start) -> None:
    with_crds(fragile_api_server)
    create(fragile_api_server, "default", RUNNING)
    shown = watch("digits-1", namespace="default", cluster=fragile_api_server)
    shown.expect("^digits-1/train Running$")
    fragile_api_server.stop_component("kube-apiserver")
    shown.expect("^the API server does not answer: .*; trying again$")
    fragile_api_server.start_component("kube-apiserver")
    set_status(fragile_api_server, "default", SUCCEEDED)
    shown.expect("^digits-1 Succeeded")
    assert shown.end() == 0


def on_a_terminal(cluster: Cluster, namespace: str, *, interrupt_at: str = "") -> tuple[int, str]:
    """Run `rondo watch digits-1` on a terminal; give its exit code and all that it wrote."""
    own, its = pty.openpty()
    environment = {**os.environ, "KUBECONFIG": str(cluster.kubeconfig), "TERM": "xterm", "COLUMNS": "90", "LINES": "20"}
    command = [str(RONDO), "watch", "-n", namespace, "digits-1"]
    with subprocess.Popen(command, stdin=its, stdout=its, stderr=its, env=environment) as process:
        os.close(its)
        written = b""
        while chunk := _read(own):
            written += chunk
            if interrupt_at and interrupt_at in written.decode(errors="replace"):
                process.send_signal(signal.SIGINT)
                interrupt_at = ""
    os.close(own)
    return process.returncode, written.decode()


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 4096)
    except OSError:  # how Linux says that the other end is closed
        return b""


def test_a_terminal_gets_a_tree(rondo_server: Cluster, namespace: str) -> None:
    create(rondo_server, namespace, SUCCEEDED)
    code, written = on_a_terminal(rondo_server, namespace)
    assert code == 0
    assert re.search(r"^└─ train +✔ Succeeded +7s", COLOURS.sub("", written), re.MULTILINE)


def test_an_interrupt_leaves_the_terminal_as_it_was(rondo_server: Cluster, namespace: str) -> None:
    create(rondo_server, namespace, RUNNING)
    code, written = on_a_terminal(rondo_server, namespace, interrupt_at="train")
    assert code == 130
    assert written.rindex("\x1b[?25h") > written.rindex("\x1b[?25l")
    assert "Traceback" not in written
