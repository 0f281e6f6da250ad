"""`rondo lint`: what it finds, where, and what it says of the examples."""

from __future__ import annotations

from pathlib import Path

import pytest

from rondo.cli import linter
from rondo.cli.manifests import parse

ROOT = Path(__file__).resolve().parents[3]

PIPELINE = """\
apiVersion: rondo.dev/v1alpha1
kind: Pipeline
metadata: {name: p}
spec:
  params:
    - {name: rate, type: number, default: 0.1}
  stages:
    - name: train
      job: {image: x, command: [train]}
      results: [{name: auc, type: number}]
    - name: quality
      gate: {checks: [{expression: stages.train.results.auc > 0.9, message: bad}]}
    - name: release
      needs: [quality]
      deploy: {name: m, spec: {runtime: sklearn}}
"""


def found(text: str) -> list[str]:
    return [str(each) for each in linter.check(parse(text, "f.yaml")).findings]


def test_nothing_is_wrong() -> None:
    report = linter.check(parse(PIPELINE, "f.yaml"))
    assert (report.findings, report.summary) == ((), "1 object checked: no problem")


CHANGES = {
    "an unknown field": ("image: x,", "imgae: x,", "9: Pipeline/p: spec.stages[0].job.imgae: there is no such field"),
    "a default of another type": ("default: 0.1", "default: [1]", "6: Pipeline/p: spec.params[rate].default: "),
    "an unknown need": (
        "needs: [quality]",
        "needs: [qualty]",
        "14: Pipeline/p: spec.stages[release].needs: there is no stage qualty (did you mean quality?)",
    ),
    "two kinds in a stage, a rule of the schema": (
        "    - name: quality\n",
        "    - name: quality\n      job: {image: x}\n",
        "11: Pipeline/p: spec.stages[quality]: a stage has exactly one of job, gate, deploy",
    ),
    "script beside command": (
        "command: [train]",
        "command: [train], script: x",
        "9: Pipeline/p: spec.stages[train].job: give either script, or command and args",
    ),
    "a name twice": (
        "- name: quality",
        "- name: train",
        "11: Pipeline/p: spec.stages[1]: name 'train' stands in this list already",
    ),
    "a stage that needs itself, blamed by the rule's field": (
        "needs: [quality]",
        "needs: [release]",
        "14: Pipeline/p: spec.stages[release].needs: a stage cannot need itself",
    ),
    "a need twice": (
        "needs: [quality]",
        "needs: [quality, quality]",
        "14: Pipeline/p: spec.stages[release].needs[1]: 'quality' stands in this list already",
    ),
    "a name that is too long for runs": (
        "{name: p}",
        "{name: " + "p" * 46 + "}",
        "3: Pipeline/" + "p" * 46 + ": metadata.name: at most 45 characters, only a-z, 0-9 and '-': "
        "runs are named PIPELINE-GENERATION",
    ),
    "no name": ("metadata: {name: p}", "metadata: {}", "3: document 1: metadata.name: give a name"),
    "no spec": (PIPELINE[PIPELINE.index("spec:") :], "", "1: Pipeline/p: spec: "),
    "a field beside spec": ("spec:\n", "extra: 1\nspec:\n", "4: Pipeline/p: extra: there is no such field"),
    "a kind that is not": ("kind: Pipeline", "kind: Pipline", "2: Pipline/p: kind: there is no kind Pipline (did you "),
    "a version that is not": (
        "/v1alpha1",
        "/v9",
        "1: Pipeline/p: apiVersion: it is rondo.dev/v9, must be rondo.dev/v1alpha1",
    ),
}


@pytest.mark.parametrize(("old", "new", "want"), CHANGES.values(), ids=CHANGES.keys())
def test_one_problem(old: str, new: str, want: str) -> None:
    assert old in PIPELINE
    lines = found(PIPELINE.replace(old, new, 1))
    assert any(line.startswith(f"f.yaml:{want}") for line in lines), lines


def test_all_problems_are_found_at_once_in_the_order_of_lines() -> None:
    text = PIPELINE.replace("needs: [quality]", "needs: [nobody]").replace("train.results", "trian.results")
    lines = found(text)
    assert len(lines) >= 4
    assert [int(line.split(":")[1]) for line in lines] == sorted(int(line.split(":")[1]) for line in lines)
    assert any("stages.train" in line or "trian" in line for line in lines)
    assert any("no stage waits for this gate" in line for line in lines)


def test_a_pipeline_within_a_run_is_checked_too() -> None:
    spec = PIPELINE[PIPELINE.index("spec:\n") + 6 :].replace("needs: [quality]", "needs: [nobody]")
    inner = "".join(f"    {line}\n" for line in spec.splitlines())
    head = "apiVersion: rondo.dev/v1alpha1\nkind: PipelineRun\nmetadata: {name: r}\nspec:\n  pipeline:\n    spec:\n"
    lines = found(head + inner)
    assert any(": PipelineRun/r: spec.pipeline.spec.stages[release].needs: there is no" in line for line in lines)


def test_rules_look_at_the_object_after_defaults_and_skip_transitions() -> None:
    text = "apiVersion: rondo.dev/v1alpha1\nkind: PipelineRun\nmetadata: {name: r}\nspec: {pipeline: {name: p}}\n"
    assert found(text) == []
    assert found(text.replace("{name: p}", "{}")) == [
        "f.yaml:4: PipelineRun/r: spec.pipeline: give exactly one of name and spec"
    ]


def test_other_kinds_are_passed_over_and_counted() -> None:
    report = linter.check(parse("apiVersion: v1\nkind: Secret\n---\napiVersion: v1\nkind: Pod\n---\n", "f"))
    assert report.summary == "nothing to check: no object of rondo.dev, 2 documents of other kinds passed over"
    both = linter.check(parse(f"{PIPELINE}---\nkind: Pod\n", "f"))
    assert both.summary == "1 object checked, 1 document of other kinds passed over: no problem"


def test_problems_are_counted() -> None:
    report = linter.check(parse("a: [1\n", "f"))
    assert report.summary == "0 objects checked: 1 problem"


def test_what_the_project_ships_is_right() -> None:
    report = linter.lint([ROOT / "manifests", ROOT / "charts" / "rondo" / "runtimes"])
    assert [str(each) for each in report.findings] == []
    assert report.checked >= 3
