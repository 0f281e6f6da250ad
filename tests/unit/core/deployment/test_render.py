"""What a deployment is rendered to."""

from __future__ import annotations

import json
from typing import Any

import pytest

from rondo.api.pipeline import AccessMode
from rondo.core.artifacts import ArtifactStore, BucketStore
from rondo.core.deployment.drift import APPLIED
from rondo.core.deployment.render import DRAIN
from rondo.core.settings import PlannerSettings
from tests.unit.core.deployment.builders import modeldeployment, runtime, server
from tests.unit.core.deployment.world import World, new_world


def rendered(settings: PlannerSettings | None = None, **spec: Any) -> World:
    world = new_world(**spec)
    world.settings = settings or PlannerSettings()
    world.settle()
    return world


def main_of(world: World) -> dict[str, Any]:
    main: dict[str, Any] = world.template["spec"]["containers"][0]
    return main


def test_references_to_the_model_are_replaced_everywhere() -> None:
    main = main_of(rendered())
    assert [v["value"] for v in main["env"]] == ["digits", "/mnt/models", "0"]
    assert main["readinessProbe"]["httpGet"]["path"] == "/v2/models/digits/ready"


def test_what_a_deployment_may_add_is_added() -> None:
    main_env = [{"name": "WORKERS", "value": "2"}, {"name": "EXTRA", "value": "$(model.name)"}]
    world = rendered(
        args=["--more"],
        env=main_env,
        resources={"limits": {"nvidia.com/gpu": 1}},
        nodeSelector={"gpu": "a100"},
        tolerations=[{"key": "gpu", "operator": "Exists"}],
    )
    main, pod = main_of(world), world.template["spec"]
    assert main["args"] == ["start", "--more"]
    assert {v["name"]: v["value"] for v in main["env"]} == {
        "MODEL_NAME": "digits", "MODEL_URI": "/mnt/models", "WORKERS": "2", "EXTRA": "digits",
    }  # fmt: skip
    assert main["resources"] == {"limits": {"nvidia.com/gpu": 1}}
    assert pod["nodeSelector"] == {"gpu": "a100"}
    assert pod["tolerations"] == [{"key": "gpu", "operator": "Exists"}]


def test_args_may_be_added_to_a_server_that_has_none() -> None:
    assert main_of(rendered(runtime=None, server=server(), args=["--more"]))["args"] == ["--more"]


def test_the_model_is_mounted_read_only_after_a_look_whether_it_is_there() -> None:
    world = rendered(PlannerSettings(image="op:1", image_pull_policy="Never"))
    pod = world.template["spec"]
    path = "digits/6a1e/evaluate-1/model"
    mount = {"name": "rondo-model", "mountPath": "/mnt/models", "subPath": path, "readOnly": True}
    assert mount in main_of(world)["volumeMounts"]
    assert {"name": "rondo-model", "persistentVolumeClaim": {"claimName": "rondo-artifacts"}} in pod["volumes"]
    verify = pod["initContainers"][0]
    assert (verify["image"], verify["imagePullPolicy"]) == ("op:1", "Never")
    assert verify["command"] == ["python3", "-m", "rondo.artifacts", "verify"]
    told = json.loads(verify["env"][0]["value"])
    assert told["inputs"] == [{"uri": f"pvc://rondo-artifacts/{path}", "what": "model"}]
    assert told["claims"] == {"rondo-artifacts": verify["volumeMounts"][0]["mountPath"]}


@pytest.mark.parametrize(
    ("given", "store", "want"),
    [
        ({"credentials": {"secretRef": {"name": "mine"}}}, BucketStore("s3://models", "theirs"), "mine"),
        ({}, BucketStore("s3://models", "theirs"), "theirs"),
        ({}, BucketStore("s3://other", "theirs"), None),
        ({}, ArtifactStore(), None),
    ],
)
def test_a_model_in_a_bucket_is_downloaded_before_the_server_starts(
    given: dict[str, Any], store: ArtifactStore | BucketStore, want: str | None
) -> None:
    world = rendered(PlannerSettings(store=store), model={"uri": "s3://models/fraud/7", "version": "7", **given})
    pod, main = world.template["spec"], main_of(world)
    (fetch,) = pod["initContainers"]
    assert (fetch["name"], fetch["command"][-1]) == ("fetch", "fetch")
    (mount,) = fetch["volumeMounts"]
    told = json.loads(fetch["env"][0]["value"])
    path = f"{mount['mountPath']}/model"
    assert told["inputs"] == [{"uri": "s3://models/fraud/7", "what": "model", "path": path}]
    assert {"name": mount["name"], "emptyDir": {}} in pod["volumes"]
    read = {"name": mount["name"], "mountPath": "/mnt/models", "subPath": "model", "readOnly": True}
    assert read in main["volumeMounts"]
    assert fetch.get("envFrom") == ([{"secretRef": {"name": want}}] if want else None)
    assert "envFrom" not in main
    assert "affinity" not in pod


