"""How the stages of a pipeline hang together: what each refers to, and the graph that follows.

Edges come from `needs`, from `after`, from `$(stages.…)` references and from the text of CEL expressions; a list is not
an order. How strict an edge is follows from where it comes from (`Tie`). `finally` stages come after all others; the
edges among them are the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import IntEnum
from functools import cached_property
from typing import Any

from rondo.api.base import Json
from rondo.api.pipeline import PipelineSpec, Stage
from rondo.core import expressions, references
from rondo.core.graph import Graph
from rondo.core.references import Found


class Tie(IntEnum):
    """What a stage asks of one that it waits for; of several reasons to wait the strictest counts.

    Attributes:
        END: That it has ended, whatever the outcome: `after`, and expressions that read its `state`.
        DEFAULT: The same, for results that have defaults; but a failure of the run is not for this stage to handle.
        SUCCESS: That it has succeeded: `needs`, and references to what only a success gives.
    """

    END = 1
    DEFAULT = 2
    SUCCESS = 3


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
        stages: All stages by name, those of `finally` last.
        final: Names of the stages of `finally`.
        ties: For each stage those that it waits for, and what it asks of each; unknown names are left out.
    """

    spec: PipelineSpec
    stages: dict[str, Stage]
    final: frozenset[str]
    ties: Mapping[str, Mapping[str, Tie]]

    @cached_property
    def graph(self) -> Graph:
        """All stages with the stages that each waits for; that `finally` comes after all others is not an edge."""
        return Graph({name: frozenset(ties) for name, ties in self.ties.items()})

    @cached_property
    def order(self) -> tuple[str, ...]:
        """All stages, each after what it waits for, those of `finally` last. The graph has to be acyclic."""
        order = self.graph.order
        return (*(n for n in order if n not in self.final), *(n for n in order if n in self.final))

    @cached_property
    def main(self) -> tuple[str, ...]:
        """All stages but those of `finally`, in order."""
        return tuple(name for name in self.order if name not in self.final)

    @cached_property
    def fan_outs(self) -> int:
        """Number of stages with forEach."""
        return sum(stage.for_each is not None for stage in self.stages.values())

    @cached_property
    def counted(self) -> frozenset[tuple[str, str]]:
        """Stage and name of the outputs whose lines are the items of a fan-out."""
        sources = (stage.for_each.items_from for stage in self.stages.values() if stage.for_each is not None)
        paths = (references.whole(source or "") for source in sources)
        return frozenset((p[1], p[3]) for p in paths if p is not None and len(p) == 4 and p[2] == "outputs")

    def path(self, name: str) -> str:
        """Give the field path of a stage; by name, since the order of the list means nothing."""
        return f"spec.{'finally' if name in self.final else 'stages'}[{name}]"

    def descendants(self, names: Iterable[str]) -> frozenset[str]:
        """Give these stages and all that wait for any of them, through any chain."""
        found = set(names)
        for name in self.order:
            if not found.isdisjoint(self.ties[name]):
                found.add(name)
        return frozenset(found)

    def ancestors(self, names: Iterable[str]) -> frozenset[str]:
        """Give these stages and all that they wait for, through any chain."""
        return frozenset(names).union(*(self.graph.ancestors[name] for name in names))

    def result_default(self, stage: str, result: str) -> Json:
        """Give the declared default of a stage's result, None if there is none."""
        declared = self.stages[stage].results
        return next((each.default for each in declared if each.name == result), None)


def wire(spec: PipelineSpec) -> Wiring:
    """Derive the graph of a pipeline. References to stages that do not exist are left out of it."""
    stages = {stage.name: stage for stage in (*spec.stages, *spec.finally_)}
    final = frozenset(stage.name for stage in spec.finally_)
    by_cel_name = {expressions.cel_name(name): name for name in stages}
    ties: dict[str, Mapping[str, Tie]] = {}
    for name, stage in stages.items():
        known = stages.keys() if name in final else stages.keys() - final
        ties[name] = _strictest(_ties(stage, stages, by_cel_name), known)
    return Wiring(spec, stages, final, ties)


def references_of(stage: Stage, base: str = "") -> Iterator[Found]:
    """Find all references of a stage, with their field paths below `base`."""
    return references.find(_as_json(stage), base)


def expressions_of(stage: Stage, base: str = "") -> Iterator[Expression]:
    """Give all CEL expressions of a stage, with their field paths below `base`."""
    if stage.when is not None:
        yield Expression(f"{base}.when", stage.when)
    if stage.gate is not None:
        for index, check in enumerate(stage.gate.checks):
            yield Expression(f"{base}.gate.checks[{index}].expression", check.expression)


def _ties(stage: Stage, stages: Mapping[str, Stage], by_cel_name: Mapping[str, str]) -> Iterable[tuple[str, Tie]]:
    yield from ((name, Tie.SUCCESS) for name in stage.needs)
    yield from ((name, Tie.END) for name in stage.after)
    for found in references_of(stage):
        if found.path[0] == "stages":
            yield found.path[1], _tie_of_value(stages.get(found.path[1]), found.path[2:])
    for expression in expressions_of(stage):
        yield from _ties_of_expression(expression.text, stages, by_cel_name)


def _ties_of_expression(
    text: str, stages: Mapping[str, Stage], by_cel_name: Mapping[str, str]
) -> Iterable[tuple[str, Tie]]:
    """An expression that reads the state of a stage can tell what it does without its results."""
    found = expressions.stages_in(text)
    by_state = {word for word, part, _ in found if part == "state"}
    for word, part, key in found:
        name = by_cel_name.get(word, word)
        yield name, Tie.END if word in by_state else _tie_of_value(stages.get(name), (part, key))


def _tie_of_value(stage: Stage | None, rest: tuple[str, ...]) -> Tie:
    if rest[:1] == ("state",):
        return Tie.END
    if stage is not None and len(rest) == 2 and rest[0] == "results":
        declared = next((result for result in stage.results if result.name == rest[1]), None)
        if declared is not None and declared.default is not None:
            return Tie.DEFAULT
    return Tie.SUCCESS


def _strictest(ties: Iterable[tuple[str, Tie]], known: Iterable[str]) -> dict[str, Tie]:
    allowed = set(known)
    found: dict[str, Tie] = {}
    for name, tie in ties:
        if name in allowed:
            found[name] = max(tie, found.get(name, tie))
    return found


def _as_json(stage: Stage) -> dict[str, Json]:
    dumped: dict[str, Any] = stage.model_dump(mode="json", by_alias=True, exclude_none=True)
    return dumped
