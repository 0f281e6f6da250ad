"""Graphs that make releases, in a whole namespace: what is planned, what is said, and what outlives a restart."""

from __future__ import annotations

import copy
from datetime import timedelta
from typing import Any

import pytest

from rondo.core.modelgraph.controller import observe_graph
from rondo.core.modelgraph.numbers import FIRST_BUCKET, PER_DOUBLING
from rondo.core.plan import EventType, Ref
from rondo.core.resources import CONFIG_MAP, MODEL_DEPLOYMENT, MODEL_GRAPH
from rondo.core.view import Key
from tests.unit.core.modelgraph.builders import CREATED, NAMESPACE, A, Body, graph, target
from tests.unit.core.modelgraph.world import World, decoded

STEPS = [{"weight": 10, "hold": "10m"}, {"weight": 50, "hold": "10m"}]
FAST, SLOW = 320, 352
"""Buckets: 66 ms, and twice as long."""

RELEASE: Body = {
    "steps": STEPS,
    "checks": [{"expression": "new.errorRate <= 0.01 && new.p95 <= 1.2 * old.p95", "message": "slower than the old"}],
    "minRequests": 100,
}
B = target("b")


def released(*nodes: Body, release: Body | None = None, **fields: Any) -> Body:
    return graph("g", *(nodes or (A,)), release=release or RELEASE, **fields)


def counted(requests: int = 200, *, bucket: int = FAST, errors: int = 0, **more: int) -> Body:
    return {"requests": requests, "errors": errors, "seconds": {str(bucket): requests}, **more}


@pytest.fixture
def world() -> World:
    """A namespace with the models `a` and `b`, and the graph `g` that asks `a` and makes releases."""
    world = World()
    world.model("a", revision="a1", kept={"a1": 1})
    world.model("b", revision="b1", kept={"b1": 1})
    world.put(released())
    world.settle()
    world.pass_time(seconds=2)
    world.serve()
    return world


def edit(world: World, *nodes: Body, **fields: Any) -> None:
    """Change the graph, and go as far as its members answer."""
    world.put(released(*(nodes or ({**A, "timeout": "5s"},)), **fields))
    go_on(world, seconds=2)


def go_on(world: World, **length: float) -> None:
    """Let time pass, and routers serve what is planned."""
    world.settle()
    world.pass_time(**length)
    world.settle()
    world.tell()
    world.settle()


def hosts(world: World, name: str) -> list[str]:
    """Give the hosts that a part of the plan asks."""
    return [node["target"]["url"] for node in world.entry(name)["nodes"] if "target" in node]


def parts(world: World) -> dict[str, str]:
    return {entry["name"]: entry.get("counted", "") for entry in world.plan()["graphs"]}


def state(world: World) -> str:
    release = world.status("g")["release"]
    return f"{release['number']} {release['state']} {release['step']}/{release['weight']}"


def test_the_first_version_asks_revisions_by_name(world: World) -> None:
    assert state(world) == "1 Promoted 0/0"
    assert hosts(world, "g") == ["http://a-a1.team.svc"]
    assert list(parts(world)) == ["g"]
    assert world.says("g", "Ready") == "True/Ready"
    assert world.says("g", "Released") == "True/Promoted"
    (member,) = world.status("g")["release"]["served"]["members"]
    uid = world.objects[Ref(MODEL_DEPLOYMENT, NAMESPACE, "a")]["metadata"]["uid"]
    assert member == {"name": "a", "revision": "a1", "protocol": "OpenAI", "uid": uid}


def test_the_first_version_waits_for_the_services_of_its_revisions() -> None:
    world = World()
    world.model("a", revision="a1")
    world.put(released())
    world.settle()
    assert world.says("g", "Ready") == "False/MemberNotReady"
    assert "ModelDeployment a, revision a1: it has no Service yet" in world.condition("g", "Ready")["message"]
    assert [each["revision"] for each in world.status("g")["release"]["candidate"]["members"]] == ["a1"]
    assert world.get(CONFIG_MAP, "rondo-router") is None


