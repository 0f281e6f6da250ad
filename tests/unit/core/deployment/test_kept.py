"""Revisions that graphs ask by name: their Services, their second Deployments, and that no request falls between."""

from __future__ import annotations

from typing import Any

import pytest

from rondo.core import names
from rondo.core.deployment.controller import deployments_of_graph
from rondo.core.deployment.revision import REVISION
from rondo.core.plan import Ref
from rondo.core.resources import CONTROLLER_REVISION, DEPLOYMENT, MODEL_GRAPH, POD, SERVICE
from tests.unit.core.deployment import builders as b
from tests.unit.core.deployment.builders import NAMESPACE, READY, URI, modeldeployment
from tests.unit.core.deployment.world import KEY, World, new_world

Body = dict[str, Any]


def pin(world: World, *revisions: str, graph: str = "g") -> None:
    """Let a graph ask revisions by its status, and the deployment look."""
    ref = Ref(MODEL_GRAPH, NAMESPACE, graph)
    if ref not in world.objects:
        world.put({"apiVersion": "rondo.dev/v1alpha1", "kind": "ModelGraph", "metadata": _named(graph), "spec": {}})
    parts = ("served", "candidate")
    release = {
        part: {"members": [{"name": "digits", "revision": revision}]}
        for part, revision in zip(parts, revisions, strict=False)
    }
    world.objects[ref]["status"] = {"release": release}
    world.settle()


def _named(name: str) -> Body:
    return {"name": name, "namespace": NAMESPACE}


def change(world: World, version: str) -> None:
    """Ask for another revision."""
    world.put(modeldeployment(model={"uri": URI, "version": version}))
    world.settle()


def second(world: World, revision: str) -> Body | None:
    return world.objects.get(Ref(DEPLOYMENT, NAMESPACE, f"digits-{revision}"))


def service(world: World, revision: str) -> Body | None:
    return world.objects.get(Ref(SERVICE, NAMESPACE, f"digits-{revision}"))


def start(world: World, revision: str, *pods: Body) -> None:
    """Be controller and kubelet for a second Deployment; by default its two pods answer."""
    deployment = second(world, revision)
    assert deployment is not None
    for number, status in enumerate(pods or (READY, READY)):
        labels = deployment["spec"]["template"]["metadata"]["labels"]
        metadata = {**_named(f"second-{revision}-{number}"), "labels": labels}
        if Ref(POD, NAMESPACE, metadata["name"]) not in world.objects:
            world.put({"apiVersion": "v1", "kind": "Pod", "metadata": metadata})["status"] = status
    seen = deployment["metadata"]["generation"]
    count = len(pods or (READY, READY))
    deployment["status"] = {"observedGeneration": seen, "availableReplicas": count, "replicas": count}
    world.settle()


@pytest.fixture
def world() -> World:
    """A deployment that is rolled out, and whose revision the graph `g` asks."""
    world = new_world()
    world.roll_out()
    pin(world, world.revision)
    return world


def test_a_revision_that_a_graph_asks_has_a_service(world: World) -> None:
    found = service(world, world.revision)
    assert found is not None
    assert found["spec"]["selector"] == {
        "app.kubernetes.io/name": "modeldeployment",
        "app.kubernetes.io/instance": "digits",
        names.MANAGED_BY: names.MANAGER,
        REVISION: world.revision,
    }
    assert second(world, world.revision) is None
    assert world.status["kept"] == [{"hash": world.revision, "graphs": ["g"], "ready": 2, "reason": "", "message": ""}]
    assert world.says("Ready") == "True/Ready"


def test_pods_of_both_deployments_answer_at_the_service_of_the_revision_only(world: World) -> None:
    old = world.revision
    change(world, "2")
    found = second(world, old)
    assert found is not None
    labels = found["spec"]["template"]["metadata"]["labels"]
    selector = (service(world, old) or {})["spec"]["selector"]
    assert selector.items() <= labels.items()
    assert selector.items() <= world.template["metadata"]["labels"].items()
    assert not world.service["spec"]["selector"].items() <= labels.items()
    assert not world.deployment["spec"]["selector"]["matchLabels"].items() <= labels.items()
    assert found["spec"]["selector"]["matchLabels"].items() <= labels.items()
    assert found["spec"]["template"]["spec"] == world.template["spec"]


def test_the_deployment_leaves_a_revision_only_when_a_second_one_has_its_pods(world: World) -> None:
    old = world.revision
    change(world, "2")
    assert world.revision == old
    assert world.says("Ready") == "False/KeepingRevision"
    assert "ModelGraph g asks revision" in world.condition("Ready")["message"]
    assert "0/2 pods answer" in world.condition("Ready")["message"]
    start(world, old, READY)
    assert world.revision == old
    start(world, old)
    assert world.revision != old
    world.pods(*[READY] * 2)
    for pod in world.of_kind(POD):
        if pod["metadata"]["labels"][REVISION] == old and names.KEPT not in pod["metadata"]["labels"]:
            world.remove(POD, pod["metadata"]["name"])
    count_main(world)
    assert world.says("Ready") == "True/Ready"
    assert world.status["kept"] == [{"hash": old, "graphs": ["g"], "ready": 2, "reason": "", "message": ""}]


