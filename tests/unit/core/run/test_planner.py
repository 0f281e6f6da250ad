"""Runs from one look to the next, on the in-memory cluster."""

from __future__ import annotations

import json
from typing import Any

import pytest

from rondo.core import names
from rondo.core.plan import StatusKind
from rondo.core.resources import CONTROLLER_REVISION, JOB, MODEL_DEPLOYMENT, PIPELINE_RUN, POD
from tests.unit.core.builders import deploy, gate, inline_run, job, pipeline, run
from tests.unit.core.cluster import Cluster, Operator
from tests.unit.core.run.driver import advance, condition_of, finish, stage_of, start, status_of


def test_stages_follow_each_other_by_needs(cluster: Cluster, operator: Operator) -> None:
    start(cluster, operator, inline_run(job("b", needs=["a"]), job("a")))
    assert [names.child_name("r", "a", cluster.find(PIPELINE_RUN, "r")["metadata"]["uid"], 1)] == [
        j["metadata"]["name"] for j in cluster.of_kind(JOB)
    ]
    assert condition_of(cluster, "Succeeded")["message"].startswith("0/2 stages done; a running, pod r-a-")
    finish(cluster, operator, "a")
    assert stage_of(cluster, "a")["state"] == "Succeeded"
    assert stage_of(cluster, "b")["state"] == "Running"
    finish(cluster, operator, "b")
    assert condition_of(cluster, "Succeeded")["status"] == "True"
    assert condition_of(cluster, "Ready")["status"] == "True"
    assert condition_of(cluster, "Reconciling") == {}
    assert status_of(cluster)["progress"] == "2/2"
    assert cluster.find(PIPELINE_RUN, "r")["metadata"]["labels"][names.OUTCOME] == "Succeeded"


def test_a_finished_run_writes_nothing_more(cluster: Cluster, operator: Operator) -> None:
    start(cluster, operator, inline_run(job("a")))
    finish(cluster, operator, "a")
    written = len(cluster.writes)
    cluster.pass_time(hours=1)
    operator.restart()
    operator.settle()
    assert len(cluster.writes) == written


def test_results_are_handed_on_typed(cluster: Cluster, operator: Operator) -> None:
    stages = (
        job("train", results=[{"name": "auc", "type": "number"}]),
        gate("quality", "stages.train.results.auc >= params.min"),
        job("report", needs=["quality"], job={"args": ["$(stages.train.results.auc)", "$(params.min)"]}),
    )
    params = [{"name": "min", "type": "number", "default": 0.9}]
    start(
        cluster,
        operator,
        inline_run(*stages, params=params, results=[{"name": "auc", "value": "$(stages.train.results.auc)"}]),
    )
    finish(cluster, operator, "train", message='{"auc": 0.93}')
    assert stage_of(cluster, "quality")["state"] == "Succeeded"
    report = next(j for j in cluster.of_kind(JOB) if j["metadata"]["labels"][names.STAGE] == "report")
    assert report["spec"]["template"]["spec"]["containers"][0]["args"] == ["0.93", "0.9"]
    finish(cluster, operator, "report")
    assert status_of(cluster)["results"] == {"auc": 0.93}


def test_a_failed_gate_ends_the_run_and_says_why(cluster: Cluster, operator: Operator) -> None:
    stages = (
        job("train", results=[{"name": "auc", "type": "number"}]),
        {
            "name": "quality",
            "gate": {"checks": [{"expression": "stages.train.results.auc >= 0.9", "message": "below the bar"}]},
        },
        deploy("release", needs=["quality"]),
    )
    start(cluster, operator, inline_run(*stages))
    finish(cluster, operator, "train", message='{"auc": 0.5}')
    assert stage_of(cluster, "quality")["message"] == "below the bar (stages.train.results.auc >= 0.9)"
    assert stage_of(cluster, "release")["state"] == "Skipped"
    assert condition_of(cluster, "Succeeded")["status"] == "False"
    assert condition_of(cluster, "Stalled")["status"] == "True"
    assert cluster.of_kind(MODEL_DEPLOYMENT) == []


