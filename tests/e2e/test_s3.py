"""Artifacts in a bucket, in real pods: the digits example with an S3 server beside it, and what can be wrong."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.conftest import ROOT, Kubectl, eventually
from tests.e2e.test_digits import condition, forwarded
from tests.e2e.test_models import model, ready
from tests.e2e.test_troubles import finished, run_of
from tests.s3.image import TAG, write_archive

pytestmark = pytest.mark.e2e
EXAMPLES = ROOT / "manifests" / "examples"
STORE = {"secretRef": {"name": "store"}}
SECRET = "change-me"  # noqa: S105 (of the example's own server)


@pytest.fixture(scope="module")
def shop(
    request: pytest.FixtureRequest, kubectl: Kubectl, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Kubectl]:
    """A namespace with the example's store and pipeline."""
    if not request.config.getoption("--current-cluster"):
        kind = request.getfixturevalue("kind_cluster")
        archive = write_archive(tmp_path_factory.mktemp("image") / "versitygw.tar")
        command = [kind.kind_path, "load", "image-archive", archive, "--name", kind.name]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    assert f"image: {TAG}\n" in (EXAMPLES / "digits-s3" / "store.yaml").read_text()
    kubectl("create", "namespace", "shop")
    shop = kubectl.within("shop")
    shop("apply", "-k", str(EXAMPLES / "digits-s3"))
    yield shop
    kubectl("delete", "namespace", "shop", "--wait=false")


def stage(name: str, **fields: Any) -> dict[str, Any]:
    return {"name": name, **fields}


