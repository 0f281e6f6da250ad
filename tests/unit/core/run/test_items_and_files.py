"""Fan-outs and files: items that are lines of a file, and an input of what all items stored."""

from __future__ import annotations

import json
from typing import Any

import pytest

from rondo.core import names
from rondo.core.artifacts import BucketStore
from rondo.core.resources import CONFIG_MAP, JOB, PIPELINE_RUN
from rondo.core.settings import PlannerSettings
from tests.unit.core.builders import inline_run, job
from tests.unit.core.cluster import Cluster, Operator
from tests.unit.core.run.driver import condition_of, finish, job_of, stage_of, start, states, status_of

SHARDS = [{"name": "shards", "path": "/out/shards.jsonl"}]
MODEL = [{"name": "model", "path": "/out/model.bin"}]
AUC = [{"name": "auc", "type": "number"}]
FROM_FILE = {"itemsFrom": "$(stages.split.outputs.shards)"}


def stored(name: str, **more: int) -> str:
    return json.dumps({"outputs": {name: {"digest": "sha256:1", "size": 7, "files": 1, **more}}})


def told(cluster: Cluster, stage: str, helper: str = "fetch") -> dict[str, Any]:
    """Give what a helper of the newest Job of a stage is told."""
    pod = job_of(cluster, stage)["spec"]["template"]["spec"]
    found = next(each for each in pod["initContainers"] if each["name"] == helper)
    document: dict[str, Any] = json.loads(next(e["value"] for e in found["env"] if e["name"] == "RONDO_ARTIFACTS"))
    return document


def split_and_score(cluster: Cluster, operator: Operator, **fields: Any) -> None:
    """Run `split`, which stores a file of three lines, and start `score` over them."""
    score = job("score", forEach={**FROM_FILE, "best": {"result": "auc"}}, results=AUC, **fields)
    start(cluster, operator, inline_run(job("split", outputs=SHARDS), score))
    finish(cluster, operator, "split", push=stored("shards", lines=3))


def test_only_an_output_that_items_come_from_is_counted(cluster: Cluster, operator: Operator) -> None:
    other = [*SHARDS, {"name": "other", "path": "/out/other"}]
    start(cluster, operator, inline_run(job("split", outputs=other), job("score", forEach=FROM_FILE)))
    assert [each.get("lines") for each in told(cluster, "split", "push")["outputs"]] == [True, None]


def test_lines_of_a_file_are_the_indexes_of_one_job(cluster: Cluster, operator: Operator) -> None:
    split_and_score(cluster, operator)
    found = job_of(cluster, "score")
    assert (found["spec"]["completionMode"], found["spec"]["completions"]) == ("Indexed", 3)
    assert cluster.of_kind(CONFIG_MAP) == []
    uri = stage_of(cluster, "split")["outputs"]["shards"]["uri"]
    item = {"uri": uri, "digest": "sha256:1", "path": "/rondo/item/item.json", "indexes": "0-2"}
    assert told(cluster, "score")["item"] == item
    pod = found["spec"]["template"]["spec"]
    main, fetch = pod["containers"][0], pod["initContainers"][0]
    mount = {"name": "rondo-item", "mountPath": "/rondo/item.json", "subPath": "item.json", "readOnly": True}
    assert mount in main["volumeMounts"]
    assert fetch["env"][0]["name"] == "RONDO_INDEX"
    assert names.ARTIFACTS in found["spec"]["template"]["metadata"]["labels"]


def test_the_best_line_is_known_by_its_number(cluster: Cluster, operator: Operator) -> None:
    split_and_score(cluster, operator)
    for item, auc in enumerate((0.1, 0.9, 0.5)):
        cluster.finish("score", item=item, message=json.dumps({"auc": auc}))
    cluster.count_indexes(job_of(cluster, "score"))
    operator.settle()
    best = stage_of(cluster, "score")["fanOut"]["best"]
    assert (best["index"], best["item"]) == (1, {"line": 2})


def test_what_is_left_of_a_lost_job_is_picked_by_its_own_lines(cluster: Cluster, operator: Operator) -> None:
    split_and_score(cluster, operator)
    cluster.finish("score", item=1, message='{"auc": 1}')
    operator.settle()
    cluster.delete(job_of(cluster, "score"))
    operator.settle()
    cluster.pass_time(seconds=1)
    operator.settle()
    assert told(cluster, "score")["item"]["indexes"] == "0,2"


