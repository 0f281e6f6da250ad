"""Releases of graphs on a real API server: revisions are kept before anything asks them, and status decides what next.

Pods are played and routers only tell; what they would answer is tested with the router itself.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.integration.system.objects import claim, graph, model_deployment, node, of_service, pipeline, service
from tests.integration.system.objects import slice_of as slice_for
from tests.integration.system.processes import Operators
from tests.integration.system.routers import Fleet, fleet
from tests.integration.system.space import Body, Space, condition, eventually

STEPS = [{"weight": 10, "hold": "1s"}, {"weight": 50, "hold": "1s"}]
RELEASE = {
    "steps": STEPS,
    "checks": [{"expression": "new.errorRate <= 0.01", "message": "it fails"}],
    "minRequests": 10,
}
ROUTER = "rondo-router"


def of_model(timeout: str = "5s") -> Body:
    return node("m", target={"name": "m"}, timeout=timeout)


def canary(timeout: str = "5s", **release: Any) -> Body:
    return graph("g", of_model(timeout), release={**RELEASE, **release})


def counted(requests: int = 20, errors: int = 0) -> Body:
    return {"requests": requests, "errors": errors, "seconds": {"320": requests}}


@pytest.fixture
def routers(space: Space) -> Iterator[Fleet]:
    with fleet(space) as routers:
        yield routers


@pytest.fixture
def served(space: Space, routers: Fleet) -> Space:
    """A namespace with the model `m` and the graph `g` over it, which makes releases."""
    return serve(space, routers)


def serve(space: Space, routers: Fleet) -> Space:
    space.create(claim(), model_deployment("m"), canary())
    space.until_condition("ModelDeployment", "m", "Ready", status="True")
    routers.start()
    space.until_condition("ModelGraph", "g", "Ready", status="True", reason="Ready")
    return space


def release(space: Space) -> Body:
    found: Body = (space.get("ModelGraph", "g") or {}).get("status", {}).get("release", {})
    return found


def at(space: Space, state: str, step: int) -> Body:
    """Wait until the release is in a state and at a step, and all routers are."""

    def look() -> Body | None:
        found = release(space)
        here = (found.get("state"), found.get("step")) == (state, step)
        return found if here and found.get("since") else None

    return eventually(look, f"the release to be {state} at step {step}")


def parts(routers: Fleet) -> dict[str, Body]:
    return {part["name"]: part for part in routers.plan()["graphs"]}


def host(part: Body) -> str:
    url: str = part["nodes"][0]["target"]["url"]
    return url.removeprefix("http://").split(".")[0]


def revision(space: Space) -> str:
    found: str = (space.get("ModelDeployment", "m") or {})["status"]["revision"]
    return found


def pass_step(space: Space, routers: Fleet, step: int) -> None:
    """Let a step be held with enough good answers."""
    at(space, "Progressing", step)
    routers.count("g", old=counted(), new=counted())


def test_another_revision_of_a_member_is_released_while_the_old_one_is_kept(served: Space, routers: Fleet) -> None:
    old = revision(served)
    assert host(parts(routers)["g"]) == f"m-{old}"
    assert (served.get("Service", f"m-{old}") or {})["spec"]["selector"]["rondo.dev/revision"] == old
    served.patch("ModelDeployment", "m", {"spec": {"model": {"version": "2"}}})
    at(served, "Progressing", 1)
    new = revision(served)
    assert new != old
    kept = served.get("Deployment", f"m-{old}") or {}
    assert kept["status"]["availableReplicas"] == 1
    assert (host(parts(routers)["g.old"]), host(parts(routers)["g.new"])) == (f"m-{old}", f"m-{new}")
    assert len(served.items("Pod", f"rondo.dev/revision={old}")) == 1
    assert condition(served.get("ModelGraph", "g") or {}, "Ready")["status"] == "True"
    pass_step(served, routers, 1)
    pass_step(served, routers, 2)
    served.until_condition("ModelGraph", "g", "Released", status="True", reason="Promoted")
    eventually(lambda: list(parts(routers)) == ["g"], "one part in the plan")
    assert host(parts(routers)["g"]) == f"m-{new}"
    served.until_gone("Deployment", f"m-{old}")
    served.until_gone("Service", f"m-{old}")
    eventually(lambda: not served.items("Pod", f"rondo.dev/revision={old}"), "the old pods to go")


def test_a_bad_spec_is_rolled_back_and_the_next_one_is_tried(served: Space, routers: Fleet) -> None:
    before = parts(routers)["g"]
    served.patch("ModelGraph", "g", {"spec": {"nodes": [of_model("6s")]}})
    at(served, "Progressing", 1)
    assert condition(served.get("ModelGraph", "g") or {}, "Ready")["status"] == "False"
    routers.count("g", old=counted(), new=counted(errors=5))
    said = served.until_condition("ModelGraph", "g", "Stalled", status="True", reason="CheckFailed")
    assert "release 2 was rolled back at step 1 (10%): it fails: new.errorRate <= 0.01 (" in said["message"]
    assert parts(routers) == {"g": before}
    served.patch("ModelGraph", "g", {"spec": {"nodes": [of_model("7s")]}})
    pass_step(served, routers, 1)
    pass_step(served, routers, 2)
    served.until_condition("ModelGraph", "g", "Ready", status="True", reason="Ready")
    assert parts(routers)["g"]["nodes"][0]["timeoutMillis"] == 7000


def test_a_decision_ends_a_paused_release(served: Space, routers: Fleet) -> None:
    served.patch("ModelGraph", "g", {"spec": {"nodes": [of_model("6s")], "release": {"onFailure": "Pause"}}})
    at(served, "Progressing", 1)
    routers.count("g", old=counted(), new=counted(errors=5))
    served.until_condition("ModelGraph", "g", "Released", status="Unknown", reason="Paused")
    assert set(parts(routers)) == {"g", "g.old", "g.new"}
    decision = {"number": 2, "action": "Promote"}
    served.patch("ModelGraph", "g", {"spec": {"release": {"decision": decision}}})
    served.until_condition("ModelGraph", "g", "Ready", status="True", reason="Ready")
    assert parts(routers)["g"]["nodes"][0]["timeoutMillis"] == 6000


def test_a_stage_fails_with_the_release_and_sets_the_spec_back(space: Space, routers: Fleet) -> None:
    space.create(service("a"), slice_for("a", ready=True))
    spec = {**graph("g", of_service("a"), release=RELEASE)["spec"], "timeout": "$(params.timeout)"}
    stage = {"name": "release", "deploy": {"kind": "ModelGraph", "name": "g", "spec": spec}}
    params = [{"name": "timeout", "type": "string", "default": "7s"}]
    space.create(pipeline("p", stage, params=params))
    eventually(lambda: space.get("ConfigMap", ROUTER), "the router's ConfigMap")
    routers.start()
    space.succeeded("p-1")
    space.patch("Pipeline", "p", {"spec": {"params": [{**params[0], "default": "8s"}]}})
    at(space, "Progressing", 1)
    assert space.stage("p-2", "release")["state"] == "Running"
    routers.count("g", old=counted(), new=counted(errors=5))
    space.ended("p-2")
    failed = space.stage("p-2", "release")
    assert (failed["state"], failed["reason"]) == ("Failed", "CheckFailed")
    assert "it fails: new.errorRate <= 0.01" in failed["message"]
    eventually(lambda: (space.get("ModelGraph", "g") or {})["spec"]["timeout"] == "7s", "the spec to be set back")
    space.until_condition("ModelGraph", "g", "Ready", status="True", reason="Ready")


def test_a_release_goes_on_with_another_operator_and_nothing_changes_without_one(
    fragile: Space, operators: Operators
) -> None:
    """The spec is edited again while nobody works: the old version is still what is served after that."""
    with fleet(fragile) as routers:
        first = operators.start(fragile.namespace)
        serve(fragile, routers)
        fragile.patch("ModelGraph", "g", {"spec": {"nodes": [of_model("6s")]}})
        at(fragile, "Progressing", 1)
        before = routers.plan()
        first.kill()
        fragile.patch("ModelGraph", "g", {"spec": {"nodes": [of_model("7s")]}})
        assert routers.plan() == before
        operators.start(fragile.namespace)
        eventually(lambda: release(fragile)["number"] == 3, "another release")
        at(fragile, "Progressing", 1)
        assert parts(routers)["g.old"]["nodes"][0]["timeoutMillis"] == 5000
        assert parts(routers)["g.new"]["nodes"][0]["timeoutMillis"] == 7000
        routers.count("g", old=counted(), new=counted(errors=5))
        fragile.until_condition("ModelGraph", "g", "Stalled", status="True", reason="CheckFailed")
        assert parts(routers)["g"]["nodes"][0]["timeoutMillis"] == 5000
        state = json.loads((fragile.get("ConfigMap", ROUTER) or {})["data"]["state.json"])
        assert list(state["versions"]) == ["g"]


def test_the_api_server_refuses_steps_of_the_other_strategy(space: Space) -> None:
    body = canary(steps=[{"percent": 10, "hold": "1s"}])
    with pytest.raises(Exception, match="steps have weight in a Canary and percent in a Shadow"):
        space.create(body)
