"""What the schema cannot say of a Pipeline is a condition that names the field, and no run is started."""

from __future__ import annotations

from typing import Any

import pytest

from tests.integration.system.objects import deploy, gate, job, pipeline, run_of
from tests.integration.system.space import Space, condition

TREES = [{"name": "trees", "type": "integer", "minimum": 1}]

INVALID: dict[str, tuple[tuple[Any, ...], dict[str, Any], str]] = {
    "cycle": (
        (job("a", "c"), job("b", "a"), job("c", "b")),
        {},
        "spec.stages: stages wait for each other in a circle: ",
    ),
    "unknown stage": (
        (job("train"), job("judge", "trian")),
        {},
        "spec.stages[judge].needs: there is no stage trian (did you mean train?)",
    ),
    "unknown parameter in a reference": (
        ({"name": "a", "job": {"image": "x", "args": ["$(params.tress)"]}},),
        {"params": TREES, "run": {"params": {"trees": 2}}},
        "spec.stages[a].job.args[0]: $(params.tress): there is no parameter tress (did you mean trees?)",
    ),
    "unknown result in a reference": (
        (job("train"), {"name": "b", "job": {"image": "x", "args": ["$(stages.train.results.auc)"]}}),
        {},
        "spec.stages[b].job.args[0]: $(stages.train.results.auc): stage train declares no result auc",
    ),
    "reference in a script": (
        ({"name": "a", "job": {"image": "x", "script": "echo $(params.trees)"}},),
        {"params": TREES, "run": {"params": {"trees": 2}}},
        "spec.stages[a].job.script: $(params.trees): a script takes no references",
    ),
    "unguarded deploy": (
        (gate("check"), job("after", "check"), deploy("release", "after"), deploy("sneak", model="n")),
        {},
        "spec.stages[sneak].needs: the deploy does not wait for gate check: add check to needs",
    ),
    "gate that nothing waits for": (
        (job("a"), gate("check", "a")),
        {},
        "spec.stages[check]: no stage waits for this gate: add `needs: [check]` to what it should guard",
    ),
    "unknown given parameter": (
        (job("a"),),
        {"params": TREES, "run": {"params": {"trees": 2, "treees": 3}}},
        "spec.run.params.treees: there is no parameter treees (did you mean trees?)",
    ),
    "parameter of another type": (
        (job("a"),),
        {"params": TREES, "run": {"params": {"trees": "2"}}},
        "spec.run.params.trees: '2' is not an integer; write it without quotes",
    ),
    "parameter out of bounds": (
        (job("a"),),
        {"params": TREES, "run": {"params": {"trees": 0}}},
        "spec.run.params.trees: 0 is less than the minimum 1",
    ),
    "default of another type": (
        (job("a"),),
        {"params": [{"name": "trees", "type": "integer", "default": "many"}]},
        "spec.params[trees].default: 'many' is not an integer",
    ),
    "expression that is not CEL": (
        (gate("check", expression="run.name =="), job("a", "check")),
        {},
        "spec.stages[check].gate.checks[0].expression: ",
    ),
    "no image anywhere": (
        ({"name": "a", "job": {}},),
        {},
        "spec.stages[a].job.image: give an image here or in spec.defaults.image",
    ),
    "unknown field of the model": (
        (deploy("release", replcias=2),),
        {},
        "spec.stages[release].deploy.spec.replcias: there is no such field",
    ),
}


@pytest.mark.parametrize("name", INVALID)
def test_a_pipeline_that_cannot_run_says_where_and_why(space: Space, name: str) -> None:
    stages, spec, words = INVALID[name]
    space.create(pipeline("p", *stages, **spec))
    accepted = space.until_condition("Pipeline", "p", "Accepted", status="False")
    assert accepted["message"].startswith(words)
    thing = space.get("Pipeline", "p") or {}
    assert condition(thing, "Ready")["status"] == "False"
    assert condition(thing, "Stalled")["status"] == "True"
    assert not space.items("PipelineRun")


def test_a_mended_pipeline_runs(space: Space) -> None:
    space.create(pipeline("p", job("a", "b")))
    space.until_condition("Pipeline", "p", "Accepted", status="False")
    space.patch("Pipeline", "p", {"spec": {"stages": [job("a")]}})
    space.succeeded("p-2")
    space.until_condition("Pipeline", "p", "Ready", status="True")
    assert not condition(space.get("Pipeline", "p") or {}, "Stalled")


def test_a_required_parameter_without_a_value_is_waited_for_by_name(space: Space) -> None:
    space.create(pipeline("p", job("a"), params=TREES))
    ready = space.until_condition("Pipeline", "p", "Ready", status="False")
    assert ready["message"] == "spec.run.params: no value for trees, so no run can start"
    space.patch("Pipeline", "p", {"spec": {"run": {"params": {"trees": 3}}}})
    space.succeeded("p-2")


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"tree": 1}, "spec.params.tree: there is no parameter tree (did you mean trees?)"),
        ({"trees": "1"}, "spec.params.trees: '1' is not an integer; write it without quotes"),
        ({"trees": 0}, "spec.params.trees: 0 is less than the minimum 1"),
        ({}, "spec.params: no value for trees"),
    ],
    ids=["unknown", "type", "bounds", "missing"],
)
def test_a_run_with_wrong_parameters_ends_before_it_starts(space: Space, given: dict[str, Any], words: str) -> None:
    space.create(pipeline("p", job("a"), params=TREES, run={"trigger": "Manual"}), run_of("mine", "p", **given))
    run = space.ended("mine")
    assert condition(run, "Accepted")["message"] == words
    assert condition(run, "Accepted")["status"] == condition(run, "Succeeded")["status"] == "False"
    assert not space.jobs("mine")


def test_a_run_of_a_pipeline_that_comes_later_waits_for_it(space: Space) -> None:
    space.create(run_of("mine", "late"))
    space.until_condition("PipelineRun", "mine", "Succeeded", status="Unknown", reason="PipelineNotFound")
    space.create(pipeline("late", job("a"), run={"trigger": "Manual"}))
    space.succeeded("mine")


def test_two_hundred_stages_with_several_needs_each_run(space: Space) -> None:
    stages = [job(f"s{i}", *(f"s{j}" for j in range(max(0, i - 30), i, 10))) for i in range(200)]
    space.create(pipeline("wide", *stages))
    run = space.succeeded("wide-1", within=90)
    assert run["status"]["progress"] == "200/200"
    assert len(space.jobs("wide-1")) == len(space.pods("wide-1")) == 200
    assert len(str(run["status"])) < 100 * 1024
