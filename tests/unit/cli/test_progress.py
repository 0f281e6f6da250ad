"""What a status means: rows, words, tones, and what is news."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from rondo.api.pipelinerun import StageState, StageStatus
from rondo.cli.progress import (
    FANCY,
    PLAIN,
    Node,
    Tone,
    deployment_node,
    foldings,
    length,
    news,
    rows,
    run_node,
    run_over,
    run_state,
    stage_node,
    values,
)
from tests.unit.cli.builders import (
    NOW,
    at,
    attempt,
    deployment,
    done,
    ended,
    run,
    running,
    said,
    stage,
)

UNSCHEDULABLE = "pod a-1 Unschedulable: 0/1 nodes are available: 1 Insufficient nvidia.com/gpu"


def node_of(status: StageStatus) -> Node:
    return stage_node(run(status)["status"]["stages"][0], NOW)


STAGES = {
    "not begun": (stage("a"), Node("a", "Pending", Tone.IDLE)),
    "starting is no trouble": (
        stage("a", StageState.WAITING, reason="Starting", message="pod a-1 is starting", start_time=at(80), attempt=1),
        Node("a", "Waiting", Tone.ACTIVE, "10s", "pod a-1 is starting"),
    ),
    "unschedulable is trouble, and its reason is not said twice": (
        stage("a", StageState.WAITING, reason="Unschedulable", message=UNSCHEDULABLE, start_time=at(0), attempt=1),
        Node("a", "Waiting", Tone.TROUBLE, "1m30s", UNSCHEDULABLE),
    ),
    "running": (running("a"), Node("a", "Running", Tone.ACTIVE, "1m00s")),
    "running, second attempt": (
        running("a", attempt=2, message="pod a-2 is running", attempts=[attempt(1, "exit code 3")]),
        Node(
            "a",
            "Running",
            Tone.ACTIVE,
            "1m00s",
            "attempt 2; pod a-2 is running",
            (Node("attempt 1", "Ended", words="UserError: exit code 3"),),
        ),
    ),
    "the message names the attempt itself": (
        running("a", attempt=2, message="attempt 2 of 3: pod a-2 is running"),
        Node("a", "Running", Tone.ACTIVE, "1m00s", "attempt 2 of 3: pod a-2 is running"),
    ),
    "what has ended takes no longer": (done("a", 7), Node("a", "Succeeded", Tone.GOOD, "7s")),
    "results are said where there is no message": (
        done("a", results={"accuracy": 0.98333333, "winner": "svm"}),
        Node("a", "Succeeded", Tone.GOOD, "5s", "accuracy=0.9833, winner=svm"),
    ),
    "failed, with the cause": (
        stage("a", StageState.FAILED, reason="OOMKilled", message="killed for memory", start_time=at(0), attempt=1),
        Node("a", "Failed", Tone.BAD, "1m30s", "OOMKilled: killed for memory"),
    ),
    "the last attempt's cause is not said twice": (
        stage(
            "a",
            StageState.FAILED,
            reason="UserError",
            message="exit code 4 (failed 2 times)",
            attempt=2,
            attempts=[attempt(1, "exit code 3"), attempt(2, "exit code 4")],
        ),
        Node(
            "a",
            "Failed",
            Tone.BAD,
            "",
            "attempt 2; UserError: exit code 4 (failed 2 times)",
            (Node("attempt 1", "Ended", words="UserError: exit code 3"),),
        ),
    ),
    "skipped, with a reason alone": (
        stage("a", StageState.SKIPPED, reason="NeedNotMet"),
        Node("a", "Skipped", Tone.NEUTRAL, "", "NeedNotMet"),
    ),
}


@pytest.mark.parametrize(("status", "want"), STAGES.values(), ids=STAGES.keys())
def test_stage(status: StageStatus, want: Node) -> None:
    assert node_of(status) == want


def test_state_of_a_newer_operator_is_shown() -> None:
    newer = {**to_json_stage(done("a")), "state": "Hibernating"}
    assert stage_node(newer, NOW) == Node("a", "Hibernating", Tone.NEUTRAL, "5s")


def to_json_stage(status: StageStatus) -> dict[str, Any]:
    written: dict[str, Any] = run(status)["status"]["stages"][0]
    return written


RUNS = {
    "not looked at yet": (
        {**run(), "status": {}},
        ("Pending", "1m30s", "the operator has not looked at it yet", False),
    ),
    "waits for its pipeline": (
        run(message="there is no Pipeline digits"),
        ("Pending", "1m30s", "there is no Pipeline digits", False),
    ),
    "runs": (run(done("a"), running("b")), ("Running", "1m30s", "1/2 stages", False)),
    "succeeded": (
        ended("True", "2/2 stages succeeded", done("a"), done("b"), results={"auc": 0.5}),
        ("Succeeded", "1m00s", "2/2 stages; auc=0.5", True),
    ),
    "failed": (ended("False", "a failed", stage("a", StageState.FAILED)), ("Failed", "1m00s", "0/1 stages", True)),
    "refused before it began": (ended("False", "no parameter b"), ("Failed", "1m00s", "no parameter b", True)),
    "an outcome of its own": (
        run(conditions=[said("Succeeded", "Unknown", "Restored", "from a backup")], completion_time=at(0)),
        ("Restored", "0s", "", True),
    ),
}


@pytest.mark.parametrize(("given", "want"), RUNS.values(), ids=RUNS.keys())
def test_run(given: dict[str, Any], want: tuple[str, str, str, bool]) -> None:
    node = run_node(given, NOW)
    assert (node.state, node.took, node.words, run_over(given)) == want
    assert node.state == run_state(given)


DEPLOYMENTS = {
    "ready": (
        deployment(said("Ready", "True", "Ready", "1/1 pods serve"), url="http://digits.default.svc"),
        ("Ready", Tone.GOOD, "1/1 pods serve; http://digits.default.svc"),
    ),
    "ready, but of an older spec": (
        deployment(said("Ready", "True", "Ready", "1/1 pods serve"), generation=2),
        ("Progressing", Tone.ACTIVE, "1/1 pods serve"),
    ),
    "on its way": (
        deployment(said("Ready", "False", "NotReady", "0/1 pods"), said("Reconciling", "True")),
        ("Progressing", Tone.ACTIVE, "0/1 pods"),
    ),
    "stalled": (
        deployment(said("Ready", "False", "ImagePull", "cannot pull x"), said("Stalled", "True")),
        ("Stalled", Tone.BAD, "cannot pull x"),
    ),
    "new": (deployment(generation=2), ("Progressing", Tone.ACTIVE, "the operator has not looked at it yet")),
}


@pytest.mark.parametrize(("given", "want"), DEPLOYMENTS.values(), ids=DEPLOYMENTS.keys())
def test_deployment(given: dict[str, Any], want: tuple[str, Tone, str]) -> None:
    node = deployment_node(given)
    assert (node.name, node.state, node.tone, node.words) == ("ModelDeployment digits", *want)


TREE = Node("run", "", children=(Node("a", "", children=(Node("a1", ""), Node("a2", ""))), Node("b", "")))


def test_rows_are_joined_to_those_above() -> None:
    fancy = [row.guide + row.node.name for row in rows(TREE, FANCY)]
    assert fancy == ["run", "├─ a", "│  ├─ a1", "│  └─ a2", "└─ b"]
    plain = [row.guide + row.node.name for row in rows(TREE, PLAIN)]
    assert plain == ["run", "|- a", "|  |- a1", "|  `- a2", "`- b"]


def test_rows_of_equal_children() -> None:
    twins = Node("run", "", children=(Node("a", ""), Node("a", "")))
    assert [row.guide for row in rows(twins, PLAIN)] == ["", "|- ", "`- "]


def test_folding_keeps_what_matters_longest() -> None:
    stages = [done("a"), done("b"), running("c"), done("d", attempts=[attempt(1, "x")]), stage("e"), stage("f")]
    given = [*stages, stage("g", StageState.FAILED), stage("h", StageState.SKIPPED)]
    names = [[child.name for child in tree.children] for tree in foldings(run_node(run(*given), NOW))]
    assert names == [
        ["a", "b", "c", "d", "e", "f", "g", "h"],
        ["2 stages", "c", "d", "e", "f", "g", "h"],
        ["2 stages", "c", "d", "2 stages", "g", "h"],
    ]


NEWS = {
    "the first look tells how far it is": (
        None,
        run(done("a"), running("b", message="pod b-1 is running"), stage("c"), message="1/3 stages done"),
        [
            "digits-1 Running: 1/3 stages done",
            "digits-1/a Succeeded after 5s",
            "digits-1/b Running: pod b-1 is running",
        ],
    ),
    "nothing": (run(done("a"), running("b")), run(done("a"), running("b")), []),
    "steps of a calm stage are none": (
        run(running("a", message="pod a-1 is running")),
        run(running("a", message="pod a-1 stores its outputs")),
        [],
    ),
    "trouble is": (
        run(running("a", reason="Starting", message="pod a-1 is starting")),
        run(running("a", reason="ImagePull", message="cannot pull image x")),
        ["digits-1/a Running: ImagePull: cannot pull image x"],
    ),
    "other trouble is": (
        run(running("a", reason="ImagePull", message="cannot pull image x: timeout")),
        run(running("a", reason="ImagePull", message="cannot pull image x: not found")),
        ["digits-1/a Running: ImagePull: cannot pull image x: not found"],
    ),
    "a stage begins": (run(stage("a")), run(running("a")), ["digits-1/a Running"]),
    "the end stands last": (
        run(running("a")),
        ended("True", "1/1 stages succeeded", done("a", 7)),
        ["digits-1/a Succeeded after 7s", "digits-1 Succeeded after 1m00s: 1/1 stages succeeded"],
    ),
}


@pytest.mark.parametrize(("before", "after", "want"), NEWS.values(), ids=NEWS.keys())
def test_news(before: dict[str, Any] | None, after: dict[str, Any], want: list[str]) -> None:
    assert news(before, after, NOW) == want


def test_clocks_alone_are_no_news() -> None:
    given = run(running("a"), message="0/1 stages done")
    assert news(given, given, NOW + timedelta(hours=1)) == []


@pytest.mark.parametrize(
    ("seconds", "want"),
    [(-3, "0s"), (0, "0s"), (59.9, "59s"), (60, "1m00s"), (3599, "59m59s"), (3600, "1h00m"), (100_000, "27h46m")],
)
def test_length(seconds: float, want: str) -> None:
    assert length(timedelta(seconds=seconds)) == want


@pytest.mark.parametrize(
    ("results", "want"),
    [
        ({}, ""),
        ({"n": 1797, "ok": True, "none": None}, "n=1797, ok=true, none=null"),
        ({"x": 0.000012345}, "x=1.234e-05"),
        ({"list": list(range(50))}, "list=[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11..."),
        ({"text": "a b"}, "text=a b"),
    ],
)
def test_values(results: dict[str, Any], want: str) -> None:
    assert values(results) == want


def test_a_folded_tree_is_still_the_same_run() -> None:
    tree = run_node(run(done("a"), done("b")), NOW)
    assert [replace(each, children=()) for each in foldings(tree)] == [replace(tree, children=())] * 3
