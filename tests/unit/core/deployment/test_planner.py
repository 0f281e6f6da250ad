"""What is done about a deployment and what is said of it, from one look to the next."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import pytest

from rondo.core import names
from rondo.core.artifacts import ArtifactStore
from rondo.core.deployment.controller import observe_deployment
from rondo.core.deployment.planner import plan_deployment
from rondo.core.deployment.revision import KEPT
from rondo.core.plan import EventType, Failure, Plan, Ref
from rondo.core.resources import CONTROLLER_REVISION, DEPLOYMENT, MODEL_DEPLOYMENT, MODEL_RUNTIME, SERVICE
from rondo.core.settings import PlannerSettings
from rondo.core.view import Key
from tests.unit.core.deployment import builders as b
from tests.unit.core.deployment.builders import NAMESPACE, URI, condition, modeldeployment, runtime, server
from tests.unit.core.deployment.world import START, new_world

OTHER_URI = "pvc://rondo-artifacts/digits/77aa/evaluate-1/model"
OVER_QUOTA = 'pods "digits-1" is forbidden: exceeded quota: small'
DEADLINE = condition("Progressing", "False", "ProgressDeadlineExceeded", "has timed out progressing")


def test_a_new_deployment_is_frozen_then_applied_and_ready_once_its_pods_are() -> None:
    world = new_world()
    first = world.reconcile()
    assert [action.ref.resource for action in first.actions] == [CONTROLLER_REVISION]
    assert world.says("Ready") == "False/NewRevision"
    assert world.status["url"] == "http://digits.team.svc"
    world.settle()
    assert world.says("Ready") == "False/RollingOut"
    world.pods(b.LOADING, b.LOADING)
    world.observe()
    world.settle()
    assert world.says("Ready") == "False/NotReady"
    assert world.says("Available") == "False/NotReady"
    assert world.says("ModelLoaded") == "False/NotReady"
    assert world.says("Reconciling") == "True/NotReady"
    world.roll_out()
    assert world.says("Ready") == "True/Ready"
    assert world.condition("Ready")["message"] == f"2/2 pods serve {URI} (version 1)"
    said = [(c["type"], c["status"], c["reason"]) for c in world.status["conditions"]]
    assert said == [
        ("Accepted", "True", "Accepted"),
        ("Available", "True", "Answering"),
        ("Progressing", "False", "RolledOut"),
        ("ModelLoaded", "True", "ModelLoaded"),
        ("Ready", "True", "Ready"),
    ]


def test_status_tells_what_is_served() -> None:
    world = new_world()
    world.roll_out()
    status = {key: value for key, value in world.status.items() if key not in {"conditions", "message"}}
    assert status == {
        "observedGeneration": 1,
        "url": "http://digits.team.svc",
        "protocol": "OpenInference",
        "runtime": "sklearn",
        "replicas": 2,
        "readyReplicas": 2,
        "selector": "app.kubernetes.io/managed-by=rondo,rondo.dev/modeldeployment=digits",
        "model": {"uri": URI, "version": "1"},
        "revision": world.revision,
        "revisions": [
            {
                "name": f"digits-{world.revision}",
                "hash": world.revision,
                "image": "sklearn:1",
                "model": {"uri": URI, "version": "1"},
                "ready": 2,
            }
        ],
        "kept": [],
    }


def test_a_plan_that_was_carried_out_is_empty() -> None:
    world = new_world()
    world.roll_out()
    assert world.reconcile() == Plan()


@dataclass(frozen=True)
class Case:
    """Pods of the newest revision and what is said of them."""

    pods: tuple[dict[str, Any], ...]
    want_reason: str
    want_message: str
    conditions: tuple[dict[str, Any], ...] = ()
    want_stalled: bool = False
    events: tuple[dict[str, Any], ...] = ()


CASES = {
    "pods not created yet": Case((), "RollingOut", "0/2 pods of revision"),
    "unschedulable": Case((b.UNSCHEDULABLE, b.READY), "Unschedulable", "1/2 pods of revision"),
    "unschedulable says what is short": Case((b.UNSCHEDULABLE,), "Unschedulable", "1 Insufficient nvidia.com/gpu"),
    "image cannot be pulled": Case((b.IMAGE_MISSING,), "ImagePull", "cannot pull image sklearn:1"),
    "image name is none": Case((b.IMAGE_NAME_WRONG,), "ImagePull", "couldn't parse image name", want_stalled=True),
    "crash loop with the last line": Case((b.CRASHING,), "CrashLoop", "No module named 'lightgbm'"),
    "between two crashes": Case((b.JUST_CRASHED,), "CrashLoop", "exit code 1: ValueError: bad pickle"),
    "killed for memory and running again": Case((b.OOM_RESTARTED,), "OOMKilled", "resources.limits.memory"),
    "killed for memory again and again": Case((b.OOM_LOOP,), "OOMKilled", "4 restarts"),
    "model missing": Case((b.MODEL_MISSING,), "ModelMissing", f"-1: {b.MISSING_MESSAGE}"),
    "model missing, in back-off": Case((b.MODEL_MISSING_LOOP,), "ModelMissing", b.MISSING_MESSAGE),
    "model unreadable": Case((b.MODEL_DENIED,), "ModelUnreadable", "cannot be read by user 65532"),
    "model not in its bucket": Case((b.MODEL_NOT_IN_BUCKET,), "ModelMissing", b.NO_OBJECT),
    "store does not answer": Case((b.STORE_AWAY,), "ModelUnreadable", b.NO_STORE),
    "worst pod speaks": Case((b.LOADING, b.UNSCHEDULABLE, b.CRASHING), "CrashLoop", "lightgbm"),
    "held back by a readiness gate": Case((b.GATED,), "NotReady", "is not ready"),
    "evicted and not replaced yet": Case((b.EVICTED,), "Evicted", "was evicted: The node was low on resource: memory"),
    "starting": Case((b.INITIALIZING,), "Starting", "is starting: PodInitializing"),
    "volume does not mount": Case(
        (b.INITIALIZING,), "Volume", "MountVolume.SetUp failed",
        events=(b.warning("FailedMount", "MountVolume.SetUp failed for volume rondo-model"),),
    ),
    "earlier lack of nodes is no cause": Case(
        (b.INITIALIZING,), "Starting", "PodInitializing",
        events=(b.warning("FailedScheduling", "0/1 nodes are available"),),
    ),
    "probe's answer is told": Case(
        (b.LOADING,), "NotReady", "HTTP probe failed with statuscode: 400",
        events=(b.warning("Unhealthy", "Readiness probe failed: HTTP probe failed with statuscode: 400"),),
    ),
    "quota": Case(
        (), "Quota", OVER_QUOTA, conditions=(condition("ReplicaFailure", "True", "FailedCreate", OVER_QUOTA),)
    ),
    "stuck and nobody knows why": Case(
        (b.LOADING,), "ProgressDeadlineExceeded", "no progress within spec.rollout.timeout",
        conditions=(DEADLINE,), want_stalled=True,
    ),
    "stuck for a reason": Case(
        (b.UNSCHEDULABLE,), "Unschedulable", "nvidia.com/gpu", conditions=(DEADLINE,), want_stalled=True
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_the_root_cause_reaches_ready(case: Case) -> None:
    world = new_world()
    world.settle()
    world.pod_events = case.events
    world.pods(*case.pods)
    world.observe(*case.conditions)
    world.settle()
    assert world.says("Ready") == f"False/{case.want_reason}"
    assert case.want_message in world.condition("Ready")["message"]
    assert world.status["message"] == world.condition("Ready")["message"]
    assert bool(world.says("Stalled")) == case.want_stalled
    assert bool(world.says("Reconciling")) != case.want_stalled
    assert world.reconcile().actions == ()


def test_it_looks_again_after_what_it_wrote_itself() -> None:
    """The answers to its own writes are no news, so nothing else would wake it."""
    world = new_world()
    assert world.reconcile().requeue_after == 0.0
    assert world.reconcile().requeue_after == 1.0
    world.roll_out()
    assert world.reconcile().requeue_after is None


def test_a_pod_that_starts_is_looked_at_again() -> None:
    world = new_world()
    world.settle()
    world.pods(b.INITIALIZING)
    world.observe()
    plan = world.reconcile()
    assert plan.requeue_after is not None
    assert 0 < plan.requeue_after <= 60


NOT_READY_YET = {
    "old pods alone serve": ({"replicas": 2, "availableReplicas": 2, "readyReplicas": 2}, 0),
    "the Deployment is not observed": (
        {"replicas": 2, "updatedReplicas": 2, "availableReplicas": 2, "readyReplicas": 2}, -1,
    ),
    "an old pod is left": ({"replicas": 3, "updatedReplicas": 2, "availableReplicas": 3, "readyReplicas": 3}, 0),
    "one is not available": ({"replicas": 2, "updatedReplicas": 2, "availableReplicas": 1, "readyReplicas": 1}, 0),
    "more are still there than wanted": (
        {"replicas": 3, "updatedReplicas": 3, "availableReplicas": 3, "readyReplicas": 3}, 0,
    ),
}  # fmt: skip


@pytest.mark.parametrize(("counts", "behind"), NOT_READY_YET.values(), ids=NOT_READY_YET.keys())
def test_ready_is_never_said_too_early(counts: dict[str, int], behind: int) -> None:
    world = new_world()
    world.roll_out()
    world.put(modeldeployment(model={"uri": OTHER_URI}))
    world.settle()
    generation = world.deployment["metadata"]["generation"] + behind
    world.deployment["status"] = {"observedGeneration": generation, **counts}
    world.settle()
    assert world.says("Ready") == "False/RollingOut"
    assert world.says("Reconciling") == "True/RollingOut"
    assert world.says("Available") == "True/Answering"
    assert world.status["observedGeneration"] == 2


def test_readiness_falls_at_once_when_the_spec_changes() -> None:
    world = new_world()
    world.roll_out()
    world.put(modeldeployment(model={"uri": OTHER_URI}))
    plan = world.reconcile()
    assert plan.status_kind == "Facts"
    assert world.says("Ready") == "False/NewRevision"
    assert world.status["observedGeneration"] == 2


# Revisions -----------------------------------------------------------------------------------------------------------


def test_an_edit_of_the_runtime_rolls_nothing_and_is_told() -> None:
    world = new_world()
    world.roll_out()
    before = world.template
    world.put(runtime(image="sklearn:2"))
    world.settle()
    assert world.template == before
    assert world.says("Ready") == "True/Ready"
    assert world.says("RuntimeOutdated") == "True/RuntimeChanged"
    assert "a new spec.model.version takes the change over" in world.condition("RuntimeOutdated")["message"]
    world.put(modeldeployment(model={"uri": URI, "version": "2"}))
    world.roll_out()
    assert world.template["spec"]["containers"][0]["image"] == "sklearn:2"
    assert world.says("RuntimeOutdated") == ""


def test_what_a_runtime_allows_is_no_part_of_its_revisions() -> None:
    world = new_world()
    world.roll_out()
    world.put(runtime(allow=["args"], formats=[{"name": "sklearn"}]))
    world.settle()
    assert world.says("RuntimeOutdated") == ""


def test_a_runtime_that_became_invalid_counts_as_changed() -> None:
    world = new_world()
    world.roll_out()
    world.put(runtime(newer="field"))
    world.settle()
    assert world.says("Ready") == "True/Ready"
    assert world.says("RuntimeOutdated") == "True/RuntimeChanged"


def test_an_upgrade_of_the_operator_rolls_nothing() -> None:
    world = new_world()
    world.roll_out()
    before, writes = world.template, len(world.writes)
    world.settings = PlannerSettings(image="rondo-operator:2", store=ArtifactStore(claim="other"))
    world.settle()
    assert world.template == before
    assert len(world.writes) == writes


def test_a_runtime_that_is_deleted_takes_no_model_down() -> None:
    world = new_world()
    world.roll_out()
    world.remove(MODEL_RUNTIME, "sklearn")
    world.settle()
    assert world.says("Ready") == "True/Ready"
    assert "ModelRuntime sklearn is gone" in world.condition("RuntimeOutdated")["message"]


def test_going_back_goes_back_to_the_pods_of_then() -> None:
    world = new_world()
    world.roll_out()
    before, first = world.template, world.revision
    world.put(runtime(image="sklearn:2"))
    world.put(modeldeployment(model={"uri": OTHER_URI}))
    world.roll_out()
    assert world.revision != first
    world.put(modeldeployment())
    world.roll_out()
    assert world.revision == first
    assert world.template["spec"]["containers"] == before["spec"]["containers"]
    assert len(world.revisions) == 2


def test_going_back_in_the_middle_of_a_rollout_is_another_target() -> None:
    world = new_world()
    world.roll_out()
    first = world.revision
    world.put(modeldeployment(model={"uri": OTHER_URI}))
    world.settle()
    world.pods(b.CRASHING)
    world.observe(DEADLINE)
    world.settle()
    assert world.says("Stalled") == "True/CrashLoop"
    world.put(modeldeployment())
    world.settle()
    assert world.revision == first
    assert world.says("Stalled") == ""
    world.roll_out()
    assert world.says("Ready") == "True/Ready"


@pytest.mark.parametrize("change", [{"replicas": 5}, {"rollout": {"timeout": "30m"}}], ids=str)
def test_what_changes_no_pod_makes_no_revision(change: dict[str, Any]) -> None:
    world = new_world()
    world.roll_out()
    before = world.template
    world.put(modeldeployment(**change))
    world.settle()
    assert len(world.revisions) == 1
    assert world.template == before
    assert world.says("Ready") == "False/RollingOut"


def test_a_deleted_revision_is_made_again_as_it_was() -> None:
    world = new_world()
    world.roll_out()
    before = world.template
    world.put(runtime(image="sklearn:2"))
    world.remove(CONTROLLER_REVISION, world.revisions[0])
    world.settle()
    assert world.template == before
    assert world.revisions == [f"digits-{world.revision}"]
    assert world.says("Ready") == "True/Ready"
    assert world.says("RuntimeOutdated") == "True/RuntimeChanged"


def test_a_deleted_revision_whose_origin_is_lost_is_rendered_anew() -> None:
    world = new_world()
    world.roll_out()
    world.put(runtime(image="sklearn:2"))
    world.remove(CONTROLLER_REVISION, world.revisions[0])
    world.deployment["metadata"]["annotations"] = {}
    world.settle()
    assert world.template["spec"]["containers"][0]["image"] == "sklearn:2"


def test_only_the_newest_revisions_are_kept_and_those_in_use() -> None:
    world = new_world()
    world.roll_out()
    first = world.revisions[0]
    for number in range(KEPT + 3):
        world.put(modeldeployment(model={"uri": f"pvc://c/{number}"}))
        world.roll_out()
    assert len(world.revisions) == KEPT
    assert first not in world.revisions
    assert world.status["revisions"][0]["hash"] == world.revision


def test_a_revision_is_what_was_stored_first() -> None:
    """Two processes may render one hash differently, around an upgrade; both apply what is stored."""
    world = new_world()
    ahead = new_world()
    ahead.owner["metadata"]["uid"] = world.owner["metadata"]["uid"]
    ahead.put(runtime(image="sklearn:ahead"))
    ahead.reconcile()
    world.reconcile()
    stored = ahead.of_kind(CONTROLLER_REVISION)[0]
    world.objects[Ref(CONTROLLER_REVISION, NAMESPACE, stored["metadata"]["name"])] = stored
    world.settle()
    assert world.template["spec"]["containers"][0]["image"] == "sklearn:ahead"


# Refusals ------------------------------------------------------------------------------------------------------------


def test_a_runtime_that_is_not_there_is_named_with_the_nearest() -> None:
    world = new_world(runtime="sklern")
    plan = world.reconcile()
    assert world.says("Accepted") == "False/RuntimeNotFound"
    assert "there is no ModelRuntime sklern (did you mean sklearn?)" in world.condition("Ready")["message"]
    assert world.says("Reconciling") == "True/RuntimeNotFound"
    assert plan.requeue_after is not None
    world.pass_time(seconds=plan.requeue_after)
    world.settle()
    assert world.says("Stalled") == "True/RuntimeNotFound"
    assert world.says("Reconciling") == ""
    assert world.reconcile().requeue_after is None
    world.put(runtime("sklern"))
    world.roll_out()
    assert world.says("Ready") == "True/Ready"
    assert world.says("Stalled") == ""


def test_a_minute_of_patience_begins_when_the_runtime_is_missed() -> None:
    world = new_world()
    world.settle()
    world.pass_time(minutes=30)
    world.put(modeldeployment(runtime="none"))
    world.settle()
    assert world.says("Reconciling") == "True/RuntimeNotFound"


@pytest.mark.parametrize("name", ["0digits", "di.gits", "d" * 64])
def test_a_name_that_no_service_can_have_is_refused(name: str) -> None:
    world = new_world()
    body = world.owner
    del world.objects[Ref(MODEL_DEPLOYMENT, NAMESPACE, "digits")]
    body["metadata"]["name"] = name
    snapshot = observe_deployment(
        replace(world, objects={Ref(MODEL_DEPLOYMENT, NAMESPACE, name): body}),
        Key(MODEL_DEPLOYMENT, NAMESPACE, name),
        world.settings,
    )
    assert snapshot is not None
    plan = plan_deployment(snapshot, START)
    assert plan.actions == ()
    assert plan.status is not None
    accepted = next(c for c in plan.status["conditions"] if c["type"] == "Accepted")
    assert (accepted["status"], accepted["reason"]) == ("False", "InvalidName")
    assert repr(name) in accepted["message"]


def test_a_runtime_that_the_store_has_missed_is_found_by_a_live_look() -> None:
    world = new_world()
    seen = world.get
    world.get = lambda ref: None if ref.resource == MODEL_RUNTIME else seen(ref)  # type: ignore[method-assign]
    world.settle()
    assert world.says("Accepted") == "True/Accepted"
    assert world.revisions


FIELDS = {
    "args": ["--x"],
    "env": [{"name": "A", "value": "1"}],
    "resources": {"limits": {"cpu": 1}},
    "nodeSelector": {"a": "b"},
    "tolerations": [{"key": "a"}],
}


@pytest.mark.parametrize("field", FIELDS)
def test_a_field_that_the_runtime_does_not_allow_is_refused_by_name(field: str) -> None:
    world = new_world(**{field: FIELDS[field]})
    world.put(runtime(allow=[other for other in FIELDS if other != field]))
    world.settle()
    assert world.says("Accepted") == "False/FieldNotAllowed"
    assert world.says("Stalled") == "True/FieldNotAllowed"
    message = world.condition("Accepted")["message"]
    assert message.startswith(f"spec.{field}: ModelRuntime sklearn does not allow it")
    assert world.revisions == []
    world.put(runtime())
    world.settle()
    assert world.says("Accepted") == "True/Accepted"


REFUSED = {
    "unknown field": ({"canary": {}}, "InvalidSpec", "spec.canary: there is no such field"),
    "path that leads upwards": ({"model": {"uri": "pvc://c/../x"}}, "InvalidSpec", "spec.model.uri"),
    "both": ({"server": server()}, "InvalidSpec", "exactly one of runtime and server"),
    "neither": ({"runtime": None}, "InvalidSpec", "exactly one of runtime and server"),
    "server without port": (
        {"runtime": None, "server": server(ports=[{"name": "web", "containerPort": 80}])},
        "InvalidSpec", "spec.server.ports: give the port that answers requests, named http",
    ),
    "unknown reference": (
        {"runtime": None, "server": server(args=["$(model.uri)"])}, "InvalidSpec", "$(model.uri)",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("spec", "reason", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_a_spec_that_cannot_be_followed_is_refused(spec: dict[str, Any], reason: str, message: str) -> None:
    world = new_world(**spec)
    world.settle()
    assert world.says("Accepted") == f"False/{reason}"
    assert world.says("Stalled") == f"True/{reason}"
    assert message in world.condition("Accepted")["message"]


def test_a_runtime_with_a_mistake_is_named() -> None:
    world = new_world()
    world.put(runtime(server={"args": ["$(model.pth)"]}))
    world.settle()
    assert world.says("Accepted") == "False/InvalidRuntime"
    assert "ModelRuntime sklearn: $(model.pth)" in world.condition("Accepted")["message"]


@pytest.mark.parametrize(
    "spec", [{"runtime": "none"}, {"canary": {}}, {"args": ["x"], "replicas": 2}, {"model": None}], ids=str
)
def test_what_served_before_goes_on_serving(spec: dict[str, Any]) -> None:
    world = new_world()
    world.put(runtime(allow=[]))
    world.roll_out()
    before = world.deployment
    world.put(modeldeployment(**spec))
    world.settle()
    assert world.says("Ready").startswith("False/")
    assert world.says("Available") == "True/Answering"
    assert "until then 2 pods serve pvc://" in world.condition("Ready")["message"]
    assert world.deployment == before
    assert world.status["revision"] == world.revision


def test_without_a_model_it_waits_for_a_pipeline() -> None:
    world = new_world(model=None)
    world.settle()
    assert world.says("Accepted") == "True/Accepted"
    assert world.says("Ready") == "False/WaitingForModel"
    assert world.says("Reconciling") == "True/WaitingForModel"
    assert world.status["url"] == "http://digits.team.svc"
    assert "until then" not in world.condition("Ready")["message"]
    assert world.writes == ["status"]
    assert world.reconcile() == Plan()
    world.put(modeldeployment())
    world.roll_out()
    assert world.says("Ready") == "True/Ready"


# Objects -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("resource", [DEPLOYMENT, SERVICE], ids=lambda r: r.kind)
def test_what_is_deleted_by_hand_is_put_back(resource: Any) -> None:
    world = new_world()
    world.roll_out()
    world.remove(resource)
    world.settle()
    assert Ref(resource, NAMESPACE, "digits") in world.objects
    event = next(event for event in world.events if event.reason == "PutBack")
    assert event.type is EventType.WARNING
    assert event.note == f"{resource.kind} team/digits was deleted; it is put back"
    world.roll_out()
    assert world.says("Ready") == "True/Ready"


EDITS = {
    "image": (
        DEPLOYMENT, {"spec": {"template": {"spec": {"containers": [{"name": "main", "image": "evil:1"}]}}}},
        "spec.template.spec.containers[main].image",
    ),
    "replicas": (DEPLOYMENT, {"spec": {"replicas": 7}}, "spec.replicas"),
    "paused": (DEPLOYMENT, {"spec": {"paused": True}}, "spec.paused"),
    "label": (DEPLOYMENT, {"metadata": {"labels": {names.MANAGED_BY: "me"}}}, f"metadata.labels.{names.MANAGED_BY}"),
    "port": (SERVICE, {"spec": {"ports": [{"port": 80, "targetPort": 1}]}}, "spec.ports[80].targetPort"),
    "selector": (
        SERVICE, {"spec": {"selector": {names.MODEL_DEPLOYMENT: "x"}}}, f"spec.selector.{names.MODEL_DEPLOYMENT}",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("resource", "patch", "path"), EDITS.values(), ids=EDITS.keys())
def test_what_is_edited_by_hand_is_put_back(resource: Any, patch: dict[str, Any], path: str) -> None:
    world = new_world()
    world.roll_out()
    ref = Ref(resource, NAMESPACE, "digits")
    before = world.objects[ref]["spec"]
    world.edit(resource, patch)
    plan = world.reconcile()
    assert [action.ref for action in plan.actions] == [ref]
    assert any(event.reason == "PutBack" and f"was edited at {path}" in event.note for event in plan.events)
    world.settle()
    assert world.objects[ref]["spec"] == before
    assert world.reconcile().actions == ()


def test_a_service_that_was_given_another_port_gets_its_ports_back_as_a_whole() -> None:
    """Applying ours would leave both, and the API server refuses two ports of one name."""
    world = new_world()
    world.roll_out()
    before = world.service["spec"]
    world.service["spec"] = {**before, "ports": [{"name": "http", "port": 81, "targetPort": 99, "protocol": "TCP"}]}
    world.settle()
    assert world.service["spec"] == before
    assert world.says("Ready") == "True/Ready"


def test_what_others_add_is_left_alone() -> None:
    world = new_world()
    world.roll_out()
    world.edit(
        DEPLOYMENT, {"spec": {"template": {"metadata": {"annotations": {"kubectl.kubernetes.io/restartedAt": "x"}}}}}
    )
    world.observe()
    assert world.reconcile().actions == ()


def test_a_value_that_the_api_server_writes_its_own_way_is_applied_once_more_and_then_left() -> None:
    world = new_world(runtime=None, server=server(podTemplate={"spec": {"hostname": "As-Given"}}))
    world.rewrites = {"As-Given": "as-given"}
    world.roll_out()
    assert world.template["spec"]["hostname"] == "as-given"
    assert world.says("Ready") == "True/Ready"
    assert world.reconcile() == Plan()
    world.edit(DEPLOYMENT, {"spec": {"template": {"spec": {"hostname": "edited"}}}})
    world.settle()
    assert world.template["spec"]["hostname"] == "as-given"
    world.put({**world.owner, "spec": {**world.owner["spec"], "replicas": 3}})
    world.roll_out()
    assert world.deployment["spec"]["replicas"] == 3
    assert world.says("Ready") == "True/Ready"


@pytest.mark.parametrize("resource", [DEPLOYMENT, SERVICE], ids=lambda r: r.kind)
def test_an_object_of_somebody_else_is_not_touched(resource: Any) -> None:
    world = new_world()
    foreign = {
        "apiVersion": resource.api_version,
        "kind": resource.kind,
        "metadata": {"name": "digits", "namespace": NAMESPACE},
        "spec": {"replicas": 1, "selector": {}, "template": {"metadata": {}}},
    }
    world.put(foreign)["status"] = {"replicas": 9, "readyReplicas": 9, "availableReplicas": 9}
    before = world.objects[Ref(resource, NAMESPACE, "digits")]
    world.settle()
    assert world.objects[Ref(resource, NAMESPACE, "digits")] == before
    assert world.says("Ready") == "False/NameConflict"
    assert world.says("Stalled") == "True/NameConflict"
    assert f"{resource.kind} team/digits exists and belongs to somebody else" in world.condition("Ready")["message"]
    assert world.reconcile().requeue_after == 30.0
    assert world.status["replicas"] == 0
    assert world.says("Available") == "False/NameConflict"
    assert (world.events[-1].type, world.events[-1].reason) == (EventType.WARNING, "NameConflict")
    world.remove(resource)
    world.roll_out()
    assert world.says("Ready") == "True/Ready"


def test_pods_that_nobody_can_reach_are_not_available() -> None:
    world = new_world()
    world.roll_out()
    world.service["metadata"]["ownerReferences"] = []
    world.settle()
    assert world.status["readyReplicas"] == 2
    assert world.says("Available") == "False/NameConflict"


def test_a_conflict_that_only_the_api_server_knows_is_told() -> None:
    world = new_world()
    world.refusals[SERVICE] = Failure(409, "NameConflict", "Service team/digits belongs to somebody else", START)
    world.settle()
    assert world.says("Stalled") == "True/NameConflict"
    assert world.reconcile().requeue_after == 30.0


FAILURES = {
    "quota": (Failure(403, "Forbidden", "exceeded quota: objects", START), "Quota", False),
    "policy": (Failure(403, "Forbidden", "denied by policy x", START), "AdmissionDenied", False),
    "invalid": (
        Failure(422, "Invalid", "spec.template.spec.containers[0].name: Duplicate", START),
        "InvalidObject",
        True,
    ),
    "no such field": (Failure(500, "HTTP500", ".spec.x: field not declared in schema", START), "InvalidObject", True),
    "outage": (Failure(503, "ServiceUnavailable", "etcd leader changed", START), "ApplyFailed", False),
}


@pytest.mark.parametrize("resource", [DEPLOYMENT, CONTROLLER_REVISION], ids=lambda r: r.kind)
@pytest.mark.parametrize(("failure", "reason", "stalled"), FAILURES.values(), ids=FAILURES.keys())
def test_what_the_api_server_refuses_is_told(failure: Failure, reason: str, stalled: bool, resource: Any) -> None:  # noqa: FBT001
    world = new_world()
    world.refusals[resource] = failure
    world.settle()
    assert world.says("Ready") == f"False/{reason}"
    assert failure.message in world.condition("Ready")["message"]
    assert bool(world.says("Stalled")) == stalled
    assert world.reconcile().actions, "it is tried again"


def test_a_deployment_on_its_way_out_is_waited_for() -> None:
    world = new_world()
    world.roll_out()
    world.deployment["metadata"]["deletionTimestamp"] = "2026-11-01T12:00:00Z"
    world.settle()
    assert world.says("Ready") == "False/Recreating"
    assert world.reconcile().actions == ()


def test_a_deployment_that_is_deleted_is_left_to_garbage_collection() -> None:
    world = new_world()
    world.settle()
    world.owner["metadata"]["deletionTimestamp"] = "2026-11-01T12:00:00Z"
    world.remove(SERVICE)
    assert world.reconcile() == Plan(forget=True)


# Scale and words -----------------------------------------------------------------------------------------------------


def test_scaled_to_zero_as_declared_is_ready_and_not_available() -> None:
    world = new_world(replicas=0)
    world.roll_out()
    assert world.deployment["spec"]["replicas"] == 0
    assert world.says("Ready") == "True/ScaledToZero"
    assert world.says("Available") == "False/ScaledToZero"
    assert world.says("ModelLoaded") == "Unknown/ScaledToZero"


def test_replicas_follow_the_spec() -> None:
    world = new_world(replicas=1)
    world.roll_out()
    world.put(modeldeployment(replicas=3))
    world.settle()
    assert world.deployment["spec"]["replicas"] == 3
    world.pods(b.READY, b.READY, b.UNSCHEDULABLE)
    world.observe()
    world.settle()
    assert world.says("Ready") == "False/Unschedulable"
    assert world.says("Available") == "True/Answering"
    assert world.status["readyReplicas"] == 2


def test_a_server_without_a_probe_is_never_said_to_have_loaded_its_model() -> None:
    world = new_world(runtime=None, server=server())
    world.roll_out()
    assert world.says("Ready") == "True/Ready"
    assert world.says("ModelLoaded") == "Unknown/NoReadinessProbe"
    assert world.status["runtime"] == "in place"


def test_words_are_progress_and_reasons_are_facts() -> None:
    world = new_world()
    world.settle()
    world.pods(b.CRASHING)
    world.observe()
    assert world.reconcile().status_kind == "Facts"
    world.pods(b.running({**b.CRASHING["containerStatuses"][0], "restartCount": 4}))
    assert world.reconcile().status_kind == "Progress"


def test_each_change_of_ready_is_an_event() -> None:
    world = new_world()
    world.settle()
    world.pods(b.CRASHING)
    world.observe()
    world.settle()
    world.roll_out()
    assert [(event.type.value, event.reason) for event in world.events] == [
        ("Normal", "NewRevision"), ("Normal", "RollingOut"), ("Warning", "CrashLoop"), ("Normal", "Ready"),
    ]  # fmt: skip


def test_the_time_of_a_condition_is_that_of_its_flip() -> None:
    world = new_world()
    world.settle()
    first = world.condition("Ready")["lastTransitionTime"]
    world.pass_time(minutes=5)
    world.pods(b.CRASHING)
    world.observe()
    world.settle()
    assert world.condition("Ready")["lastTransitionTime"] == first
    world.roll_out()
    assert world.condition("Ready")["lastTransitionTime"] > first


def test_pods_of_an_earlier_revision_are_not_the_cause() -> None:
    world = new_world()
    world.settle()
    first = world.revision
    world.pods(b.CRASHING)
    world.put(modeldeployment(model={"uri": OTHER_URI}))
    world.settle()
    world.pods(b.UNSCHEDULABLE)
    world.observe()
    world.settle()
    assert world.says("Ready") == "False/Unschedulable"
    assert "1 of earlier ones left" in world.condition("Ready")["message"]
    assert {r["hash"]: r["ready"] for r in world.status["revisions"]} == {first: 0, world.revision: 0}


def test_the_same_name_of_another_uid_shares_no_revision() -> None:
    world, other = new_world(), new_world()
    other.owner["metadata"]["uid"] = "another"
    world.settle()
    other.settle()
    assert world.revision != other.revision