def test_a_graph_that_begins_to_make_releases_is_served_all_the_time() -> None:
    world = World()
    world.model("a", revision="a1")
    world.put(graph("g", A))
    world.serve()
    before = world.plan()
    world.put(released())
    world.settle()
    assert world.plan() == before
    world.model("a", revision="a1", kept={"a1": 1})
    go_on(world, seconds=0)
    go_on(world, seconds=2)
    assert hosts(world, "g") == ["http://a-a1.team.svc"]
    assert world.entry("g")["port"] == before["graphs"][0]["port"]
    world.put(graph("g", A))
    go_on(world, seconds=0)
    assert hosts(world, "g") == ["http://a.team.svc"]
    assert "release" not in world.status("g")
    assert world.says("g", "Released") == ""


def test_a_canary_divides_the_requests_and_becomes_what_is_served(world: World) -> None:
    port = world.entry("g")["port"]
    edit(world)
    assert state(world) == "2 Progressing 1/10"
    assert world.entry("g")["nodes"][0]["split"] == {
        "to": [{"node": "old", "weight": 90}, {"node": "new", "weight": 10}]
    }
    assert [node.get("graph") for node in world.entry("g")["nodes"]] == [None, "g.old", "g.new"]
    assert world.entry("g")["port"] == port
    assert "timeoutMillis" not in world.entry("g.old")["nodes"][0]
    assert world.entry("g.new")["nodes"][0]["timeoutMillis"] == 5000
    assert world.says("g", "Ready") == "False/Progressing"
    assert world.says("g", "Reconciling") == "True/Progressing"
    world.count("g", old=counted(1800), new=counted(100, errors=1))
    go_on(world, seconds=6)
    assert world.condition("g", "Released")["message"] == (
        "release 2: step 1 of 2, 10% for 6s of 10m; 200 requests, error rate 1% (old 0%), p95 0.066 s (old 0.066 s)"
    )
    go_on(world, minutes=10)
    assert state(world) == "2 Progressing 2/50"
    world.count("g", old=counted(), new=counted())
    go_on(world, minutes=10)
    assert state(world) == "2 Promoted 2/50"
    assert list(parts(world)) == ["g"]
    assert world.entry("g")["nodes"][0]["timeoutMillis"] == 5000
    assert world.entry("g")["port"] == port
    assert world.says("g", "Ready") == "True/Ready"
    reasons = [event.reason for event in world.events if event.action == "Release"]
    assert reasons == ["ReleaseBegan", "Promoted", "ReleaseBegan", "ReleaseStep", "ReleaseStep", "Promoted"]


def test_counts_of_another_step_do_not_count(world: World) -> None:
    edit(world)
    world.count("g", old=counted(), new=counted())
    go_on(world, minutes=10)
    assert state(world) == "2 Progressing 2/50"
    go_on(world, minutes=10)
    assert state(world) == "2 Progressing 2/50"
    assert "0 of 100 requests came to the new version" in world.condition("g", "Released")["message"]
    go_on(world, hours=2)
    go_on(world, seconds=30)
    assert world.says("g", "Released") == "False/TooFewRequests"


def test_a_release_without_checks_goes_by_time_alone(world: World) -> None:
    edit(world, release={"steps": STEPS})
    go_on(world, minutes=10)
    go_on(world, minutes=10)
    assert state(world) == "2 Promoted 2/50"


