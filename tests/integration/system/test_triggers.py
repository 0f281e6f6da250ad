"""A Pipeline with trigger Change runs when what it would execute has changed, once at a time, and keeps a history."""

from __future__ import annotations

import pytest

from tests.integration.system.objects import Body, chain, job, names, pipeline, run_of
from tests.integration.system.space import Space, always, condition, eventually

QUIET = 1.0
"""Seconds in which a run would have been started or deleted that should not."""

STAGES = (job("a"), job("b"))
TREES = [{"name": "trees", "type": "integer", "default": 1}]

DUE: dict[str, Body] = {
    "another image": {"stages": [job("a", image="another"), job("b")]},
    "one stage more": {"stages": [*STAGES, job("c")]},
    "one stage less": {"stages": [job("a")]},
    "an edge": {"stages": [job("a"), job("b", "a")]},
    "a token": {"run": {"token": "2026-11-23"}},
    "another value of a parameter": {"run": {"params": {"trees": 2}}},
    "another default of a parameter": {"params": [{**TREES[0], "default": 2}]},
    "a workspace": {"workspace": {"size": "1Gi"}},
    "a default of all stages": {"defaults": {"timeout": "1h"}},
}

NOT_DUE: dict[str, Body] = {
    "history": {"history": {"successful": 5, "failed": 5}},
    "readiness": {"run": {"readiness": "Accepted"}},
    "another order of the stages": {"stages": [job("b"), job("a")]},
    "a default written out": {"stages": [{**job("a"), "needs": []}, job("b")], "run": {"token": ""}},
}


@pytest.mark.parametrize("change", DUE.values(), ids=DUE)
def test_a_change_of_what_is_executed_starts_a_run_of_that_generation(space: Space, change: Body) -> None:
    _run_first(space)
    space.patch("Pipeline", "p", {"spec": change})
    run = space.succeeded("p-2")
    assert run["status"]["pipelineGeneration"] == 2
    assert run["metadata"]["labels"]["rondo.dev/trigger"] == "Change"
    assert len(space.jobs("p-2")) == len(run["status"]["stages"])
    assert _runs(space) == ["p-1", "p-2"]


@pytest.mark.parametrize("change", NOT_DUE.values(), ids=NOT_DUE)
def test_any_other_change_starts_none(space: Space, change: Body) -> None:
    _run_first(space)
    space.patch("Pipeline", "p", {"spec": change})
    said = space.until_condition("Pipeline", "p", "Ready", status="True")
    assert said["observedGeneration"] == 2
    space.patch("Pipeline", "p", {"spec": {"run": {"token": "now"}}})
    space.succeeded("p-3")
    assert _runs(space) == ["p-1", "p-3"]


def test_the_trigger_manual_starts_none_until_it_is_changed(space: Space) -> None:
    space.create(pipeline("p", *STAGES, run={"trigger": "Manual"}))
    space.until_condition("Pipeline", "p", "Ready", status="True", reason="Accepted")
    space.create(run_of("mine", "p"))
    space.succeeded("mine")
    assert _runs(space) == ["mine"]
    space.patch("Pipeline", "p", {"spec": {"run": {"trigger": "Change"}}})
    space.succeeded("p-2")
    assert _runs(space) == ["mine", "p-2"]


def test_changes_wait_for_the_run_and_collapse_to_the_newest(space: Space) -> None:
    _hold_first(space)
    for image in ("second", "third", "fourth"):
        _change(space, image)
    _see_only_the_first(space, generation=4)
    _end_first(space)
    space.succeeded("p-4")
    assert _images(space, "p-4") == ["fourth"]
    space.until_condition("Pipeline", "p", "Ready", status="True", reason="Idle")
    assert _runs(space) == ["p-1", "p-4"]


def test_changes_that_are_taken_back_while_a_run_goes_on_start_none(space: Space) -> None:
    _hold_first(space)
    for image in ("second", "holds"):
        _change(space, image)
    _see_only_the_first(space, generation=3)
    _end_first(space)
    space.until_condition("Pipeline", "p", "Ready", status="True", reason="Idle")
    always(lambda: _runs(space) == ["p-1"], "the only run", during=QUIET)


def test_history_keeps_the_newest_of_each_outcome(space: Space) -> None:
    """The Jobs and pods of a run go with it; runs that a person created stay."""
    space.create(pipeline("p", *chain(2), history={"successful": 2, "failed": 1}))
    space.succeeded("p-1")
    space.create(run_of("mine", "p"))
    space.succeeded("mine")
    for generation, image in enumerate(("fails", "x", "fails", "y", "z"), 2):
        _change(space, image)
        outcome = condition(space.ended(f"p-{generation}"), "Succeeded")["status"]
        assert outcome == ("False" if image == "fails" else "True")
    kept = ["mine", "p-4", "p-5", "p-6"]
    eventually(lambda: _runs(space) == kept, f"{kept} to be left")
    eventually(lambda: _runs_of(space, "Job") == set(kept), "the Jobs of the others to be gone")
    eventually(lambda: _runs_of(space, "Pod") == set(kept), "the pods of the others to be gone")
    eventually(lambda: _runs_of(space, "ControllerRevision") == set(kept), "their frozen copies to be gone")
    always(lambda: _runs(space) == kept, "these runs", during=QUIET)


def test_history_of_none_keeps_the_running_and_the_newest(space: Space) -> None:
    space.create(pipeline("p", job("a"), history={"successful": 0, "failed": 0}))
    space.succeeded("p-1")
    always(lambda: _runs(space) == ["p-1"], "the newest run", during=QUIET)
    _change(space, "holds")
    pod = space.running_pod("p-2", "a")
    eventually(lambda: _runs(space) == ["p-2"], "the run before to be gone")
    always(lambda: space.stage("p-2", "a").get("state") == "Running", "it goes on", during=QUIET)
    space.end_pod(pod)
    space.succeeded("p-2")
    always(lambda: _runs(space) == ["p-2"], "the newest run", during=QUIET)


def _run_first(space: Space) -> None:
    space.create(pipeline("p", *STAGES, params=TREES))
    space.succeeded("p-1")


def _hold_first(space: Space) -> None:
    space.create(pipeline("p", job("a", image="holds")))
    space.running_pod("p-1", "a")


def _end_first(space: Space) -> None:
    space.end_pod(space.running_pod("p-1", "a"))
    space.succeeded("p-1")


def _see_only_the_first(space: Space, generation: int) -> None:
    """See that a generation was looked at, and that it waits."""
    said = space.until_condition("Pipeline", "p", "Reconciling", status="True", reason="Running")
    assert said["observedGeneration"] == generation
    always(lambda: _runs(space) == ["p-1"], "the only run", during=QUIET)


def _change(space: Space, image: str) -> None:
    """Change the image of the first stage, which is the only one."""
    space.patch("Pipeline", "p", {"spec": {"stages": [job("a", image=image)]}})


def _runs(space: Space) -> list[str]:
    return sorted(names(space.items("PipelineRun")))


def _runs_of(space: Space, kind: str) -> set[str]:
    """Give the runs that things of a kind are labelled with."""
    return {thing["metadata"]["labels"]["rondo.dev/run"] for thing in space.items(kind, "rondo.dev/run")}


def _images(space: Space, run: str) -> list[str]:
    return [job["spec"]["template"]["spec"]["containers"][0]["image"] for job in space.jobs(run)]
