"""How graphs are looked at: which objects concern which graph, what is kept of them, and the snapshot."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any, Final

from rondo.api.modelgraph import ModelGraphStatus, TargetKind
from rondo.core import names
from rondo.core.deployment.controller import trim_metadata
from rondo.core.modelgraph.part_names import names_of
from rondo.core.modelgraph.snapshot import GraphSnapshot
from rondo.core.modelgraph.surroundings import gather, targets_of
from rondo.core.plan import Object, Ref
from rondo.core.resources import CONFIG_MAP, MODEL_DEPLOYMENT, MODEL_GRAPH, SERVICE
from rondo.core.router.observed import look_at_router, router_of_child, router_of_graph
from rondo.core.router.render import leads_to
from rondo.core.router.shelves import lent_shelf
from rondo.core.view import Key, View

_SERVICE_NAME: Final = "kubernetes.io/service-name"
_KEPT: Final = ("name", "namespace", "uid", "resourceVersion", "ownerReferences", "deletionTimestamp")


def observe_graph(view: View, key: Key) -> GraphSnapshot | None:
    """Look at a graph; None if it is not there."""
    owner = view.get(Ref(MODEL_GRAPH, key.namespace, key.name))
    if owner is None:
        return None
    memory = view.memory(key)
    router = look_at_router(view, router_of_graph(owner))
    around, document = gather(view, key.namespace, [owner], memory), router.document
    return GraphSnapshot(
        owner=owner,
        status=ModelGraphStatus.model_validate(owner.get("status", {})),
        around=replace(around, unusable=router.unusable, entries=document.entries, uids=document.uids),
        router=router,
        service=view.get(Ref(SERVICE, key.namespace, key.name)),
        memory=memory,
        lent=lent_shelf(view, router_of_graph(owner), owner),
        present=frozenset(
            graph["metadata"]["name"]
            for graph in view.select(MODEL_GRAPH, key.namespace)
            if "deletionTimestamp" not in graph["metadata"]
        ),
    )


# Who looks again when something changes ------------------------------------------------------------------------------


def graphs_over(kind: str, namespace: str, name: str, view: View) -> Iterator[Key]:
    """Give the graphs that point at an object, directly or through other graphs, and the routers that serve them."""
    graphs = tuple(view.select(MODEL_GRAPH, namespace))
    wanted, seen = [(kind, name)], set[str]()
    while wanted:
        at = wanted.pop()
        for graph in graphs:
            if graph["metadata"]["name"] not in seen and at in targets_of(graph):
                seen.add(graph["metadata"]["name"])
                wanted.append((TargetKind.MODEL_GRAPH.value, graph["metadata"]["name"]))
                yield Key(MODEL_GRAPH, namespace, graph["metadata"]["name"])
                yield router_of_graph(graph)


def graphs_of_target(thing: Object, view: View) -> Iterator[Key]:
    """Give the graphs and routers that a ModelDeployment, ModelGraph or Service concerns as a target."""
    metadata = thing["metadata"]
    yield from graphs_over(thing["kind"], metadata["namespace"], metadata["name"], view)


def graphs_of_graph(thing: Object, view: View) -> Iterator[Key]:
    """Give the graphs over a graph, and every router that serves it or may still do so."""
    metadata = thing["metadata"]
    yield from graphs_of_target(thing, view)
    yield router_of_graph(thing)
    service = view.get(Ref(SERVICE, metadata["namespace"], metadata["name"]))
    if service is not None and leads_to(service):
        yield Key(CONFIG_MAP, metadata["namespace"], leads_to(service))


def graphs_of_slice(thing: Object, view: View) -> Iterator[Key]:
    """Give the graphs and routers that an EndpointSlice concerns."""
    metadata = thing["metadata"]
    yield from graphs_over(SERVICE.kind, metadata["namespace"], metadata["labels"].get(_SERVICE_NAME, ""), view)


def graphs_of_runtime(thing: Object, view: View) -> Iterator[Key]:
    """Give the graphs over the ModelDeployments that name a ModelRuntime: what these speak may be known by it."""
    for deployment in view.select(MODEL_DEPLOYMENT, ""):
        if deployment["spec"].get("runtime") == thing["metadata"]["name"]:
            yield from graphs_of_target(deployment, view)


def graphs_of_router(thing: Object, view: View) -> Iterator[Key]:
    """Give the graphs that are served by the router to which an object belongs."""
    routers = set(router_of_child(thing))
    if not routers:
        return
    for graph in view.select(MODEL_GRAPH, thing["metadata"]["namespace"]):
        if router_of_graph(graph) in routers:
            yield Key(MODEL_GRAPH, graph["metadata"]["namespace"], graph["metadata"]["name"])


def graphs_counted(counts: Object, view: View) -> Iterator[Key]:
    """Give the graphs of which the router of a pod counts a release."""
    for graph in view.select(MODEL_GRAPH, counts["metadata"]["namespace"]):
        name = graph["metadata"]["name"]
        if any(part in counts.get("counts", {}) for part in names_of(name)[1:]):
            yield Key(MODEL_GRAPH, counts["metadata"]["namespace"], name)


def graph_of_service(service: Object) -> Iterable[Key]:
    """Give the graph that a Service belongs to by its label, and the router that it leads to."""
    labels, namespace = service["metadata"].get("labels", {}), service["metadata"]["namespace"]
    if names.MODEL_GRAPH in labels:
        yield Key(MODEL_GRAPH, namespace, labels[names.MODEL_GRAPH])
        if leads_to(service):
            yield Key(CONFIG_MAP, namespace, leads_to(service))


def service_of_slice(thing: Object) -> Iterable[Key]:
    """Give the Service under which an EndpointSlice is filed."""
    name = thing["metadata"].get("labels", {}).get(_SERVICE_NAME, "")
    if name:
        yield Key(SERVICE, thing["metadata"]["namespace"], name)


# What is kept --------------------------------------------------------------------------------------------------------


def trim_slice(thing: Object) -> Object:
    """Keep of an EndpointSlice whose it is and how many endpoints answer."""
    endpoints = thing.get("endpoints") or ()
    name = thing["metadata"].get("labels", {}).get(_SERVICE_NAME, "")
    metadata = {key: thing["metadata"][key] for key in ("name", "namespace", "uid", "resourceVersion")}
    ready = sum((endpoint.get("conditions") or {}).get("ready") is not False for endpoint in endpoints)
    return {"metadata": {**metadata, "labels": {_SERVICE_NAME: name}}, "ready": ready, "total": len(endpoints)}


def trim_service(thing: Object) -> Object:
    """Keep all of our Services, and of others whose they are and what ports they have."""
    metadata: dict[str, Any] = thing["metadata"]
    if metadata.get("labels", {}).get(names.MANAGED_BY) == names.MANAGER:
        return trim_metadata(thing)
    kept: dict[str, Any] = {key: metadata[key] for key in _KEPT if key in metadata}
    spec = thing.get("spec", {})
    ports = [{"port": port["port"]} for port in spec.get("ports") or ()]
    return {
        "apiVersion": thing["apiVersion"],
        "kind": thing["kind"],
        "metadata": kept,
        "spec": {"type": spec.get("type", "ClusterIP"), "ports": ports},
    }
