"""Routers and steps of an InferenceGraph become nodes of a ModelGraph.

- Switch and Splitter: a `switch` and a `split`; a condition becomes CEL over what the router was asked.
- Ensemble: `parallel`, whose answers stand under the names of the steps as KServe has them.
- Sequence: a `sequence`. A step with a condition ends it where the condition is not met, and the last answer is the
  answer then; that is a `fallback` whose first answer is accepted unless the condition holds:
  `[a, b if c]` becomes `fallback: [{node: a, accept: not c}, {node: b}]`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias, assert_never

from rondo.api.modelgraph import MAX_NODES
from rondo.api.modelruntime import Protocol
from rondo.core.expressions import ExpressionError, cel_name, compile_expression
from rondo.kserve.conditions import negated, translate
from rondo.kserve.findings import Report
from rondo.kserve.gjson import ConditionError
from rondo.kserve.inferencegraph import ROOT, Router, RouterType, Step
from rondo.kserve.inputs import GRAPH, Input, answer_of, following, mapped
from rondo.kserve.names import node_name
from rondo.kserve.services import Service, Services, target_of_url

Routers: TypeAlias = Mapping[str, Router]
NodeJson: TypeAlias = dict[str, Any]

_PER_CENT: Final = 100
_HOST: Final = re.compile(r"https?://([^/.:]+)")


class TooLargeError(Exception):
    """A graph becomes more nodes than there may be."""


@dataclass(frozen=True)
class Asked:
    """A router that is asked.

    Attributes:
        router: It.
        input: What it is asked.
        above: The routers that are being asked, to find circles.
    """

    router: Router
    input: Input
    above: tuple[str, ...]


class Writer:
    """Writes the nodes of a graph.

    Attributes:
        nodes: What was written: the entry first, each node before those that it asks.
        reached: The routers that requests come to.
    """

    def __init__(
        self,
        routers: Routers,
        protocol: Protocol,
        services: Services,
        report: Report,
        *,
        namespace: str,
        timeout: str | None,
    ) -> None:
        self.nodes: list[NodeJson] = []
        self.reached: set[str] = set()
        self._routers = routers
        self._protocol = protocol
        self._services = services
        self._namespace = namespace
        self._timeout = timeout
        self._report = report
        self._names: set[str] = set()

    def write_root(self) -> None:
        """Write the router that answers requests, and all that it asks.

        Raises:
            TooLargeError: There are too many.
        """
        self._write_router(self._open(ROOT), ROOT, GRAPH, ())

    def _open(self, wanted: str) -> NodeJson:
        """Begin a node."""
        if len(self.nodes) >= MAX_NODES:
            raise TooLargeError
        node: NodeJson = {"name": node_name(wanted, self._names)}
        self.nodes.append(node)
        return node

    def _write_router(self, node: NodeJson, name: str, asked: Input, above: tuple[str, ...]) -> None:
        router = self._routers[name]
        if name in above:
            self._report.problem(router.path, f"nodes ask one another in a circle: {' -> '.join((*above, name))}")
            return
        self.reached.add(name)
        now = Asked(router, asked, (*above, name))
        match router.type:
            case RouterType.SEQUENCE:
                self._write_sequence(node, now)
            case RouterType.SWITCH:
                self._write_switch(node, now)
            case RouterType.SPLITTER:
                self._write_split(node, now)
            case RouterType.ENSEMBLE:
                self._write_ensemble(node, now)
            case _:
                assert_never(router.type)

    # A step ----------------------------------------------------------------------------------------------------------

    def _write_step(self, step: Step, asked: Asked, *, given: Input, wanted: Input) -> NodeJson:
        """Write a step.

        Args:
            step: It.
            asked: The router that it belongs to.
            given: What it would be asked without a mapping.
            wanted: What it is to be asked.
        """
        node = self._open(step.name or step.node or step.service or _host_of(step.url))
        if step.node:
            self._write_router(node, step.node, wanted, asked.above)
        else:
            node["target"] = self._target(step, node)
            if self._timeout:
                node["timeout"] = self._timeout
        if wanted.body != given.body:
            node["request"] = {"body": wanted.body}
        return node

    def _target(self, step: Step, node: NodeJson) -> dict[str, Any]:
        if step.service:
            return self._services.get(step.service, Service(step.service)).target()
        try:
            target = target_of_url(step.url, self._namespace)
        except ValueError as error:
            self._report.problem(f"{step.path}.serviceUrl", str(error))
            return {}
        if "url" not in target:
            words = (
                f"Service {target['name']} of the graph's own namespace is asked as such, so that status tells whether "
                f"it answers: it has to have port {target['port']}"
            )
            self._report.note(f"{step.path}.serviceUrl", words, place=_place(node))
        return target

    def _condition(self, step: Step, base: str) -> str:
        """Write the condition of a step; one that cannot be written is a problem."""
        try:
            written = translate(step.condition, base)
            compile_expression(written)
        except (ConditionError, ExpressionError) as error:
            self._report.problem(f"{step.path}.condition", f"{step.condition!r}: {error}")
            return "false"
        return written

    # Sequence --------------------------------------------------------------------------------------------------------

    def _write_sequence(self, node: NodeJson, asked: Asked) -> None:
        first = asked.router.steps[0]
        if first.condition:
            words = "KServe answers every request with 500, since there is no answer to look at yet: the step is taken"
            self._report.note(f"{first.path}.condition", words, place=_place(node))
        self._note_soft(node, asked)
        if len(asked.router.steps) > 1 and asked.router.steps[1].condition:
            self._write_choice(node, asked, 0, given=asked.input, last=None)
        else:
            node["sequence"] = self._chain(asked, 0, given=asked.input, last=None)

    def _chain(self, asked: Asked, start: int, *, given: Input, last: Input | None) -> list[str]:
        """Write the steps from one on; gives the names of what is asked one after the other.

        Args:
            asked: The sequence.
            start: Index of the step.
            given: What the step would be asked without a mapping.
            last: The answer before it.
        """
        names: list[str] = []
        steps = asked.router.steps
        for index in range(start, len(steps)):
            if index + 1 < len(steps) and steps[index + 1].condition:
                node = self._open(f"{steps[index].label}-unless")
                self._write_choice(node, asked, index, given=given, last=last)
                return [*names, node["name"]]
            node = self._write_step(steps[index], asked, given=given, wanted=self._wanted(steps[index], asked, last))
            names.append(node["name"])
            skipped = not steps[index].hard and index + 1 < len(steps)
            if skipped:
                node["onError"] = "Skip"
            last = answer_of(node["name"], sure=not skipped, instead=asked.input)
            given = following(last, self._protocol)
        return names

    def _wanted(self, step: Step, asked: Asked, last: Input | None) -> Input:
        """Give what a step is asked in KServe."""
        if last is None or step.data != "$response":
            if step.data not in {"", "$request", "$response"}:
                words = f"{step.data!r}: KServe knows $request and $response only, and sends what the node was asked"
                self._report.note(f"{step.path}.data", words)
            if step.maps:
                words = "is left out: it is translated where data is $response only"
                self._report.note(f"{step.path}.mapPredictionsToInstances", words)
            return asked.input
        if not step.maps or self._protocol not in {Protocol.KSERVE_V1, Protocol.JSON}:
            return last
        words = "the request has to have predictions; of other fields KServe drops all"
        self._report.note(f"{step.path}.mapPredictionsToInstances", words, place="spec.nodes")
        return mapped(last, asked.input)

    def _write_choice(self, node: NodeJson, asked: Asked, index: int, *, given: Input, last: Input | None) -> None:
        """Write a step and those after it, of which the first has a condition."""
        steps = asked.router.steps
        step, then = steps[index], steps[index + 1]
        node["fallback"] = []
        first = self._write_step(step, asked, given=given, wanted=self._wanted(step, asked, last))
        name = first["name"]
        guard = self._open(f"if-{then.label}")
        answered = f"nodes.{cel_name(name)}"
        node["fallback"] = [
            {"node": name, "accept": negated(self._condition(then, "response.body"))},
            {"node": guard["name"]},
        ]
        after = answer_of(name, sure=False, instead=asked.input)
        met = self._condition(then, after.base)
        when = f"has({answered}) && {answered}.status < 300.0 && {met}"
        guard["switch"] = [{"when": when, "node": self._rest(asked, index + 1, given=given, last=after)}]
        words = f"a sequence that ends unless the condition is met, written as a fallback from what {name} answers"
        self._report.note(f"{then.path}.condition", words, place=_place(node))

    def _rest(self, asked: Asked, start: int, *, given: Input, last: Input) -> str:
        """Write the rest of a sequence; gives the name of its only node."""
        steps = asked.router.steps
        if start + 1 == len(steps) or steps[start + 1].condition:
            return self._chain(asked, start, given=given, last=last)[0]
        node = self._open(f"{asked.above[-1]}-rest")
        node["sequence"] = self._chain(asked, start, given=given, last=last)
        return str(node["name"])

    def _note_soft(self, node: NodeJson, asked: Asked) -> None:
        steps = asked.router.steps
        ended = [steps[index].label for index in range(len(steps) - 1) if steps[index + 1].condition]
        soft = [step.label for step in steps[:-1] if not step.hard]
        skipped = [label for label in soft if label not in ended]
        if skipped:
            words = f"{', '.join(skipped)}: if it cannot be reached, the sequence goes on; KServe ends it with 500"
            self._report.note(f"{asked.router.path}.steps", f"Soft steps {words}", place=_place(node))
        kept = [label for label in soft if label in ended]
        if kept:
            words = "an answer that is no success ends the sequence; KServe looks for the next condition in it"
            self._report.note(
                f"{asked.router.path}.steps", f"Soft steps {', '.join(kept)}: {words}", place=_place(node)
            )

    # Switch and Splitter ---------------------------------------------------------------------------------------------

    def _write_switch(self, node: NodeJson, asked: Asked) -> None:
        cases = node["switch"] = []
        for step in asked.router.steps:
            if not step.condition:
                words = "a step without condition is never taken in KServe: left out"
                self._report.note(step.path, words, place=_place(node))
                continue
            when = asked.input.where(self._condition(step, asked.input.base))
            child = self._write_step(step, asked, given=asked.input, wanted=asked.input)
            cases.append({"when": when, "node": child["name"]})
        if not cases:
            self._report.problem(f"{asked.router.path}.steps", "no step of the switch has a condition")
        self._note_unused(node, asked, weight=True)
        status = "404, as in KServe, with another body" if len(asked.above) == 1 else "404; KServe answers 500 here"
        words = f"what no condition takes gets {status}; a last case without when would take it"
        self._report.note(asked.router.path, words, place=_place(node))

    def _write_split(self, node: NodeJson, asked: Asked) -> None:
        steps = asked.router.steps
        if [step for step in steps if step.weight is None]:
            self._report.problem(f"{asked.router.path}.steps", "each step of a Splitter needs a weight")
        total = sum(step.weight or 0 for step in steps)
        if total != _PER_CENT:
            self._report.problem(f"{asked.router.path}.steps", f"the weights add up to {total}, must be {_PER_CENT}")
        shares = [
            {
                "node": self._write_step(step, asked, given=asked.input, wanted=asked.input)["name"],
                "weight": step.weight,
            }
            for step in steps
        ]
        node["split"] = {"to": shares}
        self._note_unused(node, asked, condition=True)

    # Ensemble --------------------------------------------------------------------------------------------------------

    def _write_ensemble(self, node: NodeJson, asked: Asked) -> None:
        steps = asked.router.steps
        node["parallel"] = {"nodes": [], "combine": {"method": "Map"}}
        called: dict[str, str] = {}
        for index, step in enumerate(steps):
            child = self._write_step(step, asked, given=asked.input, wanted=asked.input)
            if not step.hard:
                child["onError"] = "Skip"
            called[child["name"]] = step.name or str(index)
        node["parallel"]["nodes"] = list(called)
        hard = {name for name, step in zip(called, steps, strict=True) if step.hard}
        renamed = any(name != key for name, key in called.items())
        if renamed:
            node["response"] = {"body": _answers(called, hard)}
        self._note_ensemble(node, asked, renamed=renamed)
        self._note_unused(node, asked, condition=True, weight=True)

    def _note_ensemble(self, node: NodeJson, asked: Asked, *, renamed: bool) -> None:
        path = asked.router.path
        soft = [step.label for step in asked.router.steps if not step.hard]
        hard = [step.label for step in asked.router.steps if step.hard]
        if soft:
            there = "its answer stands there as in KServe, or null" if renamed else "it is left out"
            words = (
                f"Soft steps {', '.join(soft)}: of one that fails {there}, and at least one has to succeed; KServe "
                "answers 200 with the bodies of errors, and 500 if one does not answer or is no object"
            )
            self._report.note(f"{path}.steps", words, place=_place(node))
        if hard:
            words = f"Hard steps {', '.join(hard)}: a 5xx becomes 502 here; KServe passes status and body on"
            self._report.note(f"{path}.steps", words, place=_place(node))

    def _note_unused(self, node: NodeJson, asked: Asked, *, condition: bool = False, weight: bool = False) -> None:
        """Tell of what KServe does not look at in a router of this type."""
        type_ = asked.router.type
        for step in asked.router.steps:
            if condition and step.condition:
                words = f"means nothing in a {type_}, in KServe neither: left out"
                self._report.note(f"{step.path}.condition", words, place=_place(node))
            if weight and step.weight is not None:
                words = f"means nothing in a {type_}, in KServe neither: left out"
                self._report.note(f"{step.path}.weight", words, place=_place(node))
            if step.maps or step.data not in {"", "$request"}:
                words = f"data and mapPredictionsToInstances mean nothing in a {type_}: each step is asked the same"
                self._report.note(step.path, words, place=_place(node))


def _answers(called: Mapping[str, str], hard: set[str]) -> str:
    """Write the answers of nodes under the names that KServe gives them."""
    return "{" + ", ".join(_answer(name, key, sure=name in hard) for name, key in called.items()) + "}"


def _answer(name: str, key: str, *, sure: bool) -> str:
    known = f"nodes.{cel_name(name)}"
    value = f"{known}.body" if sure else f"has({known}) ? {known}.body : null"
    return f"{_quoted(key)}: {value}"


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def _place(node: NodeJson) -> str:
    return f"spec.nodes[{node['name']}]"


def _host_of(url: str) -> str:
    found = _HOST.match(url)
    return found[1] if found else "url"
