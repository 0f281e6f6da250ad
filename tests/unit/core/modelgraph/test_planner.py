"""What is done about graphs and their routers, and what is said of them, from one look to the next."""

from __future__ import annotations

import re

import pytest

from rondo.core import names
from rondo.core.plan import EventType, Failure, Ref, Resource
from rondo.core.resources import (
    CONFIG_MAP,
    DEPLOYMENT,
    HORIZONTAL_POD_AUTOSCALER,
    MODEL_DEPLOYMENT,
    MODEL_GRAPH,
    POD,
    SERVICE,
)
from rondo.core.router.render import KINDS
from rondo.core.settings import PlannerSettings, RouterSettings
from tests.unit.core.modelgraph.builders import NAMESPACE, A, Body, graph, target
from tests.unit.core.modelgraph.world import ROUTER, START, World

CASCADE = {"name": "f", "fallback": [{"node": "a"}, {"node": "b"}]}
B = target("b")


def other(name: str) -> Body:
    return {"name": "other", "target": {"kind": "ModelGraph", "name": name}}


@pytest.fixture
def world() -> World:
    """A namespace with the models `a` and `b` and the graph `g`, that falls back from one to the other."""
    world = World()
    world.model("a")
    world.model("b")
    world.put(graph("g", CASCADE, A, B))
    return world


def test_a_graph_is_planned_served_and_ready(world: World) -> None:
    world.settle()
    assert world.says("g", "Accepted") == "True/Accepted"
    assert world.says("g", "MembersReady") == "True/AllAnswer"
    assert world.says("g", "RouterReady") == "False/RouterStarting"
    assert world.says("g", "Ready") == "False/RouterStarting"
    assert world.says("g", "Reconciling") == "True/RouterStarting"
    assert world.status("g")["url"] == "http://g.team.svc"
    world.routers(ready=False)
    world.settle()
    assert world.says("g", "Ready") == "False/NotReady"
    world.routers()
    world.settle()
    assert world.says("g", "Ready") == "False/RouterReloading"
    assert "has not told yet what it serves" in world.condition("g", "RouterReady")["message"]
    world.tell(pods=1)
    world.settle()
    assert "1/2 routers serve revision" in world.condition("g", "RouterReady")["message"]
    world.tell()
    world.settle()
    assert [(c["type"], c["status"], c["reason"]) for c in world.status("g")["conditions"]] == [
        ("Accepted", "True", "Accepted"),
        ("MembersReady", "True", "AllAnswer"),
        ("RouterReady", "True", "Serving"),
        ("Ready", "True", "Ready"),
    ]
    assert world.status("g")["readyNodes"] == "3/3"
    assert world.status("g")["servedRevision"] == world.entry("g")["revision"]
    assert world.node("g", "f")["kind"] == "Fallback"
    assert world.node("g", "a") == {
        "name": "a",
        "kind": "Target",
        "ready": True,
        "reason": "Answers",
        "message": "",
        "url": "http://a.team.svc",
        "streaming": "Passthrough",
    }
    assert [event.reason for event in world.events][-1] == "Ready"


def test_a_plan_that_was_carried_out_is_empty(world: World) -> None:
    world.serve()
    before = list(world.writes)
    world.pass_time(seconds=5)
    world.settle()
    assert world.writes == before


def test_router_objects_belong_to_all_graphs_of_the_router_and_none_controls_them(world: World) -> None:
    world.put(graph("h", A))
    world.serve()
    for kind in KINDS:
        thing = world.get(kind, ROUTER)
        if kind == HORIZONTAL_POD_AUTOSCALER:
            assert thing is None
            continue
        assert thing is not None, kind
        assert [owner["name"] for owner in thing["metadata"]["ownerReferences"]] == ["g", "h"]
        assert names.controller_uid(thing) is None


def test_each_graph_has_a_service_that_leads_to_its_port(world: World) -> None:
    world.put(graph("h", A))
    world.serve()
    for name in ("g", "h"):
        service = world.get(SERVICE, name)
        assert service is not None
        assert service["spec"]["ports"][0]["targetPort"] == world.entry(name)["port"]
        assert service["spec"]["selector"][names.ROUTER] == ROUTER
    assert {world.entry("g")["port"], world.entry("h")["port"]} == {20000, 20001}


