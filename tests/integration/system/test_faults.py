"""What happens around a run: the API server restarts, watches are cut over a compaction, the operator is upgraded."""

from __future__ import annotations

import signal

from tests.integration.conftest import restart_api_server
from tests.integration.system.objects import chain, inline_run, job, names, pipeline
from tests.integration.system.processes import Operators
from tests.integration.system.space import Space, always, eventually, only


def test_a_run_goes_on_after_a_restart_of_the_api_server(fragile: Space, operators: Operators) -> None:
    operator = operators.start(fragile.namespace)
    fragile.create(pipeline("p", job("a", image="holds"), *chain(3, "a")))
    pod = fragile.running_pod("p-1", "a")
    restart_api_server(fragile.plane.cluster)
    assert operator.alive
    fragile.end_pod(pod)
    fragile.succeeded("p-1")
    assert operator.alive
    assert len(fragile.jobs("p-1")) == len(fragile.pods("p-1")) == 4


def test_what_is_deleted_while_nobody_watches_and_etcd_is_compacted_is_noticed(
    fragile: Space, operators: Operators
) -> None:
    """The API server has no event of it any more, whatever version a watch goes on from."""
    operator = operators.start(fragile.namespace)
    fragile.create(*(inline_run(run, job("a", image="holds"), job("b", image="holds")) for run in ("r", "ghost")))
    fragile.create(inline_run("pod", job("a", image="holds")))
    pods = [fragile.running_pod(run, stage) for run in ("r", "ghost") for stage in ("a", "b")]
    pods.append(fragile.running_pod("pod", "a"))
    operator.signal(signal.SIGSTOP)
    fragile.delete("Job", fragile.stage("r", "a")["job"])
    fragile.delete("PipelineRun", "ghost")
    fragile.delete("Pod", pods[4])
    eventually(lambda: names(fragile.items("Pod")) == [pods[1]], "the Jobs and their pods to be gone")
    lost = only(fragile.jobs("pod"))["metadata"]["name"]
    eventually(lambda: (fragile.get("Job", lost) or {})["status"].get("failed"), "the Job of the lost pod to fail")
    fragile.plane.cluster.compact_etcd()
    restart_api_server(fragile.plane.cluster)
    operator.signal(signal.SIGCONT)
    stage = fragile.until_stage("r", "a", state="Running", attempt=2)
    assert (stage["disruptions"], only(stage["attempts"])["reason"]) == (1, "Deleted")
    stage = fragile.until_stage("pod", "a", state="Running", attempt=2)
    assert (stage["disruptions"], only(stage["attempts"])["reason"]) == (1, "Deleted")
    other = fragile.stage("r", "b")
    assert (other["state"], other["attempt"]) == ("Running", 1)
    fragile.create(inline_run("ghost", job("a")))
    assert only(fragile.succeeded("ghost")["status"]["stages"])["attempt"] == 1
    for name in ("a", "b"):
        fragile.end_pod(fragile.running_pod("r", name))
    fragile.end_pod(only(fragile.pods("pod"))["metadata"]["name"])
    for name in ("r", "pod"):
        fragile.succeeded(name)
    assert operator.alive
    assert len(fragile.jobs("r")) == 2


def test_an_upgrade_leaves_running_jobs_alone_and_the_run_goes_on(fragile: Space, operators: Operators) -> None:
    stages = (job("a", image="holds"), job("b", "a", outputs=[{"name": "x", "path": "/out"}]))
    fragile.create(pipeline("p", *stages))
    old = operators.start(fragile.namespace, RONDO_IMAGE="operator:old").works()
    pod = fragile.running_pod("p-1", "a")
    before = only(fragile.jobs("p-1"))
    old.stop()
    operators.start(fragile.namespace, RONDO_IMAGE="operator:new").works()
    fragile.until_stage("p-1", "a", state="Running", attempt=1)
    after = only(fragile.jobs("p-1"))
    assert after["metadata"]["uid"] == before["metadata"]["uid"]
    assert after["metadata"]["generation"] == before["metadata"]["generation"]
    fragile.end_pod(pod)
    eventually(lambda: fragile.jobs("p-1", "b"), "the Job of the next stage")
    template = only(fragile.jobs("p-1", "b"))["spec"]["template"]["spec"]
    assert only(c["image"] for c in template["initContainers"] if c["name"] == "push") == "operator:new"
    assert names(fragile.jobs("p-1", "a")) == names([before])
    assert names(fragile.items("PipelineRun")) == ["p-1"]


def test_an_upgrade_starts_no_run_of_a_pipeline_that_did_not_change(fragile: Space, operators: Operators) -> None:
    fragile.create(pipeline("p", job("a")))
    old = operators.start(fragile.namespace, RONDO_IMAGE="operator:old")
    fragile.succeeded("p-1")
    fragile.until_condition("Pipeline", "p", "Ready", status="True")
    old.stop()
    operators.start(fragile.namespace, RONDO_IMAGE="operator:new").works()
    always(lambda: names(fragile.items("PipelineRun")) == ["p-1"], "the only run", during=2)
    assert len(fragile.jobs("p-1")) == 1