def test_an_empty_file_succeeds_without_a_pod(cluster: Cluster, operator: Operator) -> None:
    start(cluster, operator, inline_run(job("split", outputs=SHARDS), job("score", forEach=FROM_FILE)))
    finish(cluster, operator, "split", push=stored("shards", lines=0))
    assert stage_of(cluster, "score")["reason"] == "NoItems"


def test_a_file_that_nobody_has_counted_is_told(cluster: Cluster, operator: Operator) -> None:
    start(cluster, operator, inline_run(job("split", outputs=SHARDS), job("score", forEach=FROM_FILE)))
    finish(cluster, operator, "split", push=stored("shards"))
    words = "forEach.itemsFrom: nobody has counted the lines of $(stages.split.outputs.shards)"
    assert stage_of(cluster, "score")["message"] == words


def test_more_lines_than_one_job_may_have_are_refused(cluster: Cluster, operator: Operator) -> None:
    start(cluster, operator, inline_run(job("split", outputs=SHARDS), job("score", forEach=FROM_FILE)))
    finish(cluster, operator, "split", push=stored("shards", lines=10_001))
    assert "10001 items; 10000 are allowed" in stage_of(cluster, "score")["message"]


def train_and_merge(**fields: Any) -> dict[str, Any]:
    items = {"items": ["a", "b", "c"], "maxFailed": 1}
    train = job("train", job={"args": ["$(item.value)"]}, forEach=items, outputs=MODEL)
    merge = job("merge", inputs=[{"from": "$(stages.train.outputs.model)", "path": "/in/models"}])
    return inline_run(train, merge, **fields)


def merge_of(cluster: Cluster, operator: Operator, body: dict[str, Any]) -> dict[str, Any]:
    """Run `train`, of which item 1 fails, and start `merge`; give what its `fetch` is told."""
    start(cluster, operator, body)
    cluster.finish("train", item=1, code=1)
    finish(cluster, operator, "train", push=stored("model"))
    return told(cluster, "merge")


def test_an_output_of_all_items_is_one_input(cluster: Cluster, operator: Operator) -> None:
    wanted = merge_of(cluster, operator, train_and_merge())
    assert "inputs" not in wanted
    assert wanted["gathered"] == [
        {
            "what": "input /in/models",
            "path": "/rondo/gathered/0",
            "output": "model",
            "name": "model.bin",
            "total": 3,
            "records": "/rondo/records/0",
        }
    ]
    pod = job_of(cluster, "merge")["spec"]["template"]["spec"]
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    (stored_map,) = cluster.of_kind(CONFIG_MAP)
    sources = volumes["rondo-records-0"]["projected"]["sources"]
    assert sources == [{"configMap": {"name": stored_map["metadata"]["name"]}}]
    assert set(stored_map["data"]) == {"0", "2"}
    mounts = {mount["mountPath"]: mount for mount in pod["containers"][0]["volumeMounts"]}
    assert mounts["/in/models"] | {"readOnly": True, "subPath": "0"} == mounts["/in/models"]
    assert mounts["/rondo/claims/rondo-artifacts"]["readOnly"] is True  # what the links in the input lead to
    assert names.ARTIFACTS in job_of(cluster, "merge")["spec"]["template"]["metadata"]["labels"]


def test_outputs_in_a_bucket_are_gathered_with_its_credentials(cluster: Cluster, operator: Operator) -> None:
    cluster.settings = PlannerSettings(store=BucketStore("s3://acme", "store"))
    merge_of(cluster, operator, train_and_merge())
    pod = job_of(cluster, "merge")["spec"]["template"]["spec"]
    assert pod["initContainers"][0]["envFrom"] == [{"secretRef": {"name": "store"}}]
    assert all("persistentVolumeClaim" not in volume for volume in pod["volumes"])


@pytest.mark.parametrize(
    ("stage", "words"),
    [
        (
            job("x", forEach=FROM_FILE, job={"args": ["$(item.a)"]}),
            "only the container reads the items, which are lines of a file: read the file $RONDO_ITEM",
        ),
        (
            job("x", inputs=[{"from": "$(stages.train.outputs.model)/part", "path": "/in"}]),
            "write stages.train.best.outputs.model for the best, or take all of them as an input",
        ),
        (
            job("x", forEach={"itemsFrom": "$(stages.train.outputs.model)"}),
            "write stages.train.best.outputs.model for the best",
        ),
    ],
)
def test_what_cannot_be_is_refused(cluster: Cluster, operator: Operator, stage: dict[str, Any], words: str) -> None:
    train = job("train", forEach={"items": [1]}, outputs=MODEL)
    start(cluster, operator, inline_run(job("split", outputs=SHARDS), train, stage))
    assert words in condition_of(cluster, "Accepted")["message"]