def test_ports_stay_when_graphs_come_and_go(world: World) -> None:
    world.put(graph("m", A))
    world.serve()
    before = world.entry("m")["port"]
    world.put(graph("a-first", A))
    world.remove(MODEL_GRAPH, "g")
    world.settle()
    assert world.entry("m")["port"] == before
    assert world.entry("a-first")["port"] == 20002


def test_ports_are_read_back_from_services_when_the_plan_is_lost(world: World) -> None:
    world.put(graph("h", A))
    world.serve()
    world.remove(MODEL_GRAPH, "g")
    world.settle()
    world.put(graph("g", CASCADE, A, B))
    world.serve()
    before = {name: world.entry(name)["port"] for name in ("g", "h")}
    assert before == {"g": 20002, "h": 20001}
    world.remove(CONFIG_MAP, ROUTER)
    world.serve()
    assert {name: world.entry(name)["port"] for name in ("g", "h")} == before
    assert world.get(DEPLOYMENT, ROUTER) is not None


def test_the_last_graph_takes_the_router_with_it(world: World) -> None:
    world.put(graph("h", A))
    world.serve()
    world.remove(MODEL_GRAPH, "g")
    world.settle()
    assert world.get(DEPLOYMENT, ROUTER) is not None
    assert [entry["name"] for entry in world.plan()["graphs"]] == ["h"]
    world.remove(MODEL_GRAPH, "h")
    world.settle()
    assert [kind for kind in KINDS if world.get(kind, ROUTER) is not None] == []


def test_a_graph_that_is_not_in_the_store_but_alive_stays_in_the_plan(world: World) -> None:
    world.put(graph("h", A))
    world.serve()
    thing = world.objects[Ref(MODEL_GRAPH, NAMESPACE, "h")]
    world._wake(world.store.remove(MODEL_GRAPH, world._versioned(thing)))
    world.settle()
    assert {entry["name"] for entry in world.plan()["graphs"]} == {"g", "h"}


def test_a_target_that_is_down_shows_and_a_fallback_covers_it(world: World) -> None:
    world.serve()
    world.model("a", ready=False, message="0/1 pods: ModuleNotFoundError")
    world.settle()
    assert world.says("g", "Ready") == "True/Degraded"
    assert world.says("g", "Degraded") == "True/CrashLoop"
    assert world.says("g", "MembersReady") == "False/CrashLoop"
    message = "a: ModelDeployment team/a: 0/1 pods: ModuleNotFoundError"
    assert world.condition("g", "Degraded")["message"] == message
    assert world.condition("g", "MembersReady")["message"] == f"1/2 targets answer: {message}"
    assert world.status("g")["readyNodes"] == "2/3"
    assert world.node("g", "a")["ready"] is False
    world.model("b", ready=False, message="OOM")
    world.settle()
    assert world.says("g", "Ready") == "False/CrashLoop"
    assert world.says("g", "Degraded") == ""
    assert (
        "node f: 0 of 1 needed nodes can answer: a: ModelDeployment team/a" in world.condition("g", "Ready")["message"]
    )
    world.model("a")
    world.model("b")
    world.settle()
    assert world.says("g", "Ready") == "True/Ready"


@pytest.mark.parametrize(("quorum", "want"), [(2, "True/Degraded"), (3, "False/CrashLoop")])
def test_quorum_decides_whether_a_lost_member_matters(world: World, quorum: int, want: str) -> None:
    world.model("c")
    vote = {"name": "v", "parallel": {"nodes": ["a", "b", "c"], "quorum": quorum}}
    world.put(graph("g", vote, A, B, target("c")))
    world.serve()
    world.model("c", ready=False)
    world.settle()
    assert world.says("g", "Ready") == want


def test_endpoints_of_a_service_decide_whether_it_answers(world: World) -> None:
    clean = {"name": "clean", "target": {"kind": "Service", "name": "clean", "port": 8080}}
    world.service("clean", ready=0, total=2)
    world.put(graph("h", clean))
    world.serve()
    assert world.node("h", "clean")["message"] == "Service team/clean has no ready endpoint: 0 of 2"
    assert world.says("h", "Ready") == "False/NoEndpoints"
    world.endpoints("clean", ready=1, total=2)
    world.settle()
    assert world.says("h", "Ready") == "True/Ready"
    assert world.node("h", "clean")["url"] == "http://clean.team.svc:8080"


