"""How the stages of a pipeline hang together: what each refers to, and the graph that follows.

Edges come from `needs`, from `$(stages.…)` references and from the text of CEL expressions; a list is not an order.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from rondo.api.base import Json
from rondo.api.pipeline import PipelineSpec, Stage
from rondo.core import expressions, references
from rondo.core.graph import Graph
from rondo.core.references import Found


@dataclass(frozen=True, slots=True)
class Expression:
    """A CEL expression and where it stands."""

    where: str
    text: str


@dataclass(frozen=True)
class Wiring:
    """A pipeline's spec with everything that is derived from it once.

    Attributes:
        spec: The spec.
        stages: Stages by name.
        graph: Each stage with the stages that it waits for; unknown names are left out.
    """

    spec: PipelineSpec
    stages: dict[str, Stage]
    graph: Graph


def wire(spec: PipelineSpec) -> Wiring:
    """Derive the graph of a pipeline. References to stages that do not exist are left out of it."""
    stages = {stage.name: stage for stage in spec.stages}
    by_cel_name = {expressions.cel_name(name): name for name in stages}
    needs = {name: frozenset(_needs(stage, by_cel_name)) & stages.keys() for name, stage in stages.items()}
    return Wiring(spec, stages, Graph(needs))


def stage_path(stage: Stage) -> str:
    """Give the field path of a stage; by name, since the order of the list means nothing."""
    return f"spec.stages[{stage.name}]"


def references_of(stage: Stage) -> Iterator[Found]:
    """Find all references of a stage, with their field paths."""
    return references.find(_as_json(stage), stage_path(stage))


def expressions_of(stage: Stage) -> Iterator[Expression]:
    """Give all CEL expressions of a stage, with their field paths."""
    if stage.gate is not None:
        for index, check in enumerate(stage.gate.checks):
            yield Expression(f"{stage_path(stage)}.gate.checks[{index}].expression", check.expression)


def _needs(stage: Stage, by_cel_name: dict[str, str]) -> Iterable[str]:
    yield from stage.needs
    yield from (found.path[1] for found in references_of(stage) if found.path[0] == "stages")
    for expression in expressions_of(stage):
        yield from (by_cel_name.get(name, name) for name, _, _ in expressions.stages_in(expression.text))


def _as_json(stage: Stage) -> dict[str, Json]:
    dumped: dict[str, Any] = stage.model_dump(mode="json", by_alias=True, exclude_none=True)
    return dumped