def test_pods_are_restricted_and_hold_no_token() -> None:
    world = rendered()
    pod = world.template["spec"]
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["runAsUser"] == pod["securityContext"]["fsGroup"] == 65532
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    for container in (*pod["initContainers"], *pod["containers"]):
        assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
        assert container["securityContext"]["allowPrivilegeEscalation"] is False


def test_no_request_is_lost_while_pods_change() -> None:
    world = rendered()
    assert world.deployment["spec"]["strategy"] == {
        "type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1},
    }  # fmt: skip
    assert main_of(world)["lifecycle"] == {"preStop": {"sleep": {"seconds": DRAIN}}}
    assert world.template["spec"].get("terminationGracePeriodSeconds", 30) > DRAIN


def test_labels_are_an_allow_list_and_the_selector_stays() -> None:
    world = rendered()
    world.owner["metadata"]["labels"] = {"argocd.argoproj.io/instance": "x"}
    world.put(modeldeployment(model={"uri": "pvc://c/other"}))
    before = world.deployment["spec"]["selector"]
    world.settle()
    selected = {"app.kubernetes.io/managed-by": "rondo", "rondo.dev/modeldeployment": "digits"}
    common = {"app.kubernetes.io/name": "modeldeployment", "app.kubernetes.io/instance": "digits", **selected}
    assert world.deployment["spec"]["selector"] == before == {"matchLabels": selected}
    assert world.service["spec"]["selector"] == selected
    assert world.service["metadata"]["labels"] == common
    assert world.deployment["metadata"]["labels"].keys() == {*common, APPLIED}
    assert {key: world.template["metadata"]["labels"][key] for key in common} == common


def test_the_service_answers_on_80_by_the_name_of_the_port() -> None:
    spec = rendered().service["spec"]
    assert spec["ports"] == [{"name": "http", "port": 80, "targetPort": "http", "protocol": "TCP"}]


def test_what_is_made_belongs_to_the_deployment() -> None:
    world = rendered()
    for thing in (world.deployment, world.service):
        (owner,) = thing["metadata"]["ownerReferences"]
        assert (owner["uid"], owner["controller"]) == (world.owner["metadata"]["uid"], True)


def test_the_deadline_is_the_rollout_timeout() -> None:
    assert rendered(rollout={"timeout": "1h30m"}).deployment["spec"]["progressDeadlineSeconds"] == 5400


def test_an_overlay_cannot_take_the_selector_away() -> None:
    template = {"metadata": {"labels": {"app.kubernetes.io/managed-by": "me", "team": "a"}, "annotations": {"x": "y"}}}
    world = rendered(runtime=None, server=server(podTemplate={**template, "spec": {"priority": 7}}))
    labels = world.template["metadata"]["labels"]
    assert labels["app.kubernetes.io/managed-by"] == "rondo"
    assert labels["team"] == "a"
    assert world.template["metadata"]["annotations"] == {"x": "y"}
    assert world.template["spec"]["priority"] == 7


@pytest.mark.parametrize(
    ("uri", "mode", "want"),
    [
        ("pvc://rondo-artifacts/m", AccessMode.READ_WRITE_ONCE, True),
        ("pvc://rondo-artifacts/m", AccessMode.READ_WRITE_MANY, False),
        ("pvc://mine/m", AccessMode.READ_WRITE_ONCE, False),
    ],
)
def test_pods_of_the_artifact_claim_stay_on_the_node_that_can_mount_it(
    uri: str, mode: AccessMode, *, want: bool
) -> None:
    world = rendered(PlannerSettings(store=ArtifactStore(access_mode=mode)), model={"uri": uri})
    assert ("affinity" in world.template["spec"]) == want
    assert ("rondo.dev/artifacts" in world.template["metadata"]["labels"]) == want


def test_shared_memory_and_volumes_of_a_runtime_stay() -> None:
    world = new_world()
    world.put(runtime(server={"shm": "8Gi", "volumes": [{"name": "tmp", "emptyDir": {}}]}))
    world.settle()
    volumes = {volume["name"] for volume in world.template["spec"]["volumes"]}
    assert volumes == {"tmp", "rondo-shm", "rondo-model"}