@pytest.mark.parametrize(
    ("message", "want_reason", "want_words"),
    [
        ("", "ResultMissing", "wrote nothing to $RONDO_RESULTS"),
        ("{}", "ResultMissing", "did not write result auc; it wrote nothing"),
        ('{"acu": 1}', "ResultMissing", "did not write result auc; it wrote acu"),
        ("auc=1", "ResultInvalid", "is not JSON"),
        ("[1]", "ResultInvalid", "is not a JSON object"),
        ('{"auc": NaN}', "ResultInvalid", "NaN is not JSON"),
        ('{"auc": "0.9"}', "ResultInvalid", "'0.9' is not a number; write it without quotes"),
        (json.dumps({"auc": "x" * 2100}), "ResultTooLarge", "2048 are allowed"),
    ],
)
def test_bad_results_fail_the_stage_by_name(
    cluster: Cluster, operator: Operator, message: str, want_reason: str, want_words: str
) -> None:
    start(cluster, operator, inline_run(job("train", results=[{"name": "auc", "type": "number"}])))
    finish(cluster, operator, "train", message=message)
    assert stage_of(cluster, "train")["reason"] == want_reason
    assert want_words in stage_of(cluster, "train")["message"]
    assert condition_of(cluster, "Succeeded")["reason"] == want_reason


def test_a_failure_is_retried_after_a_backoff_that_doubles(cluster: Cluster, operator: Operator) -> None:
    start(cluster, operator, inline_run(job("a", retry={"limit": 2, "backoff": "10s"})))
    for number, wait in ((1, 10), (2, 20)):
        finish(cluster, operator, "a", code=3, message="boom")
        assert stage_of(cluster, "a")["state"] == "Waiting"
        assert f"attempt {number} ended: pod " in stage_of(cluster, "a")["message"]
        cluster.pass_time(seconds=wait - 3)
        advance(cluster, operator)
        assert stage_of(cluster, "a")["attempt"] == number
        advance(cluster, operator)
        advance(cluster, operator)
        assert stage_of(cluster, "a")["attempt"] == number + 1
    finish(cluster, operator, "a", code=3, message="boom")
    stage = stage_of(cluster, "a")
    assert stage["state"] == "Failed"
    assert stage["failures"] == 3
    assert [a["exitCode"] for a in stage["attempts"]] == [3, 3, 3]
    assert "exit code 3: boom" in stage["message"]
    assert "failed 3 times" in stage["message"]


def test_a_clock_that_is_set_back_delays_no_attempt(cluster: Cluster, operator: Operator) -> None:
    start(cluster, operator, inline_run(job("a", retry={"limit": 1, "backoff": "10s", "maxBackoff": "1m"})))
    finish(cluster, operator, "a", code=3)
    cluster.pass_time(hours=-3)
    operator.settle()
    assert stage_of(cluster, "a")["attempt"] == 2


def test_no_attempt_starts_while_a_pod_of_the_last_is_alive(cluster: Cluster, operator: Operator) -> None:
    start(cluster, operator, inline_run(job("a", retry={"limit": 1, "backoff": "1s"})))
    first = cluster.of_kind(JOB)[0]
    cluster.change(first, status={"conditions": [{"type": "Failed", "status": "True", "reason": "DeadlineExceeded"}]})
    operator.settle()
    cluster.pass_time(seconds=2)
    operator.settle()
    assert "still ends" in stage_of(cluster, "a")["message"]
    assert len(cluster.of_kind(JOB)) == 1
    cluster.finish("a", code=143)
    operator.settle()
    assert stage_of(cluster, "a")["attempt"] == 2
    assert stage_of(cluster, "a")["attempts"][0]["reason"] == "DeadlineExceeded"


def test_a_deleted_job_ends_its_attempt_and_is_never_made_again(cluster: Cluster, operator: Operator) -> None:
    start(cluster, operator, inline_run(job("a")))
    cluster.delete(cluster.of_kind(JOB)[0])
    operator.settle()
    advance(cluster, operator)
    stage = stage_of(cluster, "a")
    assert stage["attempt"] == 2
    assert stage["attempts"][0] == stage["attempts"][0] | {"reason": "Deleted", "disruption": True, "number": 1}
    assert stage.get("failures", 0) == 0
    assert len(set(cluster.starts)) == len(cluster.starts) == 2


