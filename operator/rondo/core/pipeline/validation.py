"""What the CRD's schema and CEL rules cannot say of a pipeline: names, references, cycles, releases without a guard.

Each check is one function from the wiring to problems; their order is data. `Accepted=False` shows the first few
problems, `rondo lint` all of them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

import pydantic

from rondo.api.base import IDENTIFIER_PATTERN, Json, Model
from rondo.api.modeldeployment import ModelDeploymentSpec
from rondo.api.modelgraph import ModelGraphSpec
from rondo.api.pipeline import DeployKind, ForEach, Job, OnOOM, ParamType, PipelineSpec, Retry, Stage
from rondo.api.pipelinerun import PerItem
from rondo.core import expressions, references
from rondo.core.artifacts import parse_uri
from rondo.core.graph import nearest
from rondo.core.items import ItemsError, allowed_failures, file_of, mode_of
from rondo.core.pipeline import params
from rondo.core.pipeline.wiring import Expression, Tie, Wiring, expressions_of, references_of, wire
from rondo.core.problems import Problem, from_validation_error
from rondo.core.quantities import parse_quantity
from rondo.core.references import Found

Check = Callable[[Wiring], Iterable[Problem]]

RUN_FIELDS: Final = ("name", "namespace", "uid")
"""What `$(run.…)` can name; stages of `finally` also `state`."""

EXPRESSIONS_LIMIT: Final = 65_536
"""Characters of all expressions of a pipeline: to compile more would keep the operator from other work."""

VARIABLES: Final = ("params", "stages", "run")
"""The variables of expressions."""

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
    for name in (stage.name for stage in (*wiring.spec.stages, *wiring.spec.finally_)):
        word = expressions.cel_name(name)
        if word in expressions.KEYWORDS:
            yield Problem(f"{wiring.path(name)}.name", f"{name} is a keyword of CEL; choose another name")
        if seen.get(word) == name:
            yield Problem(f"spec.finally[{name}].name", f"{name} is also the name of one of spec.stages; rename one")
        elif word in seen:
            yield Problem(
                f"{wiring.path(name)}.name",
                f"{name} and {seen[word]} are both {word} in expressions; rename one of them",
            )
        seen[word] = name


def _needs(wiring: Wiring) -> Iterable[Problem]:
    for name, stage in wiring.stages.items():
        for field, others in (("needs", stage.needs), ("after", stage.after)):
            for other in others:
                wrong = _unknown_stage(other, name, wiring)
                if wrong:
                    yield Problem(f"{wiring.path(name)}.{field}", wrong)
                elif name in wiring.final and other not in wiring.final and field == "after":
                    yield Problem(f"{wiring.path(name)}.after", f"finally is after all stages anyway: remove {other}")


def _unknown_stage(other: str, name: str, wiring: Wiring) -> str:
    """Say what is wrong with a stage that another one names, or nothing."""
    if other not in wiring.stages:
        return f"there is no stage {other}{nearest(other, wiring.stages)}"
    if other in wiring.final and name not in wiring.final:
        return f"{other} is a stage of finally, which comes after all others"
    return ""


def _references(wiring: Wiring) -> Iterable[Problem]:
    for name, stage in wiring.stages.items():
        base = wiring.path(name)
        for found in references_of(stage, base):
            wrong = _misplaced(found, base) or _of_item(found, stage, base, wiring)
            if wrong:
                yield Problem(found.where, f"{found}: {wrong}")
    for result in wiring.spec.results:
        for found in references.find(result.value, f"spec.results[{result.name}].value"):
            wrong = _dangling(found.path, wiring, result.name)
            if wrong:
                yield Problem(found.where, f"{found}: {wrong}")


def _misplaced(found: Found, base: str) -> str:
    field = found.where.removeprefix(base)
    if field == ".job.script":
        return 'a script takes no references: put it into env, such as {name: VALUE, value: "…"}, and use "$VALUE"'
    if field in {".name", ".deploy.name", ".wait"} or field.startswith((".needs", ".after")):
        return "a name takes no references" if field != ".wait" else "a wait takes no references"
    if field == ".when" or (field.startswith(".gate.checks[") and field.endswith(".expression")):
        return f"an expression is CEL: write {'.'.join(map(expressions.cel_name, found.path))}"
    return ""


def _of_item(found: Found, stage: Stage, base: str, wiring: Wiring) -> str:
    """Check references to the item, and to a fan-out where one value is wanted; all others as usual."""
    path, field = found.path, found.where.removeprefix(base)
    if path[0] == "item":
        return _of_own_item(path, field, stage.for_each)
    wrong = _dangling(path, wiring, stage.name)
    if wrong or path[0] != "stages" or path[2] != "outputs" or wiring.stages[path[1]].for_each is None:
        return wrong
    if field.startswith(".inputs[") and any(str(found) == each.from_ for each in stage.inputs):
        return ""
    words = f"each item of {path[1]} has one: write stages.{path[1]}.best.outputs.{path[3]} for the best"
    return f"{words}, or take all of them as an input" if stage.job is not None else words


def _of_own_item(path: references.Path, field: str, for_each: ForEach | None) -> str:
    if for_each is None:
        return "only a stage with forEach has items"
    if field.startswith(".forEach"):
        return "the items themselves cannot refer to an item"
    if file_of(for_each) is not None:
        return "only the container reads the items, which are lines of a file: read the file $RONDO_ITEM"
    known = _item_keys(for_each)
    return "" if known is None or path[1] in known else f"an item has only {', '.join(sorted(known))}"


def _item_keys(for_each: ForEach) -> set[str] | None:
    """Give the keys that all items have, or None where only the run will tell."""
    if for_each.matrix is not None:
        return {*for_each.matrix, "index"}
    if for_each.items is None:
        return None
    objects = [set(item) for item in for_each.items if isinstance(item, dict)]
    if len(objects) < len(for_each.items):
        return {"value", "index"} if not objects else None
    return set.intersection(*objects) | {"index"} if objects else None


def _fan_outs(wiring: Wiring) -> Iterable[Problem]:
    for name, stage in wiring.stages.items():
        if stage.for_each is not None:
            yield from _fan_out(stage, stage.for_each, wiring, f"{wiring.path(name)}")


def _fan_out(stage: Stage, for_each: ForEach, wiring: Wiring, base: str) -> Iterable[Problem]:
    given = [field for field in ("items", "items_from", "matrix") if getattr(for_each, field) is not None]
    if len(given) != 1:
        yield Problem(f"{base}.forEach", "give exactly one of items, itemsFrom, matrix")
    if for_each.exclude and for_each.matrix is None:
        yield Problem(f"{base}.forEach.exclude", "it belongs to matrix")
    for name in for_each.matrix or ():
        if not re.fullmatch(IDENTIFIER_PATTERN, name):
            yield Problem(
                f"{base}.forEach.matrix.{name}", "a name has only letters, digits and _, and begins with no digit"
            )
    numbers = [r.name for r in stage.results if r.type in {ParamType.NUMBER, ParamType.INTEGER}]
    if for_each.best is not None and for_each.best.result not in numbers:
        words = f"there is no number {for_each.best.result} among the results{nearest(for_each.best.result, numbers)}"
        yield Problem(f"{base}.forEach.best.result", words)
    try:
        allowed_failures(for_each, 100)
    except ItemsError as error:
        yield Problem(f"{base}.forEach.maxFailed", str(error).partition(": ")[2])
    whole = references.find(for_each.items_from or "", f"{base}.forEach.itemsFrom")
    if for_each.items_from is not None and f"{next(whole, '')}" != for_each.items_from:
        yield Problem(f"{base}.forEach.itemsFrom", f"{for_each.items_from!r} is not one reference such as $(params.x)")
    retry = stage.retry or wiring.spec.defaults.retry
    if retry is not None and mode_of(stage) is PerItem.INDEX:
        yield from _retry_by_kubernetes(retry, base)


def _retry_by_kubernetes(retry: Retry, base: str) -> Iterable[Problem]:
    """Name what of a retry policy the Job controller does not know, which tries the indexes of one Job again."""
    default = Retry()
    for field, given in (("reasons", retry.reasons), ("onOOM", retry.on_oom)):
        if given:
            yield Problem(f"{base}.retry.{field}", f"it needs a Job for each item: {_HOW_TO_GET_JOBS}")
    if (retry.backoff, retry.max_backoff) != (default.backoff, default.max_backoff):
        words = f"Kubernetes waits 10s, doubled up to 10m, for an index of one Job: {_HOW_TO_GET_JOBS}"
        yield Problem(f"{base}.retry.backoff", words)


_HOW_TO_GET_JOBS: Final = "leave it out, or use $(item…) in the job, which gives each item a Job"


def _shell_text(wiring: Wiring) -> Iterable[Problem]:
    for name, stage in wiring.stages.items():
        if stage.job is None:
            continue
        command, args = stage.job.command or [], stage.job.args or []
        for index, found in references.in_shell_text([*command, *args]):
            where = f"command[{index}]" if index < len(command) else f"args[{index - len(command)}]"
            yield Problem(
                f"{wiring.path(name)}.job.{where}",
                f'{found} would be pasted into program text: put it into env and use "$VALUE"',
            )


def _dangling(path: references.Path, wiring: Wiring, where: str) -> str:
    """Say what is wrong with a reference, or nothing.

    Args:
        path: The reference.
        wiring: The pipeline.
        where: Name of the stage that refers, or of the result of the pipeline.
    """
    match path:
        case ("params", name):
            known = [param.name for param in wiring.spec.params]
            return "" if name in known else f"there is no parameter {name}{nearest(name, known)}"
        case ("run", name):
            fields = (*RUN_FIELDS, "state") if where in wiring.final else RUN_FIELDS
            return "" if name in fields else f"a run has only {', '.join(fields)} here"
        case ("stages", name, *rest):
            return _unknown_stage(name, where, wiring) or _dangling_stage(name, rest, wiring)
        case _:
            return "a pipeline refers to params.NAME, stages.NAME.results.KEY, stages.NAME.outputs.KEY or run.name"


def _dangling_stage(name: str, rest: list[str], wiring: Wiring) -> str:
    stage = wiring.stages[name]
    match rest:
        case ["results", key]:
            known = [result.name for result in stage.results]
            return "" if key in known else f"stage {name} declares no result {key}{nearest(key, known)}"
        case ["outputs", key]:
            known = [output.name for output in stage.outputs]
            return "" if key in known else f"stage {name} declares no output {key}{nearest(key, known)}"
        case ["state"]:
            return ""
        case [("best" | "stats" | "total" | "succeeded" | "failed" | "failedRatio"), *_]:
            return _dangling_item(stage, rest)
        case ["url"]:
            return "" if stage.deploy is not None else f"stage {name} is not a deploy stage and has no url"
        case _:
            return f"write stages.{name}.results.KEY, stages.{name}.outputs.KEY or stages.{name}.state"


def _dangling_item(stage: Stage, rest: list[str]) -> str:
    """Check what only a fan-out has."""
    for_each = stage.for_each
    if for_each is None:
        return f"stage {stage.name} has no forEach and so no {rest[0]}"
    results, outputs = [r.name for r in stage.results], [o.name for o in stage.outputs]
    match rest:
        case ["best", *_] if for_each.best is None:
            return f"stage {stage.name} says no forEach.best: add one, such as {{result: NAME}}"
        case ["best", "results" | "outputs" as part, key]:
            known = results if part == "results" else outputs
            return "" if key in known else f"stage {stage.name} declares no {key}{nearest(key, known)}"
        case ["best", "item", *_] | ["best", "index"] | [("total" | "succeeded" | "failed" | "failedRatio")]:
            return ""
        case ["stats", key, "count" | "min" | "max" | "sum" | "mean"]:
            return "" if key in results else f"stage {stage.name} declares no result {key}{nearest(key, results)}"
        case _:
            return "write best.results.KEY, stats.RESULT.{min,max,mean,sum,count}, total, succeeded or failed"


def _expressions(wiring: Wiring) -> Iterable[Problem]:
    size = sum(len(each.text) for stage in wiring.stages.values() for each in expressions_of(stage))
    if size > EXPRESSIONS_LIMIT:
        words = f"its expressions have {size} characters in all; {EXPRESSIONS_LIMIT} are allowed"
        yield Problem("spec.stages", words)
        return
    for name, stage in wiring.stages.items():
        for expression in expressions_of(stage, wiring.path(name)):
            yield from _expression(expression, wiring, name)


def _expression(expression: Expression, wiring: Wiring, stage: str) -> Iterable[Problem]:
    text = expression.text
    try:
        program = expressions.compile_expression(text)
    except expressions.ExpressionError as error:
        yield Problem(expression.where, str(error))
        return
    for path in sorted(expressions.paths_in(text)):
        wrong = _dangling(_with_hyphens(path, wiring), wiring, stage)
        if wrong:
            yield Problem(expression.where, wrong)
    for variable in sorted(set(program.variables()) - expressions.bound_in(text)):
        if variable not in VARIABLES:
            yield Problem(expression.where, f"there is no {variable}{nearest(variable, VARIABLES)}")
        elif expressions.is_opaque(text, variable):
            yield Problem(expression.where, f"write {variable}.NAME, so that it is known what it waits for")
    if not set(VARIABLES) & set(program.variables()):
        yield Problem(expression.where, "it depends on nothing: use params, stages or run")


def _with_hyphens(path: references.Path, wiring: Wiring) -> references.Path:
    """Turn a stage's name in CEL, where a hyphen is `_`, into its name."""
    if path[0] != "stages" or len(path) < 2:
        return path
    name = next((each for each in wiring.stages if expressions.cel_name(each) == path[1]), path[1])
    return ("stages", name, *path[2:])