# Retries -------------------------------------------------------------------------------------------------------------


def retry_of(body: dict[str, Any], **fields: Any) -> dict[str, Any]:
    spec = {"pipeline": body["spec"]["pipeline"], "retryOf": "r", **fields}
    return {**body, "metadata": {"name": "again", "namespace": "team"}, "spec": spec}


def test_a_retry_runs_only_the_items_that_had_not_succeeded(cluster: Cluster, operator: Operator) -> None:
    train = job("train", job={"args": ["$(item.value)"]}, forEach={"items": ["a", "b", "c"]}, results=AUC)
    body = inline_run(train)
    start(cluster, operator, body)
    cluster.finish("train", item=0, message='{"auc": 0.5}')
    operator.settle()
    cluster.finish("train", item=2, code=1)
    operator.settle()
    assert states(cluster) == {"train": "Failed"}
    cluster.starts.clear()
    start(cluster, operator, retry_of(body))
    assert stage_of(cluster, "train", "again")["fanOut"]["states"] == "Srr"
    finish(cluster, operator, "train", message='{"auc": 1.0}')
    assert condition_of(cluster, "Succeeded", "again")["status"] == "True"
    assert stage_of(cluster, "train", "again")["results"] == {"auc": [0.5, 1.0, 1.0]}
    assert len(cluster.starts) == 2


def test_a_retry_of_one_job_for_all_has_only_the_indexes_that_are_left(cluster: Cluster, operator: Operator) -> None:
    body = inline_run(job("score", forEach={"items": ["a", "b", "c"]}, results=AUC))
    start(cluster, operator, body)
    cluster.finish("score", item=1, message='{"auc": 0.5}')
    operator.settle()
    cluster.finish("score", item=0, code=1)
    cluster.count_indexes(job_of(cluster, "score"), failed="0", reason="MaxFailedIndexesExceeded")
    operator.settle()
    start(cluster, operator, retry_of(body))
    fan = stage_of(cluster, "score", "again")["fanOut"]
    assert (fan["done"], fan["indexes"]) == ("1", "0,2")
    assert "failures" not in fan


def test_a_retry_owns_copies_of_the_records_it_takes_over(cluster: Cluster, operator: Operator) -> None:
    body = train_and_merge()
    merge_of(cluster, operator, body)
    finish(cluster, operator, "merge", code=1)
    assert status_of(cluster)["stages"][1]["state"] == "Failed"
    start(cluster, operator, retry_of(body))
    cluster.delete(cluster.find(PIPELINE_RUN, "r"))
    operator.settle()
    (kept,) = [m for m in cluster.of_kind(CONFIG_MAP) if m["metadata"]["labels"][names.RUN] == "again"]
    assert set(kept["data"]) == {"0", "2"}
    pod = job_of(cluster, "merge")["spec"]["template"]["spec"]
    sources = next(v for v in pod["volumes"] if v["name"] == "rondo-records-0")["projected"]["sources"]
    assert sources == [{"configMap": {"name": kept["metadata"]["name"]}}]
    finish(cluster, operator, "merge")
    assert condition_of(cluster, "Succeeded", "again")["status"] == "True"


def test_a_fan_out_whose_records_are_lost_runs_anew(cluster: Cluster, operator: Operator) -> None:
    body = train_and_merge()
    merge_of(cluster, operator, body)
    finish(cluster, operator, "merge", code=1)
    cluster.delete(cluster.of_kind(CONFIG_MAP)[0])
    start(cluster, operator, retry_of(body))
    assert states(cluster, "again") == {"train": "Running"}
    assert stage_of(cluster, "train", "again")["fanOut"]["states"] == "rrr"


def test_the_best_of_a_fan_out_that_is_taken_over_is_known(cluster: Cluster, operator: Operator) -> None:
    items = {"items": [7], "best": {"result": "auc"}}
    train = job("train", job={"args": ["$(item.value)"]}, forEach=items, results=AUC)
    use = job("use", job={"args": ["$(stages.train.best.item)", "$(stages.train.total)"]})
    body = inline_run(train, use)
    start(cluster, operator, body)
    finish(cluster, operator, "train", message='{"auc": 0.5}')
    finish(cluster, operator, "use", code=1)
    start(cluster, operator, retry_of(body))
    (again,) = (j for j in cluster.of_kind(JOB) if j["metadata"]["labels"][names.RUN] == "again")
    assert again["spec"]["template"]["spec"]["containers"][0]["args"] == ["7", "1"]
