"""Graphs on a real API server: what is made of them, what is said of them, and what is left when they go."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from rondo.core.router.render import KINDS
from tests.integration.system.objects import graph, node, of_service, pipeline, service, slice_of
from tests.integration.system.routers import Fleet, fleet
from tests.integration.system.space import Body, Space, condition, eventually

ROUTER = "rondo-router"
MADE = [kind.kind for kind in KINDS if kind.kind != "HorizontalPodAutoscaler"]
SOON = 2.0
"""Seconds within which the loss of a member is told."""


@pytest.fixture
def members(space: Space) -> Space:
    """A namespace with the Services `a` and `b`, each with an endpoint that answers."""
    for name in ("a", "b"):
        space.create(service(name), slice_of(name, ready=True))
    return space


@pytest.fixture
def routers(members: Space) -> Iterator[Fleet]:
    """The routers of the namespace; a test starts them when there is a graph."""
    with fleet(members) as routers:
        yield routers


CASCADE = graph("g", node("f", fallback=[{"node": "a"}, {"node": "b"}]), of_service("a"), of_service("b"))


def test_a_graph_gets_a_plan_a_router_and_a_service(members: Space) -> None:
    members.create(CASCADE)
    members.until_condition("ModelGraph", "g", "Accepted", status="True")
    for kind in MADE:
        thing = eventually(lambda kind=kind: members.get(kind, ROUTER), f"{kind} {ROUTER}")  # type: ignore[misc]
        assert [owner["name"] for owner in thing["metadata"]["ownerReferences"]] == ["g"], kind
    found = eventually(lambda: members.get("Service", "g"), "Service g")
    (entry,) = Fleet(members).plan()["graphs"]
    assert found["spec"]["ports"][0]["targetPort"] == entry["port"]
    assert found["spec"]["selector"]["rondo.dev/router"] == ROUTER
    assert condition(got(members, "g"), "RouterReady")["status"] == "False"
    eventually(lambda: len(members.items("Pod", f"rondo.dev/router={ROUTER}")) == 2, "two pods")


def test_a_graph_is_ready_when_all_routers_serve_it_and_again_after_each_change(members: Space, routers: Fleet) -> None:
    members.create(CASCADE)
    routers.start()
    members.until_condition("ModelGraph", "g", "Ready", status="True", reason="Ready")
    first = got(members, "g")["status"]["servedRevision"]
    members.patch("ModelGraph", "g", {"spec": {"timeout": "9s"}})
    members.until_condition("ModelGraph", "g", "Ready", status="True", reason="Ready")
    status = got(members, "g")["status"]
    assert status["servedRevision"] == Fleet(members).plan()["graphs"][0]["revision"] != first
    assert status["readyNodes"] == "3/3"


def test_a_lost_member_is_told_soon_and_so_is_its_return(members: Space, routers: Fleet) -> None:
    members.create(CASCADE)
    routers.start()
    members.until_condition("ModelGraph", "g", "Ready", status="True", reason="Ready")
    assert took(members, ready=False) < SOON
    said = members.until_condition("ModelGraph", "g", "Degraded", status="True", reason="NoEndpoints")
    assert said["message"] == f"a: Service {members.namespace}/a has no ready endpoint: 0 of 1"
    members.until_condition("ModelGraph", "g", "Ready", status="True", reason="Degraded")
    assert took(members, ready=True) < SOON
    members.until_condition("ModelGraph", "g", "Ready", status="True", reason="Ready")
    assert condition(got(members, "g"), "Degraded") == {}


def test_a_bad_graph_changes_nothing_of_what_others_serve(members: Space, routers: Fleet) -> None:
    members.create(CASCADE, graph("h", of_service("b")))
    routers.start()
    members.until_condition("ModelGraph", "h", "Ready", status="True")
    before = routers.plan()
    members.create(graph("bad", node("s", sequence=["t"]), node("t", sequence=["s"])))
    said = members.until_condition("ModelGraph", "bad", "Stalled", status="True", reason="InvalidSpec")
    assert "nodes ask one another in a circle: s -> t -> s" in said["message"]
    members.patch("ModelGraph", "h", {"spec": {"nodes": [of_service("b"), of_service("zz", "b")]}})
    said = members.until_condition("ModelGraph", "h", "Stalled", status="True", reason="InvalidSpec")
    assert "no request comes to node zz" in said["message"]
    assert routers.plan() == before
    members.patch("ModelGraph", "g", {"spec": {"timeout": "5s"}})
    members.until_condition("ModelGraph", "g", "Ready", status="True")


def test_what_routers_refuse_is_told_and_taken_back(members: Space, routers: Fleet) -> None:
    members.create(CASCADE)
    routers.start()
    members.until_condition("ModelGraph", "g", "Ready", status="True")
    routers.refuses.add("h")
    members.create(graph("h", of_service("b")))
    members.until_condition("ModelGraph", "h", "Stalled", status="True", reason="PlanRefused")
    members.patch("ModelGraph", "g", {"spec": {"timeout": "5s"}})
    members.until_condition("ModelGraph", "g", "Ready", status="True")


def test_the_last_graph_takes_everything_with_it(members: Space, routers: Fleet) -> None:
    members.create(CASCADE, graph("h", of_service("b")))
    routers.start()
    members.until_condition("ModelGraph", "h", "Ready", status="True")
    members.delete("ModelGraph", "g")
    eventually(lambda: [each["name"] for each in routers.plan()["graphs"]] == ["h"], "only h in the plan")
    members.until_gone("Service", "g")
    assert members.get("Deployment", ROUTER) is not None
    members.delete("ModelGraph", "h")
    for kind in MADE:
        members.until_gone(kind, ROUTER)
    members.until_gone("Service", "h")


def test_what_is_deleted_by_hand_comes_back(members: Space, routers: Fleet) -> None:
    members.create(CASCADE)
    routers.start()
    members.until_condition("ModelGraph", "g", "Ready", status="True")
    for kind in MADE:
        uid = (members.get(kind, ROUTER) or {})["metadata"]["uid"]
        members.delete(kind, ROUTER)
        eventually(lambda kind=kind, uid=uid: uid_of(members, kind) not in {None, uid}, f"a new {kind}")  # type: ignore[misc]
    (entry,) = routers.plan()["graphs"]
    assert (members.get("Service", "g") or {})["spec"]["ports"][0]["targetPort"] == entry["port"]


def test_what_belongs_to_somebody_else_is_left_alone(members: Space) -> None:
    """A Role of the router's name that is not ours is neither changed nor bound to by mistake."""
    labels = {"mine": "yes"}
    body = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "Role",
        "metadata": {"name": ROUTER, "labels": labels},
    }
    members.create({**body, "rules": []})
    before = members.get("Role", ROUTER)
    members.create(CASCADE)
    eventually(lambda: members.get("ServiceAccount", ROUTER), "the router's ServiceAccount")
    said = eventually(lambda: conflicted(members), "the conflict to be told")
    assert f"Role {members.namespace}/{ROUTER} exists and belongs to somebody else" in said
    assert members.get("Role", ROUTER) == before


