"""Rollback of a deploy, and removing what a pipeline has deployed."""

from __future__ import annotations

from typing import Any

import pytest

from rondo.core.plan import Ref
from rondo.core.resources import MODEL_DEPLOYMENT, MODEL_GRAPH, PIPELINE_RUN
from rondo.core.run import deploy_stage
from rondo.core.run.deploy_stage import CREATED_BY, DEPLOYED_BY, PIPELINE
from tests.unit.core.builders import deploy, pipeline, run
from tests.unit.core.cluster import NAMESPACE, Cluster, Operator
from tests.unit.core.run.driver import condition_of, set_state, stage_of, start, status_of

OLD = {"runtime": "sklearn", "model": {"uri": "pvc://models/1", "version": "1"}, "replicas": 3}
NEW = {"runtime": "sklearn", "model": {"uri": "pvc://models/2", "version": "2"}}
REF = Ref(MODEL_DEPLOYMENT, NAMESPACE, "model")


def existing(cluster: Cluster, **annotations: str) -> dict[str, Any]:
    return cluster.create(
        {
            "apiVersion": "rondo.dev/v1alpha1",
            "kind": "ModelDeployment",
            "metadata": {"name": "model", "namespace": NAMESPACE, "annotations": annotations},
            "spec": OLD,
        }
    )


def release(cluster: Cluster, operator: Operator, **fields: Any) -> None:
    stage = deploy("release", spec=NEW, **{key: fields.pop(key) for key in ("timeout",) if key in fields})
    stage["deploy"] |= fields
    cluster.create(pipeline(stage, name="digits", run={"trigger": "Manual"}))
    start(cluster, operator, run({"name": "digits"}))


def report(cluster: Cluster, operator: Operator, type_: str, status: str = "True") -> None:
    """Let the target say something about its current generation."""
    target = cluster.objects[REF]
    said = [{"type": type_, "status": status, "reason": "ImagePull", "message": "cannot pull"}]
    generation = target["metadata"]["generation"]
    cluster.change(target, status={"observedGeneration": generation, "conditions": said})
    operator.settle()
    cluster.pass_time(seconds=1)
    operator.settle()


def test_a_stalled_target_gets_its_former_values_back(cluster: Cluster, operator: Operator) -> None:
    existing(cluster)
    release(cluster, operator)
    assert cluster.objects[REF]["spec"]["model"]["uri"] == "pvc://models/2"
    report(cluster, operator, "Stalled")
    target = cluster.objects[REF]
    assert target["spec"] == OLD
    assert target["metadata"]["annotations"][DEPLOYED_BY].endswith("/rolled-back")
    stage = stage_of(cluster, "release")
    assert (stage["state"], stage["reason"]) == ("Failed", "ImagePull")
    assert stage["message"] == "ModelDeployment model: cannot pull; rolled back to what it was before"
    assert "previous" not in stage
    assert condition_of(cluster, "Succeeded")["status"] == "False"


def test_former_values_that_are_too_large_to_record_are_not_rolled_back_and_that_is_told(
    cluster: Cluster, operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deploy_stage, "PREVIOUS_LIMIT", 40)
    existing(cluster)
    release(cluster, operator)
    report(cluster, operator, "Stalled")
    assert cluster.objects[REF]["spec"]["model"]["uri"] == "pvc://models/2"
    message = stage_of(cluster, "release")["message"]
    assert message == (
        "ModelDeployment model: cannot pull; not rolled back: what the fields were has 74 bytes, of which at most 40 "
        "are recorded"
    )


def test_a_timeout_rolls_back_too(cluster: Cluster, operator: Operator) -> None:
    existing(cluster)
    release(cluster, operator, timeout="1m")
    cluster.pass_time(minutes=1)
    operator.settle()
    assert cluster.objects[REF]["spec"] == OLD
    assert stage_of(cluster, "release")["reason"] == "DeadlineExceeded"


def test_a_cancel_rolls_back_too(cluster: Cluster, operator: Operator) -> None:
    existing(cluster)
    release(cluster, operator)
    set_state(cluster, operator, "Cancelled")
    assert cluster.objects[REF]["spec"] == OLD
    assert stage_of(cluster, "release")["state"] == "Cancelled"
    assert condition_of(cluster, "Succeeded")["reason"] == "Cancelled"


def test_a_crash_in_a_rollback_loses_nothing(cluster: Cluster, operator: Operator) -> None:
    existing(cluster)
    release(cluster, operator)
    target = cluster.objects[REF]
    said = [{"type": "Stalled", "status": "True", "reason": "OOMKilled", "message": "killed"}]
    cluster.change(target, status={"observedGeneration": target["metadata"]["generation"], "conditions": said})
    operator.reconcile_run("r")
    assert stage_of(cluster, "release")["reason"] == "RollingBack"
    operator.restart()
    operator.settle()
    assert cluster.objects[REF]["spec"] == OLD
    assert stage_of(cluster, "release")["reason"] == "OOMKilled"