def _cycle(wiring: Wiring) -> Iterable[Problem]:
    cycle = wiring.graph.cycle
    if cycle:
        yield Problem("spec.stages", f"stages wait for each other in a circle: {' -> '.join(cycle)}")


def _guards(wiring: Wiring) -> Iterable[Problem]:
    """An unreviewed release must be impossible by omission: each deploy waits for every gate that is not after it.

    What only has to end does not guard, so a chain counts where each stage of it has to succeed. `finally` is exempt.
    """
    if wiring.graph.cycle:
        return
    before = guarded_by(wiring)
    gates = [name for name in wiring.main if wiring.stages[name].gate is not None]
    for gate in gates:
        if not any(gate in before[other] for other in wiring.stages):
            yield Problem(
                f"spec.stages[{gate}]", f"no stage waits for this gate: add `needs: [{gate}]` to what it should guard"
            )
    for name in wiring.main:
        if wiring.stages[name].deploy is None:
            continue
        unguarded = [gate for gate in gates if gate not in before[name] and name not in wiring.graph.ancestors[gate]]
        for gate in unguarded:
            yield Problem(
                f"{wiring.path(name)}.needs", f"the deploy does not wait for gate {gate}: add {gate} to needs"
            )


def guarded_by(wiring: Wiring) -> dict[str, frozenset[str]]:
    """Give for each stage those without whose success it cannot start. The graph has to be acyclic."""
    found: dict[str, frozenset[str]] = {}
    for name in wiring.order:
        strict = frozenset(other for other, tie in wiring.ties[name].items() if tie is Tie.SUCCESS)
        found[name] = strict.union(*(found[other] for other in strict))
    return found