def test_a_bad_version_is_rolled_back_and_named_with_its_numbers(world: World) -> None:
    before = world.entry("g")
    edit(world)
    world.count("g", old=counted(), new=counted(20, bucket=SLOW))
    assert state(world) == "2 Progressing 1/10"
    world.count("g", old=counted(), new=counted(bucket=SLOW))
    go_on(world, seconds=0)
    assert state(world) == "2 RolledBack 1/10"
    assert world.entry("g") == before
    assert list(parts(world)) == ["g"]
    assert world.says("g", "Ready") == "False/CheckFailed"
    assert world.says("g", "Stalled") == "True/CheckFailed"
    message = world.condition("g", "Ready")["message"]
    assert message.startswith("release 2 was rolled back at step 1 (10%): slower than the old: new.errorRate <= 0.01")
    assert message.endswith("p95 0.132 s (old 0.066 s)); back to release 1")
    assert [event.type for event in world.events if event.reason == "RolledBack"] == [EventType.WARNING]
    go_on(world, hours=5)
    assert state(world) == "2 RolledBack 1/10"
    world.put(released())
    go_on(world, seconds=0)
    assert state(world) == "2 Reverted 1/10"
    assert world.says("g", "Ready") == "True/Ready"
    assert world.says("g", "Released") == "True/Reverted"
    words = "release 2 was left, for it is not asked for any more; release 1 is served"
    assert world.condition("g", "Released")["message"] == words
    told = [event.note for event in world.events if event.reason == "Reverted"]
    assert told == [words]


def test_the_new_revision_of_a_member_is_released_while_the_graph_stays_ready(world: World) -> None:
    world.model("a", revision="a2", kept={"a1": 1})
    world.settle()
    assert world.says("g", "Released") == "Unknown/MemberNotReady"
    world.model("a", revision="a2", kept={"a1": 1, "a2": 1})
    go_on(world, seconds=0)
    go_on(world, seconds=2)
    assert state(world) == "2 Progressing 1/10"
    assert (hosts(world, "g.old"), hosts(world, "g.new")) == (["http://a-a1.team.svc"], ["http://a-a2.team.svc"])
    assert world.says("g", "Ready") == "True/Ready"
    world.count("g", old=counted(), new=counted(errors=100))
    go_on(world, seconds=0)
    assert world.says("g", "Released") == "False/CheckFailed"
    assert world.says("g", "Ready") == "True/Ready"
    assert hosts(world, "g") == ["http://a-a1.team.svc"]
    told = [event.reason for event in world.events if event.action == "Serve"]
    assert told.count("Ready") == 1


def test_a_member_that_is_being_rolled_out_is_waited_for(world: World) -> None:
    world.model("a", ready=False, revision="a2", message="0/1 pods", kept={"a1": 1})
    edit(world)
    assert state(world) == "1 Promoted 0/0"
    assert world.says("g", "Ready") == "False/MemberNotReady"
    assert "ModelDeployment a is not rolled out: 0/1 pods" in world.condition("g", "Ready")["message"]
    world.model("a", revision="a2", kept={"a1": 1, "a2": 1})
    go_on(world, seconds=0)
    go_on(world, seconds=2)
    assert state(world) == "2 Progressing 1/10"
    assert hosts(world, "g.new") == ["http://a-a2.team.svc"]


def test_a_shadow_answers_by_the_old_and_compares(world: World) -> None:
    shadow = {
        "strategy": "Shadow",
        "steps": [{"percent": 50, "hold": "10m"}],
        "compare": "primary.body == shadow.body",
        "checks": [{"expression": "new.agreement >= 0.9"}],
    }
    edit(world, release=shadow)
    mirror = {"node": "old", "to": ["new"], "percent": 50, "compare": "primary.body == shadow.body"}
    assert world.entry("g")["nodes"][0]["mirror"] == mirror
    world.count("g", old=counted(), new=counted(100, compared=90, agreed=88))
    go_on(world, seconds=6)
    assert "agreement 97.8% of 180" in world.condition("g", "Released")["message"]
    go_on(world, minutes=10)
    assert state(world) == "2 Promoted 1/50"


def test_sticky_requests_without_a_value_go_any_way(world: World) -> None:
    edit(world, release={**RELEASE, "sticky": "request.headers['x-user']"})
    split = world.entry("g")["nodes"][0]["split"]
    assert (split["sticky"], split["lenient"]) == ("request.headers['x-user']", True)


def test_another_version_begins_anew_from_what_is_served(world: World) -> None:
    edit(world)
    edit(world, {**A, "timeout": "6s"})
    assert state(world) == "3 Progressing 1/10"
    assert "timeoutMillis" not in world.entry("g.old")["nodes"][0]
    assert world.entry("g.new")["nodes"][0]["timeoutMillis"] == 6000