def test_a_deleted_job_is_noticed_before_its_uid_stands_in_status(cluster: Cluster, operator: Operator) -> None:
    cluster.create(inline_run(job("a")))
    operator.reconcile_run("r")
    assert "jobUid" not in stage_of(cluster, "a")
    cluster.delete(cluster.of_kind(JOB)[0])
    operator.settle()
    assert stage_of(cluster, "a")["attempts"][0]["reason"] == "Deleted"


def test_a_foreign_job_of_our_name_is_left_alone(cluster: Cluster, operator: Operator) -> None:
    cluster.create(inline_run(job("a")))
    uid = cluster.find(PIPELINE_RUN, "r")["metadata"]["uid"]
    name = names.child_name("r", "a", uid, 1)
    foreign = cluster.create({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name}, "spec": {"x": 1}})
    operator.settle()
    assert stage_of(cluster, "a")["reason"] == "NameConflict"
    assert cluster.find(JOB, name) == foreign


@pytest.mark.parametrize(
    ("refusal", "want_reason"),
    [
        ((403, "Forbidden", 'jobs.batch "x" is forbidden: exceeded quota: q, requested: count/jobs.batch=1'), "Quota"),
        ((403, "Forbidden", "denied the request: no GPUs on Sundays"), "AdmissionDenied"),
        ((500, "InternalError", "etcdserver: request timed out"), "Starting"),
    ],
)
def test_a_refused_job_waits_and_says_why(
    cluster: Cluster, operator: Operator, refusal: tuple[int, str, str], want_reason: str
) -> None:
    cluster.refuse["r-a"] = refusal
    start(cluster, operator, inline_run(job("a")))
    assert stage_of(cluster, "a")["reason"] == want_reason
    assert refusal[2].split(":")[-1].strip() in condition_of(cluster, "Succeeded")["message"]
    cluster.refuse.clear()
    operator.settle()
    advance(cluster, operator)
    assert stage_of(cluster, "a")["state"] == "Running"


@pytest.mark.parametrize(
    "refusal",
    [
        (422, "Invalid", 'Job.batch "x" is invalid: spec.template.spec.volumes[0].name: Required value'),
        (413, "RequestEntityTooLarge", "Request entity too large: limit is 3145728"),
        (500, "HTTP500", "etcdserver: request is too large"),
    ],
    ids=["invalid", "too large", "too large for etcd"],
)
def test_an_invalid_job_fails_at_once(cluster: Cluster, operator: Operator, refusal: tuple[int, str, str]) -> None:
    cluster.refuse["r-a"] = refusal
    start(cluster, operator, inline_run(job("a")))
    assert stage_of(cluster, "a")["reason"] == "InvalidObject"
    assert stage_of(cluster, "a")["message"].endswith(f"was refused: {refusal[2]}")


def test_a_suspended_job_waits_and_its_old_pod_does_not_count(cluster: Cluster, operator: Operator) -> None:
    start(cluster, operator, inline_run(job("a")))
    work = cluster.of_kind(JOB)[0]
    cluster.change(work, spec={**work["spec"], "suspend": True})
    cluster.finish("a", code=137)
    advance(cluster, operator)
    assert stage_of(cluster, "a")["reason"] == "Suspended"
    cluster.pass_time(seconds=5)
    work = cluster.find(JOB, work["metadata"]["name"])
    cluster.change(work, spec={**work["spec"], "suspend": False})
    cluster.change(cluster.find(JOB, work["metadata"]["name"]), status={"startTime": "2026-11-01T12:00:05Z"})
    operator.settle()
    assert stage_of(cluster, "a")["state"] == "Waiting"
    assert stage_of(cluster, "a")["attempt"] == 1


def test_a_killed_pod_waits_for_the_word_of_its_job(cluster: Cluster, operator: Operator) -> None:
    start(cluster, operator, inline_run(job("a")))
    cluster.finish("a", code=137)
    advance(cluster, operator)
    assert stage_of(cluster, "a")["state"] == "Waiting"
    work = cluster.of_kind(JOB)[0]
    cluster.change(work, status={**work["status"], "conditions": [{"type": "Failed", "status": "True"}]})
    operator.settle()
    assert stage_of(cluster, "a")["reason"] == "UserError"