def _jobs(wiring: Wiring) -> Iterable[Problem]:
    for name, stage in wiring.stages.items():
        if stage.job is not None:
            yield from _job(stage, stage.job, wiring.spec, wiring.path(name))


def _job(stage: Stage, job: Job, spec: PipelineSpec, base: str) -> Iterable[Problem]:
    if not (job.image or spec.defaults.image):
        yield Problem(f"{base}.job.image", "give an image here or in spec.defaults.image")
    for result in stage.results:
        if result.default is not None and not params.has_type(result.default, result.type):
            yield Problem(f"{base}.results[{result.name}].default", params.type_error(result.default, result.type))
    yield from _input_places(stage, base)
    for output in stage.outputs:
        parts = [part for part in output.path.split("/") if part]
        if not parts or ".." in parts:
            yield Problem(f"{base}.outputs[{output.name}].path", f"{output.path} is not a path below /")
        elif parts[0] in SYSTEM_FOLDERS:
            yield Problem(
                f"{base}.outputs[{output.name}].path",
                f"a volume at /{parts[0]} would hide the image's own files: choose a folder of its own, such as /out",
            )
    if stage.retry is not None and stage.retry.on_oom is not None:
        yield from _more_memory(job, stage.retry.on_oom, base)


def _input_places(stage: Stage, base: str) -> Iterable[Problem]:
    """Check URIs that are written out; what a reference stands for is known only later."""
    for item in stage.inputs:
        if not any(references.find(item.from_, "")):
            try:
                parse_uri(item.from_)
            except ValueError as error:
                yield Problem(f"{base}.inputs[{item.path}].from", str(error))