def test_a_spec_that_makes_no_sense_stops_a_release_where_it_is(world: World) -> None:
    edit(world)
    before = world.plan()
    world.put(released(A, B))
    go_on(world, hours=3)
    assert world.says("g", "Accepted") == "False/InvalidSpec"
    assert state(world) == "2 Progressing 1/10"
    assert world.plan() == before
    assert world.says("g", "Released") == "Unknown/Progressing"
    assert "it goes no further, for the graph is not accepted" in world.condition("g", "Released")["message"]
    go_on(world, seconds=30)
    assert state(world) == "2 RolledBack 1/10"
    go_on(world, seconds=0)
    assert list(parts(world)) == ["g"]
    assert "timeoutMillis" not in world.entry("g")["nodes"][0]
    assert world.says("g", "Accepted") == "False/InvalidSpec"


TYPO = {**RELEASE, "checks": [{"expression": "new.errorRate <="}, *RELEASE["checks"]]}
REFUSALS = [
    ("a typo in a check", released({**A, "timeout": "5s"}, release=TYPO), "InvalidSpec"),
    ("a node that nobody asks", released(A, B), "InvalidSpec"),
    ("another protocol", graph("g", A, release=RELEASE, protocol="KServeV1"), "InvalidSpec"),
    ("a target that is gone", released(target("c")), "TargetNotFound"),
]


@pytest.mark.parametrize(("body", "reason"), [case[1:] for case in REFUSALS], ids=[case[0] for case in REFUSALS])
def test_a_bad_version_is_rolled_back_also_while_the_graph_is_refused(world: World, body: Body, reason: str) -> None:
    before = world.entry("g")
    edit(world)
    world.put(body)
    go_on(world, seconds=1)
    assert world.says("g", "Accepted") == f"False/{reason}"
    world.count("g", old=counted(), new=counted())
    go_on(world, minutes=30)
    assert state(world) == "2 Progressing 1/10"
    world.count("g", old=counted(), new=counted(errors=200))
    go_on(world, seconds=0)
    assert world.says("g", "Released") == "False/CheckFailed"
    assert world.entry("g") == before
    go_on(world, seconds=1)
    assert list(parts(world)) == ["g"]
    assert world.status("g")["release"]["leaving"] == []


def test_a_release_is_aborted_also_while_the_graph_is_refused(world: World) -> None:
    edit(world)
    abort = {**RELEASE, "decision": {"number": 2, "action": "Abort"}}
    world.put(released(A, B, release=abort))
    go_on(world, seconds=0)
    assert world.says("g", "Released") == "False/Aborted"
    assert list(parts(world)) == ["g"]


def test_a_typo_during_a_release_says_nothing_of_members_that_answer(world: World) -> None:
    edit(world, B, release={"steps": STEPS})
    world.put(released(target("b", "bb"), release={"steps": STEPS}))
    go_on(world, seconds=1)
    assert world.says("g", "Accepted") == "False/TargetNotFound"
    assert world.says("g", "Released") == "Unknown/Progressing"
    assert "b, revision" not in world.condition("g", "Released")["message"]
    go_on(world, hours=3)
    go_on(world, seconds=30)
    assert world.says("g", "Released") == "False/TimedOut"
    words = "its steps were not through within 2h, for the graph is not accepted; back to release 1"
    assert world.condition("g", "Released")["message"].endswith(words)


def test_a_member_of_a_release_is_heard_also_when_the_spec_does_not_name_it(world: World) -> None:
    edit(world, B)
    world.put(released(target("b", "bb")))
    go_on(world, seconds=1)
    world.model("b", revision="b1", kept={"b1": 0})
    world.settle()
    assert "b, revision b1: no pod of it answers yet" in world.condition("g", "Released")["message"]