def test_an_evicted_pod_is_a_disruption(cluster: Cluster, operator: Operator) -> None:
    start(cluster, operator, inline_run(job("a")))
    pod = cluster.of_kind(POD)[0]
    target = {"type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI", "message": "drained"}
    cluster.change(pod, status={"phase": "Failed", "conditions": [target]})
    operator.settle()
    assert stage_of(cluster, "a")["attempt"] == 1
    work = cluster.of_kind(JOB)[0]
    cluster.change(work, status={**work["status"], "conditions": [{"type": "Failed", "status": "True"}]})
    operator.settle()
    advance(cluster, operator)
    assert stage_of(cluster, "a")["attempts"][0]["reason"] == "Evicted"
    assert stage_of(cluster, "a")["attempt"] == 2


@pytest.mark.parametrize(("code", "want"), [(0, ("Succeeded", "Succeeded")), (75, ("Failed", "UserError"))])
def test_a_job_may_be_seen_to_end_before_its_pod_is(
    cluster: Cluster, operator: Operator, code: int, want: tuple[str, str]
) -> None:
    """Jobs and pods have watches of their own."""
    start(cluster, operator, inline_run(job("a", results=[{"name": "n", "type": "integer"}])))
    operator.fall_behind(POD)
    cluster.finish("a", code=code, message='{"n": 1}')
    end_job(cluster, "Failed" if code else "Complete")
    operator.settle()
    stage = stage_of(cluster, "a")
    assert (stage["state"], stage["reason"]) == want
    assert stage.get("results", {}) == ({} if code else {"n": 1})
    assert [attempt["exitCode"] for attempt in stage.get("attempts", ())] == ([code] if code else [])


def test_a_job_may_be_seen_to_end_before_its_pod_is_seen_at_all(cluster: Cluster, operator: Operator) -> None:
    cluster.create(inline_run(job("a", results=[{"name": "n", "type": "integer"}])))
    operator.settle()
    operator.fall_behind(POD)
    cluster.start_pods()
    cluster.finish("a", message='{"n": 1}')
    end_job(cluster, "Complete")
    operator.settle()
    assert (stage_of(cluster, "a")["state"], stage_of(cluster, "a")["results"]) == ("Succeeded", {"n": 1})


def test_results_that_nobody_can_read_any_more_are_lost(cluster: Cluster, operator: Operator) -> None:
    start(cluster, operator, inline_run(job("a", results=[{"name": "n", "type": "integer"}])))
    cluster.finish("a", message='{"n": 1}')
    cluster.delete(cluster.of_kind(POD)[0])
    end_job(cluster, "Complete")
    operator.settle()
    advance(cluster, operator)
    stage = stage_of(cluster, "a")
    assert (stage["attempt"], stage["attempts"][0]["reason"], stage["disruptions"]) == (2, "ResultLost", 1)


def end_job(cluster: Cluster, type_: str) -> None:
    """Be the Job controller: say that the Job is over."""
    (made,) = cluster.of_kind(JOB)
    cluster.change(made, status={**made["status"], "conditions": [{"type": type_, "status": "True"}]})


def test_an_eviction_is_remembered_though_the_pod_goes_before_its_job_fails(
    cluster: Cluster, operator: Operator
) -> None:
    start(cluster, operator, inline_run(job("a")))
    pod = cluster.of_kind(POD)[0]
    target = {"type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI", "message": "drained"}
    cluster.change(pod, status={**pod["status"], "conditions": [target]})
    operator.settle()
    assert (stage_of(cluster, "a")["state"], stage_of(cluster, "a")["reason"]) == ("Running", "Evicted")
    cluster.delete(pod)
    cluster.pass_time(seconds=1)
    operator.settle()
    assert (stage_of(cluster, "a")["state"], stage_of(cluster, "a")["reason"]) == ("Waiting", "Evicted")
    work = cluster.of_kind(JOB)[0]
    cluster.change(work, status={**work["status"], "conditions": [{"type": "Failed", "status": "True"}]})
    operator.settle()
    advance(cluster, operator)
    assert stage_of(cluster, "a")["attempts"][0]["reason"] == "Evicted"


def test_a_trouble_is_told_at_once_and_that_all_goes_well_when_there_is_time(
    cluster: Cluster, operator: Operator
) -> None:
    cluster.create(inline_run(job("a")))
    operator.settle()
    cluster.start_pods()
    (pod,) = cluster.pods_of("a")
    cluster.change(pod, status={"phase": "Running"})
    assert operator.reconcile_run("r").status_kind is StatusKind.PROGRESS
    why = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/3 nodes are available"}
    cluster.change(pod, status={"phase": "Pending", "conditions": [why]})
    assert operator.reconcile_run("r").status_kind is StatusKind.FACTS


