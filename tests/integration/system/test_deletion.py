"""Deletion needs no operator: what a run made goes with it, what it deployed stays, and names can be used again."""

from __future__ import annotations

import pytest

from tests.integration.system.objects import Body, chain, claim, deploy, inline_run, job, names, pipeline
from tests.integration.system.processes import Operators
from tests.integration.system.space import Space, always, eventually, only

OF_RUNS = ("PipelineRun", "Job", "ControllerRevision", "PersistentVolumeClaim", "Pod")
SERVING = ("ModelDeployment", "Deployment", "Service")
QUIET = 2.0
"""Seconds in which the operator would have made again what is gone."""


@pytest.mark.parametrize("propagation", ["Background", "Foreground"])
def test_with_a_pipeline_goes_all_of_its_run_but_not_what_it_deployed(space: Space, propagation: str) -> None:
    _start(space)
    serving = _uids(space)
    space.delete("Pipeline", "p", propagationPolicy=propagation)
    _until_gone(space)
    always(lambda: not _of_runs(space), "nothing of the run", during=QUIET)
    assert _uids(space) == serving
    assert space.get("Pipeline", "p") is None
    space.until_condition("ModelDeployment", "m", "Ready", status="True")


def test_a_pipeline_deleted_while_no_operator_runs_is_gone_all_the_same(fragile: Space, operators: Operators) -> None:
    operators.start(fragile.namespace)
    _start(fragile)
    serving = _uids(fragile)
    operators.end()
    fragile.delete("Pipeline", "p")
    _until_gone(fragile)
    operators.start(fragile.namespace).works()
    always(lambda: not _of_runs(fragile), "nothing of the run", during=QUIET)
    assert _uids(fragile) == serving
    fragile.until_condition("ModelDeployment", "m", "Ready", status="True")


def test_a_pipeline_that_is_created_again_at_once_starts_a_run_of_its_own(space: Space) -> None:
    space.create(pipeline("p", job("a", image="holds")))
    space.running_pod("p-1", "a")
    old = space.run("p-1")["metadata"]["uid"]
    space.delete("Pipeline", "p")
    space.create(pipeline("p", *chain(2)))
    eventually(lambda: space.run("p-1").get("metadata", {}).get("uid") not in {None, old}, "a new run")
    _assert_new(space.once("p-1"))
    space.until_condition("Pipeline", "p", "Ready", status="True", reason="Idle")


def test_a_run_that_is_created_again_takes_over_nothing(space: Space) -> None:
    pods = _start_lingering(space)
    _delete_and_create(space)
    _see_it_run_anew(space, pods)


def test_a_run_that_is_created_again_while_no_operator_runs_takes_over_nothing(
    fragile: Space, operators: Operators
) -> None:
    operators.start(fragile.namespace)
    pods = _start_lingering(fragile)
    operators.end()
    _delete_and_create(fragile)
    operators.start(fragile.namespace)
    _see_it_run_anew(fragile, pods)


def test_a_run_that_has_ended_and_is_created_again_runs_again(space: Space) -> None:
    for _ in range(2):
        space.create(inline_run("r", *chain(2)))
        _assert_new(space.succeeded("r"))
        space.delete("PipelineRun", "r")
    created = [write for write in space.plane.writes(space.namespace) if write.startswith("create jobs ")]
    assert len(created) == len(set(created)) == 4


def _start(space: Space) -> None:
    """Start a run that deploys a model and then holds, in a workspace."""
    stages = (deploy("release", model="m"), job("a", "release", image="holds"), *chain(2, "a"))
    space.create(claim(), pipeline("p", *stages, workspace={"size": "1Gi"}))
    space.running_pod("p-1", "a")
    space.until_condition("ModelDeployment", "m", "Ready", status="True")
    kinds = {thing["kind"] for thing in _of_runs(space)}
    assert kinds == set(OF_RUNS)
    for kind in ("Pipeline", *OF_RUNS):
        for thing in space.items(kind):
            assert not [name for name in thing["metadata"].get("finalizers", ()) if "rondo" in name], thing


def _of_runs(space: Space) -> list[Body]:
    """Give all that belongs to a run."""
    selectors = {"PersistentVolumeClaim": "app.kubernetes.io/managed-by=rondo", "PipelineRun": ""}
    return [thing for kind in OF_RUNS for thing in space.items(kind, selectors.get(kind, "rondo.dev/run"))]


def _until_gone(space: Space) -> None:
    eventually(lambda: not _of_runs(space), "all that belongs to the run to be gone")


def _uids(space: Space) -> dict[str, str]:
    """Give the uids of all that serves the model."""
    found: list[Body] = [only(space.items(kind)) for kind in SERVING]
    return {thing["kind"]: thing["metadata"]["uid"] for thing in found}


def _start_lingering(space: Space) -> list[str]:
    """Start a run whose pods go on when they are deleted, and give their names."""
    space.create(inline_run("r", job("a", image="lingers"), job("b", image="lingers"), job("c", "a", "b")))
    return [space.running_pod("r", "a"), space.running_pod("r", "b")]


def _delete_and_create(space: Space) -> None:
    space.delete("PipelineRun", "r")
    space.create(inline_run("r", job("a", image="holds"), job("b", image="holds"), job("c", "a", "b")))


def _see_it_run_anew(space: Space, old: list[str]) -> None:
    """See that the new run has Jobs of its own, and minds neither the old pods nor their ends."""
    for stage in ("a", "b"):
        space.until_stage("r", stage, state="Running", attempt=1)
    eventually(lambda: len(space.jobs("r")) == 2, "the old Jobs to be gone")
    uid = space.run("r")["metadata"]["uid"]
    assert {job["metadata"]["labels"]["rondo.dev/run-uid"] for job in space.jobs("r")} == {uid}
    for pod, exit_code in zip(old, (0, 1), strict=True):
        space.end_pod(pod, exit_code=exit_code)
        space.delete("Pod", pod, gracePeriodSeconds=0)
    eventually(lambda: not set(old) & set(names(space.pods("r"))), "the old pods to be gone")
    always(lambda: {space.stage("r", s)["state"] for s in ("a", "b")} == {"Running"}, "both run", during=QUIET)
    for stage in ("a", "b"):
        space.end_pod(space.running_pod("r", stage))
    _assert_new(space.once("r"))


def _assert_new(run: Body) -> None:
    stages = run["status"]["stages"]
    assert {(stage["state"], stage["attempt"], stage.get("disruptions", 0)) for stage in stages} == {
        ("Succeeded", 1, 0)
    }
