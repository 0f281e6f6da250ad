"""`after`, `when`, `finally`, failure policies, targets, pause and cancel."""

from __future__ import annotations

from typing import Any

import pytest

from rondo.core import names
from rondo.core.resources import JOB, PIPELINE_RUN
from tests.unit.core.builders import gate, inline_run, job
from tests.unit.core.cluster import Cluster, Operator
from tests.unit.core.run.driver import condition_of, finish, set_state, stage_of, start, states, status_of

PARAMS = [{"name": "deep", "type": "boolean", "default": False}]


def fail(cluster: Cluster, operator: Operator, stage: str) -> None:
    finish(cluster, operator, stage, code=3)


def test_after_waits_for_the_end_whatever_it_is(cluster: Cluster, operator: Operator) -> None:
    start(cluster, operator, inline_run(job("a"), job("report", after=["a"]), job("mail", needs=["report"])))
    assert states(cluster) == {"a": "Running"}
    fail(cluster, operator, "a")
    assert states(cluster) == {"a": "Failed", "report": "Running"}
    finish(cluster, operator, "report")
    finish(cluster, operator, "mail")
    assert states(cluster) == {"a": "Failed", "report": "Succeeded", "mail": "Succeeded"}
    assert condition_of(cluster, "Succeeded")["reason"] == "UserError"


def test_an_expression_that_reads_a_state_waits_for_the_end_and_decides(cluster: Cluster, operator: Operator) -> None:
    stages = (job("a"), job("mend", when="stages.a.state == 'Failed'"), job("go", when="stages.a.state == 'Succeeded'"))
    start(cluster, operator, inline_run(*stages))
    fail(cluster, operator, "a")
    assert states(cluster) == {"a": "Failed", "mend": "Running", "go": "Skipped"}
    assert stage_of(cluster, "go")["reason"] == "WhenFalse"


def test_a_false_when_skips_the_stage_and_what_needs_it_but_not_what_is_after_it(
    cluster: Cluster, operator: Operator
) -> None:
    stages = (job("tune", when="params.deep"), job("use", needs=["tune"]), job("report", after=["tune"]))
    start(cluster, operator, inline_run(*stages, params=PARAMS))
    assert states(cluster) == {"tune": "Skipped", "use": "Skipped", "report": "Running"}
    assert stage_of(cluster, "tune") | {"completionTime": ""} == {
        "name": "tune",
        "state": "Skipped",
        "reason": "WhenFalse",
        "message": "when is false: params.deep",
        "completionTime": "",
    }
    assert stage_of(cluster, "use")["message"] == "needs tune, which is Skipped"
    finish(cluster, operator, "report")
    assert condition_of(cluster, "Succeeded")["message"] == "1/3 stages succeeded, 2 skipped"
    assert condition_of(cluster, "Succeeded")["status"] == "True"


def test_a_when_that_has_no_value_fails_the_stage(cluster: Cluster, operator: Operator) -> None:
    start(cluster, operator, inline_run(job("a", when="params.deep > 1.0"), params=PARAMS))
    assert states(cluster) == {"a": "Failed"}
    assert stage_of(cluster, "a")["reason"] == "ExpressionError"