def test_an_image_that_cannot_be_pulled_is_named_and_times_out(cluster: Cluster, operator: Operator) -> None:
    cluster.create(inline_run(job("a", pendingTimeout="1m")))
    operator.settle()
    cluster.start_pods()
    waiting = {"reason": "ImagePullBackOff", "message": 'Back-off pulling image "nosuch:1"'}
    pod = cluster.of_kind(POD)[0]
    statuses = [{"name": "main", "image": "nosuch:1", "state": {"waiting": waiting}}]
    cluster.change(pod, status={"phase": "Pending", "containerStatuses": statuses})
    cluster.pass_time(seconds=1)
    operator.settle()
    words = condition_of(cluster, "Succeeded")["message"]
    assert "a waiting, pod r-a-" in words
    assert 'cannot pull image nosuch:1: Back-off pulling image "nosuch:1"' in words
    cluster.pass_time(seconds=61)
    operator.settle()
    assert stage_of(cluster, "a")["state"] == "Failed"
    assert stage_of(cluster, "a")["reason"] == "ImagePull"
    assert cluster.of_kind(JOB) == []


def test_outputs_are_published_with_their_digest(cluster: Cluster, operator: Operator) -> None:
    stages = (
        job("train", outputs=[{"name": "model", "path": "/out/model"}]),
        job("use", inputs=[{"from": "$(stages.train.outputs.model)", "path": "/in"}]),
    )
    start(cluster, operator, inline_run(*stages))
    pushed = json.dumps({"outputs": {"model": {"digest": "sha256:1", "size": 7, "files": 1}}})
    finish(cluster, operator, "train", push=pushed)
    stored = stage_of(cluster, "train")["outputs"]["model"]
    uid = cluster.find(PIPELINE_RUN, "r")["metadata"]["uid"]
    assert stored == {"uri": f"pvc://rondo-artifacts/inline/{uid}/train-1/model", "digest": "sha256:1", "size": 7}
    use = next(j for j in cluster.of_kind(JOB) if j["metadata"]["labels"][names.STAGE] == "use")
    mount = use["spec"]["template"]["spec"]["containers"][0]["volumeMounts"][0]
    assert mount["subPath"] == f"inline/{uid}/train-1/model"
    assert '"digest":"sha256:1"' in use["spec"]["template"]["spec"]["initContainers"][0]["env"][0]["value"]


def test_success_without_a_stored_output_is_a_failure(cluster: Cluster, operator: Operator) -> None:
    start(cluster, operator, inline_run(job("train", outputs=[{"name": "model", "path": "/out/model"}])))
    finish(cluster, operator, "train", push="")
    assert stage_of(cluster, "train")["reason"] == "ArtifactPushFailed"


def test_deploy_waits_for_ready_of_that_generation(cluster: Cluster, operator: Operator) -> None:
    start(cluster, operator, inline_run(deploy("release")))
    model = cluster.find(MODEL_DEPLOYMENT, "model")
    assert "ownerReferences" not in model["metadata"]
    ready = {"type": "Ready", "status": "True", "reason": "Ready"}
    cluster.change(model, status={"observedGeneration": 0, "conditions": [ready]})
    operator.settle()
    assert stage_of(cluster, "release")["state"] == "Running"
    cluster.change(model, status={"observedGeneration": 1, "conditions": [ready], "url": "http://model.team.svc"})
    operator.settle()
    assert stage_of(cluster, "release")["state"] == "Succeeded"
    assert stage_of(cluster, "release")["results"] == {"url": "http://model.team.svc"}


def test_deploy_fails_with_a_stalled_target(cluster: Cluster, operator: Operator) -> None:
    start(cluster, operator, inline_run(deploy("release")))
    model = cluster.find(MODEL_DEPLOYMENT, "model")
    said = [
        {"type": "Ready", "status": "False", "reason": "ModelMissing"},
        {"type": "Stalled", "status": "True", "reason": "ModelMissing", "message": "pvc://models/1 does not exist"},
    ]
    cluster.change(model, status={"observedGeneration": 1, "conditions": said})
    operator.settle()
    assert stage_of(cluster, "release")["reason"] == "ModelMissing"
    assert "pvc://models/1 does not exist" in condition_of(cluster, "Succeeded")["message"]


