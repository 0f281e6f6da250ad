"""Cases that users of other workflow engines had to report, each on a real API server, or where it is tested.

| case | where |
|---|---|
| the operator is killed between a pod's success and the status write | here, `test_sigkill`, `test_trouble` |
| a status is refused for its size | here |
| an error message of hundreds of kilobytes | here |
| two operators at once, a leader that did not notice | `test_leaders`, `test_trouble` |
| clocks that are hours apart, or jump | `tests/unit/kube/test_clock.py`, `tests/integration/runtime/test_client.py` |
| a pod or Job is deleted while no watch is open | `test_faults`, `test_trouble` |
| a retry while the pod of the last attempt still ends | `test_attempts` (`test_after_an_eviction_...`) |
| a paused run is cancelled | here |
| a parameter with quotes, newlines and `$(rm -rf /)` | here; on a real kubelet in `tests/e2e/test_troubles.py` |
| an unknown parameter | `test_accepted` |
| a run is deleted and made again under its name | `test_deletion`, `test_trouble` |
| a fan-out over an empty list | here |
| the result of a skipped stage is referred to | here; all cases in `tests/unit/core/run/test_flow.py` |
| an init container is killed for memory | here; as recorded from a real kubelet in `tests/unit/core/told.yaml` |
"""

from __future__ import annotations

import json
import re
import signal
from collections.abc import Mapping

import pytest
from kubernetes.dynamic.exceptions import DynamicApiError

from tests.integration.system.objects import inline_run, job
from tests.integration.system.processes import Operators
from tests.integration.system.space import Body, Space, condition, eventually, only

MUCH = "first words " + "x" * 200_000 + " last words"
HOSTILE = 'it\'s "quoted"\n$(rm -rf /) $(RONDO_RUN) $$(x) `id`'
ROOM = 2_300
"""Bytes that an object of `_padded` has for its status: enough to begin, too few for long last words."""


def test_killed_between_the_success_of_a_pod_and_the_status_write(fragile: Space, operators: Operators) -> None:
    operator = operators.start(fragile.namespace)
    fragile.create(inline_run("r", job("a", image="holds"), job("b", "a")))
    pod = fragile.running_pod("r", "a")
    operator.signal(signal.SIGSTOP)
    fragile.end_pod(pod)
    operator.kill()
    assert fragile.stage("r", "a")["state"] == "Running"
    operators.start(fragile.namespace)
    run = fragile.once("r")
    assert [(s["state"], s["attempt"]) for s in run["status"]["stages"]] == [("Succeeded", 1), ("Succeeded", 1)]
    assert not fragile.plane.created_twice(fragile.namespace)


def test_a_run_whose_status_no_longer_fits_ends_and_says_so(fragile: Space, operators: Operators) -> None:
    largest = _largest(fragile)
    fragile.create(_padded("r", largest - ROOM), _padded("s", largest))
    operators.start(fragile.namespace)
    pod = fragile.running_pod("r", "a")
    fragile.patch("Pod", pod, {"status": _ended({"exitCode": 3, "reason": "Error", "message": MUCH})}, status=True)
    run = fragile.ended("r")
    said = condition(run, "Succeeded")
    assert (said["status"], said["reason"]) == ("False", "StatusRefused")
    assert said["message"].endswith("so it ends here: etcdserver: request is too large")
    eventually(lambda: {"r", "s"} <= _told(fragile, "StatusRefused"), "the Events that say so")
    assert not fragile.jobs("s"), "there was no room to write down the intent of an attempt"