def test_a_result_of_a_skipped_stage_takes_its_default_or_skips(cluster: Cluster, operator: Operator) -> None:
    results = [{"name": "depth", "type": "integer", "default": 4}, {"name": "lr", "type": "number"}]
    stages = (
        job("tune", when="params.deep", results=results),
        job("train", job={"args": ["$(stages.tune.results.depth)"]}),
        job("polish", job={"args": ["$(stages.tune.results.lr)"]}),
        job("choose", when="stages.tune.results.depth == 4.0"),
    )
    start(cluster, operator, inline_run(*stages, params=PARAMS))
    assert states(cluster) == {"tune": "Skipped", "train": "Running", "polish": "Skipped", "choose": "Running"}
    (train,) = (j for j in cluster.of_kind(JOB) if j["metadata"]["labels"][names.STAGE] == "train")
    assert train["spec"]["template"]["spec"]["containers"][0]["args"] == ["4"]
    assert stage_of(cluster, "polish")["message"] == "needs tune, which is Skipped"


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        ("Finish", {"bad": "Failed", "long": "Running", "next": "Skipped"}),
        ("Cancel", {"bad": "Failed", "long": "Cancelled", "next": "Skipped"}),
        ("Continue", {"bad": "Failed", "long": "Running", "next": "Running"}),
    ],
)
def test_what_a_failure_does_to_the_others(
    cluster: Cluster, operator: Operator, policy: str, expected: dict[str, str]
) -> None:
    stages = (job("bad"), job("long"), job("first"), job("next", needs=["first"]))
    start(cluster, operator, inline_run(*stages, onStageFailure=policy))
    cluster.finish("first")
    cluster.finish("bad", code=1)
    operator.settle()
    assert {name: state for name, state in states(cluster).items() if name != "first"} == expected | {
        "next": expected["next"] if expected["next"] == "Skipped" else "Waiting"
    }
    if policy == "Cancel":
        assert stage_of(cluster, "long")["message"] == "stage bad has failed"
        assert not [j for j in cluster.of_kind(JOB) if j["metadata"]["labels"][names.STAGE] == "long"]


def test_a_failure_that_is_allowed_fails_neither_run_nor_others(cluster: Cluster, operator: Operator) -> None:
    stages = (job("smoke", continueOnFailure=True), job("strict", needs=["smoke"]), job("report", after=["smoke"]))
    start(cluster, operator, inline_run(*stages))
    fail(cluster, operator, "smoke")
    assert states(cluster) == {"smoke": "Failed", "strict": "Skipped", "report": "Running"}
    finish(cluster, operator, "report")
    said = condition_of(cluster, "Succeeded")
    assert (said["status"], said["message"]) == (
        "True",
        "1/3 stages succeeded, 1 skipped; smoke failed, which continueOnFailure allows",
    )


def test_wait_stages_wait(cluster: Cluster, operator: Operator) -> None:
    start(
        cluster,
        operator,
        inline_run(job("a"), {"name": "cool", "wait": "10m", "after": ["a"]}, job("b", needs=["cool"])),
    )
    finish(cluster, operator, "a")
    assert stage_of(cluster, "cool")["message"].startswith("waits until 2026-11-01T12:1")
    operator.restart()
    cluster.pass_time(minutes=5)
    operator.settle()
    assert states(cluster)["cool"] == "Running"
    cluster.pass_time(minutes=5)
    operator.settle()
    assert states(cluster)["cool"] == "Succeeded"


def test_a_clock_that_is_set_back_makes_no_wait_longer(cluster: Cluster, operator: Operator) -> None:
    start(cluster, operator, inline_run({"name": "cool", "wait": "10m"}, job("b", needs=["cool"])))
    cluster.pass_time(hours=-3)
    operator.settle()
    cluster.pass_time(minutes=10)
    operator.settle()
    assert states(cluster)["cool"] == "Succeeded"


# finally --------------------------------------------------------------------------------------------------------------

CLEANUP: list[dict[str, Any]] = [
    job("undo", when="run.state == 'Failed'"),
    job("report", job={"args": ["$(run.state)", "$(stages.a.state)"]}, after=["undo"]),
]


def args_of(cluster: Cluster, stage: str) -> list[str]:
    (found,) = (j for j in cluster.of_kind(JOB) if j["metadata"]["labels"][names.STAGE] == stage)
    args: list[str] = found["spec"]["template"]["spec"]["containers"][0]["args"]
    return args


