"""Stages whose artifacts are in a bucket: what their pods get, and who gets the credentials."""

from __future__ import annotations

import json
from typing import Any

import pytest

from rondo.core.artifacts import BucketStore
from rondo.core.resources import PERSISTENT_VOLUME_CLAIM
from rondo.core.settings import PlannerSettings
from tests.unit.core.builders import inline_run, job
from tests.unit.core.cluster import Cluster, Operator
from tests.unit.core.run.driver import condition_of, finish, job_of, stage_of, start, status_of

ARTIFACTS = {"uri": "s3://acme/team", "credentials": {"secretRef": {"name": "store"}}}
MODEL = [{"name": "model", "path": "/out/model"}]
STORED = json.dumps({"outputs": {"model": {"digest": "sha256:1", "size": 7, "files": 1}}})
FROM_ENV = [{"secretRef": {"name": "store"}}]


def pod_of(cluster: Cluster, stage: str) -> dict[str, Any]:
    pod: dict[str, Any] = job_of(cluster, stage)["spec"]["template"]["spec"]
    return pod


def helper(pod: dict[str, Any], name: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Give a container of our own and what it is told."""
    found = next(each for each in pod["initContainers"] if each["name"] == name)
    return found, json.loads(found["env"][0]["value"])


def chain(cluster: Cluster, operator: Operator, **fields: Any) -> str:
    """Run a stage that stores a model and start one that reads it; give the URI of the model."""
    inputs = [
        {"from": "$(stages.train.outputs.model)", "path": "/in/model"},
        {"from": "s3://lake/2026", "path": "/in/data"},
        {"from": "pvc://claim/base", "path": "/in/base"},
    ]
    start(cluster, operator, inline_run(job("train", outputs=MODEL), job("judge", inputs=inputs), **fields))
    finish(cluster, operator, "train", push=STORED)
    uri: str = stage_of(cluster, "train")["outputs"]["model"]["uri"]
    return uri


def test_push_stores_in_the_bucket_and_mounts_no_claim(cluster: Cluster, operator: Operator) -> None:
    uri = chain(cluster, operator, artifacts=ARTIFACTS)
    uid = job_of(cluster, "train")["metadata"]["ownerReferences"][0]["uid"]
    assert uri == f"s3://acme/team/inline/{uid}/train-1/model"
    pod = pod_of(cluster, "train")
    push, told = helper(pod, "push")
    assert told["outputs"] == [{"name": "model", "path": "/out/model", "uri": uri}]
    assert push["envFrom"] == FROM_ENV
    assert [volume["name"] for volume in pod["volumes"]] == ["rondo-out-0"]
    assert cluster.of_kind(PERSISTENT_VOLUME_CLAIM) == []
    assert "affinity" not in pod
    assert "message" not in condition_of(cluster, "Accepted")


def test_fetch_downloads_what_is_in_buckets_and_main_reads_it(cluster: Cluster, operator: Operator) -> None:
    uri = chain(cluster, operator, artifacts=ARTIFACTS)
    pod = pod_of(cluster, "judge")
    fetch, told = helper(pod, "fetch")
    folder = next(mount["mountPath"] for mount in fetch["volumeMounts"] if mount["name"] == "rondo-inputs")
    places = {each["what"]: each for each in told["inputs"]}
    model, data = places["input /in/model"], places["input /in/data"]
    assert (model["uri"], model["digest"]) == (uri, "sha256:1")
    assert (data["uri"], "digest" in data) == ("s3://lake/2026", False)
    assert "path" not in places["input /in/base"]
    assert {"name": "rondo-inputs", "emptyDir": {}} in pod["volumes"]
    mounts = {mount["mountPath"]: mount for mount in pod["containers"][0]["volumeMounts"]}
    for each, path in ((model, "/in/model"), (data, "/in/data")):
        assert mounts[path]["name"] == "rondo-inputs"
        assert mounts[path]["readOnly"] is True
        assert each["path"] == f"{folder}/{mounts[path]['subPath']}"


def test_only_fetch_and_push_get_the_credentials(cluster: Cluster, operator: Operator) -> None:
    chain(cluster, operator, artifacts=ARTIFACTS)
    for stage, name in (("train", "push"), ("judge", "fetch")):
        pod = pod_of(cluster, stage)
        assert helper(pod, name)[0]["envFrom"] == FROM_ENV
        assert "envFrom" not in pod["containers"][0]
    assert "secretRef" not in json.dumps(status_of(cluster))


def test_credentials_alone_are_for_inputs_beside_a_claim(cluster: Cluster, operator: Operator) -> None:
    uri = chain(cluster, operator, artifacts={"credentials": ARTIFACTS["credentials"]})
    assert uri.startswith("pvc://rondo-artifacts/")
    assert "envFrom" not in helper(pod_of(cluster, "train"), "push")[0]
    assert helper(pod_of(cluster, "judge"), "fetch")[0]["envFrom"] == FROM_ENV


def test_an_installation_may_store_in_a_bucket(cluster: Cluster, operator: Operator) -> None:
    cluster.settings = PlannerSettings(store=BucketStore("s3://acme", "store"))
    assert chain(cluster, operator).startswith("s3://acme/inline/")
    assert helper(pod_of(cluster, "train"), "push")[0]["envFrom"] == FROM_ENV
    assert helper(pod_of(cluster, "judge"), "fetch")[0]["envFrom"] == FROM_ENV


@pytest.mark.parametrize(
    ("code", "reason", "again"),
    [(1, "InputMissing", False), (4, "InputDenied", False), (5, "InputUnreadable", True), (3, "InputUnreadable", True)],
)
def test_a_store_that_is_away_is_tried_again_and_a_missing_input_is_not(
    cluster: Cluster, operator: Operator, code: int, reason: str, *, again: bool
) -> None:
    inputs = [{"from": "s3://lake/2026", "path": "/in"}]
    start(cluster, operator, inline_run(job("a", inputs=inputs, retry={"limit": 1, "backoff": "1s"})))
    (pod,) = cluster.pods_of("a")
    ended = {"name": "fetch", "state": {"terminated": {"exitCode": code, "message": "s3://lake", "reason": "Error"}}}
    cluster.change(pod, status={"phase": "Failed", "initContainerStatuses": [ended]})
    operator.settle()
    stage = stage_of(cluster, "a")
    assert stage["reason"] == reason
    assert (stage["state"] == "Waiting") is again