WORDS: dict[str, Body] = {
    "last words": {"phase": "Failed", "containerStatuses": [{"terminated": {"exitCode": 3, "message": MUCH}}]},
    "cannot start": {"phase": "Failed", "containerStatuses": [
        {"terminated": {"exitCode": 128, "reason": "StartError", "message": MUCH}}]},
    "eviction": {"phase": "Failed", "reason": "Evicted", "message": MUCH},
    "image": {"phase": "Pending", "containerStatuses": [{"waiting": {"reason": "ErrImagePull", "message": MUCH}}]},
    "node": {"phase": "Pending", "conditions": [
        {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": MUCH}]},
}  # fmt: skip


@pytest.mark.parametrize("status", WORDS.values(), ids=WORDS)
def test_an_endless_message_is_cut_and_looks_cut(space: Space, status: Body) -> None:
    space.create(inline_run("r", job("a", image="waits", retry={"limit": 0, "maxDisruptions": 0})))
    pod = only(eventually(lambda: space.pods("r"), "the pod"))["metadata"]["name"]
    space.patch("Pod", pod, {"status": _with_containers(status)}, status=True)

    def told() -> Body | None:
        stage = space.stage("r", "a")
        return stage if " ... " in stage.get("message", "") else None

    stage = eventually(told, "the message")
    assert re.search("first words xx|xx last words", stage["message"]), stage["message"]
    assert len(stage["message"]) <= 512
    assert len(json.dumps(space.run("r")["status"])) < 8_000
    assert all(len(event["message"]) <= 1024 for event in _events_about(space, "r"))


def test_a_paused_run_is_cancelled_and_its_finally_runs(space: Space) -> None:
    stages = (job("a", image="holds"), job("b", "a"))
    space.create(inline_run("r", *stages, **{"finally": [job("z")]}))
    space.running_pod("r", "a")
    space.patch("PipelineRun", "r", {"spec": {"state": "Paused"}})
    space.until_condition("PipelineRun", "r", "Succeeded", reason="Paused")
    space.patch("PipelineRun", "r", {"spec": {"state": "Cancelled"}})
    run = space.ended("r")
    assert condition(run, "Succeeded")["reason"] == "Cancelled"
    assert [s["state"] for s in run["status"]["stages"]] == ["Cancelled", "Skipped", "Succeeded"]
    eventually(lambda: not space.pods("r", "a"), "the pod of the cancelled stage to be gone")


def test_a_hostile_parameter_reaches_the_pod_as_it_is(space: Space) -> None:
    stage = job("a")
    stage["job"] |= {
        "command": ["program", "$(params.v)"],
        "args": ["$(params.v)", "--x=$(params.v)"],
        "env": [{"name": "V", "value": "$(params.v)"}],
    }
    space.create(inline_run("r", stage, params=[{"name": "v", "type": "string"}]) | {})
    assert condition(space.ended("r"), "Succeeded")["message"] == "spec.params: no value for v"
    body = inline_run("s", stage, params=[{"name": "v", "type": "string"}])
    body["spec"]["params"] = {"v": HOSTILE}
    space.create(body)
    space.succeeded("s")
    main = only(space.pods("s"))["spec"]["containers"][0]
    known = {each["name"]: each["value"] for each in main["env"] if "value" in each}
    assert "RONDO_RUN" in known
    assert _expanded(main["command"][1], known) == HOSTILE
    assert [_expanded(each, known) for each in main["args"]] == [HOSTILE, f"--x={HOSTILE}"]
    assert _expanded(known["V"], known) == HOSTILE


def test_a_fan_out_over_nothing_succeeds_without_a_pod(space: Space) -> None:
    space.create(inline_run("r", job("each", forEach={"items": []}), job("b", "each")))
    run = space.succeeded("r")
    assert (run["status"]["stages"][0]["reason"], run["status"]["progress"]) == ("NoItems", "2/2")
    assert not space.jobs("r", "each")


def test_what_refers_to_the_result_of_a_skipped_stage_takes_the_default_or_is_skipped(space: Space) -> None:
    results = [{"name": "n", "type": "integer", "default": 7}, {"name": "m", "type": "integer"}]
    with_default, without = job("with"), job("without")
    with_default["job"]["args"] = ["$(stages.maybe.results.n)"]
    without["job"]["args"] = ["$(stages.maybe.results.m)"]
    space.create(inline_run("r", job("maybe", when="run.name == 'other'", results=results), with_default, without))
    run = space.succeeded("r")
    stages = {stage["name"]: stage for stage in run["status"]["stages"]}
    assert {name: stage["state"] for name, stage in stages.items()} == {
        "maybe": "Skipped", "with": "Succeeded", "without": "Skipped",
    }  # fmt: skip
    assert stages["without"]["message"] == "needs maybe, which is Skipped"
    assert only(space.pods("r"))["spec"]["containers"][0]["args"] == ["7"]


def test_an_init_container_that_is_killed_for_memory_is_named(space: Space) -> None:
    stage = job("a", image="waits")
    stage["job"]["podTemplate"] = {"spec": {"initContainers": [{"name": "prepare", "image": "waits"}]}}
    space.create(inline_run("r", stage))
    pod = only(eventually(lambda: space.pods("r"), "the pod"))["metadata"]["name"]
    killed = _container("prepare", {"terminated": {"exitCode": 137, "reason": "OOMKilled"}})
    held = _container("main", {"waiting": {"reason": "PodInitializing"}})
    status = {"phase": "Failed", "initContainerStatuses": [killed], "containerStatuses": [held]}
    space.patch("Pod", pod, {"status": status}, status=True)
    said = condition(space.ended("r"), "Succeeded")
    assert said["reason"] == "OOMKilled"
    assert f"pod {pod}, container prepare: killed for memory" in said["message"]


# The size of objects --------------------------------------------------------------------------------------------


def _padded(name: str, size: int) -> Body:
    """Give a run of about so many bytes; what makes it large stands in a stage that never runs."""
    values = [30_000] * (size // 30_000) + [size % 30_000]
    env = [{"name": f"V{number}", "value": "x" * length} for number, length in enumerate(values)]
    large = job("b", "a")
    large["job"]["env"] = env
    return inline_run(name, job("a", image="holds"), large)


def _largest(space: Space) -> int:
    """Find the size of the largest run with a name of one letter that can be created: etcd takes 1.5 MiB."""
    fits, too_large = 1_564_000, 1_572_864
    while too_large - fits > 128:
        size = (fits + too_large) // 2
        try:
            space.create(_padded("x", size))
        except DynamicApiError as error:
            if "request is too large" not in str(error.body):
                raise
            too_large = size
        else:
            fits = size
            space.delete("PipelineRun", "x")
    return fits


# What pods say --------------------------------------------------------------------------------------------------


def _ended(terminated: Body) -> Body:
    return {"phase": "Failed", "containerStatuses": [_container("main", {"terminated": terminated})]}


def _container(name: str, state: Body) -> Body:
    return {"name": name, "image": "x", "imageID": "", "ready": False, "restartCount": 0, "state": state}


def _with_containers(status: Body) -> Body:
    states = status.get("containerStatuses", ())
    return {**status, "containerStatuses": [_container("main", state) for state in states]}


def _expanded(text: str, variables: Mapping[str, str]) -> str:
    """Do what a kubelet does with `$(NAME)` and `$$` in env, command and args (its third_party/forked/expansion)."""

    def one(found: re.Match[str]) -> str:
        escaped, name = found.group(1), found.group(2)
        if escaped is not None:
            return "$"
        return variables.get(name, f"$({name})")

    return re.sub(r"\$(?:(\$)|\(([^)]*)\))", one, text)


def _events_about(space: Space, run: str) -> list[Body]:
    return [event for event in space.items("Event") if event["involvedObject"]["name"] == run]


def _told(space: Space, reason: str) -> set[str]:
    """Give the names of the objects that have an Event of a reason."""
    return {event["involvedObject"]["name"] for event in space.items("Event") if event["reason"] == reason}