def test_a_member_that_is_deleted_during_its_canary_is_called_gone(world: World) -> None:
    edit(world, B)
    world.remove(MODEL_DEPLOYMENT, "b")
    go_on(world, seconds=1)
    assert world.says("g", "Released") == "Unknown/MemberNotReady"
    assert world.condition("g", "Released")["message"].endswith("; ModelDeployment team/b is gone")
    go_on(world, hours=3)
    go_on(world, seconds=30)
    assert world.says("g", "Released") == "False/MemberNotReady"
    words = "release 2 was rolled back at step 1 (10%): ModelDeployment team/b is gone; back to release 1"
    assert world.condition("g", "Released")["message"] == words


def test_a_served_member_that_was_made_again_is_lost_also_when_the_spec_does_not_name_it(world: World) -> None:
    edit(world, B)
    world.remove(MODEL_DEPLOYMENT, "a")
    go_on(world, seconds=0)
    assert state(world) == "2 Progressing 1/10"
    world.model("a", revision="other", kept={"other": 1})
    go_on(world, seconds=0)
    assert state(world).startswith("2 Promoted")
    assert hosts(world, "g") == ["http://b-b1.team.svc"]


def test_that_nobody_judges_a_release_is_told(world: World) -> None:
    edit(world)
    world.put(graph("g", A, B))
    go_on(world, seconds=0)
    assert state(world) == "2 Progressing 1/10"
    assert "nobody judges it" in world.condition("g", "Released")["message"]


def test_going_back_waits_for_no_member(world: World) -> None:
    both = {"name": "f", "fallback": [{"node": "a"}, {"node": "b"}]}
    edit(world, both, A, B)
    for _ in range(2):
        world.count("g", old=counted(), new=counted())
        go_on(world, minutes=10)
    assert state(world) == "2 Promoted 2/50"
    edit(world, both, {**A, "timeout": "5s"}, B)
    assert state(world) == "3 Progressing 1/10"
    world.model("b", revision="b2", ready=False, message="0/1 pods", kept={"b1": 1})
    world.put(released(both, A, B))
    go_on(world, seconds=0)
    assert state(world) == "3 Reverted 1/10"
    assert list(parts(world)) == ["g"]


def test_a_stalled_member_does_not_make_a_failure_forgotten(world: World) -> None:
    world.model("a", revision="a2", kept={"a1": 1, "a2": 1})
    go_on(world, seconds=0)
    go_on(world, seconds=2)
    world.count("g", old=counted(), new=counted(errors=100))
    go_on(world, seconds=0)
    assert state(world) == "2 RolledBack 1/10"
    stalled = copy.deepcopy(world.objects[Ref(MODEL_DEPLOYMENT, NAMESPACE, "a")])
    ready, available = ({"type": type_, "status": "False", "reason": "CrashLoop"} for type_ in ("Ready", "Available"))
    stalled["status"]["conditions"] = [available, ready, {"type": "Stalled", "status": "True", "reason": "CrashLoop"}]
    world.put(stalled)
    go_on(world, seconds=5)
    assert state(world) == "2 RolledBack 1/10"
    world.model("a", revision="a2", kept={"a1": 1, "a2": 1})
    go_on(world, seconds=5)
    assert state(world) == "2 RolledBack 1/10"


def test_a_release_is_not_judged_before_the_routers_were_heard(world: World) -> None:
    edit(world, release={**RELEASE, "steps": STEPS[:1]})
    world.count("g", old=counted(), new=counted())
    world.restart()
    world.now += timedelta(hours=9)
    world.settle()
    assert state(world) == "2 Progressing 1/10"
    world.tell()
    world.settle()
    assert state(world) == "2 Progressing 1/10"
    world.count("g", old=counted(), new=counted())
    assert state(world) == "2 Promoted 1/10"


def test_what_routers_refuse_is_rolled_back(world: World) -> None:
    before = world.entry("g")
    world.put(released({**A, "timeout": "5s"}))
    world.settle()
    world.pass_time(seconds=2)
    world.settle()
    refused = {"revision": world.plan()["revision"], "graph": "g.new", "message": "no such thing"}
    world.tell(refused=refused, g=before["revision"])
    world.settle()
    assert world.says("g", "Released") == "False/PlanRefused"
    assert world.entry("g") == before
    go_on(world, seconds=0)
    assert world.says("g", "Stalled") == "True/PlanRefused"