def test_a_stage_deploys_a_graph_and_rolls_a_bad_one_back(members: Space, routers: Fleet) -> None:
    """The API server fills in defaults within the nodes; they are not taken for somebody else's change."""
    spec = {**CASCADE["spec"], "timeout": "$(params.timeout)"}
    stage = {"name": "release", "deploy": {"kind": "ModelGraph", "name": "g", "spec": spec}}
    members.create(pipeline("p", stage, params=[{"name": "timeout", "type": "string", "default": "7s"}]))
    routers.start()
    members.succeeded("p-1")
    assert members.stage("p-1", "release")["results"] == {"url": f"http://g.{members.namespace}.svc"}
    before = got(members, "g")["spec"]
    assert before["timeout"] == "7s"
    bad = {**spec, "nodes": [*spec["nodes"], of_service("lonely", "b")]}
    stage = {"name": "release", "deploy": {"kind": "ModelGraph", "name": "g", "spec": bad}}
    members.patch("Pipeline", "p", {"spec": {"stages": [stage]}})
    members.ended("p-2")
    failed = members.stage("p-2", "release")
    assert (failed["state"], failed["reason"]) == ("Failed", "InvalidSpec")
    assert "no request comes to node lonely" in failed["message"]
    assert failed["message"].endswith("rolled back to what it was before")
    eventually(lambda: got(members, "g")["spec"] == before, "the graph to be as it was")
    members.until_condition("ModelGraph", "g", "Ready", status="True")


def test_a_stage_removes_a_graph_that_its_pipeline_made(members: Space, routers: Fleet) -> None:
    stage = {"name": "release", "deploy": {"kind": "ModelGraph", "name": "g", "spec": CASCADE["spec"]}}
    members.create(pipeline("p", stage))
    routers.start()
    members.succeeded("p-1")
    gone = {"name": "release", "deploy": {"kind": "ModelGraph", "name": "g", "state": "Absent"}}
    members.patch("Pipeline", "p", {"spec": {"stages": [gone]}})
    members.succeeded("p-2")
    members.until_gone("ModelGraph", "g")


def took(space: Space, *, ready: bool) -> float:
    """Change whether the endpoint of `a` answers, and give the seconds until node `a` tells it."""
    space.patch("EndpointSlice", "a-1", {"endpoints": slice_of("a", ready=ready)["endpoints"]})
    begun = time.monotonic()
    eventually(lambda: ready_node(space, "a") is ready, f"node a to be {ready}", every=0.02)
    return time.monotonic() - begun


def conflicted(space: Space) -> str:
    message: str = condition(got(space, "g"), "RouterReady").get("message", "")
    return message if "belongs to somebody else" in message else ""


def ready_node(space: Space, name: str) -> bool | None:
    nodes = got(space, "g").get("status", {}).get("nodes", ())
    return next((bool(each.get("ready")) for each in nodes if each["name"] == name), None)


def got(space: Space, name: str) -> Body:
    return space.get("ModelGraph", name) or {}


def uid_of(space: Space, kind: str) -> str | None:
    uid: str | None = (space.get(kind, ROUTER) or {}).get("metadata", {}).get("uid")
    return uid


def test_a_router_may_read_its_own_plan_and_nothing_else(members: Space) -> None:
    members.create(CASCADE)
    for kind in ("ServiceAccount", "Role", "RoleBinding", "ConfigMap"):
        eventually(lambda kind=kind: members.get(kind, ROUTER), f"{kind} {ROUTER}")  # type: ignore[misc]
    members.create({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "other"}})
    own = f"metadata.name={ROUTER}"
    assert ROUTER in as_router(members, "get", "configmap", ROUTER)
    assert ROUTER in as_router(members, "get", "configmaps", "--field-selector", own)
    for question in (
        ("get", "configmap", "other"),
        ("get", "configmaps"),
        ("get", "secrets"),
        ("get", "pods"),
        ("delete", "configmap", ROUTER),
        ("patch", "configmap", ROUTER, "--type=merge", "--patch", '{"data": {"a": "b"}}'),
    ):
        with pytest.raises(Exception, match="orbidden"):
            as_router(members, *question)


def as_router(space: Space, *arguments: str) -> str:
    """Run kubectl with the rights of the router's ServiceAccount."""
    who = f"--as=system:serviceaccount:{space.namespace}:{ROUTER}"
    return space.plane.cluster.kubectl("-n", space.namespace, who, *arguments)
