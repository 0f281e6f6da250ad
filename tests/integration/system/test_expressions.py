"""Hostile expressions: they end, by name, and nobody else waits for them."""

from __future__ import annotations

from tests.integration.system.objects import Body, chain, inline_run, job
from tests.integration.system.space import Space, condition

NUMBERS = list(range(4000))
GATES = 8
"""Expressions, each of which takes all the time that one may take."""


def hostile_gate(number: int) -> Body:
    """Give a gate that would go through sixteen million pairs; each has a text of its own."""
    text = f"params.l.all(a, params.l.all(b, a + b + {number}.0 >= 0.0))"
    return {"name": f"g{number}", "gate": {"checks": [{"expression": text}]}}


def test_other_runs_end_while_hostile_expressions_are_evaluated(space: Space) -> None:
    gates = [hostile_gate(number) for number in range(GATES)]
    release = job("release", *(gate["name"] for gate in gates))
    params = [{"name": "l", "type": "array", "default": NUMBERS}]
    space.create(inline_run("hostile", *gates, release, params=params, onStageFailure="Continue"))
    space.until_stage("hostile", "g0", state="Failed")
    for number in range(2):
        space.create(inline_run(f"r{number}", *chain(3)))
    for number in range(2):
        space.succeeded(f"r{number}")
    assert "completionTime" not in space.run("hostile")["status"], "all were evaluated before the others had ended"
    run = space.ended("hostile", within=120)
    assert condition(run, "Succeeded")["status"] == "False"
    said = {stage["name"]: stage for stage in run["status"]["stages"]}
    assert said["release"]["state"] == "Skipped"
    for gate in gates:
        assert said[gate["name"]]["state"] == "Failed"
        assert "it takes longer than 1 s" in said[gate["name"]]["message"]


def test_an_expression_that_is_wrong_names_its_place(space: Space) -> None:
    gate = {"name": "g", "gate": {"checks": [{"expression": "run.name == 'x'"}, {"expression": "params.l +"}]}}
    space.create(inline_run("r", gate, job("a", "g")))
    said = space.until_condition("PipelineRun", "r", "Succeeded", status="False")
    assert "spec.stages[g].gate.checks[1].expression" in said["message"]
