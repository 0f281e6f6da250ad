"""What a graph points at, directly or through other graphs, as one look found it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from rondo.api.modelgraph import TargetKind
from rondo.core.graph import nearest
from rondo.core.plan import GetLive, Memory, Object, Ref, Resource
from rondo.core.resources import ENDPOINT_SLICE, MODEL_DEPLOYMENT, MODEL_GRAPH, MODEL_RUNTIME, SERVICE
from rondo.core.view import Key, View

RESOURCES: Final[Mapping[str, Resource]] = {
    TargetKind.MODEL_DEPLOYMENT: MODEL_DEPLOYMENT,
    TargetKind.MODEL_GRAPH: MODEL_GRAPH,
    TargetKind.SERVICE: SERVICE,
}


@dataclass(frozen=True)
class Surroundings:
    """Graphs and what they point at.

    Attributes:
        namespace: Where all of them are.
        things: What was found, by reference: graphs, ModelDeployments, Services, ModelRuntimes.
        slices: EndpointSlices by Service, as the route trims them.
        hints: For what is not there, ` (did you mean X?)`, or nothing.
        unsure: Reads that tell whether what was not seen is really not there.
        unusable: Credentials that the router cannot use, by their file there, and why.
        entries: Parts of the router's plan, by name.
        uids: Whose these are: uids of graphs, by name of the part.
    """

    namespace: str
    things: Mapping[Ref, Object]
    slices: Mapping[str, tuple[Object, ...]] = field(default_factory=dict)
    hints: Mapping[Ref, str] = field(default_factory=dict)
    unsure: tuple[GetLive, ...] = ()
    unusable: Mapping[str, str] = field(default_factory=dict)
    entries: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    uids: Mapping[str, str] = field(default_factory=dict)

    def get(self, resource: Resource, name: str) -> Object | None:
        """Give an object; a ModelRuntime is in no namespace."""
        return self.things.get(Ref(resource, self.namespace if resource.namespaced else "", name))


def gather(view: View, namespace: str, roots: Iterable[Object], memory: Memory) -> Surroundings:
    """Find everything that graphs point at.

    Args:
        view: What is known.
        namespace: That of the graphs.
        roots: The graphs.
        memory: Live reads that were made of what the view does not know.
    """
    things: dict[Ref, Object] = {}
    missing: dict[Ref, None] = {}
    open_ = [Ref(MODEL_GRAPH, namespace, root["metadata"]["name"]) for root in roots]
    while open_:
        ref = open_.pop()
        if ref in things or ref in missing:
            continue
        found = view.get(ref) or _read(ref, memory)
        if found is None:
            missing[ref] = None
            continue
        things[ref] = found
        open_.extend(_points_at(ref, found))
    services = [ref.name for ref in things if ref.resource == SERVICE]
    slices = {name: tuple(view.children(ENDPOINT_SLICE, Key(SERVICE, namespace, name))) for name in services}
    return Surroundings(
        namespace,
        things,
        slices,
        {ref: _hint(view, ref) for ref in missing},
        tuple(GetLive(ref) for ref in missing if GetLive(ref) not in memory.reads),
    )


def targets_of(graph: Object) -> Iterator[tuple[str, str]]:
    """Give kind and name of what a graph points at, of any form that the API server may have kept.

    A release may ask ModelDeployments that the spec does not name, or not any more.
    """
    for node in graph.get("spec", {}).get("nodes", ()):
        target: Mapping[str, Any] = node.get("target") or {}
        if "name" in target:
            yield target.get("kind", TargetKind.MODEL_DEPLOYMENT.value), target["name"]
    yield from ((TargetKind.MODEL_DEPLOYMENT.value, member["name"]) for member in pinned_members(graph))


def pinned_members(graph: Object) -> Iterator[Mapping[str, Any]]:
    """Give the members of what is served and of the candidate, of any form that was ever written."""
    release: Mapping[str, Any] = graph.get("status", {}).get("release") or {}
    for part in ("served", "candidate"):
        yield from (release.get(part) or {}).get("members", ())


def _points_at(ref: Ref, thing: Object) -> Iterator[Ref]:
    if ref.resource == MODEL_GRAPH:
        yield from (Ref(RESOURCES[kind], ref.namespace, name) for kind, name in targets_of(thing) if kind in RESOURCES)
    elif ref.resource == MODEL_DEPLOYMENT and thing["spec"].get("runtime"):
        yield Ref(MODEL_RUNTIME, "", thing["spec"]["runtime"])


def _read(ref: Ref, memory: Memory) -> Object | None:
    result = memory.reads.get(GetLive(ref))
    found: Object | None = None if result is None else result.value
    return found


def _hint(view: View, ref: Ref) -> str:
    if ref.resource == SERVICE:  # There are many, and of strangers: none is proposed.
        return ""
    return nearest(ref.name, [thing["metadata"]["name"] for thing in view.select(ref.resource, ref.namespace)])