def test_a_missing_target_is_named_waited_for_and_then_stalls(world: World) -> None:
    world.put(graph("h", target("x", "aa")))
    world.settle()
    assert world.says("h", "Accepted") == "False/TargetNotFound"
    assert world.says("h", "Reconciling") == "True/TargetNotFound"
    words = "spec.nodes[0].target.name: there is no ModelDeployment aa (did you mean a?)"
    assert world.condition("h", "Accepted")["message"] == words
    world.pass_time(seconds=61)
    world.settle()
    assert world.says("h", "Stalled") == "True/TargetNotFound"
    world.model("aa")
    world.serve()
    assert world.says("h", "Ready") == "True/Ready"


def test_a_lost_target_of_a_served_graph_is_a_member_that_is_down(world: World) -> None:
    world.put(graph("s", {"name": "both", "sequence": ["a", "b"]}, A, B))
    world.serve()
    before = {name: world.entry(name)["revision"] for name in "gs"}
    world.remove(MODEL_DEPLOYMENT, "a")
    world.settle()
    for name in "gs":
        assert world.says(name, "Accepted") == "True/Accepted"
        assert world.says(name, "MembersReady") == "False/TargetNotFound"
        assert world.says(name, "RouterReady") == "True/Serving"
        assert world.node(name, "a")["message"] == "there is no ModelDeployment a"
        assert world.node(name, "b")["ready"]
    assert (world.says("g", "Ready"), world.says("g", "Degraded")) == ("True/Degraded", "True/TargetNotFound")
    assert world.says("s", "Ready") == "False/TargetNotFound"
    assert {name: world.entry(name)["revision"] for name in "gs"} == before
    world.model("b", ready=False)
    world.settle()
    assert world.says("g", "Ready").startswith("False/"), "further losses are seen"
    world.model("b")
    world.put(graph("s", {"name": "both", "sequence": ["a", "b"]}, A, B, timeout="7s"))
    world.serve()
    assert world.entry("s")["timeoutMillis"] == 7000, "edits of a graph with a lost target are served"
    world.model("a")
    world.serve()
    assert {world.says(name, "Ready") for name in "gs"} == {"True/Ready"}
    world.put(graph("s", {"name": "both", "sequence": ["a", "b"]}, target("a", "aa"), B))
    world.settle()
    assert world.says("s", "Accepted") == "False/TargetNotFound", "a target that never was is a mistake"


def test_a_lost_port_of_a_service_is_a_member_that_is_down(world: World) -> None:
    world.service("clean", port=8080)
    world.put(graph("h", {"name": "clean", "target": {"kind": "Service", "name": "clean", "port": 8080}}))
    world.serve()
    world.service("clean", port=9090)
    world.settle()
    assert world.says("h", "Accepted") == "True/Accepted"
    assert world.says("h", "Ready") == "False/PortNotFound"
    assert world.node("h", "clean")["message"] == "Service clean has no port 8080 (it has 9090)"


def test_a_graph_that_is_deleted_takes_no_other_with_it(world: World) -> None:
    world.put(graph("later", B, protocol="OpenInference"))
    world.put(graph("h", {"name": "f", "fallback": [{"node": "other"}, {"node": "a"}]}, other("later"), A))
    world.serve()
    port = world.entry("h")["port"]
    world.remove(MODEL_GRAPH, "later")
    world.serve()
    asked = {node["name"]: node.get("target") for node in world.entry("h")["nodes"]}
    assert asked["other"] == {"url": "http://later.team.svc", "protocol": "OpenInference", "model": "later"}
    assert world.entry("h")["port"] == port
    assert world.says("h", "Ready") == "True/Degraded"
    assert world.node("h", "other")["message"] == "there is no ModelGraph later"
    world.pass_time(minutes=5)
    world.settle()
    assert world.says("h", "Ready") == "True/Degraded"
    world.put(graph("later", B, protocol="OpenInference"))
    world.serve()
    assert {"name": "other", "graph": "later"} in world.entry("h")["nodes"]
    assert world.says("h", "Ready") == "True/Ready"


def test_a_port_that_a_service_lacks(world: World) -> None:
    world.service("s", port=80)
    world.put(graph("h", {"name": "s", "target": {"kind": "Service", "name": "s", "port": 8080}}))
    world.settle()
    words = "spec.nodes[0].target.port: Service s has no port 8080 (it has 80)"
    assert world.condition("h", "Accepted")["message"] == words


