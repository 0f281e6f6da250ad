"""forEach: items, a Job for each or one for all, failures, the best, and where much of it goes."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest

from rondo.core.resources import CONFIG_MAP, JOB, PIPELINE_RUN, POD
from tests.unit.core.builders import inline_run, job
from tests.unit.core.cluster import Cluster, CrashError, Operator
from tests.unit.core.run.driver import advance, condition_of, finish, set_state, stage_of, start, states, status_of

MATRIX = {"matrix": {"depth": [4, 8], "lr": [0.1, 0.3]}, "exclude": [{"depth": 8, "lr": 0.3}]}
AUC = [{"name": "auc", "type": "number"}]


def train(for_each: dict[str, Any] | None = None, **fields: Any) -> dict[str, Any]:
    """A stage with a Job for each item."""
    args = fields.pop("args", ["$(item.depth)", "$(item.lr)", "$(item.index)"])
    return job("train", job={"args": args}, forEach=for_each or MATRIX, **fields)


def score(for_each: dict[str, Any] | None = None, **fields: Any) -> dict[str, Any]:
    """A stage with one Job for all items."""
    return job("score", forEach=for_each or {"items": ["a", "b", "c"]}, **fields)


def fan_of(cluster: Cluster, stage: str, name: str = "r") -> dict[str, Any]:
    fan: dict[str, Any] = stage_of(cluster, stage, name)["fanOut"]
    return fan


def args_of(cluster: Cluster) -> list[list[str]]:
    jobs = sorted(cluster.of_kind(JOB), key=lambda j: int(j["metadata"]["labels"]["rondo.dev/item"]))
    return [j["spec"]["template"]["spec"]["containers"][0]["args"] for j in jobs]


def give(cluster: Cluster, operator: Operator, stage: str, item: int, **results: float) -> None:
    cluster.finish(stage, item=item, message=json.dumps(results))
    operator.settle()
    advance(cluster, operator)


def test_a_matrix_gives_a_job_for_each_combination_but_the_excluded(cluster: Cluster, operator: Operator) -> None:
    start(cluster, operator, inline_run(train()))
    assert args_of(cluster) == [["4", "0.1", "0"], ["4", "0.3", "1"], ["8", "0.1", "2"]]
    assert fan_of(cluster, "train") | {"states": ""} == {"perItem": "Job", "total": 3, "running": 3, "states": ""}
    assert stage_of(cluster, "train")["message"].startswith("0 of 3 items succeeded, 3 running; item 0: pod r-train-")
    finish(cluster, operator, "train")
    assert stage_of(cluster, "train")["message"] == "3 of 3 items succeeded"
    assert fan_of(cluster, "train")["states"] == "SSS"
    assert condition_of(cluster, "Succeeded")["status"] == "True"


def test_results_gather_in_item_order_with_statistics_and_the_best(cluster: Cluster, operator: Operator) -> None:
    best = {**MATRIX, "best": {"result": "auc"}}
    use = job(
        "use",
        job={
            "args": [
                "$(stages.train.results.auc)",
                "$(stages.train.best.item.depth)",
                "$(stages.train.best.results.auc)",
                "$(stages.train.stats.auc.mean)",
                "$(stages.train.total)",
            ]
        },
        when="stages.train.failed / stages.train.total <= 0.5 && stages.train.stats.auc.max > 0.8",
    )
    start(cluster, operator, inline_run(train(best, results=AUC), use))
    give(cluster, operator, "train", 2, auc=0.75)
    give(cluster, operator, "train", 0, auc=0.5)
    give(cluster, operator, "train", 1, auc=1.0)
    assert stage_of(cluster, "train")["results"] == {"auc": [0.5, 1.0, 0.75]}
    fan = fan_of(cluster, "train")
    assert fan["statistics"]["auc"] == {"count": 3, "min": 0.5, "max": 1.0, "sum": 2.25, "mean": 0.75}
    assert fan["best"] == {"index": 1, "item": {"depth": 4, "lr": 0.3}, "results": {"auc": 1.0}}
    assert "records" not in fan
    (found,) = (j for j in cluster.of_kind(JOB) if j["metadata"]["labels"]["rondo.dev/stage"] == "use")
    args = found["spec"]["template"]["spec"]["containers"][0]["args"]
    assert args == ["[0.5,1.0,0.75]", "4", "1.0", "0.75", "3"]


def test_only_so_many_items_run_at_a_time(cluster: Cluster, operator: Operator) -> None:
    start(cluster, operator, inline_run(train({**MATRIX, "parallelism": 2})))
    assert fan_of(cluster, "train")["states"] in {"rr.", "cc."}
    assert stage_of(cluster, "train")["message"].startswith("0 of 3 items succeeded, 2 running, 1 to come")
    cluster.finish("train", item=0)
    operator.settle()
    assert fan_of(cluster, "train")["states"][0] == "S"
    assert len(cluster.of_kind(JOB)) == 3


def test_an_item_is_tried_again_by_itself(cluster: Cluster, operator: Operator) -> None:
    start(cluster, operator, inline_run(train(retry={"limit": 1, "backoff": "1s"})))
    cluster.finish("train", item=1, code=2)
    operator.settle()
    cluster.pass_time(seconds=2)
    operator.settle()
    advance(cluster, operator)
    assert fan_of(cluster, "train")["notes"] == {"1": {"attempt": 2, "failures": 1}}
    assert len(cluster.starts) == 4
    finish(cluster, operator, "train")
    assert states(cluster) == {"train": "Succeeded"}


def test_too_many_failures_fail_the_stage_and_stop_the_others(cluster: Cluster, operator: Operator) -> None:
    start(cluster, operator, inline_run(train({**MATRIX, "maxFailed": 1})))
    cluster.finish("train", item=2, code=3, message="no such file")
    operator.settle()
    assert states(cluster) == {"train": "Running"}
    cluster.finish("train", item=0, code=3, message="boom")
    operator.settle()
    stage = stage_of(cluster, "train")
    assert (stage["state"], stage["reason"]) == ("Failed", "UserError")
    assert stage["message"].startswith('2 of 3 items failed, 1 may by maxFailed; item 2 ({"depth":8,"lr":0.1}): pod r-')
    assert [failure["index"] for failure in stage["fanOut"]["failures"]] == [2, 0]
    assert len(cluster.of_kind(JOB)) == 2


def test_failures_within_the_limit_are_told(cluster: Cluster, operator: Operator) -> None:
    start(cluster, operator, inline_run(train({**MATRIX, "maxFailed": "34%"}, results=AUC)))
    cluster.finish("train", item=0, code=3)
    operator.settle()
    give(cluster, operator, "train", 1, auc=0.5)
    give(cluster, operator, "train", 2, auc=0.7)
    stage = stage_of(cluster, "train")
    assert stage["message"] == "2 of 3 items succeeded, 1 failed, which maxFailed allows"
    assert stage["results"] == {"auc": [0.5, 0.7]}


@pytest.mark.parametrize("stage", [train({"itemsFrom": "$(params.list)"}, args=["$(item.x)"]), score({"items": []})])
def test_an_empty_list_succeeds_without_a_pod(cluster: Cluster, operator: Operator, stage: dict[str, Any]) -> None:
    params = [{"name": "list", "type": "array", "default": []}]
    start(cluster, operator, inline_run(stage, params=params))
    assert states(cluster) == {stage["name"]: "Succeeded"}
    assert stage_of(cluster, stage["name"])["reason"] == "NoItems"
    assert not cluster.of_kind(POD)


def test_items_come_from_a_result_of_another_stage(cluster: Cluster, operator: Operator) -> None:
    first = job("list", results=[{"name": "files", "type": "array"}])
    start(
        cluster,
        operator,
        inline_run(first, train({"itemsFrom": "$(stages.list.results.files)"}, args=["$(item.value)"])),
    )
    finish(cluster, operator, "list", message='{"files": ["a", "b"]}')
    assert sorted(
        j["spec"]["template"]["spec"]["containers"][0].get("args", [""])[0] for j in cluster.of_kind(JOB)
    ) == [
        "",
        "a",
        "b",
    ]


def test_a_job_of_an_item_that_is_deleted_ends_its_attempt_only(cluster: Cluster, operator: Operator) -> None:
    start(cluster, operator, inline_run(train()))
    lost = cluster.of_kind(JOB)[1]
    cluster.delete(lost)
    operator.restart()
    operator.settle()
    cluster.pass_time(seconds=1)
    operator.settle()
    advance(cluster, operator)
    assert fan_of(cluster, "train")["notes"]["1"] == {"attempt": 2, "disruptions": 1}
    assert len(set(cluster.starts)) == len(cluster.starts) == 4


def test_pause_begins_no_further_item_and_cancel_stops_all(cluster: Cluster, operator: Operator) -> None:
    start(cluster, operator, inline_run(train({**MATRIX, "parallelism": 1})))
    set_state(cluster, operator, "Paused")
    cluster.finish("train")
    operator.settle()
    advance(cluster, operator)
    assert len(cluster.of_kind(JOB)) == 1
    set_state(cluster, operator, "Running")
    assert len(cluster.of_kind(JOB)) == 2
    set_state(cluster, operator, "Cancelled")
    assert states(cluster) == {"train": "Cancelled"}
    assert len(cluster.of_kind(JOB)) == 1


def test_what_does_not_fit_into_status_is_stored_and_lost_by_no_crash(cluster: Cluster) -> None:
    """The operator is killed after each of its effects in turn."""
    items = list(range(40))
    text = "x" * 1500
    body = inline_run(train({"items": items}, args=["$(item.value)"], results=[*AUC, {"name": "text"}]))
    operator = Operator(cluster)
    start(cluster, operator, body)
    cluster.finish("train", message=json.dumps({"auc": 1.0, "text": text}))
    for _ in range(400):
        operator.restart()
        operator.crash_after = 1
        with contextlib.suppress(CrashError):
            operator.settle()
        cluster.pass_time(seconds=1)
        if "completionTime" in status_of(cluster):
            break
    fan = fan_of(cluster, "train")
    assert (fan["succeeded"], fan["states"]) == (40, "S" * 40)
    maps = cluster.of_kind(CONFIG_MAP)
    assert len(maps) == fan["stored"] >= 3
    assert sorted(m["metadata"]["name"] for m in maps) == [f"{fan['storedIn']}{n}" for n in range(fan["stored"])]
    kept = {key: json.loads(value) for m in maps for key, value in m["data"].items()}
    assert sorted(kept, key=int) == [str(index) for index in items]
    assert all(record == {"results": {"auc": 1.0, "text": text}} for record in kept.values())
    assert len(json.dumps(status_of(cluster))) < 100_000
    assert "results" not in stage_of(cluster, "train")


# One Job for all -----------------------------------------------------------------------------------------------------


def test_without_a_reference_to_the_item_one_job_has_an_index_for_each(cluster: Cluster, operator: Operator) -> None:
    start(cluster, operator, inline_run(score({"items": ["a", {"x": 1}, 3], "parallelism": 2, "maxFailed": 1})))
    (found,) = cluster.of_kind(JOB)
    spec = found["spec"]
    assert (spec["completionMode"], spec["completions"], spec["parallelism"]) == ("Indexed", 3, 2)
    assert (spec["backoffLimitPerIndex"], spec["maxFailedIndexes"]) == (0, 1)
    assert "backoffLimit" not in spec
    (items,) = cluster.of_kind(CONFIG_MAP)
    assert items["data"] == {"0": "a", "1": '{"x":1}', "2": "3"}
    main = spec["template"]["spec"]["containers"][0]
    assert {"name": "RONDO_ITEM", "value": "/rondo/item.json"} in main["env"]
    mount = {"name": "rondo-items", "mountPath": "/rondo/item.json", "subPathExpr": "$(RONDO_INDEX)", "readOnly": True}
    assert mount in main["volumeMounts"]
    assert stage_of(cluster, "score")["message"] == "0 of 3 items succeeded, 2 running"


def test_indexes_are_taken_down_as_their_pods_end(cluster: Cluster, operator: Operator) -> None:
    start(
        cluster,
        operator,
        inline_run(score(results=AUC, for_each={"items": [1, 2, 3], "best": {"result": "auc", "goal": "Minimize"}})),
    )
    give(cluster, operator, "score", 2, auc=0.2)
    assert fan_of(cluster, "score")["done"] == "2"
    give(cluster, operator, "score", 0, auc=0.1)
    give(cluster, operator, "score", 1, auc=0.3)
    assert states(cluster) == {"score": "Running"}
    cluster.count_indexes(cluster.of_kind(JOB)[0])
    operator.settle()
    assert stage_of(cluster, "score")["results"] == {"auc": [0.1, 0.3, 0.2]}
    assert fan_of(cluster, "score")["best"]["index"] == 0


def test_indexes_may_be_counted_before_their_pods_are_seen_to_end(cluster: Cluster, operator: Operator) -> None:
    """Jobs and pods have watches of their own; nothing is lost or blamed because one of them is late."""
    start(cluster, operator, inline_run(score({"items": list(range(100)), "maxFailed": 1}, results=AUC)))
    operator.fall_behind(POD)
    for index in range(100):
        cluster.finish("score", item=index, code=4 * (index == 7), message=json.dumps({"auc": index / 100}))
    (made,) = cluster.of_kind(JOB)
    cluster.change(made, status={**made["status"], "completedIndexes": "0-6,8-50", "failedIndexes": "7"})
    operator.settle()
    assert (fan_of(cluster, "score").get("succeeded", 0), fan_of(cluster, "score").get("failed", 0)) == (0, 0)
    cluster.count_indexes(cluster.of_kind(JOB)[0], failed="7")
    operator.settle()
    stage = stage_of(cluster, "score")
    assert (stage["state"], fan_of(cluster, "score")["failed"]) == ("Succeeded", 1)
    assert "exit code 4" in fan_of(cluster, "score")["failures"][0]["message"]
    assert stage["results"] == {"auc": [index / 100 for index in range(100) if index != 7]}


def test_an_index_whose_pod_is_gone_has_lost_its_results(cluster: Cluster, operator: Operator) -> None:
    start(cluster, operator, inline_run(score({"items": [1, 2, 3], "maxFailed": 2}, results=AUC)))
    cluster.finish("score", message='{"auc": 0.5}')
    (made,) = cluster.of_kind(JOB)
    cluster.change(made, status={**made["status"], "completedIndexes": "0,2", "failedIndexes": "1"})
    for pod in cluster.of_kind(POD)[:2]:
        cluster.delete(pod)
    over = [{"type": "Failed", "status": "True", "reason": "FailedIndexes"}]
    made = cluster.of_kind(JOB)[0]
    cluster.change(made, status={**made["status"], "conditions": over})
    operator.settle()
    assert [f["reason"] for f in fan_of(cluster, "score")["failures"]] == ["ResultLost", "UserError"]
    assert fan_of(cluster, "score")["failures"][1]["message"].endswith("failed; its pod is gone")
    assert stage_of(cluster, "score")["results"] == {"auc": [0.5]}


def test_failed_indexes_count_against_max_failed(cluster: Cluster, operator: Operator) -> None:
    start(cluster, operator, inline_run(score({"items": [1, 2, 3], "maxFailed": 1})))
    cluster.finish("score", item=1, code=4, message="boom")
    cluster.finish("score", item=0)
    cluster.finish("score", item=2)
    cluster.count_indexes(cluster.of_kind(JOB)[0], failed="1")
    operator.settle()
    stage = stage_of(cluster, "score")
    assert (stage["state"], stage["message"]) == (
        "Succeeded",
        "2 of 3 items succeeded, 1 failed, which maxFailed allows",
    )
    assert stage["fanOut"]["failures"][0]["message"].endswith("container main: exit code 4: boom")
    assert (stage["fanOut"]["done"], stage["fanOut"]["lost"]) == ("0,2", "1")


def test_more_failed_indexes_fail_the_stage(cluster: Cluster, operator: Operator) -> None:
    start(cluster, operator, inline_run(score()))
    cluster.finish("score", item=1, code=4, message="boom")
    cluster.count_indexes(cluster.of_kind(JOB)[0], failed="1", reason="MaxFailedIndexesExceeded")
    operator.settle()
    stage = stage_of(cluster, "score")
    assert (stage["state"], stage["reason"]) == ("Failed", "UserError")
    assert stage["message"].startswith("1 of 3 items failed, none may by maxFailed; item 1 (b): pod r-score-")


def test_a_result_that_is_wrong_fails_its_item(cluster: Cluster, operator: Operator) -> None:
    start(cluster, operator, inline_run(score({"items": [1, 2], "maxFailed": 1}, results=AUC)))
    give(cluster, operator, "score", 0, auc=0.5)
    cluster.finish("score", item=1, message="no json")
    cluster.count_indexes(cluster.of_kind(JOB)[0])
    operator.settle()
    assert fan_of(cluster, "score")["failures"][0]["reason"] == "ResultInvalid"
    assert stage_of(cluster, "score")["results"] == {"auc": [0.5]}


def test_a_lost_job_is_followed_by_one_for_what_is_left(cluster: Cluster, operator: Operator) -> None:
    start(cluster, operator, inline_run(score({"items": ["a", "b", "c"]}, results=AUC)))
    give(cluster, operator, "score", 1, auc=0.5)
    cluster.delete(cluster.of_kind(JOB)[0])
    operator.settle()
    cluster.pass_time(seconds=1)
    operator.settle()
    advance(cluster, operator)
    assert fan_of(cluster, "score")["indexes"] == "0,2"
    (second,) = cluster.of_kind(JOB)
    assert second["spec"]["completions"] == 2
    maps = {m["metadata"]["name"]: m["data"] for m in cluster.of_kind(CONFIG_MAP)}
    assert {"0": "a", "1": "c"} in maps.values()
    give(cluster, operator, "score", 0, auc=0.1)
    give(cluster, operator, "score", 1, auc=0.9)
    cluster.count_indexes(second)
    operator.settle()
    assert stage_of(cluster, "score")["results"] == {"auc": [0.1, 0.5, 0.9]}


def test_a_pod_that_cannot_start_is_told(cluster: Cluster, operator: Operator) -> None:
    cluster.create(inline_run(score()))
    operator.settle()
    cluster.start_pods()
    for pod in cluster.of_kind(POD):
        said = {"type": "PodScheduled", "status": "False", "message": "0/1 nodes are available"}
        cluster.change(pod, status={"phase": "Pending", "conditions": [said]})
    cluster.pass_time(seconds=1)
    operator.settle()
    stage = stage_of(cluster, "score")
    assert (stage["state"], stage["reason"]) == ("Waiting", "Unschedulable")
    assert stage["message"].endswith("Unschedulable: 0/1 nodes are available")


def test_thousands_of_items_keep_status_small(cluster: Cluster, operator: Operator) -> None:
    stage = score({"items": list(range(5000)), "maxFailed": "50%"}, results=AUC)
    start(cluster, operator, inline_run(stage))
    for pod in cluster.of_kind(POD):
        index = int(pod["metadata"]["labels"]["batch.kubernetes.io/job-completion-index"])
        ended = {"exitCode": index % 2, "message": json.dumps({"auc": index}), "reason": "Error"}
        phase = "Failed" if index % 2 else "Succeeded"
        main = {"name": "main", "image": "x", "state": {"terminated": ended}}
        cluster.change(pod, status={"phase": phase, "containerStatuses": [main]})
    cluster.count_indexes(cluster.of_kind(JOB)[0], failed=",".join(map(str, range(1, 5000, 2))))
    for _ in range(40):
        operator.settle()
        cluster.pass_time(seconds=1)
    assert states(cluster) == {"score": "Succeeded"}
    fan = fan_of(cluster, "score")
    assert (fan["succeeded"], fan["failed"], fan["statistics"]["auc"]["mean"]) == (2500, 2500, 2499.0)
    assert len(fan["failures"]) == 10
    assert len(json.dumps(status_of(cluster))) < 100_000


# What is refused -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("stages", "said"),
    [
        (
            (train(args=["$(item.width)"]),),
            "spec.stages[train].job.args[0]: $(item.width): an item has only depth, index, lr",
        ),
        (
            (job("a", job={"args": ["$(item.x)"]}),),
            "spec.stages[a].job.args[0]: $(item.x): only a stage with forEach has items",
        ),
        (
            (train({**MATRIX, "best": {"result": "acu"}}, results=AUC),),
            "spec.stages[train].forEach.best.result: there is no number acu among the results (did you mean auc?)",
        ),
        (
            (train({"items": [{"depth": 1, "lr": 1}], **MATRIX}),),
            "spec.stages[train].forEach: give exactly one of items",
        ),
        ((score({"parallelism": 1}),), "spec.stages[score].forEach: give exactly one of items, itemsFrom, matrix"),
        ((score({"items": [1], "exclude": [{}]}),), "spec.stages[score].forEach.exclude: it belongs to matrix"),
        ((score({"matrix": {"a-b": [1]}}),), "spec.stages[score].forEach.matrix.a-b: a name has only letters"),
        ((train({**MATRIX, "maxFailed": "few"}),), "spec.stages[train].forEach.maxFailed: 'few' is neither a number"),
        ((train({"itemsFrom": "a,b"}),), "spec.stages[train].forEach.itemsFrom: 'a,b' is not one reference"),
        (
            (score(retry={"onOOM": {"max": "1Gi"}}),),
            "spec.stages[score].retry.onOOM: it needs a Job for each item: leave it out, or use $(item…) in the job",
        ),
        (
            (score(retry={"limit": 1, "backoff": "1s"}),),
            "spec.stages[score].retry.backoff: Kubernetes waits 10s, doubled up to 10m, for an index of one Job",
        ),
        (
            (train(outputs=[{"name": "m", "path": "/out/m"}]), job("b", job={"args": ["$(stages.train.outputs.m)"]})),
            "each item of train has one: write stages.train.best.outputs.m for the best",
        ),
        (
            (train(results=AUC), job("b", job={"args": ["$(stages.train.best.results.auc)"]})),
            "stage train says no forEach.best: add one, such as {result: NAME}",
        ),
        (
            (job("a"), job("b", job={"args": ["$(stages.a.total)"]})),
            "$(stages.a.total): stage a has no forEach and so no total",
        ),
    ],
)
def test_what_is_refused(cluster: Cluster, operator: Operator, stages: tuple[dict[str, Any], ...], said: str) -> None:
    start(cluster, operator, inline_run(*stages))
    assert said in condition_of(cluster, "Accepted")["message"]


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("text", "forEach.itemsFrom: text is not a list"),
        (
            list(range(1001)),
            "forEach: 1001 items, and 1000 can have a Job each: read the item from the file $RONDO_ITEM",
        ),
    ],
)
def test_a_list_that_is_none_or_too_long_fails_the_stage(
    cluster: Cluster, operator: Operator, value: object, said: str
) -> None:
    kind = "array" if isinstance(value, list) else "string"
    body = inline_run(
        train({"itemsFrom": "$(params.list)"}, args=["$(item.value)"]), params=[{"name": "list", "type": kind}]
    )
    body["spec"]["params"] = {"list": value}
    start(cluster, operator, body)
    assert stage_of(cluster, "train")["message"].startswith(said)
    assert cluster.find(PIPELINE_RUN, "r")["metadata"]["labels"]["rondo.dev/outcome"] == "Failed"