def test_keep_keeps_what_was_set(cluster: Cluster, operator: Operator) -> None:
    existing(cluster)
    release(cluster, operator, onFailure="Keep")
    report(cluster, operator, "Stalled")
    assert cluster.objects[REF]["spec"]["model"]["uri"] == "pvc://models/2"
    assert stage_of(cluster, "release")["message"] == "ModelDeployment model: cannot pull"


def test_a_new_target_that_does_not_get_ready_stays_for_a_look(cluster: Cluster, operator: Operator) -> None:
    release(cluster, operator)
    report(cluster, operator, "Stalled")
    assert cluster.objects[REF]["spec"] == NEW
    assert stage_of(cluster, "release")["state"] == "Failed"


def test_what_somebody_else_has_deployed_meanwhile_is_not_rolled_back(cluster: Cluster, operator: Operator) -> None:
    existing(cluster)
    release(cluster, operator)
    target = cluster.objects[REF]
    theirs = {**target["metadata"]["annotations"], DEPLOYED_BY: "other/release/uid"}
    cluster.change(target, metadata={**target["metadata"], "annotations": theirs})
    set_state(cluster, operator, "Cancelled")
    assert cluster.objects[REF]["spec"]["model"]["uri"] == "pvc://models/2"
    assert stage_of(cluster, "release")["message"].endswith("not rolled back: somebody else deployed it")


def test_a_target_of_another_pipeline_is_refused_before_anything_is_set(cluster: Cluster, operator: Operator) -> None:
    existing(cluster, **{PIPELINE: "other"})
    release(cluster, operator)
    assert cluster.objects[REF]["spec"] == OLD
    assert stage_of(cluster, "release")["reason"] == "TargetInUse"


# Absent ---------------------------------------------------------------------------------------------------------------


def remove(cluster: Cluster, operator: Operator, *, of: str = "digits", name: str = "gone") -> None:
    stage = {"name": "undo", "deploy": {"name": "model", "state": "Absent"}}
    cluster.create(pipeline(stage, name=of, run={"trigger": "Manual"}))
    start(cluster, operator, run({"name": of}, name=name))
    cluster.pass_time(seconds=2)
    operator.settle()


def test_absent_removes_what_the_pipeline_created(cluster: Cluster, operator: Operator) -> None:
    release(cluster, operator)
    assert cluster.objects[REF]["metadata"]["annotations"][CREATED_BY] == "digits"
    cluster.delete(cluster.find(PIPELINE_RUN, "r"))
    old = next(thing for ref, thing in cluster.objects.items() if ref.resource.kind == "Pipeline")
    cluster.delete(old)
    remove(cluster, operator)
    assert REF not in cluster.objects
    assert status_of(cluster, "gone")["stages"][0]["message"] == "ModelDeployment team/model is not there"
    assert condition_of(cluster, "Succeeded", "gone")["status"] == "True"


def test_absent_of_what_is_not_there_succeeds(cluster: Cluster, operator: Operator) -> None:
    remove(cluster, operator)
    assert condition_of(cluster, "Succeeded", "gone")["status"] == "True"


@pytest.mark.parametrize("annotations", [{}, {CREATED_BY: "other"}])
def test_absent_leaves_alone_what_others_created(
    cluster: Cluster, operator: Operator, annotations: dict[str, str]
) -> None:
    existing(cluster, **annotations)
    remove(cluster, operator)
    assert REF in cluster.objects
    stage = stage_of(cluster, "undo", "gone")
    assert (stage["state"], stage["reason"]) == ("Failed", "NotCreatedByPipeline")


def test_what_the_api_server_fills_in_within_a_list_is_nobodys_change(cluster: Cluster, operator: Operator) -> None:
    spec = {
        "protocol": "JSON",
        "entry": "a",
        "nodes": [{"name": "a", "sequence": ["b"]}, {"name": "b", "target": {"name": "m"}}],
    }
    stage = deploy("release", spec=spec)
    stage["deploy"] |= {"kind": "ModelGraph", "name": "g"}
    cluster.create(pipeline(stage, name="digits", run={"trigger": "Manual"}))
    start(cluster, operator, run({"name": "digits"}))
    target = cluster.objects[Ref(MODEL_GRAPH, NAMESPACE, "g")]
    nodes = [{**node, "onError": "Fail"} for node in target["spec"]["nodes"]]
    nodes[1]["target"] = {"name": "m", "kind": "ModelDeployment"}
    cluster.change(target, spec={**target["spec"], "nodes": [*nodes, {"name": "theirs", "target": {"name": "m"}}]})
    operator.settle()
    assert stage_of(cluster, "release")["state"] == "Running"
    nodes[1]["target"] = {"name": "other", "kind": "ModelDeployment"}
    cluster.change(cluster.objects[Ref(MODEL_GRAPH, NAMESPACE, "g")], spec={**target["spec"], "nodes": nodes})
    operator.settle()
    cluster.pass_time(seconds=1)
    operator.settle()
    stage_ = stage_of(cluster, "release")
    assert (stage_["state"], stage_["reason"]) == ("Failed", "Superseded")
    assert "spec.nodes[b].target.name is 'other' and not 'm'" in stage_["message"]
