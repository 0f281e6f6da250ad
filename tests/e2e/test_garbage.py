"""Artifacts that nothing refers to are removed from the claim; all else on it stays. Workspaces go when they should."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from rondo.api.base import API_VERSION
from tests.e2e.conftest import ROOT, SYSTEM, Kubectl, eventually, helm
from tests.e2e.test_examples import ended
from tests.e2e.test_troubles import image_of

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def eager(kubectl: Kubectl) -> Iterator[Kubectl]:
    """An operator that sweeps all the time, and finds everything old."""
    set_collect(kubectl, age="40s", every="5s")
    yield kubectl
    set_collect(kubectl, age="24h", every="24h")


def set_collect(kubectl: Kubectl, **values: str) -> None:
    command = [helm(), "upgrade", "rondo", str(ROOT / "charts" / "rondo"), "-n", SYSTEM, "--reuse-values", "--wait"]
    command += [part for key, value in values.items() for part in ("--set", f"artifacts.collect.{key}={value}")]
    subprocess.run(command, check=True, env={**os.environ, "KUBECONFIG": str(kubectl.kubeconfig)})


def run(name: str, *stages: dict[str, Any], image: str, **spec: Any) -> dict[str, Any]:
    pipeline = {"stages": list(stages), "defaults": {"image": image}, **spec}
    body = {"pipeline": {"spec": pipeline}}
    return {"apiVersion": API_VERSION, "kind": "PipelineRun", "metadata": {"name": name}, "spec": body}


def listing(team: Kubectl, image: str) -> str:
    """Give all files on the claim, as a stage sees them."""
    look = {
        "name": "look",
        "job": {
            "script": "find /claim -type f",
            "volumes": [{"name": "c", "persistentVolumeClaim": {"claimName": "rondo-artifacts"}}],
            "volumeMounts": [{"name": "c", "mountPath": "/claim"}],
        },
    }
    team("delete", "pipelinerun", "look", "--ignore-not-found")
    team.apply(run("look", look, image=image))
    ended(team, "look")
    return team("logs", "--selector=rondo.dev/run=look", "--container=main", "--tail=-1")


def test_only_what_nothing_refers_to_is_removed(eager: Kubectl, team: Kubectl) -> None:
    image = image_of(eager)
    store = {
        "name": "store",
        "job": {
            "script": "echo a > /out/model\necho b > /out/other\nmkdir -p /claim/mine\necho c > /claim/mine/data",
            "volumes": [{"name": "c", "persistentVolumeClaim": {"claimName": "rondo-artifacts"}}],
            "volumeMounts": [{"name": "c", "mountPath": "/claim"}],
        },
        "outputs": [{"name": "model", "path": "/out/model"}, {"name": "other", "path": "/out/other"}],
    }
    team.apply(run("r", store, image=image))
    outputs = ended(team, "r")["stages"][0]["outputs"]
    served = {"model": {"uri": outputs["model"]["uri"]}, "runtime": "sklearn", "replicas": 0}
    model = {"apiVersion": API_VERSION, "kind": "ModelDeployment", "metadata": {"name": "m"}, "spec": served}
    team.apply(model)
    team("delete", "pipelinerun", "r")

    def swept() -> bool:
        events = team.items("events", "--field-selector=reason=Swept")
        return any("removed 1 artifacts" in event.get("note", event.get("message", "")) for event in events)

    eventually("a sweep removes what nothing refers to", swept, within=180)
    files = listing(team, image)
    assert outputs["model"]["uri"].removeprefix("pvc://rondo-artifacts") in files
    assert outputs["other"]["uri"].removeprefix("pvc://rondo-artifacts") not in files
    assert "/claim/mine/data" in files


def test_a_workspace_goes_at_the_end_of_its_run(team: Kubectl, kubectl: Kubectl) -> None:
    one = {"name": "one", "job": {"script": "echo x > $RONDO_WORKSPACE/x"}}
    two = {"name": "two", "needs": ["one"], "job": {"script": "cat $RONDO_WORKSPACE/x"}}
    image = image_of(kubectl)
    for name, reclaim in (("ends", "RunEnd"), ("stays", "RunDeletion")):
        team.apply(run(name, one, two, image=image, workspace={"size": "16Mi", "reclaim": reclaim}))
    for name in ("ends", "stays"):
        conditions = ended(team, name)["conditions"]
        assert next(c for c in conditions if c["type"] == "Succeeded")["status"] == "True", conditions
    eventually("the workspace is gone", lambda: not team.items("pvc", "--selector=rondo.dev/run=ends"))
    assert len(team.items("pvc", "--selector=rondo.dev/run=stays")) == 1