def test_a_graph_goes_over_to_another_router_within_a_release(world: World) -> None:
    edit(world)
    world.put(released({**A, "timeout": "5s"}, router={"own": True}))
    world.settle()
    assert [entry["name"] for entry in world.plan("g-router")["graphs"]] == ["g", "g.new", "g.old"]
    world.serve("g-router")
    assert [entry["name"] for entry in world.plan("g-router")["graphs"]] == ["g", "g.new", "g.old"]
    assert world.get(CONFIG_MAP, "rondo-router") is None


def test_a_rolled_back_graph_goes_over_to_another_router(world: World) -> None:
    edit(world)
    world.count("g", old=counted(), new=counted(errors=200))
    go_on(world, seconds=0)
    world.put(released({**A, "timeout": "5s"}, router={"own": True}))
    world.settle()
    world.serve("g-router")
    assert "timeoutMillis" not in world.entry("g", "g-router")["nodes"][0]
    assert world.get(CONFIG_MAP, "rondo-router") is None


def test_a_config_map_that_was_deleted_takes_the_old_version_with_it(world: World) -> None:
    edit(world)
    world.remove(CONFIG_MAP, "rondo-router")
    go_on(world, seconds=2)
    assert state(world).startswith("2 Promoted")
    assert world.entry("g")["nodes"][0]["timeoutMillis"] == 5000


def test_a_member_that_was_deleted_and_made_again_has_nothing_to_go_back_to(world: World) -> None:
    world.remove(MODEL_DEPLOYMENT, "a")
    go_on(world, seconds=0)
    assert hosts(world, "g") == ["http://a-a1.team.svc"]
    world.model("a", revision="other", kept={"other": 1})
    go_on(world, seconds=0)
    go_on(world, seconds=2)
    assert state(world).startswith("2 Promoted")
    assert hosts(world, "g") == ["http://a-other.team.svc"]


def test_a_revision_that_is_not_listed_is_not_given_up(world: World) -> None:
    edit(world)
    world.model("a", revision="a1", kept={"a1": 1})
    deployment = copy.deepcopy(world.objects[Ref(MODEL_DEPLOYMENT, NAMESPACE, "a")])
    deployment["status"]["revisions"] = [{"name": "a-a0", "hash": "a0"}]
    world.put(deployment)
    go_on(world, seconds=1)
    assert state(world) == "2 Progressing 1/10"
    assert "g.old" in parts(world)


def spoken(world: World, name: str) -> list[tuple[str, str]]:
    """Give the host and the protocol of each target of a part of the plan."""
    targets = (node["target"] for node in world.entry(name)["nodes"] if "target" in node)
    return [(target["url"].removeprefix("http://").split(".")[0], target["protocol"]) for target in targets]


def test_each_revision_is_asked_by_what_it_speaks(world: World) -> None:
    world.model("a", revision="a2", protocol="KServeV1", ready=False, message="KeepingRevision", kept={"a1": 1})
    go_on(world, seconds=0)
    assert spoken(world, "g") == [("a-a1", "OpenAI")]
    assert world.says("g", "Ready") == "True/Ready"
    world.model("a", revision="a2", protocol="KServeV1", kept={"a1": 1, "a2": 1})
    go_on(world, seconds=0)
    go_on(world, seconds=2)
    assert spoken(world, "g.old") == [("a-a1", "OpenAI")]
    assert spoken(world, "g.new") == [("a-a2", "KServeV1")]
    world.count("g", old=counted(), new=counted(errors=100))
    go_on(world, seconds=0)
    assert spoken(world, "g") == [("a-a1", "OpenAI")]


def test_a_revision_that_speaks_what_the_graph_cannot_is_never_asked(world: World) -> None:
    world.model("a", revision="a2", protocol="JSON", kept={"a1": 1, "a2": 1})
    go_on(world, seconds=2)
    assert world.says("g", "Ready") == "True/Ready"
    assert world.says("g", "Released") == "Unknown/MemberNotReady"
    assert "a, revision a2: the graph speaks OpenAI and the target JSON" in world.condition("g", "Released")["message"]
    assert spoken(world, "g") == [("a-a1", "OpenAI")]