def store_with(shop: Kubectl, name: str, **changed: str) -> dict[str, Any]:
    """Give credentials that differ from the store's."""
    fields = {
        "AWS_ENDPOINT_URL": "http://store:7070",
        "AWS_ACCESS_KEY_ID": "rondo",
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "RONDO_S3_RETRIES": "2",
        **changed,
    }
    shop.apply({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": fields})
    return {"secretRef": {"name": name}}


def test_the_digits_example_goes_from_data_to_predictions_through_a_bucket(shop: Kubectl) -> None:
    eventually(
        "the run ends",
        lambda: condition(shop, "pipelinerun", "digits-1", "Succeeded").get("status") in {"True", "False"},
        within=240,
    )
    run = shop.get("pipelinerun", "digits-1")
    assert condition(shop, "pipelinerun", "digits-1", "Succeeded")["status"] == "True", run["status"]["message"]
    stages = {each["name"]: each for each in run["status"]["stages"]}
    place = f"s3://rondo/examples/digits/{run['metadata']['uid']}/evaluate-1/model"
    assert stages["evaluate"]["outputs"]["model"]["uri"] == place
    assert shop.get("modeldeployment", "digits")["spec"]["model"]["uri"] == place
    assert condition(shop, "modeldeployment", "digits", "Ready")["status"] == "True"
    with forwarded(shop, "digits") as url:
        predict = [sys.executable, str(EXAMPLES / "digits" / "predict.py"), url]
        assert subprocess.run(predict, capture_output=True, text=True, check=True).stdout
    assert not shop.items("persistentvolumeclaims")


def test_the_secret_is_nowhere_but_in_itself_and_its_users(shop: Kubectl) -> None:
    for kind in ("pods", "jobs", "deployments", "pipelines,pipelineruns,modeldeployments", "controllerrevisions"):
        assert SECRET not in shop("get", kind, "-o", "json")
    for pod in shop.items("pods", "-l", "app.kubernetes.io/managed-by=rondo"):
        assert not any("envFrom" in container for container in pod["spec"]["containers"])


CAT = "cat /in/one\nls -l /in/one\n! echo x > /in/one"


def test_a_file_goes_through_a_bucket_to_a_stage_that_only_reads_it(shop: Kubectl) -> None:
    write = stage("write", job={"script": "echo hello > /out/one"}, outputs=[{"name": "one", "path": "/out/one"}])
    read = stage("read", job={"script": CAT}, inputs=[{"from": "$(stages.write.outputs.one)", "path": "/in/one"}])
    shop.apply(run_of(shop, "file", write, read, artifacts={"uri": "s3://rondo", "credentials": STORE}))
    assert finished(shop, "file")["message"] == "2/2 stages succeeded"


def test_credentials_alone_are_for_inputs_and_outputs_stay_on_the_claim(shop: Kubectl) -> None:
    run = shop.get("pipelinerun", "digits-1")
    data = next(each for each in run["status"]["stages"] if each["name"] == "prepare")["outputs"]["data"]["uri"]
    copy = stage(
        "copy",
        job={"script": "cp /in/train.npz /out/"},
        inputs=[{"from": data, "path": "/in"}],
        outputs=[{"name": "copy", "path": "/out/train.npz"}],
    )
    shop.apply(run_of(shop, "mixed", copy, artifacts={"credentials": STORE}))
    status = finished(shop, "mixed")
    assert status["message"] == "1/1 stages succeeded"
    assert status["stages"][0]["outputs"]["copy"]["uri"].startswith("pvc://rondo-artifacts/")


TROUBLES: dict[str, tuple[dict[str, str], str, str, str]] = {
    "no-object": ({}, "s3://rondo/examples/no", "InputMissing", "it does not exist in bucket rondo at http://store:7070"),
    "no-bucket": ({}, "s3://nosuch/x", "InputMissing", "bucket nosuch does not exist at http://store:7070; create it"),
    "wrong-key": ({"AWS_SECRET_ACCESS_KEY": "x"}, "s3://rondo/x", "InputDenied", "mend AWS_SECRET_ACCESS_KEY"),
    "no-store": (
        {"AWS_ENDPOINT_URL": "http://store.nosuch.svc"}, "s3://rondo/x", "InputUnreadable",
        "http://store.nosuch.svc does not answer: its name cannot be resolved",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", TROUBLES)
def test_trouble_with_a_bucket_is_told_by_name(shop: Kubectl, name: str) -> None:
    changed, uri, want_reason, want_words = TROUBLES[name]
    read = stage("read", job={"command": ["true"]}, inputs=[{"from": uri, "path": "/in"}])
    shop.apply(run_of(shop, name, read, artifacts={"credentials": store_with(shop, name, **changed)}))
    found = finished(shop, name)["stages"][0]
    assert found["reason"] == want_reason, found
    assert want_words in found["message"]


def test_a_secret_that_is_missing_is_named(shop: Kubectl) -> None:
    write = stage(
        "write",
        job={"script": "echo hello > /out/one"},
        outputs=[{"name": "one", "path": "/out/one"}],
        pendingTimeout="5s",
    )
    nowhere = {"uri": "s3://rondo", "credentials": {"secretRef": {"name": "nowhere"}}}
    shop.apply(run_of(shop, "no-secret", write, artifacts=nowhere))
    found = finished(shop, "no-secret")["stages"][0]
    assert found["reason"] == "ConfigError"
    assert 'container push: CreateContainerConfigError: secret "nowhere" not found' in found["message"]


def test_a_model_that_is_not_in_its_bucket_is_missing(shop: Kubectl) -> None:
    source = {"uri": "s3://rondo/examples/no", "credentials": STORE}
    shop.apply(model("nosuch", runtime="sklearn", model=source))
    said = eventually(
        "a reason", lambda: ready(shop, "nosuch").get("reason") == "ModelMissing" and ready(shop, "nosuch")
    )
    assert "it does not exist in bucket rondo at http://store:7070 (in examples: digits)" in json.dumps(said)


def test_a_store_that_refuses_fails_the_push_with_its_words(shop: Kubectl) -> None:
    write = stage("write", job={"script": "echo x > /out/one"}, outputs=[{"name": "one", "path": "/out/one"}])
    credentials = store_with(shop, "reader", AWS_REGION="eu-west-1")
    shop.apply(run_of(shop, "refused", write, artifacts={"uri": "s3://rondo", "credentials": credentials}))
    found = finished(shop, "refused")["stages"][0]
    assert found["reason"] == "ArtifactPushFailed"
    assert "output one cannot be stored at s3://rondo/" in found["message"]
    assert "set AWS_REGION in the Secret" in found["message"]
