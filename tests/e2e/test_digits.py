"""The example of the README: from data to predictions."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.e2e.conftest import ROOT, Kubectl, eventually

pytestmark = pytest.mark.e2e
EXAMPLE = ROOT / "manifests" / "examples" / "digits"


def condition(kubectl: Kubectl, kind: str, name: str, type_: str) -> dict[str, str]:
    status = kubectl.get(kind, name).get("status", {})
    return next((c for c in status.get("conditions", ()) if c["type"] == type_), {})


@contextmanager
def forwarded(kubectl: Kubectl, service: str) -> Iterator[str]:
    """Forward a free local port to a Service's port 80, and give the URL."""
    command = [kubectl.program, "-n", kubectl.namespace, "port-forward", f"service/{service}", ":80"]
    environment = {**os.environ, "KUBECONFIG": str(kubectl.kubeconfig)}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            port = int(process.stdout.readline().split("127.0.0.1:")[1].split(" ")[0])
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()


def test_the_digits_example_goes_from_data_to_predictions(team: Kubectl) -> None:
    team.apply(EXAMPLE / "pipeline.yaml")
    eventually(
        "the run ends",
        lambda: condition(team, "pipelinerun", "digits-1", "Succeeded").get("status") in {"True", "False"},
        within=180,
    )
    run = team.get("pipelinerun", "digits-1")
    assert condition(team, "pipelinerun", "digits-1", "Succeeded")["status"] == "True", run["status"]["message"]
    assert run["status"]["results"]["accuracy"] > 0.95
    assert condition(team, "modeldeployment", "digits", "Ready")["status"] == "True"
    eventually("the Pipeline is Ready", lambda: condition(team, "pipeline", "digits", "Ready").get("status") == "True")
    with forwarded(team, "digits") as url:
        done = subprocess.run([sys.executable, EXAMPLE / "predict.py", url], capture_output=True, text=True, check=True)
    assert done.stdout


def test_applying_it_again_runs_nothing(team: Kubectl) -> None:
    team.apply(EXAMPLE / "pipeline.yaml")
    eventually("a run", lambda: team.items("pipelineruns"))
    team.apply(EXAMPLE / "pipeline.yaml")
    pipeline = team.get("pipeline", "digits")
    assert pipeline["metadata"]["generation"] == 1
    assert len(team.items("pipelineruns")) == 1