def test_a_graph_is_as_ready_as_the_revisions_that_it_asks(world: World) -> None:
    world.model("a", revision="a2", kept={"a1": 1, "a2": 1})
    go_on(world, seconds=0)
    go_on(world, seconds=2)
    world.model("a", revision="a2", ready=False, kept={"a1": 1, "a2": 0})
    go_on(world, seconds=0)
    assert world.says("g", "MembersReady") == "False/NoEndpoints"
    assert "a, revision a2: no pod of it answers yet" in world.condition("g", "Ready")["message"]
    world.count("g", old=counted(), new=counted(errors=100))
    go_on(world, seconds=0)
    assert state(world) == "2 RolledBack 1/10"
    assert world.says("g", "Ready") == "True/Ready"
    world.model("a", revision="a2", kept={"a1": 0, "a2": 1})
    go_on(world, seconds=0)
    assert world.says("g", "Ready") == "False/NoEndpoints"
    assert world.status("g")["readyNodes"] == "0/1"


def test_a_shadow_that_does_not_answer_takes_no_answers(world: World) -> None:
    edit(world, A, release={"strategy": "Shadow", "steps": [{"percent": 50, "hold": "10m"}]})
    world.model("a", revision="a2", kept={"a1": 1, "a2": 1})
    go_on(world, seconds=0)
    go_on(world, seconds=2)
    assert "g.new" in parts(world)
    world.model("a", revision="a2", ready=False, kept={"a1": 1, "a2": 0})
    go_on(world, seconds=0)
    assert world.says("g", "Ready") == "True/Ready"


def test_an_old_version_that_asks_a_graph_that_is_gone_is_given_up(world: World) -> None:
    world.put(graph("inner", A))
    other = {"name": "i", "target": {"kind": "ModelGraph", "name": "inner"}}
    quiet = {"steps": STEPS}
    edit(world, other, release=quiet)
    for _ in range(2):
        world.count("g", old=counted(), new=counted())
        go_on(world, minutes=10)
    assert state(world).startswith("2 Promoted")
    edit(world, A, release=quiet)
    assert "g.old" in parts(world)
    world.remove(next(ref.resource for ref in world.objects if ref.name == "inner"), "inner")
    go_on(world, seconds=0)
    assert state(world).startswith("3 Promoted")
    assert hosts(world, "g") == ["http://a-a1.team.svc"]


def test_another_protocol_is_refused(world: World) -> None:
    world.put(graph("g", A, release=RELEASE, protocol="KServeV1"))
    go_on(world, seconds=2)
    assert world.says("g", "Accepted") == "False/InvalidSpec"
    assert "take spec.release out for this change" in world.condition("g", "Accepted")["message"]
    assert list(parts(world)) == ["g"]


def test_versions_stand_beside_the_plan(world: World) -> None:
    edit(world)
    config = world.get(CONFIG_MAP, "rondo-router") or {}
    release = world.status("g")["release"]
    versions = decoded(config["data"]["state.json"])["versions"]
    assert versions == {"g.old": release["served"]["hash"], "g.new": release["candidate"]["hash"]}


def test_buckets_are_those_of_the_router() -> None:
    assert pytest.approx(0.0655, abs=0.001) == FIRST_BUCKET * 2 ** (FAST / PER_DOUBLING)


def test_a_graph_that_is_about_to_go_is_no_place_of_a_version(world: World) -> None:
    world.put(graph("inner", A))
    snapshot = observe_graph(world.store, Key(MODEL_GRAPH, NAMESPACE, "g"))
    assert snapshot is not None
    assert snapshot.present == {"g", "inner"}
    leaving = graph("inner", A)
    leaving["metadata"]["deletionTimestamp"] = CREATED
    world.put(leaving)
    snapshot = observe_graph(world.store, Key(MODEL_GRAPH, NAMESPACE, "g"))
    assert snapshot is not None
    assert snapshot.present == {"g"}