def test_protocols_without_an_adapter_are_refused(world: World) -> None:
    world.model("j", protocol="JSON")
    world.put(graph("h", target("j")))
    world.settle()
    assert world.says("h", "Stalled") == "True/InvalidSpec"
    words = "spec.nodes[0].target: the graph speaks OpenAI and the target JSON: JSON is adapted to nothing"
    assert world.condition("h", "Accepted")["message"] == words
    world.model("j", protocol="OpenInference")
    world.settle()
    assert world.entry("h")["nodes"][0]["target"]["protocol"] == "OpenInference"


def test_a_graph_of_graphs_is_compiled_in_and_its_members_count(world: World) -> None:
    world.put(graph("h", other("g")))
    world.serve()
    assert world.entry("h")["nodes"] == [{"name": "other", "graph": "g"}]
    assert world.says("h", "Ready") == "True/Ready"
    world.model("a", ready=False)
    world.model("b", ready=False, message="gone")
    world.settle()
    assert world.says("h", "Ready") == "False/CrashLoop"
    assert "ModelGraph g: 0 of 1 needed nodes" in world.node("h", "other")["message"]


def test_circles_over_graphs_are_spelled_out(world: World) -> None:
    world.put(graph("x", other("y")), graph("y", other("x")), graph("z", other("x")))
    world.settle()
    assert world.condition("x", "Accepted")["message"] == "graphs ask one another in a circle: x -> y -> x"
    assert world.condition("y", "Accepted")["message"] == "graphs ask one another in a circle: y -> x -> y"
    assert world.says("z", "Accepted") == "False/TargetNotAccepted"
    assert "graphs" in world.plan()
    assert [entry["name"] for entry in world.plan()["graphs"]] == ["g"]


def test_a_bad_graph_keeps_what_was_served_of_it_and_others_go_on(world: World) -> None:
    world.put(graph("h", A))
    world.serve()
    before = world.entry("h")
    world.put(graph("h", A, B))  # no request comes to b
    world.put(graph("g", A))
    world.settle()
    assert world.entry("h") == before
    assert world.says("h", "Stalled") == "True/InvalidSpec"
    assert f"until then revision {before['revision']} answers" in world.condition("h", "Ready")["message"]
    assert world.status("h")["servedRevision"] == before["revision"]
    world.tell()
    world.settle()
    assert world.says("g", "Ready") == "True/Ready"


def test_a_graph_made_anew_does_not_get_what_its_namesake_had(world: World) -> None:
    world.put(graph("h", A))
    world.serve()
    world.remove(MODEL_GRAPH, "h")
    world.put(graph("h", A, B, uid="uid-h-2"))
    world.settle()
    assert [entry["name"] for entry in world.plan()["graphs"]] == ["g"]


def test_what_the_router_refuses_is_taken_back_and_told(world: World) -> None:
    world.put(graph("h", A))
    world.serve()
    good = world.entry("h")
    world.put(graph("h", B, timeout="9s"))
    world.settle()
    refused = {"revision": world.plan()["revision"], "graph": "h", "message": "nodes[0] b: url: no host"}
    world.tell(refused=refused, h=good["revision"], g=world.entry("g")["revision"])
    world.settle()
    assert world.entry("h") == good
    assert world.says("h", "Ready") == "False/PlanRefused"
    assert world.says("h", "Stalled") == "True/PlanRefused"
    words = "the router refuses it: nodes[0] b: url: no host"
    assert world.condition("h", "Ready")["message"] == words
    world.tell()
    world.settle()
    assert world.entry("h") == good, "it is not tried again"
    assert world.says("g", "Ready") == "True/Ready"
    world.put(graph("h", B, timeout="10s"))
    world.settle()
    assert world.entry("h")["timeoutMillis"] == 10_000
    world.tell()
    world.settle()
    assert world.says("h", "Ready") == "True/Ready"


def test_a_new_graph_that_the_router_refuses_is_left_out(world: World) -> None:
    world.serve()
    world.put(graph("h", B))
    world.settle()
    refused = {"revision": world.plan()["revision"], "graph": "h", "message": "no"}
    world.tell(refused=refused, g=world.entry("g")["revision"])
    world.settle()
    assert [entry["name"] for entry in world.plan()["graphs"]] == ["g"]
    assert world.says("h", "Stalled") == "True/PlanRefused"
    world.tell()
    before = len(world.writes)
    world.settle()
    world.pass_time(seconds=5)
    world.settle()
    assert world.writes[before:] in ([], ["status g"])


