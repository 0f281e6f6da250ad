"""What the CRD's schema and CEL rules cannot say of a pipeline: names, references, cycles, releases without a guard.

Each check is one function from the wiring to problems; their order is data. `Accepted=False` shows the first few
problems, `rondo lint` all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

import pydantic

from rondo.api.base import Json
from rondo.api.modeldeployment import ModelDeploymentSpec
from rondo.api.pipeline import Job, PipelineSpec, Stage
from rondo.core import expressions, references
from rondo.core.graph import nearest
from rondo.core.pipeline import params
from rondo.core.pipeline.wiring import Wiring, expressions_of, references_of, stage_path, wire
from rondo.core.problems import Problem, from_validation_error
from rondo.core.references import Found

Check = Callable[[Wiring], Iterable[Problem]]

RUN_FIELDS: Final = ("name", "namespace", "uid")
"""What `$(run.…)` can name."""

SYSTEM_FOLDERS: Final = frozenset({
    "bin", "boot", "dev", "etc", "home", "lib", "lib32", "lib64", "media", "mnt", "opt", "proc", "root", "run", "sbin",
    "srv", "sys", "tmp", "usr", "var", "rondo",
})  # fmt: skip
"""Folders of every image: a volume over one of them would hide what the program needs."""


def parse(raw: Mapping[str, Json]) -> tuple[PipelineSpec | None, list[Problem]]:
    """Read a spec and check its shape, as the API server does by the schema."""
    try:
        return PipelineSpec.model_validate(raw), []
    except pydantic.ValidationError as error:
        return None, from_validation_error(error, "spec")


def validate(spec: PipelineSpec) -> list[Problem]:
    """Find everything that is wrong with a pipeline."""
    wiring = wire(spec)
    return [problem for check in CHECKS for problem in check(wiring)]


def _declarations(wiring: Wiring) -> Iterable[Problem]:
    return params.declaration_problems(wiring.spec)


def _names(wiring: Wiring) -> Iterable[Problem]:
    seen: dict[str, str] = {}
    for name, stage in wiring.stages.items():
        word = expressions.cel_name(name)
        if word in expressions.KEYWORDS:
            yield Problem(f"{stage_path(stage)}.name", f"{name} is a keyword of CEL; choose another name")
        if word in seen:
            yield Problem(
                f"{stage_path(stage)}.name",
                f"{name} and {seen[word]} are both {word} in expressions; rename one of them",
            )
        seen[word] = name


def _needs(wiring: Wiring) -> Iterable[Problem]:
    for stage in wiring.spec.stages:
        for need in stage.needs:
            if need not in wiring.stages:
                yield Problem(f"{stage_path(stage)}.needs", f"there is no stage {need}{nearest(need, wiring.stages)}")


def _references(wiring: Wiring) -> Iterable[Problem]:
    for stage in wiring.spec.stages:
        for found in references_of(stage):
            wrong = _misplaced(found, stage) or _dangling(found.path, wiring)
            if wrong:
                yield Problem(found.where, f"{found}: {wrong}")
    for result in wiring.spec.results:
        for found in references.find(result.value, f"spec.results[{result.name}].value"):
            wrong = _dangling(found.path, wiring)
            if wrong:
                yield Problem(found.where, f"{found}: {wrong}")


def _misplaced(found: Found, stage: Stage) -> str:
    base = stage_path(stage)
    if found.where == f"{base}.job.script":
        return 'a script takes no references: put it into env, such as {name: VALUE, value: "…"}, and use "$VALUE"'
    if found.where in {f"{base}.name", f"{base}.deploy.name"} or found.where.startswith(f"{base}.needs"):
        return "a name takes no references"
    if ".gate.checks[" in found.where and found.where.endswith(".expression"):
        return f"an expression is CEL: write {'.'.join(map(expressions.cel_name, found.path))}"
    return ""


def _shell_text(wiring: Wiring) -> Iterable[Problem]:
    for stage in wiring.spec.stages:
        if stage.job is None:
            continue
        command, args = stage.job.command or [], stage.job.args or []
        for index, found in references.in_shell_text([*command, *args]):
            where = f"command[{index}]" if index < len(command) else f"args[{index - len(command)}]"
            yield Problem(
                f"{stage_path(stage)}.job.{where}",
                f'{found} would be pasted into program text: put it into env and use "$VALUE"',
            )


def _dangling(path: references.Path, wiring: Wiring) -> str:
    match path:
        case ("params", name):
            known = [param.name for param in wiring.spec.params]
            return "" if name in known else f"there is no parameter {name}{nearest(name, known)}"
        case ("run", name):
            return "" if name in RUN_FIELDS else f"a run has only {', '.join(RUN_FIELDS)}"
        case ("stages", name, *rest):
            return _dangling_stage(name, rest, wiring)
        case _:
            return "a pipeline refers to params.NAME, stages.NAME.results.KEY, stages.NAME.outputs.KEY or run.name"


def _dangling_stage(name: str, rest: list[str], wiring: Wiring) -> str:
    stage = wiring.stages.get(name)
    if stage is None:
        return f"there is no stage {name}{nearest(name, wiring.stages)}"
    match rest:
        case ["results", key]:
            known = [result.name for result in stage.results]
            return "" if key in known else f"stage {name} declares no result {key}{nearest(key, known)}"
        case ["outputs", key]:
            known = [output.name for output in stage.outputs]
            return "" if key in known else f"stage {name} declares no output {key}{nearest(key, known)}"
        case ["url"]:
            return "" if stage.deploy is not None else f"stage {name} is not a deploy stage and has no url"
        case _:
            return f"write stages.{name}.results.KEY or stages.{name}.outputs.KEY"


def _expressions(wiring: Wiring) -> Iterable[Problem]:
    by_word = {expressions.cel_name(name): name for name in wiring.stages}
    known = [param.name for param in wiring.spec.params]
    for stage in wiring.spec.stages:
        for expression in expressions_of(stage):
            yield from _expression(expression.where, expression.text, wiring, by_word, known)


def _expression(
    where: str, text: str, wiring: Wiring, by_word: Mapping[str, str], known: list[str]
) -> Iterable[Problem]:
    try:
        program = expressions.compile_expression(text)
    except expressions.ExpressionError as error:
        yield Problem(where, str(error))
        return
    for word, part, key in sorted(expressions.stages_in(text)):
        path = [p for p in (part, key) if p]
        wrong = _dangling_stage(by_word.get(word, word), path, wiring)
        if wrong:
            yield Problem(where, wrong)
    for name in sorted(expressions.params_in(text) - set(known)):
        yield Problem(where, f"there is no parameter {name}{nearest(name, known)}")
    if not {"params", "stages", "run"} & set(program.variables()):
        yield Problem(where, "it depends on nothing: use params, stages or run")


def _cycle(wiring: Wiring) -> Iterable[Problem]:
    cycle = wiring.graph.cycle
    if cycle:
        yield Problem("spec.stages", f"stages wait for each other in a circle: {' -> '.join(cycle)}")


def _guards(wiring: Wiring) -> Iterable[Problem]:
    """An unreviewed release must be impossible by omission: each deploy waits for every gate that is not after it."""
    if wiring.graph.cycle:
        return
    before = wiring.graph.ancestors
    gates = [stage.name for stage in wiring.spec.stages if stage.gate is not None]
    for gate in gates:
        if not any(gate in before[other] for other in wiring.stages):
            yield Problem(
                f"spec.stages[{gate}]", f"no stage waits for this gate: add `needs: [{gate}]` to what it should guard"
            )
    for stage in wiring.spec.stages:
        if stage.deploy is None:
            continue
        unguarded = [gate for gate in gates if gate not in before[stage.name] and stage.name not in before[gate]]
        for gate in unguarded:
            yield Problem(
                f"{stage_path(stage)}.needs", f"the deploy does not wait for gate {gate}: add {gate} to needs"
            )


def _jobs(wiring: Wiring) -> Iterable[Problem]:
    for stage in wiring.spec.stages:
        if stage.job is not None:
            yield from _job(stage, stage.job, wiring.spec)


def _job(stage: Stage, job: Job, spec: PipelineSpec) -> Iterable[Problem]:
    base = stage_path(stage)
    if not (job.image or spec.defaults.image):
        yield Problem(f"{base}.job.image", "give an image here or in spec.defaults.image")
    for output in stage.outputs:
        parts = [part for part in output.path.split("/") if part]
        if not parts or ".." in parts:
            yield Problem(f"{base}.outputs[{output.name}].path", f"{output.path} is not a path below /")
        elif parts[0] in SYSTEM_FOLDERS:
            yield Problem(
                f"{base}.outputs[{output.name}].path",
                f"a volume at /{parts[0]} would hide the image's own files: choose a folder of its own, such as /out",
            )


def _deploys(wiring: Wiring) -> Iterable[Problem]:
    for stage in wiring.spec.stages:
        if stage.deploy is None:
            continue
        base = f"{stage_path(stage)}.deploy.spec"
        yield from _deployed_spec(stage.deploy.spec, base)


def _deployed_spec(spec: Mapping[str, Json], base: str) -> Iterable[Problem]:
    """Check the fields of the target's spec, except where a reference still stands for a value."""
    try:
        ModelDeploymentSpec.model_validate(spec)
    except pydantic.ValidationError as error:
        open_fields = tuple(found.where for found in references.find(spec, base))
        for problem in from_validation_error(error, base):
            if problem.path not in open_fields:
                yield problem


CHECKS: Final[tuple[Check, ...]] = (
    _declarations, _names, _needs, _references, _shell_text, _expressions, _cycle, _guards, _jobs, _deploys,
)  # fmt: skip
"""In the order in which a person should mend them."""


def as_values(run: Mapping[str, Any]) -> dict[str, Json]:
    """Give the values behind `run.…` of a PipelineRun."""
    metadata = run["metadata"]
    return {"name": metadata["name"], "namespace": metadata["namespace"], "uid": metadata["uid"]}
