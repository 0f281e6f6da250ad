"""Which objects concern which deployment, and what is kept of them."""

from __future__ import annotations

from rondo.core import names
from rondo.core.deployment.controller import (
    deployment_of_child,
    deployments_of_runtime,
    observe_deployment,
    trim_metadata,
    trim_pod,
)
from rondo.core.deployment.diagnosis import why_unready
from rondo.core.resources import CONTROLLER_REVISION, MODEL_DEPLOYMENT
from rondo.core.settings import PlannerSettings
from rondo.core.view import Key
from tests.unit.core.deployment import builders as b
from tests.unit.core.deployment.builders import NAMESPACE, modeldeployment, runtime, server
from tests.unit.core.deployment.world import KEY, World, new_world


def test_children_are_routed_by_label() -> None:
    world = new_world()
    world.roll_out()
    children = [thing for ref, thing in world.objects.items() if ref.resource.group != "rondo.dev"]
    assert {thing["kind"] for thing in children} == {"Deployment", "Service", "ControllerRevision", "Pod"}
    assert [list(deployment_of_child(child)) for child in children] == [[KEY]] * len(children)
    assert list(deployment_of_child({"metadata": {"name": "x", "namespace": NAMESPACE}})) == []


def test_a_runtime_concerns_the_deployments_that_name_it_in_any_namespace() -> None:
    world = World()
    world.put(modeldeployment("a"))
    world.put(modeldeployment("b", runtime="vllm"))
    world.put(modeldeployment("c", runtime=None, server=server()))
    elsewhere = modeldeployment("d")
    elsewhere["metadata"]["namespace"] = "other"
    world.put(elsewhere)
    found = set(deployments_of_runtime(runtime(), world))
    assert found == {Key(MODEL_DEPLOYMENT, NAMESPACE, "a"), Key(MODEL_DEPLOYMENT, "other", "d")}


def test_a_revision_of_another_owner_is_none_of_ours() -> None:
    world = new_world()
    world.settle()
    revision = world.of_kind(CONTROLLER_REVISION)[0]
    revision["metadata"]["ownerReferences"][0]["uid"] = "other"
    snapshot = observe_deployment(world, KEY, PlannerSettings())
    assert snapshot is not None
    assert snapshot.revisions == ()


def test_what_is_not_there_is_not_looked_at() -> None:
    assert observe_deployment(World(), KEY, PlannerSettings()) is None


def test_a_trimmed_pod_tells_the_same() -> None:
    world = new_world()
    world.settle()
    world.pods(b.CRASHING)
    pod = next(thing for ref, thing in world.objects.items() if ref.resource.kind == "Pod")
    pod["spec"] = {"containers": []}
    pod["metadata"]["managedFields"] = [{}]
    pod["status"]["podIPs"] = [{"ip": "10.0.0.1"}]
    trimmed = trim_pod(pod)
    assert why_unready(trimmed) == why_unready(pod)
    assert "spec" not in trimmed
    assert "managedFields" not in trimmed["metadata"]
    assert "podIPs" not in trimmed["status"]
    assert names.MODEL_DEPLOYMENT in trimmed["metadata"]["labels"]


def test_trimmed_metadata_keeps_all_but_bookkeeping() -> None:
    metadata = {"name": "x", "annotations": {"a": "b", "kubectl.kubernetes.io/last-applied-configuration": "{}"}}
    thing = {"kind": "Deployment", "metadata": {**metadata, "managedFields": []}, "spec": {"replicas": 1}}
    assert trim_metadata(thing) == {
        "kind": "Deployment", "metadata": {"name": "x", "annotations": {"a": "b"}}, "spec": {"replicas": 1},
    }  # fmt: skip
