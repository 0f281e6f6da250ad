"""What is refused although the schema allows it: a table of pipelines and the words about them."""

from __future__ import annotations

from typing import Any

import pytest

from rondo.api.pipeline import PipelineSpec
from rondo.core.pipeline.validation import validate
from rondo.core.pipeline.wiring import Tie, wire
from tests.unit.core.builders import deploy, gate, job, pipeline_spec

NUMBER = [{"name": "auc", "type": "number"}]
OPTIONAL = [{"name": "auc", "type": "number", "default": 0.5}]
FLAG = [{"name": "deep", "type": "boolean", "default": False}]


def problems(*stages: dict[str, Any], **fields: Any) -> list[str]:
    spec = PipelineSpec.model_validate(pipeline_spec(*stages, **fields))
    return [str(problem) for problem in validate(spec)]


@pytest.mark.parametrize(
    ("stages", "fields", "said"),
    [
        ((job("a", after=["b"]),), {}, "spec.stages[a].after: there is no stage b"),
        (
            (job("train"), job("b", after=["trian"])),
            {},
            "spec.stages[b].after: there is no stage trian (did you mean train?)",
        ),
        ((job("a", after=["b"]), job("b", needs=["a"])), {}, "spec.stages: stages wait for each other in a circle: "),
        (
            (job("a", needs=["end"]),),
            {"finally_": [job("end")]},
            "spec.stages[a].needs: end is a stage of finally, which comes after all others",
        ),
        (
            (job("a", job={"args": ["$(stages.end.state)"]}),),
            {"finally_": [job("end")]},
            "spec.stages[a].job.args[0]: $(stages.end.state): end is a stage of finally, which comes after all others",
        ),
        (
            (job("a"),),
            {"finally_": [job("end", after=["a"])]},
            "spec.finally[end].after: finally is after all stages anyway: remove a",
        ),
        (
            (job("a"),),
            {"finally_": [job("a")]},
            "spec.finally[a].name: a is also the name of one of spec.stages; rename one",
        ),
        (
            (job("a"),),
            {"finally_": [{"name": "end", "job": {}}]},
            "spec.finally[end].job.image: give an image here or in spec.defaults.image",
        ),
        (
            (job("a", inputs=[{"from": "gs://bucket/x", "path": "/in"}]),),
            {},
            "spec.stages[a].inputs[/in].from: 'gs://bucket/x' is not a URI such as pvc://CLAIM/PATH or s3://BUCKET/PATH",
        ),
        (
            (job("a", when="run.state == 'Failed'"),),
            {},
            "spec.stages[a].when: a run has only name, namespace, uid here",
        ),
        ((job("a", when="$(params.deep)"),), {"params": FLAG}, "spec.stages[a].when: $(params.deep): an expression is"),
        ((job("a", when="params.deap"),), {"params": FLAG}, "spec.stages[a].when: there is no parameter deap (did you"),
        ((job("a", when="deep"),), {"params": FLAG}, "spec.stages[a].when: there is no deep"),
        ((job("a", when="1.0 > 0.5"),), {}, "spec.stages[a].when: it depends on nothing"),
        ((job("a", when="params.deep &&"),), {"params": FLAG}, "spec.stages[a].when: "),
        (
            (job("a", results=NUMBER), job("b", when="stages['a'].results.auc > 0.5")),
            {},
            "spec.stages[b].when: write stages.NAME, so that it is known what it waits for",
        ),
        (
            (job("a", results=NUMBER), job("b", when="stages.exists(s, true)")),
            {},
            "spec.stages[b].when: write stages.NAME, so that it is known what it waits for",
        ),
        (
            (job("a", results=[{"name": "n", "type": "integer", "default": "3"}]),),
            {},
            "spec.stages[a].results[n].default: '3' is not an integer; write it without quotes",
        ),
        (
            (gate("ok", "params.deep"), deploy("release", after=["ok"])),
            {"params": FLAG},
            "spec.stages[release].needs: the deploy does not wait for gate ok: add ok to needs",
        ),
        (
            (gate("ok", "params.deep"), job("mid", after=["ok"]), deploy("release", needs=["mid"])),
            {"params": FLAG},
            "spec.stages[release].needs: the deploy does not wait for gate ok: add ok to needs",
        ),
    ],
)
def test_what_is_refused(stages: tuple[dict[str, Any], ...], fields: dict[str, Any], said: str) -> None:
    found = problems(*stages, **fields)
    assert any(each.startswith(said) for each in found), found


@pytest.mark.parametrize(
    ("stages", "fields"),
    [
        ((job("a", results=NUMBER), job("b", when="stages.a.results.auc > 0.5")), {}),
        ((job("a"),), {"finally_": [job("end", when="run.state != 'Succeeded' && stages.a.state == 'Failed'")]}),
        ((job("a"), job("b", job={"env": [{"name": "S", "value": "$(stages.a.state)"}]})), {}),
        ((gate("ok", "params.deep"), deploy("release", needs=["ok"])), {"params": FLAG}),
        ((job("a"),), {"finally_": [deploy("undo")], "params": FLAG}),
        ((job("a", when="params.deep || 'stages' == run.name"),), {"params": FLAG}),
        (
            (job("a", when="params.l.exists(x, params.l.filter(y, y > x).size() > 0)"),),
            {"params": [{"name": "l", "type": "array", "default": [1]}]},
        ),
    ],
)
def test_what_is_accepted(stages: tuple[dict[str, Any], ...], fields: dict[str, Any]) -> None:
    assert problems(*stages, **fields) == []


@pytest.mark.parametrize(
    ("stage", "tie"),
    [
        ({"needs": ["a"]}, Tie.SUCCESS),
        ({"after": ["a"]}, Tie.END),
        ({"after": ["a"], "needs": ["a"]}, Tie.SUCCESS),
        ({"when": "stages.a.state == 'Failed'"}, Tie.END),
        ({"when": "stages.a.state == 'Succeeded' && stages.a.results.auc > 0.5"}, Tie.END),
        ({"when": "stages.a.results.auc > 0.5"}, Tie.DEFAULT),
        ({"when": "stages.a.results.must > 0.5"}, Tie.SUCCESS),
        ({"job": {"args": ["$(stages.a.results.auc)"]}}, Tie.DEFAULT),
        ({"job": {"args": ["$(stages.a.results.auc)", "$(stages.a.results.must)"]}}, Tie.SUCCESS),
        ({"job": {"args": ["$(stages.a.state)"]}}, Tie.END),
        ({"inputs": [{"from": "$(stages.a.outputs.model)", "path": "/in"}]}, Tie.SUCCESS),
    ],
)
def test_what_a_stage_asks_of_one_that_it_waits_for(stage: dict[str, Any], tie: Tie) -> None:
    first = job(
        "a",
        results=[*OPTIONAL, {"name": "must", "type": "number"}],
        outputs=[{"name": "model", "path": "/out/model"}],
    )
    spec = PipelineSpec.model_validate(pipeline_spec(first, job("b", **stage)))
    assert validate(spec) == []
    assert wire(spec).ties["b"] == {"a": tie}