def test_deploy_does_not_fight_over_a_target(cluster: Cluster, operator: Operator) -> None:
    start(cluster, operator, inline_run(deploy("release")))
    model = cluster.find(MODEL_DEPLOYMENT, "model")
    cluster.change(model, spec={**model["spec"], "model": {"uri": "pvc://models/2"}})
    operator.settle()
    assert stage_of(cluster, "release")["reason"] == "Superseded"
    assert "spec.model.uri is 'pvc://models/2' and not 'pvc://models/1'" in stage_of(cluster, "release")["message"]


def test_a_named_pipeline_is_frozen(cluster: Cluster, operator: Operator) -> None:
    body = cluster.create(pipeline(job("a"), job("b", needs=["a"]), run={"trigger": "Manual"}))
    start(cluster, operator, run({"name": "digits"}))
    cluster.change(body, spec={**body["spec"], "stages": [job("other")]})
    finish(cluster, operator, "a")
    finish(cluster, operator, "b")
    assert [s["name"] for s in status_of(cluster)["stages"]] == ["a", "b"]
    assert condition_of(cluster, "Succeeded")["status"] == "True"
    assert status_of(cluster)["pipelineGeneration"] == 1


def test_a_lost_frozen_copy_ends_the_run(cluster: Cluster, operator: Operator) -> None:
    cluster.create(pipeline(job("a"), run={"trigger": "Manual"}))
    start(cluster, operator, run({"name": "digits"}))
    cluster.delete(cluster.of_kind(CONTROLLER_REVISION)[0])
    operator.restart()
    operator.settle()
    assert condition_of(cluster, "Succeeded")["reason"] == "RevisionLost"


@pytest.mark.parametrize(
    ("refusal", "want"),
    [
        ((500, "HTTP500", "etcdserver: request is too large"), ("False", "InvalidObject")),
        ((403, "Forbidden", "exceeded quota: q, requested: count/controllerrevisions.apps=1"), ("Unknown", "Quota")),
    ],
    ids=["too large", "quota"],
)
def test_a_copy_that_cannot_be_frozen_is_told(
    cluster: Cluster, operator: Operator, refusal: tuple[int, str, str], want: tuple[str, str]
) -> None:
    cluster.refuse["r-spec"] = refusal
    cluster.create(pipeline(job("a"), run={"trigger": "Manual"}))
    start(cluster, operator, run({"name": "digits"}))
    said = condition_of(cluster, "Succeeded")
    assert (said["status"], said["reason"]) == want
    assert refusal[2] in said["message"]
    cluster.refuse.clear()
    operator.settle()
    assert bool(cluster.of_kind(JOB)) == (want[0] == "Unknown")


@pytest.mark.parametrize("limit", [1_600, 900], ids=["without explanations", "without stages"])
def test_a_status_that_is_too_large_ends_the_run(cluster: Cluster, operator: Operator, limit: int) -> None:
    start(cluster, operator, inline_run(job("a"), job("b", job={"image": "x"}), job("c", needs=["b"])))
    cluster.status_limit = limit
    finish(cluster, operator, "a", code=3, message="x" * 400)
    said = condition_of(cluster, "Succeeded")
    assert (said["status"], said["reason"]) == ("False", "StatusRefused")
    assert "so it ends here: etcdserver: request is too large" in said["message"]
    assert "completionTime" in status_of(cluster)
    stages = {stage["name"]: (stage["state"], stage["reason"]) for stage in status_of(cluster).get("stages", ())}
    ends = {"a": ("Cancelled", "StatusRefused"), "b": ("Cancelled", "StatusRefused"), "c": ("Skipped", "StatusRefused")}
    assert stages == (ends if limit > 1_000 else {})
    assert [j["metadata"]["name"] for j in cluster.of_kind(JOB) if not pods_ended(cluster, j)] == []
    assert cluster.find(PIPELINE_RUN, "r")["metadata"]["labels"][names.OUTCOME] == "Failed"


def pods_ended(cluster: Cluster, made: dict[str, Any]) -> bool:
    """Tell whether the pods of a Job have ended: such a Job is left to its controller."""
    pods = [pod for pod in cluster.of_kind(POD) if names.controller_uid(pod) == made["metadata"]["uid"]]
    return bool(pods) and all(pod["status"]["phase"] in {"Succeeded", "Failed"} for pod in pods)