def test_finally_runs_after_success_and_knows_it(cluster: Cluster, operator: Operator) -> None:
    start(cluster, operator, inline_run(job("a"), job("b", needs=["a"]), finally_=CLEANUP))
    finish(cluster, operator, "a")
    assert "report" not in states(cluster)
    finish(cluster, operator, "b")
    assert states(cluster) == {"a": "Succeeded", "b": "Succeeded", "undo": "Skipped", "report": "Running"}
    assert args_of(cluster, "report") == ["Succeeded", "Succeeded"]
    assert "completionTime" not in status_of(cluster)
    finish(cluster, operator, "report")
    assert condition_of(cluster, "Succeeded")["status"] == "True"


def test_finally_runs_after_failure_and_the_run_stays_failed(cluster: Cluster, operator: Operator) -> None:
    start(cluster, operator, inline_run(job("a"), job("b", needs=["a"]), finally_=CLEANUP))
    fail(cluster, operator, "a")
    assert states(cluster) == {"a": "Failed", "b": "Skipped", "undo": "Running"}
    finish(cluster, operator, "undo")
    assert args_of(cluster, "report") == ["Failed", "Failed"]
    finish(cluster, operator, "report")
    said = condition_of(cluster, "Succeeded")
    assert (said["status"], said["reason"]) == ("False", "UserError")


def test_a_failure_of_finally_fails_the_run(cluster: Cluster, operator: Operator) -> None:
    start(cluster, operator, inline_run(job("a"), finally_=[job("report")]))
    finish(cluster, operator, "a")
    fail(cluster, operator, "report")
    assert condition_of(cluster, "Succeeded")["message"].startswith("1/2 stages succeeded; report failed: ")


def test_finally_runs_after_the_timeout_of_the_run(cluster: Cluster, operator: Operator) -> None:
    start(cluster, operator, inline_run(job("a"), job("b", needs=["a"]), timeout="1h", finally_=CLEANUP))
    cluster.pass_time(hours=1)
    operator.settle()
    assert states(cluster) == {"a": "Cancelled", "b": "Skipped", "undo": "Waiting"}
    cluster.pass_time(hours=5)
    cluster.start_pods()
    cluster.run_pods()
    finish(cluster, operator, "undo")
    finish(cluster, operator, "report")
    said = condition_of(cluster, "Succeeded")
    assert (said["status"], said["reason"]) == ("False", "RunTimeout")


def test_finally_waits_for_the_pods_of_stopped_stages_but_not_for_ever(cluster: Cluster, operator: Operator) -> None:
    start(cluster, operator, inline_run(job("a"), finally_=[job("report")]))
    cluster.lingering = True
    set_state(cluster, operator, "Cancelled")
    assert states(cluster) == {"a": "Cancelled"}
    assert stage_of(cluster, "report")["message"].startswith("waits for pod r-a-")
    cluster.pass_time(seconds=61)
    operator.settle()
    assert states(cluster)["report"] == "Waiting"


# Control --------------------------------------------------------------------------------------------------------------


def test_a_paused_run_starts_nothing_and_goes_on_when_resumed(cluster: Cluster, operator: Operator) -> None:
    start(cluster, operator, inline_run(job("a"), job("b", needs=["a"])))
    set_state(cluster, operator, "Paused")
    assert condition_of(cluster, "Succeeded")["reason"] == "Paused"
    finish(cluster, operator, "a")
    assert states(cluster) == {"a": "Succeeded"}
    assert condition_of(cluster, "Reconciling")["message"].startswith("paused by spec.state; 1/2 stages done")
    set_state(cluster, operator, "Running")
    assert states(cluster) == {"a": "Succeeded", "b": "Running"}


def test_a_paused_run_makes_no_further_attempt(cluster: Cluster, operator: Operator) -> None:
    start(cluster, operator, inline_run(job("a", retry={"limit": 3, "backoff": "1s"})))
    set_state(cluster, operator, "Paused")
    fail(cluster, operator, "a")
    cluster.pass_time(minutes=5)
    operator.settle()
    assert len(cluster.of_kind(JOB)) == 1
    set_state(cluster, operator, "Running")
    assert len(cluster.of_kind(JOB)) == 2