def _more_memory(job: Job, policy: OnOOM, base: str) -> Iterable[Problem]:
    limit = job.resources.limits.get("memory")
    if limit is None:
        yield Problem(f"{base}.retry.onOOM", "there is no memory to raise: set job.resources.limits.memory")
        return
    for value, where in ((limit, f"{base}.job.resources.limits.memory"), (policy.max, f"{base}.retry.onOOM.max")):
        try:
            parse_quantity(str(value))
        except ValueError as error:
            if not list(references.find(value)):
                yield Problem(where, str(error))


def _deploys(wiring: Wiring) -> Iterable[Problem]:
    for name, stage in wiring.stages.items():
        if stage.deploy is not None and stage.deploy.spec is not None:
            yield from _deployed_spec(stage.deploy.kind, stage.deploy.spec, f"{wiring.path(name)}.deploy.spec")


_DEPLOYED: Final[Mapping[DeployKind, type[Model]]] = {
    DeployKind.MODEL_DEPLOYMENT: ModelDeploymentSpec,
    DeployKind.MODEL_GRAPH: ModelGraphSpec,
}


def _deployed_spec(kind: DeployKind, spec: Mapping[str, Json], base: str) -> Iterable[Problem]:
    """Check the fields of the target's spec, except where a reference still stands for a value.

    What the stage leaves out somebody else may set, so that something is missing only the API server can tell.
    """
    try:
        _DEPLOYED[kind].model_validate(spec)
    except pydantic.ValidationError as error:
        open_fields = tuple(found.where for found in references.find(spec, base))
        for problem in from_validation_error(error, base):
            field = problem.path.removeprefix(f"{base}.")
            left_out = field.isidentifier() and field not in spec
            if problem.path not in open_fields and not left_out:
                yield problem


CHECKS: Final[tuple[Check, ...]] = (
    _declarations, _names, _needs, _references, _fan_outs, _shell_text, _expressions, _cycle, _guards, _jobs, _deploys,
)  # fmt: skip
"""In the order in which a person should mend them."""


def as_values(run: Mapping[str, Any]) -> dict[str, Json]:
    """Give the values behind `run.…` of a PipelineRun."""
    metadata = run["metadata"]
    return {"name": metadata["name"], "namespace": metadata["namespace"], "uid": metadata["uid"]}
