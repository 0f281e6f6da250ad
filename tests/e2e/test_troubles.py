"""What goes wrong in real pods, and what the status says of it, within seconds and by name."""

from __future__ import annotations

import json
from typing import Any

import pytest

from rondo.api.base import API_VERSION
from tests.e2e.conftest import SYSTEM, Kubectl, eventually

pytestmark = pytest.mark.e2e

SCRIPT_LARGE = "import json, os; open(os.environ['RONDO_RESULTS'], 'w').write(json.dumps({'a': 'x' * 3000}))"
NO_SECRET = {"name": "A", "valueFrom": {"secretKeyRef": {"name": "nosuch", "key": "k"}}}
NUMBER = [{"name": "a", "type": "number"}]


def volume(source: dict[str, Any]) -> dict[str, Any]:
    mounts = [{"name": "v", "mountPath": "/v"}]
    return {"job": {"command": ["true"], "volumes": [{"name": "v", **source}], "volumeMounts": mounts}}


TROUBLES: dict[str, tuple[dict[str, Any], str, str]] = {
    "image": (
        {"job": {"image": "nosuch.invalid/x:1", "command": ["x"]}},
        "ImagePull",
        "container main: cannot pull image nosuch.invalid/x:1: ",
    ),
    "image-name": (
        {"job": {"image": "Not An Image", "command": ["x"]}},
        "ImagePull",
        "cannot pull image Not An Image: ",
    ),
    "command": ({"job": {"command": ["/nosuch"]}}, "ConfigError", 'cannot start: exec: "/nosuch": '),
    "memory": (
        {"job": {"command": ["python3", "-c", "bytearray(10**9)"], "resources": {"limits": {"memory": "64Mi"}}}},
        "OOMKilled",
        "container main: killed for memory",
    ),
    "exit-code": (
        # On one stream: a runtime reads the two side by side, so their order in a log is nobody's promise.
        {"job": {"script": "exec >&2\necho first\necho the last words\nexit 3"}},
        "UserError",
        "container main: exit code 3: first\nthe last words",
    ),
    "no-result": (
        {"job": {"command": ["true"]}, "results": NUMBER},
        "ResultMissing",
        "wrote nothing to $RONDO_RESULTS",
    ),
    "not-json": (
        {"job": {"script": 'echo hello > "$RONDO_RESULTS"'}, "results": NUMBER},
        "ResultInvalid",
        "$RONDO_RESULTS is not JSON",
    ),
    "large-result": (
        {"job": {"command": ["python3", "-c", SCRIPT_LARGE]}, "results": [{"name": "a"}]},
        "ResultTooLarge",
        "2048 are allowed",
    ),
    "no-output": (
        {"job": {"command": ["true"]}, "outputs": [{"name": "m", "path": "/out/m"}]},
        "ArtifactPushFailed",
        "container push: output m: nothing was written to /out/m",
    ),
    "no-input": (
        {
            "job": {"command": ["true"]},
            "inputs": [{"from": "pvc://rondo-artifacts/no/such", "path": "/in"}],
            "needs": ["output"],
        },
        "InputMissing",
        "input /in pvc://rondo-artifacts/no/such does not exist",
    ),
    "gpu": (
        {"job": {"command": ["true"], "resources": {"limits": {"example.com/gpu": 1}}}},
        "Unschedulable",
        "Insufficient example.com/gpu",
    ),
    "no-secret": (
        {"job": {"command": ["true"], "env": [NO_SECRET]}},
        "ConfigError",
        'CreateContainerConfigError: secret "nosuch" not found',
    ),
    "volume": (volume({"secret": {"secretName": "nosuch"}}), "Volume", 'secret "nosuch" not found'),
    "claim": (
        volume({"persistentVolumeClaim": {"claimName": "nosuch"}}),
        "Unschedulable",
        'persistentvolumeclaim "nosuch" not found',
    ),
}
"""Each stage with the reason and the words that have to be told."""

WORKS = [{"name": "output", "job": {"script": "echo x > /out/m"}, "outputs": [{"name": "m", "path": "/out/m"}]}]
ECHO = """
import json, os, sys
with open(os.environ["RONDO_RESULTS"], "w") as results:
    json.dump({"env": os.environ["V"], "arg": sys.argv[1]}, results)
"""
HOSTILE = 'it\'s "quoted" \n $(rm -rf /) $(RONDO_RUN) `id`'


def image_of(kubectl: Kubectl) -> str:
    """Give an image that is surely on the node: the operator's own."""
    pods = kubectl.within(SYSTEM).items("pods", "-l", "app.kubernetes.io/name=rondo")
    image: str = pods[0]["spec"]["containers"][0]["image"]
    return image


