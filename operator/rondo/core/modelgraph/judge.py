"""Whether graphs can be accepted, together with all that they point at, and how their nodes are.

A graph that another points at is compiled into the same plan, so it has to be acceptable too; graphs that point at one
another in a circle are none of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from rondo.api.modelgraph import ModelGraphSpec, Target, TargetKind
from rondo.api.modelruntime import Protocol
from rondo.api.release import PinnedMember
from rondo.core.deployment.render import url as url_of
from rondo.core.modelgraph import validation
from rondo.core.modelgraph.credentials import credentials_of
from rondo.core.modelgraph.finding import Reason
from rondo.core.modelgraph.health import Health, health_of
from rondo.core.modelgraph.lost import Lost, find_lost
from rondo.core.modelgraph.members import Member, Missing, absent, find_server, no_adapter
from rondo.core.modelgraph.surroundings import Surroundings, targets_of
from rondo.core.modelgraph.topology import Topology
from rondo.core.modelgraph.versions import answering
from rondo.core.plan import Object
from rondo.core.problems import Problem, summarize
from rondo.core.recent import Recent
from rondo.core.resources import MODEL_GRAPH

SHARED_ROUTER: Final = "rondo-router"
"""Name of the router of a namespace, and of all that belongs to it."""


@dataclass(frozen=True)
class Refused:
    """A graph cannot be served as it is written.

    Attributes:
        reason: Why, in one word.
        message: Why, in words.
        patience: What is missing may come by itself, as in an apply of many objects in any order.
    """

    reason: str
    message: str
    patience: bool = False


@dataclass(frozen=True)
class Accepted:
    """A graph that can be served.

    Attributes:
        name: Its name.
        topology: Its nodes.
        members: Its targets, by node.
        health: How each node is.
        nested: The graphs that it points at, by node.
    """

    name: str
    topology: Topology
    members: Mapping[str, Member]
    health: Mapping[str, Health]
    nested: Mapping[str, str]

    @property
    def spec(self) -> ModelGraphSpec:
        """Its spec."""
        return self.topology.spec

    @property
    def entry(self) -> Health:
        """How its entry is, and so the graph as a whole."""
        return self.health[self.spec.entry]

    @property
    def lost(self) -> bool:
        """Whether a target that was there is not any more."""
        return any(self.members[name].reason == Reason.TARGET_NOT_FOUND for name in self.down)

    @property
    def down(self) -> tuple[str, ...]:
        """The nodes whose targets do not answer, in the order written."""
        return tuple(name for name in self.topology.nodes if name in self.members and not self.members[name].ready)


Judgement = Refused | Accepted
Pins = Mapping[str, tuple[PinnedMember, ...]]
"""Revisions that are asked, by the names of their ModelDeployments."""

_Static = tuple[Topology | None, tuple[Problem, ...]]

_CHECKED: Final[Recent[_Static]] = Recent(1024)
"""What the checks of a spec by itself gave, by uid and generation."""


@dataclass
class Judge:
    """Judges graphs, each once.

    Attributes:
        around: The graphs and what they point at.
    """

    around: Surroundings
    _known: dict[str, Judgement] = field(default_factory=dict)

    def judge(self, name: str) -> Judgement:
        """Judge a graph that is there."""
        if name not in self._known:
            self._known[name] = self._judge(name)
        return self._known[name]

    def _judge(self, name: str) -> Judgement:
        graph = self.around.get(MODEL_GRAPH, name)
        assert graph is not None  # noqa: S101 - only graphs that were found are asked for
        topology, problems = checked(graph)
        if topology is None or problems:
            return Refused(Reason.INVALID_SPEC, summarize(problems))
        circle = self._circle(name)
        if circle:
            return Refused(Reason.INVALID_SPEC, f"graphs ask one another in a circle: {' -> '.join(circle)}")
        pins = answering(graph) if topology.spec.release is not None else {}
        members: dict[str, Member] = {}
        missing: list[tuple[Problem, Missing]] = []
        for node, target in _targets(topology):
            found = self._find(target, topology.spec.protocol, pins)
            if isinstance(found, Missing):
                found = (
                    find_lost(graph, Lost(node, target, found, pins.get(target.name or "", ())), self.around) or found
                )
            wrong = found if isinstance(found, Missing) else _no_adapter(topology.spec.protocol, found)
            if isinstance(wrong, Missing):
                field_ = f".{wrong.field}" if wrong.field else ""
                missing.append((Problem(f"{topology.paths[node]}.target{field_}", wrong.message), wrong))
            elif isinstance(found, Member):
                members[node] = found
        if missing:
            return _refuse(missing)
        nested = {node: target.name or "" for node, target in _targets(topology) if self._is_nested(target)}
        return Accepted(name, topology, members, health_of(topology, members), nested)

    def _is_nested(self, target: Target) -> bool:
        return _is_graph(target) and self.around.get(MODEL_GRAPH, target.name or "") is not None

    def _circle(self, name: str) -> list[str]:
        """Give a way from a graph over others back to it; empty if there is none."""
        ways, seen = [[name]], set[str]()
        while ways:
            way = ways.pop()
            graph = self.around.get(MODEL_GRAPH, way[-1])
            for kind, to in targets_of(graph or {}):
                if kind == TargetKind.MODEL_GRAPH and to == name:
                    return [*way, name]
                if kind == TargetKind.MODEL_GRAPH and to not in seen:
                    seen.add(to)
                    ways.append([*way, to])
        return []

    def _find(self, target: Target, spoken: Protocol, pins: Pins) -> Member | Missing:
        name = target.name or ""
        if not _is_graph(target):
            asked = pins.get(name, ()) if target.kind is TargetKind.MODEL_DEPLOYMENT else ()
            return self._let_in(target, find_server(target, spoken, self.around, asked))
        graph = self.around.get(MODEL_GRAPH, name)
        if graph is None:
            return absent(TargetKind.MODEL_GRAPH, name, self.around)
        judgement = self.judge(name)
        if isinstance(judgement, Refused):
            return Missing(Reason.TARGET_NOT_ACCEPTED, f"ModelGraph {name} is not accepted: {judgement.message}")
        entry = judgement.entry
        words = "" if entry.ready else f"ModelGraph {name}: {entry.message}"
        return Member(entry.ready, entry.reason, words, url_of(graph), judgement.spec.protocol)

    def _let_in(self, target: Target, found: Member | Missing) -> Member | Missing:
        """Say of a server that answers that the router has nothing to show it, or to know it by, if so."""
        wrong = [words for c in credentials_of(target) if (words := self.around.unusable.get(c.file))]
        if isinstance(found, Member) and found.ready and wrong:
            return replace(found, ready=False, reason=Reason.CREDENTIAL_UNUSABLE, message=wrong[0])
        return found


def checked(graph: Object) -> _Static:
    """Check a graph by itself; its topology if its spec can be read, and its problems."""
    metadata = graph["metadata"]
    return _CHECKED.get((metadata["uid"], metadata["generation"]), None, lambda: _check(graph))


def _check(graph: Object) -> _Static:
    spec, problems = validation.parse(graph["spec"])
    if spec is None:
        return None, tuple(problems)
    problems = validation.validate(spec)
    if spec.router.own and own_router(graph["metadata"]["name"]) == SHARED_ROUTER:
        words = f"a router of its own would be named {SHARED_ROUTER} as that of the namespace; name the graph otherwise"
        problems.append(Problem("spec.router.own", words))
    return Topology(spec), tuple(problems)


def own_router(graph: str) -> str:
    """Name the router of a graph that has one of its own."""
    return f"{graph}-router"


def _targets(topology: Topology) -> Iterator[tuple[str, Target]]:
    yield from ((name, node.target) for name, node in topology.nodes.items() if node.target is not None)


def _is_graph(target: Target) -> bool:
    return target.url is None and target.kind is TargetKind.MODEL_GRAPH


def _no_adapter(spoken: Protocol, member: Member) -> Missing | None:
    """Say that the graph and a target cannot understand each other, if so."""
    words = no_adapter(spoken, member.protocol)
    return Missing(Reason.INVALID_SPEC, words, "") if words else None


def _refuse(missing: list[tuple[Problem, Missing]]) -> Refused:
    """Refuse a graph: for good if anything is wrong that does not come by itself."""
    final = [each for each in missing if each[1].reason == Reason.INVALID_SPEC]
    worst = (final or missing)[0][1]
    return Refused(worst.reason, summarize([problem for problem, _ in missing]), patience=not final)
