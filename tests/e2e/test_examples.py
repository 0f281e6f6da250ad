"""The examples of single capabilities, applied as they are, and read as a user would."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from rondo.api.base import API_VERSION
from tests.e2e.conftest import ROOT, Kubectl, eventually

pytestmark = pytest.mark.e2e
SLEEP = "trap 'exit 1' TERM; sleep 300 & wait"
EXAMPLES = ROOT / "manifests" / "examples"


def ended(kubectl: Kubectl, run: str, *, within: float = 120) -> dict[str, Any]:
    """Wait until a run has ended, and give its status."""

    def look() -> dict[str, Any]:
        status: dict[str, Any] = kubectl.get("pipelinerun", run).get("status", {})
        return status if "completionTime" in status else {}

    found: dict[str, Any] = eventually(f"run {run} ends", look, within=within)
    return found


def states(status: dict[str, Any]) -> dict[str, str]:
    return {stage["name"]: stage["state"] for stage in status["stages"]}


def stage_of(status: dict[str, Any], name: str) -> dict[str, Any]:
    return next(stage for stage in status["stages"] if stage["name"] == name)


def log_of(kubectl: Kubectl, run: str, stage: str) -> str:
    return kubectl("logs", "--selector", f"rondo.dev/run={run},rondo.dev/stage={stage}", "--container=main")


def run_of(pipeline: str, name: str, **spec: Any) -> dict[str, Any]:
    body = {"pipeline": {"name": pipeline}, **spec}
    return {"apiVersion": API_VERSION, "kind": "PipelineRun", "metadata": {"name": name}, "spec": body}


def test_search_picks_the_best_model_and_serves_it(team: Kubectl) -> None:
    team.apply(EXAMPLES / "search" / "pipeline.yaml")
    status = ended(team, "search-1", within=240)
    assert set(states(status).values()) == {"Succeeded"}, status["message"]
    train = stage_of(status, "train")
    assert train["message"] == "3 of 3 items succeeded"
    best = train["fanOut"]["best"]
    assert best["results"]["accuracy"] == max(train["fanOut"]["statistics"]["accuracy"]["max"], 0.95)
    assert status["results"] == {"accuracy": best["results"]["accuracy"], "tried": 3}
    per_digit = stage_of(status, "per-digit")
    assert per_digit["fanOut"]["perItem"] == "Index"
    assert len(per_digit["results"]["recall"]) == 10
    assert min(per_digit["results"]["recall"]) > 0.9
    model = team.get("modeldeployment", "search")
    assert model["spec"]["model"]["uri"] == best["outputs"]["model"]["uri"]
    records = team.items("configmaps", "--selector=rondo.dev/stage=train")
    assert sorted(records[0]["data"]) == ["0", "1", "2"]


def test_nightly_skips_what_is_not_needed_and_reports(team: Kubectl) -> None:
    team.apply(EXAMPLES / "flow" / "pipeline.yaml")
    status = ended(team, "nightly-1")
    assert states(status) == {
        "check": "Succeeded", "train": "Skipped", "publish": "Succeeded", "benchmark": "Failed",
        "cool-down": "Succeeded", "alert": "Skipped", "report": "Succeeded",
    }  # fmt: skip
    assert status["message"] == ("4/7 stages succeeded, 2 skipped; benchmark failed, which continueOnFailure allows")
    assert log_of(team, "nightly-1", "publish") == "version 1 it is\n"
    assert log_of(team, "nightly-1", "report") == "the run has Succeeded, train is Skipped\n"


def test_a_run_with_other_params_takes_the_other_way(team: Kubectl) -> None:
    manifest = yaml.safe_load((EXAMPLES / "flow" / "pipeline.yaml").read_text())
    manifest["spec"]["run"] = {"trigger": "Manual"}
    team.apply(manifest, run_of("nightly", "forced", params={"force": True}))
    status = ended(team, "forced")
    assert states(status)["train"] == "Succeeded"
    assert log_of(team, "forced", "publish") == "version 2 it is\n"


def test_pause_resume_cancel_and_retry_by_kubectl(team: Kubectl) -> None:
    """A user pauses a run, lets it go on, cancels it, and has what was left done by a retry."""
    stages = [
        {"name": "a", "job": {"image": "rondo-sklearn:dev", "script": "echo done"}},
        {"name": "b", "needs": ["a"], "job": {"image": "rondo-sklearn:dev", "script": SLEEP}},
        {"name": "c", "needs": ["b"], "job": {"image": "rondo-sklearn:dev", "script": "echo never"}},
    ]  # fmt: skip
    final = [{"name": "bye", "job": {"image": "rondo-sklearn:dev", "script": 'echo "$STATE"'}}]
    final[0]["job"]["env"] = [{"name": "STATE", "value": "$(run.state)"}]  # type: ignore[index]
    spec = {"run": {"trigger": "Manual"}, "stages": stages, "finally": final}
    pipeline = {"apiVersion": API_VERSION, "kind": "Pipeline", "metadata": {"name": "p"}, "spec": spec}
    team.apply(pipeline, run_of("p", "first", state="Paused"))

    def says(reason: str) -> bool:
        conditions = team.get("pipelinerun", "first").get("status", {}).get("conditions", ())
        return any(c["type"] == "Succeeded" and c["reason"] == reason for c in conditions)

    def set_state(state: str) -> None:
        team("patch", "pipelinerun", "first", "--type=merge", "--patch", f'{{"spec":{{"state":"{state}"}}}}')

    eventually("the run is paused", lambda: says("Paused"))
    assert not team.items("jobs")
    set_state("Running")
    eventually("b runs", lambda: stage_of(team.get("pipelinerun", "first")["status"], "b").get("state") == "Running")
    set_state("Cancelled")
    status = ended(team, "first")
    assert states(status) == {"a": "Succeeded", "b": "Cancelled", "c": "Skipped", "bye": "Succeeded"}
    assert status["message"].startswith("cancelled by spec.state")
    assert log_of(team, "first", "bye") == "Cancelled\n"
    team.apply(run_of("p", "again", retryOf="first"))
    eventually("b runs again", lambda: team.items("pods", "--selector=rondo.dev/run=again,rondo.dev/stage=b"))
    taken = stage_of(team.get("pipelinerun", "again")["status"], "a")
    assert (taken["reason"], taken["message"]) == ("TakenOver", "taken over from run first")
    assert not team.items("pods", "--selector=rondo.dev/run=again,rondo.dev/stage=a")


def test_batch_classifies_the_lines_of_a_file_and_puts_them_together(team: Kubectl) -> None:
    team.apply(EXAMPLES / "batch" / "pipeline.yaml")
    status = ended(team, "batch-1", within=240)
    assert set(states(status).values()) == {"Succeeded"}, status["message"]
    assert status["results"]["images"] == 1797
    assert status["results"]["accuracy"] > 0.97
    assert stage_of(status, "split")["outputs"]["shards"]["lines"] == 6
    classify = stage_of(status, "classify")
    assert (classify["fanOut"]["perItem"], classify["fanOut"]["total"]) == ("Index", 6)
    assert log_of(team, "batch-1", "merge").startswith("1797 images of 6 shards, ")


def test_a_job_gets_all_that_it_asks_for(team: Kubectl) -> None:
    team.apply(EXAMPLES / "job" / "pipeline.yaml")
    status = ended(team, "job-1")
    assert states(status) == {"everything": "Succeeded"}, status["message"]
    assert "the sidecar answers with " in log_of(team, "job-1", "everything")
    (pod,) = team.items("pods", "--selector=rondo.dev/run=job-1")
    spec = pod["spec"]
    assert (spec["serviceAccountName"], spec["priority"]) == ("trainer", 1000)
    assert spec["imagePullSecrets"] == [{"name": "registry"}]
    assert {"key": "dedicated", "operator": "Equal", "value": "training", "effect": "NoSchedule"} in spec["tolerations"]
    assert pod["metadata"]["annotations"]["example.com/team"] == "vision"
