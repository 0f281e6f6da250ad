"""The planner of routers: from all graphs of a namespace to the plan, and to what serves it.

It works on the ConfigMap, which the first graph that is accepted creates empty. A router without graphs is removed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final

from rondo.api.release import ReleaseStatus
from rondo.core import names
from rondo.core.deployment.objects import Change, compare
from rondo.core.graph import Graph
from rondo.core.modelgraph.compilation import compile_graph, with_port, with_revision
from rondo.core.modelgraph.credentials import credentials_in
from rondo.core.modelgraph.judge import SHARED_ROUTER, Accepted, Judge
from rondo.core.modelgraph.lost import target_of_graph
from rondo.core.modelgraph.part_names import graph_of, names_of
from rondo.core.modelgraph.parts import Entry, Parts, Shelf, Sources, build_parts, nested_in, refused_in
from rondo.core.modelgraph.surroundings import Surroundings, gather
from rondo.core.plan import Action, Delete, ListLive, Object, Plan, Ref, Resource
from rondo.core.resources import CONFIG_MAP, MODEL_GRAPH, SERVICE
from rondo.core.router.document import LIMIT, Document
from rondo.core.router.observed import Router, look_at_router, router_of_graph
from rondo.core.router.ports import assign
from rondo.core.router.render import KINDS, Wanted, build_objects, leads_to, port_of
from rondo.core.router.shelves import lent_shelf
from rondo.core.settings import PlannerSettings
from rondo.core.view import Key, View

AGAIN: Final = 2.0
"""Seconds until the next look after something could not be read, or is about to go."""

TOO_LARGE: Final = "with it the plan of all graphs of its router would have"
ANOTHER_WAY: Final = "make it smaller, or give it a router of its own (spec.router.own)"


@dataclass(frozen=True)
class RouterSnapshot:
    """One look at a router and all graphs of its namespace.

    Attributes:
        router: The router.
        graphs: All graphs of the namespace that are not about to go, by name.
        around: What they point at.
        objects: The router's objects, by kind.
        services: The Services of graphs, by graph.
        settings: The installation's settings.
        lent: What other routers have of graphs that come from there.
    """

    router: Router
    graphs: Mapping[str, Object]
    around: Surroundings
    objects: Mapping[Resource, Object]
    services: Mapping[str, Object]
    settings: PlannerSettings
    lent: Mapping[str, Shelf] = field(default_factory=dict)

    @property
    def namespace(self) -> str:
        """Namespace of the router."""
        return self.router.key.namespace

    @property
    def name(self) -> str:
        """Name of the router."""
        return self.router.key.name

    def serves(self, graph: str) -> bool:
        """Tell whether a graph is served here: it asks for that, or its Service still leads here."""
        if router_of_graph(self.graphs[graph]) == self.router.key:
            return True
        service = self.services.get(graph)
        return service is not None and leads_to(service) == self.name

    @property
    def ports(self) -> Mapping[str, int]:
        """The ports that graphs have here: by the plan, or should that be lost, by their Services."""
        known = {name: port for name, s in self.services.items() if leads_to(s) == self.name and (port := port_of(s))}
        return known | {name: e["port"] for name, e in self.router.document.entries.items() if "port" in e}


def observe_router(view: View, key: Key, settings: PlannerSettings) -> RouterSnapshot | None:
    """Look at a router; None if its ConfigMap is not there."""
    router = look_at_router(view, key)
    if router.config is None or names.ROUTER not in router.config["metadata"].get("labels", {}):
        return None
    graphs = [g for g in view.select(MODEL_GRAPH, key.namespace) if "deletionTimestamp" not in g["metadata"]]
    found = {kind: view.get(Ref(kind, key.namespace, key.name)) for kind in KINDS}
    services = {g["metadata"]["name"]: view.get(Ref(SERVICE, key.namespace, g["metadata"]["name"])) for g in graphs}
    own = {g["metadata"]["name"]: g["metadata"]["uid"] for g in graphs}
    around = gather(view, key.namespace, graphs, router.memory)
    return RouterSnapshot(
        router=router,
        graphs={graph["metadata"]["name"]: graph for graph in graphs},
        around=replace(around, entries=router.document.entries, uids=router.document.uids),
        objects={kind: thing for kind, thing in found.items() if thing is not None},
        services={name: s for name, s in services.items() if s is not None and names.controller_uid(s) == own[name]},
        settings=settings,
        lent={graph["metadata"]["name"]: lent_shelf(view, key, graph) for graph in graphs},
    )


def plan_router(snapshot: RouterSnapshot, now: datetime) -> Plan:
    """Plan a router.

    Args:
        snapshot: One look at it.
        now: The time of this look, timezone-aware UTC.
    """
    del now  # nothing of it depends on the time
    gone = {graph_of(part) for part in snapshot.router.document.entries} - snapshot.graphs.keys()
    if gone:  # That something is not in the store is no proof.
        live = ListLive(MODEL_GRAPH, snapshot.namespace, ())
        found = snapshot.router.memory.reads.get(live)
        if found is None:
            return Plan(reads=(live,))
        if found.error is not None or gone & {graph["metadata"]["name"] for graph in found.value if _stays(graph)}:
            return Plan(requeue_after=AGAIN)
    document = next_document(snapshot)
    if not _answers(document):
        return _remove(snapshot)
    declared = build_objects(_want(snapshot, document))
    changes = [change for change in _changes(snapshot, declared) if change is not None]
    again = AGAIN if any(change.apply is None for change in changes) else None
    left = tuple(_delete(snapshot, resource) for resource in snapshot.objects if resource not in declared)
    return Plan(actions=(*(c.apply for c in changes if c.apply is not None), *left), requeue_after=again)


def next_document(snapshot: RouterSnapshot) -> Document:
    """Say what the router shall serve.

    A graph that is accepted is compiled. One that is not keeps its part of the plan as it is, and one whose new part a
    router refused gets its former one back. What then points at a graph that is in no plan asks its Service.

    All graphs share one ConfigMap: if it would be too large, the largest of what is new is left, and all others go on.
    """
    refused = _refused(snapshot)
    while True:
        document = _document(snapshot, refused)
        if document.size <= LIMIT:
            return document
        document = replace(document, former={})  # needed only should a router refuse what comes in its place
        if document.size <= LIMIT or (largest := _largest_change(snapshot, document)) is None:
            return document
        words = f"{TOO_LARGE} {document.size} bytes, and a ConfigMap has at most {LIMIT}: {ANOTHER_WAY}"
        refused = {**refused, largest: (with_port(document.entries[largest], None)["revision"], words)}


def _largest_change(snapshot: RouterSnapshot, document: Document) -> str | None:
    """Give the largest part that is not in the plan as it stands, new graphs first; None if nothing is new."""
    before = snapshot.router.document.entries
    new = [name for name, entry in document.entries.items() if entry != before.get(name)]
    return max(new, key=lambda name: (name not in before, len(str(document.entries[name]))), default=None)


def _document(snapshot: RouterSnapshot, refused: Mapping[str, tuple[str, str]]) -> Document:
    """Say what the router shall serve, but for what is refused."""
    kept, former = _kept(snapshot, snapshot.router.document.entries), _former(snapshot)
    chosen, versions = _choose(snapshot, kept, former, refused)
    served = {name for name in chosen.keys() & snapshot.graphs.keys() if snapshot.serves(name)}
    ports, last = assign(served, snapshot.ports, snapshot.router.document.last_port)
    written = {name: with_port(chosen[name], ports.get(name)) for name in _with_nested(served, chosen)}
    whole = without_circles(written, kept)
    entries = closed(whole, snapshot.router.document.entries, snapshot.namespace)
    uids = {name: snapshot.graphs[graph_of(name)]["metadata"]["uid"] for name in entries}
    alone = {name: entry for name, entry in kept.items() if not _own_parts(entry)}
    replaced = {name: alone[name] for name, entry in entries.items() if name in alone and alone[name] != entry}
    former = {name: entry for name, entry in {**replaced, **former}.items() if entries.get(name, entry) != entry}
    # One whose graph is gone is not that version any more.
    versions = {name: version for name, version in versions.items() if name in entries and entries[name] == whole[name]}
    return Document("", entries, uids, refused, former, last, versions)


def _choose(
    snapshot: RouterSnapshot,
    kept: Mapping[str, Entry],
    former: Mapping[str, Entry],
    refused: Mapping[str, tuple[str, str]],
) -> tuple[dict[str, Entry], dict[str, str]]:
    """Give each graph the newest part that no router has refused, without its port, and which versions they are.

    A graph that makes releases has the parts that its status asks for.
    """
    judge = Judge(snapshot.around)
    chosen: dict[str, Entry] = {}
    versions: dict[str, str] = {}
    for name in snapshot.graphs:
        judgement = judge.judge(name)
        parts = _parts(snapshot, name, judgement if isinstance(judgement, Accepted) else None, refused)
        if parts is not None:
            chosen |= parts.entries
            versions |= parts.versions
            continue
        released = isinstance(judgement, Accepted) and judgement.spec.release is not None
        new = [compile_graph(judgement, None)] if isinstance(judgement, Accepted) and not released else []
        old = [with_port(entries[name], None) for entries in (kept, former) if name in entries]
        bad = refused.get(name, ("", ""))[0]
        entry = next((each for each in (*new, *old) if each["revision"] != bad), None)
        if entry is not None:
            own = [part for part in _own_parts(entry) if part in kept]
            chosen |= {name: entry, **{part: kept[part] for part in own}}
            known = snapshot.router.document.versions
            versions |= {part: known[part] for part in (name, *own) if part in known and entry not in new}
    return chosen, versions


def _parts(
    snapshot: RouterSnapshot, name: str, graph: Accepted | None, refused: Mapping[str, tuple[str, str]]
) -> Parts | None:
    """Give the parts of a graph that makes releases; without its candidate if a router has refused that."""
    thing = snapshot.graphs[name]
    said = thing.get("status", {}).get("release")
    if not thing["spec"].get("release") or not said:
        return None
    status = ReleaseStatus.model_validate(said)
    own = snapshot.router.document.shelf_of(name, thing["metadata"]["uid"])
    sources = Sources(name, graph, (own, snapshot.lent.get(name, Shelf())), snapshot.graphs)
    for candidate in (status.candidate, None) if graph is not None else (status.candidate,):
        parts = build_parts(status.model_copy(update={"candidate": candidate}), sources)
        if parts is not None and not refused_in(parts, refused):
            return parts
    return None


def _own_parts(entry: Entry) -> list[str]:
    return [part for part in names_of(entry["name"])[1:] if part in nested_in(entry)]


def _former(snapshot: RouterSnapshot) -> Mapping[str, Entry]:
    """Give what was served before of graphs that are still there, until all routers serve what came after it."""
    router = snapshot.router
    waiting = {}
    for name, entry in _kept(snapshot, router.document.former).items():
        served = set(router.served(name).values())
        if served != {router.document.entries.get(name, {}).get("revision")}:
            waiting[name] = entry
    return waiting


def without_circles(entries: Mapping[str, Entry], kept: Mapping[str, Entry]) -> dict[str, Entry]:
    """Give graphs that ask one another in a circle their former parts, or leave them out.

    Such a circle can only come of a new part of one graph and a former one of another.
    """
    left = dict(entries)
    while circle := _circle(left):
        changed = [name for name in circle if name in kept and left[name] != kept[name]]
        for name in set(changed or [name for name in circle if name not in kept] or circle):
            if name in changed:
                left[name] = kept[name]
            else:
                del left[name]
    return left


def _circle(entries: Mapping[str, Entry]) -> tuple[str, ...]:
    return Graph({name: frozenset(nested_in(entry)) & entries.keys() for name, entry in entries.items()}).cycle


def closed(entries: Mapping[str, Entry], known: Mapping[str, Entry], namespace: str) -> dict[str, Entry]:
    """Have what points at a graph that is not there ask its Service, as any server that is gone."""

    def node_of(entry: Entry, node: Entry) -> Entry:
        gone = node.get("graph")
        if gone is None or gone in entries:
            return node
        rest = {key: value for key, value in node.items() if key != "graph"}
        protocol = known.get(gone, entry)["protocol"]
        return {**rest, "target": target_of_graph(graph_of(gone), namespace, protocol)}

    made = {name: [node_of(entry, node) for node in entry["nodes"]] for name, entry in entries.items()}
    return {
        name: entry if made[name] == entry["nodes"] else with_revision({**entry, "nodes": made[name]})
        for name, entry in entries.items()
    }


def _kept(snapshot: RouterSnapshot, entries: Mapping[str, Entry]) -> Mapping[str, Entry]:
    """Give the parts of a plan that belong to graphs that are still there."""
    document = snapshot.router.document
    return {
        name: entry
        for name, entry in entries.items()
        if (graph := snapshot.graphs.get(graph_of(name))) and document.uids.get(name) == graph["metadata"]["uid"]
    }


def _with_nested(served: Iterable[str], chosen: Mapping[str, Entry]) -> Iterator[str]:
    """Give the graphs that are served and all that they point at, directly or through others."""
    open_, seen = sorted(served, reverse=True), set[str]()
    while open_:
        name = open_.pop()
        if name in chosen and name not in seen:
            seen.add(name)
            yield name
            open_ += nested_in(chosen[name])


def _refused(snapshot: RouterSnapshot) -> dict[str, tuple[str, str]]:
    """Give what no router takes, as revisions without ports: what was known before, and what pods say of this plan."""
    document = snapshot.router.document
    known = {name: told for name, told in document.refused.items() if graph_of(name) in snapshot.graphs}
    found = {name: told for name, told in known.items() if not told[1].startswith(TOO_LARGE)}  # it may fit by now
    for report in snapshot.router.reports.values():
        said = report.get("refused") or {}
        entry = document.entries.get(said.get("graph", ""))
        if entry is not None and said.get("revision") == document.revision:
            found[entry["name"]] = (with_port(entry, None)["revision"], str(said.get("message", ""))[:512])
    return found


def _answers(document: Document) -> list[str]:
    """Give the graphs of a plan that have a port."""
    return [name for name, entry in document.entries.items() if "port" in entry]


def _want(snapshot: RouterSnapshot, document: Document) -> Wanted:
    own = [snapshot.graphs[name] for name in _answers(document)]
    return Wanted(
        name=snapshot.name,
        namespace=snapshot.namespace,
        owners=own,
        data=document.data(),
        credentials=frozenset(c for entry in document.entries.values() for c in credentials_in(entry)),
        replicas=_replicas(snapshot, own),
        settings=snapshot.settings,
    )


def _changes(snapshot: RouterSnapshot, declared: Mapping[Resource, Object]) -> Iterator[Change | None]:
    for resource, body in declared.items():
        ref, found = Ref(resource, snapshot.namespace, snapshot.name), snapshot.objects.get(resource)
        ours = found is None or names.controller_uid(found) is None
        yield compare(ref, body, found, ours=ours, failure=snapshot.router.memory.failures.get(ref))


def _replicas(snapshot: RouterSnapshot, own: Iterable[Object]) -> int | None:
    if snapshot.name == SHARED_ROUTER:
        return None
    wanted: int | None = next(((graph["spec"].get("router") or {}).get("replicas") for graph in own), None)
    return wanted


def _remove(snapshot: RouterSnapshot) -> Plan:
    """Remove a router that has nothing to serve; the ConfigMap last, for with it goes the memory of the rest."""
    kinds = [kind for kind in reversed(KINDS) if kind != CONFIG_MAP]
    actions: list[Action] = [_delete(snapshot, kind) for kind in (*kinds, CONFIG_MAP) if kind in snapshot.objects]
    return Plan(actions=tuple(actions))


def _delete(snapshot: RouterSnapshot, resource: Resource) -> Delete:
    return Delete(Ref(resource, snapshot.namespace, snapshot.name), snapshot.objects[resource]["metadata"]["uid"])


def _stays(graph: Object) -> bool:
    return "deletionTimestamp" not in graph["metadata"]