def test_a_router_of_its_own(world: World) -> None:
    world.put(graph("h", other("g"), router={"own": True, "replicas": 3}))
    world.serve()
    assert [entry["name"] for entry in world.plan()["graphs"]] == ["g"]
    own = {entry["name"]: entry.get("port") for entry in world.plan("h-router")["graphs"]}
    assert own == {"g": None, "h": 20000}
    deployment = world.get(DEPLOYMENT, "h-router")
    assert deployment is not None
    assert deployment["spec"]["replicas"] == 3
    assert [owner["name"] for owner in deployment["metadata"]["ownerReferences"]] == ["h"]
    world.serve("h-router")
    assert world.says("h", "Ready") == "True/Ready"


def test_a_graph_moves_to_a_router_of_its_own_when_that_serves_it(world: World) -> None:
    world.put(graph("h", A))
    world.serve()
    world.put(graph("h", A, router={"own": True}))
    world.settle()
    assert leads(world, "h") == ROUTER
    assert "h" in {entry["name"] for entry in world.plan()["graphs"]}
    world.serve("h-router")
    assert leads(world, "h") == "h-router"
    assert "h" not in {entry["name"] for entry in world.plan()["graphs"]}
    world.put(graph("h", A, router={}))
    world.settle()
    assert leads(world, "h") == "h-router"
    world.tell()
    world.settle()
    assert leads(world, "h") == ROUTER
    assert [kind for kind in KINDS if world.get(kind, "h-router") is not None] == []
    assert world.says("h", "Ready") == "True/Ready"


def test_a_router_that_is_not_up_yet_is_not_said_to_be_the_only_one(world: World) -> None:
    world.put(graph("h", A))
    world.serve()
    world.put(graph("h", A, router={"own": True}))
    world.refusals[DEPLOYMENT] = Failure(403, "Forbidden", "exceeded quota: small", START)
    world.settle()
    words = (
        "router h-router does not serve it yet: Deployment team/h-router cannot be applied: exceeded quota: small; "
        f"its Service still leads to router {ROUTER}"
    )
    assert world.condition("h", "Ready")["message"] == words
    assert leads(world, "h") == ROUTER
    world.routers(router="h-router")
    world.settle()
    assert world.condition("h", "Ready")["message"].endswith(f"; its Service still leads to router {ROUTER}")


def test_a_graph_cannot_take_the_name_of_the_namespaces_router(world: World) -> None:
    world.put(graph("rondo", A, router={"own": True}))
    world.settle()
    assert "would be named rondo-router" in world.condition("rondo", "Accepted")["message"]


def test_a_service_of_somebody_else_is_left_alone(world: World) -> None:
    world.service("h")
    world.put(graph("h", A))
    world.serve()
    assert world.says("h", "Stalled") == "True/NameConflict"
    service = world.get(SERVICE, "h")
    assert service is not None
    assert "selector" not in service["spec"]


@pytest.mark.parametrize("kind", [DEPLOYMENT, SERVICE, CONFIG_MAP], ids=lambda kind: kind.kind)
def test_what_is_deleted_by_hand_comes_back(world: World, kind: Resource) -> None:
    world.serve()
    name = "g" if kind == SERVICE else ROUTER
    world.remove(kind, name)
    world.settle()
    assert world.get(kind, name) is not None


def test_a_plan_that_cannot_be_written_is_told(world: World) -> None:
    world.refusals[CONFIG_MAP] = Failure(403, "Forbidden", "exceeded quota: small", START)
    world.settle()
    assert world.says("g", "RouterReady") == "False/Quota"
    assert (
        "ConfigMap team/rondo-router cannot be applied: exceeded quota: small"
        in world.condition("g", "Ready")["message"]
    )


def test_a_graph_for_which_there_is_no_room_hinders_no_other(world: World) -> None:
    world.serve()
    first = large("big1", size=600_000)
    world.put(first)
    world.serve()
    world.put(large("big2", size=600_000))
    world.put(graph("g", CASCADE, A, B, timeout="9s"))
    world.serve()
    assert world.says("g", "Ready") == "True/Ready"
    assert world.entry("g")["timeoutMillis"] == 9000
    assert world.says("big1", "Ready") == "True/Ready"
    assert world.says("big2", "Stalled") == "True/PlanRefused"
    message = world.condition("big2", "Ready")["message"]
    assert re.search(
        r"would have 12\d{5} bytes, and a ConfigMap has at most 1048576: make it smaller, or give", message
    )
    world.put(large("big1", size=700_000))
    world.serve()
    assert world.says("big1", "Ready") == "True/Ready", "its former part, to which it could go back, is no reason"
    world.remove(MODEL_GRAPH, "big1")
    world.serve()
    assert world.says("big2", "Ready") == "True/Ready"