@pytest.mark.parametrize("before", ["Running", "Paused"])
def test_cancel_stops_what_runs_and_then_runs_finally(cluster: Cluster, operator: Operator, before: str) -> None:
    start(cluster, operator, inline_run(job("a"), job("b", needs=["a"]), finally_=CLEANUP))
    set_state(cluster, operator, before)
    set_state(cluster, operator, "Cancelled")
    assert states(cluster) == {"a": "Cancelled", "b": "Skipped", "undo": "Skipped", "report": "Running"}
    assert args_of(cluster, "report") == ["Cancelled", "Cancelled"]
    assert condition_of(cluster, "Succeeded")["reason"] == "Cancelling"
    finish(cluster, operator, "report")
    said = condition_of(cluster, "Succeeded")
    assert (said["status"], said["reason"]) == ("False", "Cancelled")
    assert said["message"].startswith("cancelled by spec.state; 1/4 stages succeeded")
    assert cluster.find(PIPELINE_RUN, "r")["metadata"]["labels"][names.OUTCOME] == "Cancelled"


def test_cancel_during_finally_lets_it_end(cluster: Cluster, operator: Operator) -> None:
    start(cluster, operator, inline_run(job("a"), finally_=[job("report")]))
    finish(cluster, operator, "a")
    set_state(cluster, operator, "Cancelled")
    assert states(cluster) == {"a": "Succeeded", "report": "Running"}
    finish(cluster, operator, "report")
    assert condition_of(cluster, "Succeeded")["status"] == "True"


def test_only_the_targets_and_what_they_wait_for_run(cluster: Cluster, operator: Operator) -> None:
    stages = (job("a"), job("b", needs=["a"]), job("c", needs=["b"]), job("d"))
    body = inline_run(*stages, finally_=[job("report")])
    body["spec"]["targets"] = ["b"]
    start(cluster, operator, body)
    assert states(cluster) == {"a": "Running", "c": "Skipped", "d": "Skipped"}
    assert stage_of(cluster, "d")["reason"] == "NotTargeted"
    finish(cluster, operator, "a")
    finish(cluster, operator, "b")
    assert states(cluster)["report"] == "Running"
    finish(cluster, operator, "report")
    assert condition_of(cluster, "Succeeded")["message"] == "3/5 stages succeeded, 2 skipped"


def test_an_unknown_target_is_refused_with_the_nearest_name(cluster: Cluster, operator: Operator) -> None:
    body = inline_run(job("train"))
    body["spec"]["targets"] = ["trian"]
    start(cluster, operator, body)
    said = condition_of(cluster, "Accepted")
    assert said["message"] == "spec.targets: there is no stage trian (did you mean train?)"


# Retries of runs ------------------------------------------------------------------------------------------------------


def chain() -> tuple[dict[str, Any], ...]:
    return (
        job("a", results=[{"name": "n", "type": "integer"}]),
        job("b", job={"args": ["$(stages.a.results.n)", "$(params.deep)"]}),
        job("c", needs=["b"]),
    )


def failed_run(cluster: Cluster, operator: Operator) -> dict[str, Any]:
    body = inline_run(*chain(), params=PARAMS)
    body["spec"]["params"] = {"deep": True}
    start(cluster, operator, body)
    finish(cluster, operator, "a", message='{"n": 7}')
    fail(cluster, operator, "b")
    assert condition_of(cluster, "Succeeded")["status"] == "False"
    return body


def retry_of(body: dict[str, Any], name: str = "again", **fields: Any) -> dict[str, Any]:
    spec = {"pipeline": body["spec"]["pipeline"], "retryOf": "r", **fields}
    return {**body, "metadata": {"name": name, "namespace": "team"}, "spec": spec}