def count_main(world: World) -> None:
    counts = dict.fromkeys(("replicas", "updatedReplicas", "readyReplicas", "availableReplicas"), 2)
    world.deployment["status"] = {"observedGeneration": world.deployment["metadata"]["generation"], **counts}
    world.settle()


def test_what_no_graph_asks_any_more_goes(world: World) -> None:
    old = world.revision
    change(world, "2")
    start(world, old)
    pin(world, world.revision)
    assert second(world, old) is None
    assert service(world, old) is None
    assert service(world, world.revision) is not None
    world.remove(MODEL_GRAPH, "g")
    world.settle()
    assert service(world, world.revision) is None
    assert world.status["kept"] == []


def test_going_back_ends_the_second_deployment_when_the_first_has_the_pods(world: World) -> None:
    old = world.revision
    change(world, "2")
    start(world, old)
    change(world, "1")
    assert world.revision == old
    assert second(world, old) is not None
    count_main(world)
    assert second(world, old) is None
    assert service(world, old) is not None


def test_a_revision_of_which_no_pod_answers_does_not_stand_in_the_way(world: World) -> None:
    old = world.revision
    for pod in world.of_kind(POD):
        world.remove(POD, pod["metadata"]["name"])
    world.settle()
    change(world, "2")
    assert world.revision != old


def test_a_revision_that_is_asked_is_never_pruned(world: World) -> None:
    old = world.revision
    change(world, "2")
    start(world, old)
    for version in range(3, 20):
        change(world, str(version))
        count_main(world)
    assert f"digits-{old}" in world.revisions
    assert len(world.of_kind(CONTROLLER_REVISION)) < 15
    world.remove(DEPLOYMENT, f"digits-{old}")
    world.settle()
    assert second(world, old) is not None


def test_somebody_elses_service_of_the_name_is_left_alone_and_told(world: World) -> None:
    old = world.revision
    pin(world)
    body = {"apiVersion": "v1", "kind": "Service", "metadata": _named(f"digits-{old}"), "spec": {"ports": []}}
    world.put(body)
    pin(world, old)
    world.settle()
    assert (service(world, old) or {})["spec"] == {"ports": []}
    (kept,) = world.status["kept"]
    assert (kept["ready"], kept["reason"]) == (0, "NameConflict")
    assert f"Service team/digits-{old} exists and belongs to somebody else" in kept["message"]


QUOTA = {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": "exceeded quota: gpu"}
LATE = {"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"}
CAUSES = [
    ("pods cannot be created", [QUOTA], [], "Quota", "0/2 pods answer: exceeded quota: gpu", ""),
    ("no progress", [LATE], [], "ProgressDeadlineExceeded", "0/2 pods answer, no progress within", "True/{}"),
    ("no room", [], [b.UNSCHEDULABLE], "Unschedulable", "nvidia.com/gpu", ""),
    ("no room for long", [LATE], [b.UNSCHEDULABLE], "Unschedulable", "no progress within", "True/{}"),
    ("they start", [], [b.LOADING], "KeepingRevision", "0/2 pods answer", ""),
]


@pytest.mark.parametrize(
    ("said", "pods", "reason", "words", "stalled"), [c[1:] for c in CAUSES], ids=[c[0] for c in CAUSES]
)
def test_what_keeps_a_second_deployment_from_answering_is_told(
    world: World, said: list[Body], pods: list[Body], reason: str, words: str, stalled: str
) -> None:
    old = world.revision
    change(world, "2")
    if pods:
        start(world, old, *pods)
    (second(world, old) or {})["status"] = {"availableReplicas": 0, "conditions": said}
    world.settle()
    assert world.says("Ready") == f"False/{reason}"
    assert words in world.condition("Ready")["message"]
    assert "ModelGraph g asks revision" in world.condition("Ready")["message"]
    assert world.says("Stalled") == stalled.format(reason)
    assert world.revision == old


def test_a_kept_revision_answers_also_without_its_controller_revision(world: World) -> None:
    old = world.revision
    change(world, "2")
    start(world, old)
    world.remove(CONTROLLER_REVISION, f"digits-{old}")
    world.settle()
    assert second(world, old) is not None
    assert [(kept["hash"] == old, kept["ready"]) for kept in world.status["kept"]] == [(True, 4)]


def test_a_graph_wakes_a_deployment_only_if_it_asks_other_revisions(world: World) -> None:
    (graph,) = world.of_kind(MODEL_GRAPH)
    assert list(deployments_of_graph(graph, world)) == []
    old = world.revision
    change(world, "2")
    other = next(each["hash"] for each in world.status["revisions"] if each["hash"] != old)
    graph["status"]["release"]["candidate"] = {"members": [{"name": "digits", "revision": other}]}
    assert list(deployments_of_graph(graph, world)) == [KEY]
    world.settle()
    assert list(deployments_of_graph(graph, world)) == []
    graph["status"] = {}
    assert list(deployments_of_graph(graph, world)) == [KEY]
    pin(world, old, other)
    world.remove(MODEL_GRAPH, "g")
    assert list(deployments_of_graph(graph, world)) == [KEY]
