"""A namespace in memory, the operator's store with its real routes, and the planners of graphs and routers on it.

Whatever changes wakes those whom the routes name, until nothing is written any more. Pods and what they tell are put by
the tests.
"""

from __future__ import annotations

import copy
import itertools
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, assert_never

from rondo.core import names
from rondo.core.modelgraph.controller import observe_graph
from rondo.core.modelgraph.planner import plan_graph
from rondo.core.plan import (
    Action,
    Apply,
    Create,
    Delete,
    EventDraft,
    Failure,
    GetLive,
    ListLive,
    MergePatch,
    Object,
    Plan,
    Read,
    ReadResult,
    Ref,
    Resource,
)
from rondo.core.render.overlay import overlay
from rondo.core.resources import BY_KIND, CONFIG_MAP, MODEL_GRAPH, POD
from rondo.core.router.document import PLAN_KEY
from rondo.core.router.observed import ROUTER_COUNTS, ROUTER_REPORT
from rondo.core.router.planner import observe_router, plan_router
from rondo.core.settings import PlannerSettings
from rondo.core.view import Key
from rondo.runtime.store import Store
from rondo.shell.wiring import child_routes, primary_routes, told_routes
from tests.unit.core.modelgraph.builders import CREATED, NAMESPACE, Body

START = datetime(2026, 11, 1, 12, 0, 10, tzinfo=UTC)
ROUTER = "rondo-router"
_UIDS = itertools.count(1)


class CrashError(Exception):
    """The operator's process ends before a write."""