def test_a_retry_takes_over_what_succeeded_with_its_params(cluster: Cluster, operator: Operator) -> None:
    body = failed_run(cluster, operator)
    cluster.starts.clear()
    start(cluster, operator, retry_of(body))
    assert states(cluster, "again") == {"a": "Succeeded", "b": "Running"}
    taken = stage_of(cluster, "a", "again")
    assert (taken["reason"], taken["message"]) == ("TakenOver", "taken over from run r")
    assert taken["results"] == {"n": 7}
    (found,) = (j for j in cluster.of_kind(JOB) if j["metadata"]["labels"][names.RUN] == "again")
    assert found["spec"]["template"]["spec"]["containers"][0]["args"] == ["7", "true"]
    cluster.delete(cluster.find(PIPELINE_RUN, "r"))
    operator.restart()
    finish(cluster, operator, "b")
    finish(cluster, operator, "c")
    assert condition_of(cluster, "Succeeded", "again")["message"] == "3/3 stages succeeded"
    assert len(cluster.starts) == 2


def test_a_rerun_from_a_stage_runs_it_and_all_that_follow(cluster: Cluster, operator: Operator) -> None:
    body = failed_run(cluster, operator)
    start(cluster, operator, retry_of(body, rerunFrom=["a"]))
    assert states(cluster, "again") == {"a": "Running"}


@pytest.mark.parametrize(
    ("fields", "reason", "words"),
    [
        ({"retryOf": "nobody"}, "RetryOfNotFound", "spec.retryOf: there is no PipelineRun nobody"),
        ({"params": {"deep": False}}, "InvalidRetry", "spec.params: a retry takes the params of run r; leave them out"),
        ({"rerunFrom": ["bb"]}, "InvalidRetry", "spec.rerunFrom: there is no stage bb"),
        (
            {"pipeline": {"name": "other"}},
            "RetryOfOther",
            "spec.retryOf: run r is of a pipeline written in place; give the same in spec.pipeline",
        ),
        (
            {"pipeline": {"spec": {"stages": [job("z")]}}},
            "RetryOfOther",
            "spec.pipeline.spec is not that of run r: a retry runs the same pipeline",
        ),
    ],
)
def test_a_retry_that_cannot_be_is_refused(
    cluster: Cluster, operator: Operator, fields: dict[str, Any], reason: str, words: str
) -> None:
    start(cluster, operator, retry_of(failed_run(cluster, operator), **fields))
    said = condition_of(cluster, "Succeeded", "again")
    assert (said["status"], said["reason"]) == ("False", reason)
    assert said["message"].startswith(words)


def test_params_that_change_with_the_state_are_not_executed(cluster: Cluster, operator: Operator) -> None:
    body = inline_run(job("a"), job("b", needs=["a"], job={"args": ["$(params.deep)"]}), params=PARAMS)
    body["spec"]["params"] = {"deep": True}
    start(cluster, operator, body)
    found = cluster.find(PIPELINE_RUN, "r")
    cluster.change(found, spec={**found["spec"], "params": {"deep": False}, "state": "Paused"})
    operator.settle()
    set_state(cluster, operator, "Running")
    assert condition_of(cluster, "Accepted")["reason"] == "ParamsIgnored"
    finish(cluster, operator, "a")
    assert args_of(cluster, "b") == ["true"]


def test_a_run_that_goes_on_is_not_retried(cluster: Cluster, operator: Operator) -> None:
    body = inline_run(job("a"))
    start(cluster, operator, body)
    start(cluster, operator, retry_of(body))
    assert condition_of(cluster, "Succeeded", "again")["reason"] == "RetryOfUnfinished"


def test_a_gate_that_only_has_to_end_guards_nothing(cluster: Cluster, operator: Operator) -> None:
    stages = (
        gate("quality", "params.deep"),
        {"name": "release", "deploy": {"name": "m", "spec": {"runtime": "x"}}, "after": ["quality"]},
    )
    start(cluster, operator, inline_run(*stages, params=PARAMS))
    assert (
        "the deploy does not wait for gate quality: add quality to needs"
        in condition_of(cluster, "Accepted")["message"]
    )