def test_a_run_without_its_pipeline_waits_a_minute(cluster: Cluster, operator: Operator) -> None:
    cluster.create(run({"name": "digits"}))
    operator.settle()
    assert condition_of(cluster, "Succeeded")["status"] == "Unknown"
    cluster.pass_time(seconds=61)
    operator.settle()
    assert condition_of(cluster, "Succeeded")["reason"] == "PipelineNotFound"
    assert "there is no Pipeline digits in namespace team" in condition_of(cluster, "Succeeded")["message"]


@pytest.mark.parametrize(
    ("given", "want"),
    [
        ({}, "spec.params: no value for trees"),
        ({"tress": 3}, "spec.params.tress: there is no parameter tress (did you mean trees?)"),
        ({"trees": "3"}, "spec.params.trees: '3' is not an integer; write it without quotes"),
        ({"trees": 0}, "spec.params.trees: 0 is less than the minimum 1"),
        ({"trees": 5, "kind": "c"}, "spec.params.kind: 'c' is not one of 'a', 'b'"),
    ],
)
def test_bad_params_end_a_run_before_anything_starts(
    cluster: Cluster, operator: Operator, given: dict[str, Any], want: str
) -> None:
    params = [{"name": "trees", "type": "integer", "minimum": 1}, {"name": "kind", "default": "a", "enum": ["a", "b"]}]
    body = inline_run(job("a"), params=params)
    body["spec"]["params"] = given
    cluster.create(body)
    operator.settle()
    assert condition_of(cluster, "Accepted") == condition_of(cluster, "Accepted") | {"status": "False", "message": want}
    assert cluster.of_kind(JOB) == []


def test_a_run_timeout_stops_what_runs(cluster: Cluster, operator: Operator) -> None:
    start(cluster, operator, inline_run(job("a"), job("b", needs=["a"]), timeout="1m"))
    cluster.pass_time(seconds=60)
    operator.settle()
    assert stage_of(cluster, "a")["state"] == "Cancelled"
    assert stage_of(cluster, "b")["state"] == "Skipped"
    assert cluster.of_kind(JOB) == []
    assert condition_of(cluster, "Succeeded")["reason"] == "RunTimeout"


def test_a_restored_run_is_not_executed_again(cluster: Cluster, operator: Operator) -> None:
    body = inline_run(job("a"))
    body["metadata"]["labels"] = {names.OUTCOME: "Succeeded"}
    cluster.create(body)
    operator.settle()
    assert condition_of(cluster, "Succeeded")["reason"] == "Restored"
    assert cluster.of_kind(JOB) == []


def test_writes_of_a_chain_are_few(cluster: Cluster, operator: Operator) -> None:
    count = 10
    stages = [job(f"s{i}", needs=[f"s{i - 1}"] if i else []) for i in range(count)]
    cluster.create(pipeline(*stages))
    operator.settle()
    for i in range(count):
        advance(cluster, operator)
        finish(cluster, operator, f"s{i}")
    assert condition_of(cluster, "Succeeded", "digits-1")["status"] == "True"
    assert len(cluster.writes) <= 3 * count + 6, sorted(cluster.writes)


def test_killed_between_any_two_effects_nothing_runs_twice_or_is_lost() -> None:
    for crash in range(30):
        cluster = Cluster()
        operator = Operator(cluster, crash_after=crash)
        cluster.create(pipeline(job("a"), job("b", needs=["a"], retry={"limit": 1, "backoff": "1s"})))
        for _ in range(40):
            try:
                operator.settle()
            except Exception as error:
                if type(error).__name__ != "CrashError":
                    raise
                operator.restart()
                operator.settle()
            advance(cluster, operator) if operator.crash_after is None else cluster.start_pods()
            cluster.run_pods()
            for stage in ("a", "b"):
                first_b = stage == "b" and sum("-b-" in job_name for job_name in cluster.starts) == 1
                cluster.finish(stage, code=1 if first_b else 0)
            cluster.pass_time(seconds=1)
        assert condition_of(cluster, "Succeeded", "digits-1")["status"] == "True", crash
        assert len(cluster.starts) == len(set(cluster.starts)) == 3, (crash, cluster.starts)
