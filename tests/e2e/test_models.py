"""Model deployments on a real kubelet: what does not serve says why, and what was changed by hand is put back."""

from __future__ import annotations

from typing import Any

import pytest

from rondo.api.base import API_VERSION
from tests.e2e.conftest import Kubectl, eventually
from tests.e2e.test_troubles import finished, run_of

pytestmark = pytest.mark.e2e

TRAIN = """#!/usr/bin/env python3
import joblib, pathlib
from sklearn.dummy import DummyClassifier
pathlib.Path("/out/model").mkdir()
joblib.dump(DummyClassifier(strategy="constant", constant=ANSWER).fit([[0], [1]], [7, 8]), "/out/model/model.joblib")
"""


def model(name: str, **spec: Any) -> dict[str, Any]:
    return {"apiVersion": API_VERSION, "kind": "ModelDeployment", "metadata": {"name": name}, "spec": spec}


def ready(kubectl: Kubectl, name: str) -> dict[str, str]:
    status = kubectl.get("modeldeployment", name).get("status", {})
    return next((c for c in status.get("conditions", ()) if c["type"] == "Ready"), {})


def release(kubectl: Kubectl, run: str, answer: int) -> dict[str, Any]:
    """Train a model that always gives one answer, and deploy it as `constant`."""
    runtime = kubectl.get("modelruntime", "sklearn")
    image = runtime["spec"]["server"]["image"]
    train = {
        "name": "train",
        "job": {"image": image, "script": TRAIN.replace("ANSWER", str(answer))},
        "outputs": [{"name": "model", "path": "/out/model"}],
    }
    spec = {"model": {"uri": "$(stages.train.outputs.model)"}, "runtime": "sklearn"}
    deploy = {"name": "release", "deploy": {"name": "constant", "spec": spec}}
    kubectl.apply(run_of(kubectl, run, train, deploy, defaults={}))
    return finished(kubectl, run, within=120)


@pytest.mark.parametrize(
    ("spec", "want_reason", "want_words"),
    [
        (
            {"runtime": "sklern", "model": {"uri": "pvc://a/b"}},
            "RuntimeNotFound",
            "there is no ModelRuntime sklern (did you mean sklearn?)",
        ),
        ({"runtime": "sklearn"}, "WaitingForModel", "spec.model is not set yet"),
        (
            {"runtime": "sklearn", "model": {"uri": "pvc://nosuch/x"}},
            "Unschedulable",
            'persistentvolumeclaim "nosuch" not found',
        ),
        (
            {"runtime": "sklearn", "args": ["x"], "model": {"uri": "pvc://a/b"}},
            "FieldNotAllowed",
            "spec.args: ModelRuntime sklearn does not allow it",
        ),
    ],
)
def test_what_cannot_serve_says_why(team: Kubectl, spec: dict[str, Any], want_reason: str, want_words: str) -> None:
    team.apply(model("m", **spec))
    said = eventually(
        "it says why", lambda: ready(team, "m") if ready(team, "m").get("reason") == want_reason else None
    )
    assert said["status"] == "False"
    assert want_words in said["message"]


def test_a_model_is_served_replaced_scaled_and_put_back(team: Kubectl) -> None:
    status = release(team, "first", 7)
    assert status["message"] == "2/2 stages succeeded"
    before = team.get("deployment", "constant")["spec"]["template"]

    team("scale", "modeldeployment", "constant", "--replicas=2")
    eventually("two are ready", lambda: team.get("modeldeployment", "constant")["status"].get("readyReplicas") == 2)
    assert team.get("deployment", "constant")["spec"]["template"] == before

    team("delete", "deployment", "constant")
    eventually("it is put back", lambda: team.get("deployment", "constant"))
    eventually("and Ready again", lambda: ready(team, "constant").get("status") == "True")
    team("set", "image", "deployment/constant", "main=nosuch:1")
    eventually("the edit is undone", lambda: team.get("deployment", "constant")["spec"]["template"] == before)

    # The second release reaches the same target by the same field manager: runs in place share it.
    status = release(team, "second", 8)
    assert status["message"] == "2/2 stages succeeded"
    assert len(team.get("modeldeployment", "constant")["status"]["revisions"]) == 2

    # A missing model keeps the old pods serving, and says so.
    patch = '{"spec": {"model": {"uri": "pvc://rondo-artifacts/no/such"}}}'
    team("patch", "modeldeployment", "constant", "--type=merge", "-p", patch)
    said = eventually(
        "it says why",
        lambda: ready(team, "constant") if ready(team, "constant").get("reason") == "ModelMissing" else None,
    )
    assert said["status"] == "False"
    assert "pvc://rondo-artifacts/no/such does not exist" in said["message"]
    assert team.get("deployment", "constant")["status"]["availableReplicas"] == 2


def test_deleting_the_pipeline_leaves_the_model_serving(team: Kubectl) -> None:
    release(team, "only", 7)
    team("delete", "pipelinerun", "only", "--wait=true", "--timeout=30s")
    eventually("its pods are gone", lambda: not team.items("pods", "-l", "rondo.dev/run=only"))
    assert ready(team, "constant")["status"] == "True"