@dataclass
class World:
    """All objects, what happened to them, and the operator that looks at them.

    Attributes:
        writes_left: So many writes succeed before the process ends; None for all.
    """

    now: datetime = START
    settings: PlannerSettings = field(default_factory=PlannerSettings)
    objects: dict[Ref, Body] = field(default_factory=dict)
    refusals: dict[Resource, Failure] = field(default_factory=dict)
    writes: list[str] = field(default_factory=list)
    events: list[EventDraft] = field(default_factory=list)
    store: Store = field(init=False)
    writes_left: int | None = None
    _woken: dict[Key, None] = field(default_factory=dict)
    _counter: Iterator[int] = field(default_factory=lambda: itertools.count(100))

    def __post_init__(self) -> None:
        routes = [*primary_routes(), *child_routes(), *(route for routes, _ in told_routes() for route in routes)]
        self.store = Store(routes)

    # Tests' hands -----------------------------------------------------------------------------------------------------

    def put(self, *bodies: Mapping[str, Any]) -> None:
        """Create objects, or replace their spec as `kubectl apply` does."""
        for body in bodies:
            ref = ref_of(body)
            there, thing = self.objects.get(ref), copy.deepcopy(dict(body))
            if there is not None:
                thing["metadata"] = {**there["metadata"], **thing["metadata"]}
                changed = thing.get("spec") != there.get("spec")
                thing["metadata"]["generation"] = there["metadata"].get("generation", 1) + changed
                thing["metadata"]["uid"] = there["metadata"]["uid"]
                thing.setdefault("status", there.get("status", {}))
            else:  # An uid is never used again, also not in another test: what was checked of one is remembered.
                thing["metadata"]["uid"] = f"{thing['metadata'].get('uid', 'uid')}-{next(_UIDS)}"
            self._store(ref, thing)

    def remove(self, resource: Resource, name: str) -> None:
        """Delete an object, and as the garbage collector does what belongs to nobody any more."""
        thing = self.objects.pop(Ref(resource, NAMESPACE, name))
        self._wake(self.store.remove(resource, self._versioned(thing)))
        live = {each["metadata"]["uid"] for each in self.objects.values()}
        for ref, each in list(self.objects.items()):
            owners = each["metadata"].get("ownerReferences", ())
            if ref in self.objects and owners and not {owner["uid"] for owner in owners} & live:
                self.remove(ref.resource, ref.name)

    def model(
        self,
        name: str,
        *,
        ready: bool = True,
        protocol: str = "OpenAI",
        message: str = "",
        reason: str = "CrashLoop",
        revision: str = "",
        kept: Mapping[str, int] | None = None,
    ) -> None:
        """Put a ModelDeployment, with the revision that is rolled out and the pods of those that are kept."""
        said = {"type": "Available", "status": "True" if ready else "False", "reason": "Answering"}
        why = {
            "type": "Ready",
            "status": said["status"],
            "reason": "Ready" if ready else reason,
            "message": message,
        }
        body = {
            "apiVersion": "rondo.dev/v1alpha1",
            "kind": "ModelDeployment",
            "metadata": {"name": name, "namespace": NAMESPACE, "uid": f"uid-{name}", "generation": 1},
            "spec": {"runtime": "r"},
            "status": {
                "protocol": protocol,
                "conditions": [said, why],
                "observedGeneration": 1,
                **({"revision": revision} if revision else {}),
                "revisions": [{"name": f"{name}-{hash_}", "hash": hash_} for hash_ in {revision, *(kept or {})} - {""}],
                "kept": [{"hash": hash_, "ready": pods} for hash_, pods in (kept or {}).items()],
            },
        }
        self.put(body)

    def service(self, name: str, *, port: int = 8080, ready: int | None = 1, total: int = 1) -> None:
        """Put a Service of somebody's with an EndpointSlice; without `ready` it has none."""
        metadata = {"name": name, "namespace": NAMESPACE, "uid": f"uid-service-{name}"}
        self.put({"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": {"ports": [{"port": port}]}})
        if ready is not None:
            self.endpoints(name, ready=ready, total=total)

    def endpoints(self, name: str, *, ready: int, total: int = 1) -> None:
        labels = {"kubernetes.io/service-name": name}
        metadata = {"name": f"{name}-1", "namespace": NAMESPACE, "uid": f"uid-slice-{name}", "labels": labels}
        ends = [{"addresses": [f"10.0.0.{i}"], "conditions": {"ready": i < ready}} for i in range(total)]
        api = "discovery.k8s.io/v1"
        self.put({"apiVersion": api, "kind": "EndpointSlice", "metadata": metadata, "endpoints": ends})

    def routers(self, count: int = 2, *, ready: bool = True, router: str = ROUTER) -> None:
        """Put pods of a router."""
        for number in range(1, count + 1):
            labels = {names.MANAGED_BY: names.MANAGER, names.ROUTER: router}
            name = f"{router}-{number}"
            metadata = {"name": name, "namespace": NAMESPACE, "uid": f"uid-{name}", "labels": labels}
            container = {"name": "router", "image": "r", "ready": ready, "restartCount": 0, "state": {"running": {}}}
            status = {
                "phase": "Running",
                "conditions": [{"type": "Ready", "status": str(ready)}],
                "containerStatuses": [container],
                "podIP": f"10.1.0.{number}",
            }
            self.put({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "status": status})

    def tell(
        self,
        *,
        pods: int = 2,
        router: str = ROUTER,
        refused: Body | None = None,
        unusable: Mapping[str, str] | None = None,
        **graphs: str,
    ) -> None:
        """Let pods of a router tell what they serve; by default the plan as it is."""
        serves = graphs or {entry["name"]: entry["revision"] for entry in self.plan(router)["graphs"]}
        for number in range(1, pods + 1):
            pod = self.objects[Ref(POD, NAMESPACE, f"{router}-{number}")]
            line = {"revision": "r", "graphs": serves, "refused": refused, "demand": {}, "unusable": unusable or {}}
            thing = {**line, "metadata": {**pod["metadata"], "resourceVersion": str(next(self._counter))}}
            self._wake(self.store.put(ROUTER_REPORT, thing))

    def count(self, graph: str, *, pods: int = 2, **sides: Mapping[str, Any]) -> None:
        """Let pods of the router tell what they have counted for the step that is planned, `old` and `new`."""
        counts = {}
        for side, counted in sides.items():
            epoch = self.entry(f"{graph}.{side}")["counted"]
            counts[f"{graph}.{side}"] = {"epoch": epoch, "requests": 0, "errors": 0, **counted}
        for number in range(1, pods + 1):
            pod = self.objects[Ref(POD, NAMESPACE, f"{ROUTER}-{number}")]
            thing = {"counts": counts, "metadata": {**pod["metadata"], "resourceVersion": str(next(self._counter))}}
            self._wake(self.store.put(ROUTER_COUNTS, thing))
        self.settle()

    def serve(self, router: str = ROUTER) -> None:
        """Settle, and be routers for whom all goes well."""
        self.settle()
        self.routers(router=router)
        self.tell(router=router)
        self.settle()

    def restart(self) -> None:
        """Be another process: know nothing but what is there, and look at everything."""
        self.store = Store([*primary_routes(), *child_routes(), *(r for routes, _ in told_routes() for r in routes)])
        self._woken.clear()
        for ref, thing in self.objects.items():
            self._wake(self.store.put(ref.resource, self._versioned(thing)))

    def pass_time(self, **length: float) -> None:
        self.now += timedelta(**length)
        self._wake(Key(MODEL_GRAPH, NAMESPACE, ref.name) for ref in self.objects if ref.resource == MODEL_GRAPH)

    # What there is ----------------------------------------------------------------------------------------------------

    def get(self, resource: Resource, name: str) -> Body | None:
        return self.objects.get(Ref(resource, NAMESPACE, name))

    def plan(self, router: str = ROUTER) -> Body:
        """Give the plan of a router."""
        config = self.get(CONFIG_MAP, router)
        assert config is not None, f"no ConfigMap {router}"
        return decoded(config["data"][PLAN_KEY])

    def entry(self, name: str, router: str = ROUTER) -> Body:
        return next(entry for entry in self.plan(router)["graphs"] if entry["name"] == name)

    def status(self, name: str) -> Body:
        status: Body = self.objects[Ref(MODEL_GRAPH, NAMESPACE, name)].get("status", {})
        return status

    def condition(self, name: str, type_: str) -> Body:
        return next((c for c in self.status(name).get("conditions", ()) if c["type"] == type_), {})

    def says(self, name: str, type_: str) -> str:
        """Give status and reason of a condition in one word, empty if it is absent."""
        found = self.condition(name, type_)
        return f"{found['status']}/{found['reason']}" if found else ""

    def node(self, name: str, node: str) -> Body:
        return next(each for each in self.status(name)["nodes"] if each["name"] == node)

    # The runtime in small ---------------------------------------------------------------------------------------------

    def settle(self) -> None:
        """Look at whatever was woken until nothing is."""
        for _ in range(300):
            if not self._woken:
                return
            key = next(iter(self._woken))
            del self._woken[key]
            self._reconcile(key)
        raise AssertionError(f"never settles: {self.writes[-12:]}")

    def _reconcile(self, key: Key) -> None:
        self.store.begin(key)
        plan = self._plan(key)
        for _ in range(3):
            if plan is None or not plan.reads:
                break
            self.store.remember_reads(key, {read: self._read(read) for read in plan.reads})
            plan = self._plan(key)
        if plan is None:
            self.store.drop(key)
            return
        assert not plan.reads
        ref = Ref(key.resource, key.namespace, key.name)
        if plan.status is not None:
            self.writes.append(f"status {key.name}")
            self._store(ref, {**self.objects[ref], "status": copy.deepcopy(dict(plan.status))}, but=key)
        for action in plan.actions:
            self._act(key, action)
        self.events.extend(plan.events)
        if plan.requeue_after == 0.0:
            self._wake([key])

    def _plan(self, key: Key) -> Plan | None:
        if key.resource == MODEL_GRAPH:
            graph = observe_graph(self.store, key)
            return None if graph is None else plan_graph(graph, self.now)
        router = observe_router(self.store, key, self.settings)
        return None if router is None else plan_router(router, self.now)

    def _read(self, read: Read) -> ReadResult:
        if isinstance(read, GetLive):
            return ReadResult(self.now, self.objects.get(read.ref))
        assert isinstance(read, ListLive)
        return ReadResult(self.now, tuple(t for ref, t in self.objects.items() if ref.resource == read.resource))

    def _act(self, key: Key, action: Action) -> None:
        failure = self.refusals.get(action.ref.resource)
        if failure is not None:
            if action.ref not in self.store.memory(key).failures:
                self._wake([key])
            self.store.remember_failure(key, action.ref, failure)
            return
        self.store.remember_success(key, action.ref)
        verb, there = type(action).__name__.lower(), self.objects.get(action.ref)
        match action:
            case Create(ref, body):
                if there is None:
                    self._store(ref, copy.deepcopy(dict(body)))
            case Apply(ref, body):
                merged = dict(body) if there is None else overlay(there, body)
                merged["metadata"] = {**merged["metadata"], "ownerReferences": body["metadata"]["ownerReferences"]}
                self._store(ref, copy.deepcopy(merged))
            case Delete(ref, uid):
                assert there is not None
                assert there["metadata"]["uid"] == uid
                self.remove(ref.resource, ref.name)
            case MergePatch(ref, uid, body):
                assert there is not None
                assert there["metadata"]["uid"] == uid
                self._store(ref, {**there, "spec": {**there["spec"], **body["spec"]}})
            case _:
                assert_never(action)
        self.writes.append(f"{verb} {action.ref.resource.kind} {action.ref.name}")

    def _store(self, ref: Ref, thing: Body, *, but: Key | None = None) -> None:
        if self.writes_left is not None:
            if not self.writes_left:
                raise CrashError
            self.writes_left -= 1
        metadata = thing["metadata"]
        metadata.setdefault("uid", f"uid-{next(self._counter)}")
        metadata.setdefault("generation", 1)
        metadata.setdefault("creationTimestamp", CREATED)
        self.objects[ref] = thing
        self._wake(key for key in self.store.put(ref.resource, self._versioned(thing)) if key != but)

    def _versioned(self, thing: Object) -> Body:
        return {**thing, "metadata": {**thing["metadata"], "resourceVersion": str(next(self._counter))}}

    def _wake(self, keys: Any) -> None:
        self._woken |= dict.fromkeys(key for key in keys if key.resource in {MODEL_GRAPH, CONFIG_MAP})


def ref_of(thing: Mapping[str, Any]) -> Ref:
    return Ref(BY_KIND[thing["kind"]], thing["metadata"].get("namespace", ""), thing["metadata"]["name"])


def decoded(text: str) -> Body:
    found: Body = json.loads(text)
    return found