def run_of(kubectl: Kubectl, name: str, *stages: dict[str, Any], **spec: Any) -> dict[str, Any]:
    pipeline = {"stages": list(stages), "defaults": {"image": image_of(kubectl)}, **spec}
    return {
        "apiVersion": API_VERSION,
        "kind": "PipelineRun",
        "metadata": {"name": name},
        "spec": {"pipeline": {"spec": pipeline}},
    }


def finished(kubectl: Kubectl, name: str, *, within: float = 90) -> dict[str, Any]:
    def look() -> dict[str, Any]:
        status: dict[str, Any] = kubectl.get("pipelinerun", name).get("status", {})
        return status if "completionTime" in status else {}

    return dict(eventually(f"run {name} ends", look, within=within))


@pytest.fixture(scope="module")
def troubles(kubectl: Kubectl) -> dict[str, dict[str, Any]]:
    """All troubles in one run, side by side: the statuses of its stages by name."""
    team = kubectl.within("troubles")
    kubectl("create", "namespace", "troubles")
    # One run each for what fails, because the first failure of a run keeps all else from starting.
    for name, (stage, _, _) in TROUBLES.items():
        first = WORKS if "needs" in stage else []
        team.apply(run_of(team, name, *first, {"name": name, "pendingTimeout": "20s", **stage}))
    found = {name: finished(team, name) for name in TROUBLES}
    kubectl("delete", "namespace", "troubles", "--wait=false")
    return found


@pytest.mark.parametrize("name", TROUBLES)
def test_trouble_is_told_by_name(troubles: dict[str, dict[str, Any]], name: str) -> None:
    _, want_reason, want_words = TROUBLES[name]
    status = troubles[name]
    stage = next(s for s in status["stages"] if s["name"] == name)
    succeeded = next(c for c in status["conditions"] if c["type"] == "Succeeded")
    assert stage["reason"] == want_reason, stage
    assert want_words in stage["message"]
    assert succeeded["reason"] == want_reason
    assert want_words in succeeded["message"]


def test_values_reach_a_program_as_they_are(team: Kubectl) -> None:
    stage = {
        "name": "echo",
        "job": {
            "command": [
                "python3",
                "-c",
                ECHO,
            ],
            "args": ["$(params.v)"],
            "env": [{"name": "V", "value": "$(params.v)"}],
        },
        "results": [{"name": "env"}, {"name": "arg"}],
    }
    team.apply(run_of(team, "echo", stage, params=[{"name": "v", "default": HOSTILE}]))
    status = finished(team, "echo")
    assert status["stages"][0].get("results") == {"env": HOSTILE, "arg": HOSTILE}, status["message"]


def test_a_workspace_is_shared_and_goes_with_the_run(team: Kubectl) -> None:
    stages = (
        {"name": "write", "job": {"script": "echo hello > /workspace/x"}},
        {"name": "read", "needs": ["write"], "job": {"script": "grep hello /workspace/x"}},
    )
    team.apply(run_of(team, "shared", *stages, workspace={"size": "10Mi"}))
    assert finished(team, "shared")["message"] == "2/2 stages succeeded"
    team("delete", "pipelinerun", "shared", "--wait=true", "--timeout=30s")
    eventually("the workspace is gone", lambda: not team.items("persistentvolumeclaims"))
    eventually("the pods are gone", lambda: not team.items("pods"))


def test_a_timeout_ends_an_attempt_and_its_pod(team: Kubectl) -> None:
    stage = {
        "name": "slow",
        "job": {"command": ["sleep", "600"]},
        "timeout": "8s",
        "retry": {"limit": 1, "backoff": "1s"},
    }
    team.apply(run_of(team, "slow", stage))
    status = finished(team, "slow", within=150)
    assert [a["reason"] for a in status["stages"][0]["attempts"]] == ["DeadlineExceeded", "DeadlineExceeded"]


def test_an_evicted_pod_costs_no_retry(team: Kubectl) -> None:
    team.apply(run_of(team, "evicted", {"name": "work", "job": {"script": "trap 'exit 1' TERM\nsleep 600 &\nwait"}}))
    pod = eventually("a running pod", lambda: [p for p in team.items("pods") if p["status"].get("phase") == "Running"])[
        0
    ]
    eviction = {
        "apiVersion": "policy/v1",
        "kind": "Eviction",
        "metadata": {"name": pod["metadata"]["name"], "namespace": team.namespace},
    }
    path = f"/api/v1/namespaces/{team.namespace}/pods/{pod['metadata']['name']}/eviction"
    team("create", "--raw", path, "-f", "-", stdin=json.dumps(eviction))
    stage = eventually(
        "a second attempt",
        lambda: next((s for s in team.get("pipelinerun", "evicted")["status"]["stages"] if s["attempt"] == 2), None),
        within=60,
    )
    assert stage["attempts"][0]["reason"] == "Evicted"
    assert stage["attempts"][0]["disruption"] is True
    assert "failures" not in stage
    alive = [p for p in team.items("pods") if p["status"].get("phase") in {"Pending", "Running"}]
    assert len(alive) <= 1