def large(name: str, *, size: int) -> Body:
    """Give a graph whose part of the plan has about so many bytes."""
    return graph(name, target("a", request={"set": {"x": "y" * size}}))


def test_credentials_are_mounted_for_what_is_served_and_no_longer(world: World) -> None:
    key = {"secretKeyRef": {"name": "vendor", "key": "token"}}
    far = {"name": "far", "target": {"url": "https://api.example.com/v1", "model": "m", "auth": {"bearer": key}}}
    world.put(graph("h", far))
    world.serve()
    assert world.entry("h")["nodes"][0]["target"] == {
        "url": "https://api.example.com/v1",
        "protocol": "OpenAI",
        "model": "m",
        "headers": [{"name": "authorization", "file": "vendor/token", "prefix": "Bearer "}],
    }
    item = {"name": "vendor", "items": [{"key": "token", "path": "vendor/token"}], "optional": True}
    assert sources(world) == [{"secret": item}]
    assert world.node("h", "far")["reason"] == "External"
    assert world.says("h", "MembersReady") == "True/External"
    assert world.condition("h", "MembersReady")["message"] == "1 outside the cluster is not watched"
    world.put(graph("h", {"name": "f", "fallback": [{"node": "far"}, {"node": "a"}]}, far, A))
    world.settle()
    assert world.condition("h", "MembersReady")["message"] == "1/1 targets answer; 1 outside the cluster is not watched"
    world.put(graph("h", A))
    world.settle()
    assert sources(world) == []


def test_authorities_are_mounted_beside_secrets(world: World) -> None:
    of = [{"secretKeyRef": {"name": "corporation", "key": "ca.crt"}}]
    of += [{"configMapKeyRef": {"name": "corporation", "key": key}} for key in ("old.crt", "new.crt")]
    nodes = [
        {"name": f"n{i}", "target": {"url": f"https://{i}.example.com", "model": "m", "ca": ca}}
        for i, ca in enumerate(of)
    ]
    world.put(graph("h", {"name": "all", "fallback": [{"node": node["name"]} for node in nodes]}, *nodes))
    world.serve()
    files = [node["target"].get("ca") for node in world.entry("h")["nodes"] if "target" in node]
    assert files == ["corporation/ca.crt", "ConfigMap/corporation/old.crt", "ConfigMap/corporation/new.crt"]
    items = [{"key": key, "path": f"ConfigMap/corporation/{key}"} for key in ("new.crt", "old.crt")]
    secret = [{"key": "ca.crt", "path": "corporation/ca.crt"}]
    assert sources(world) == [
        {"configMap": {"name": "corporation", "items": items, "optional": True}},
        {"secret": {"name": "corporation", "items": secret, "optional": True}},
    ]


def test_a_credential_that_a_router_cannot_use_is_told_until_it_can(world: World) -> None:
    key = {"secretKeyRef": {"name": "vendor", "key": "token"}}
    far = {"name": "far", "target": {"url": "https://api.example.com/v1", "model": "m", "auth": {"bearer": key}}}
    world.put(graph("h", far))
    either = {"name": "either", "fallback": [{"node": "far"}, {"node": "a"}]}
    world.put(graph("i", either, far, A))
    over = {"name": "over", "target": {"kind": "ModelGraph", "name": "h"}}
    world.put(graph("j", over))
    world.serve()
    assert world.says("h", "Ready") == "True/Ready"
    world.tell(unusable={"vendor/token": "it is not there", "others/key": "it is empty"})
    world.settle()
    words = f"key token of Secret team/vendor cannot be used by Pod team/{ROUTER}-1: it is not there"
    assert world.node("h", "far") == {**world.node("h", "far"), "reason": "CredentialUnusable", "message": words}
    for name in ("h", "j"):
        assert world.says(name, "Ready") == "False/CredentialUnusable"
        assert words in world.condition(name, "Ready")["message"]
    assert world.says("i", "Ready") == "True/Degraded"
    assert world.says("i", "Degraded") == "True/CredentialUnusable"
    assert world.says("g", "Ready") == "True/Ready"
    world.tell()
    world.settle()
    assert {world.says(name, "Ready") for name in "ghij"} == {"True/Ready"}


def test_an_autoscaler_where_the_settings_ask_for_one() -> None:
    world = World(settings=PlannerSettings(router=RouterSettings(replicas=2, max_replicas=5)))
    world.model("a")
    world.put(graph("g", A))
    world.serve()
    scaler, deployment = world.get(HORIZONTAL_POD_AUTOSCALER, ROUTER), world.get(DEPLOYMENT, ROUTER)
    assert scaler is not None
    assert deployment is not None
    assert (scaler["spec"]["minReplicas"], scaler["spec"]["maxReplicas"]) == (2, 5)
    assert "replicas" not in deployment["spec"]
    world.settings = PlannerSettings()
    world.put(graph("g", A, timeout="5s"))
    world.settle()
    assert world.get(HORIZONTAL_POD_AUTOSCALER, ROUTER) is None


def test_lost_routers_are_told_with_their_cause(world: World) -> None:
    world.serve()
    for number in (1, 2):
        world.remove(POD, f"{ROUTER}-{number}")
    world.routers(1, ready=False)
    world.settle()
    assert world.says("g", "RouterReady") == "False/NotReady"
    assert world.condition("g", "Ready")["message"].startswith("no router answers: pod rondo-router-1")
    assert [event.type for event in world.events if event.reason == "NotReady"][-1] == EventType.WARNING


def told(world: World) -> list[tuple[str, str]]:
    """Give type and reason of the events so far, and forget them."""
    found = [(event.type.value, event.reason) for event in world.events]
    world.events.clear()
    return found


def test_a_member_whose_pods_are_ready_before_it_says_that_it_answers(world: World) -> None:
    world.model("a", ready=False, reason="RollingOut", message="1/1 pods of revision a1 ready")
    world.serve()
    words = "ModelDeployment team/a: it has not said yet that it answers: 1/1 pods of revision a1 ready"
    assert world.node("g", "a")["message"] == words


def test_a_beginning_without_trouble_warns_of_nothing() -> None:
    world = World()
    for name in ("a", "b"):
        world.model(name, ready=False, reason="RollingOut", message="0/1 pods of revision x ready")
    world.put(graph("g", CASCADE, A, B))
    world.settle()
    world.model("a", ready=False, reason="Starting")
    world.settle()
    world.model("a", ready=False, reason="NotReady")
    world.settle()
    world.model("a")
    world.settle()
    world.routers(ready=False)
    world.serve()
    world.model("b")
    world.settle()
    assert world.says("g", "Ready") == "True/Ready"
    found = told(world)
    assert ("Normal", "RollingOut") in found
    assert ("Normal", "Degraded") in found
    assert {type_ for type_, _ in found} == {"Normal"}


def test_a_target_that_fails_before_it_ever_answered_is_warned_of_once(world: World) -> None:
    world.model("b", ready=False, reason="Starting")
    world.serve()
    assert told(world)[-1] == ("Normal", "Degraded")
    world.model("b", ready=False)
    world.settle()
    assert told(world) == [("Warning", "Degraded")]
    world.model("b", ready=False, reason="NotReady")
    world.settle()
    assert told(world) == []


def test_what_is_lost_after_a_graph_was_ready_is_warned_of(world: World) -> None:
    world.serve()
    told(world)
    world.model("a", ready=False, reason="RollingOut")
    world.settle()
    assert told(world) == [("Warning", "Degraded")]
    world.model("b", ready=False, reason="RollingOut")
    world.settle()
    assert told(world) == [("Warning", "RollingOut")]


def test_an_edit_begins_anew(world: World) -> None:
    world.serve()
    told(world)
    world.model("c", ready=False, reason="RollingOut")
    world.put(graph("g", target("c")))
    world.settle()
    assert told(world) == [("Normal", "RollingOut")]


def leads(world: World, name: str) -> str:
    service = world.get(SERVICE, name)
    assert service is not None
    router: str = service["spec"]["selector"][names.ROUTER]
    return router


def sources(world: World) -> list[Body]:
    deployment = world.get(DEPLOYMENT, ROUTER)
    assert deployment is not None
    found: list[Body] = deployment["spec"]["template"]["spec"]["volumes"][0]["projected"]["sources"]
    return found
