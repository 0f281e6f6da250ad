"""A cluster in memory for one operator process: enough of the API server's rules to reconcile until nothing is left.

Server-side apply merges by the same keys as the API server, adds defaults and counts generations. Pods are put and
taken by the tests; `observe` does the Deployment controller's counting.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, assert_never

from rondo.core import names
from rondo.core.deployment.controller import deployment_of_child, observe_deployment
from rondo.core.deployment.planner import plan_deployment
from rondo.core.deployment.revision import REVISION
from rondo.core.deployment.snapshot import is_ready
from rondo.core.plan import (
    Action,
    Apply,
    Create,
    Delete,
    EventDraft,
    EventsAbout,
    Failure,
    GetLive,
    Memory,
    MergePatch,
    Object,
    Plan,
    ReadResult,
    Ref,
    Resource,
)
from rondo.core.render.overlay import overlay
from rondo.core.resources import BY_KIND, CONTROLLER_REVISION, DEPLOYMENT, MODEL_DEPLOYMENT, MODEL_RUNTIME, POD, SERVICE
from rondo.core.settings import PlannerSettings
from rondo.core.view import Key
from tests.unit.core.deployment.builders import CREATED, NAMESPACE, READY, modeldeployment, runtime

START = datetime(2026, 11, 1, 12, 0, 10, tzinfo=UTC)
KEY = Key(MODEL_DEPLOYMENT, NAMESPACE, "digits")


@dataclass
class World:
    """All objects, what happened to them, and the operator that looks at them."""

    objects: dict[Ref, dict[str, Any]] = field(default_factory=dict)
    now: datetime = START
    settings: PlannerSettings = field(default_factory=PlannerSettings)
    pod_events: tuple[dict[str, Any], ...] = ()
    refusals: dict[Resource, Failure] = field(default_factory=dict)
    rewrites: dict[str, str] = field(default_factory=dict)
    writes: list[str] = field(default_factory=list)
    events: list[EventDraft] = field(default_factory=list)
    plans: list[Plan] = field(default_factory=list)
    _memory: Memory = field(default_factory=Memory)
    _counter: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    # View -------------------------------------------------------------------------------------------------------------

    def get(self, ref: Ref) -> Object | None:
        return self.objects.get(ref)

    def children(self, resource: Resource, owner: Key) -> Iterable[Object]:
        return [thing for thing in self.of_kind(resource) if owner in deployment_of_child(thing)]

    def select(self, resource: Resource, namespace: str) -> Iterable[Object]:
        return [t for t in self.of_kind(resource) if namespace in {"", t["metadata"].get("namespace")}]

    def memory(self, _key: Key) -> Memory:
        return self._memory

    # Tests' hands -----------------------------------------------------------------------------------------------------

    def put(self, body: Mapping[str, Any], **metadata: Any) -> dict[str, Any]:
        """Create an object, or replace its spec as `kubectl apply` does."""
        ref = ref_of(body)
        there = self.objects.get(ref)
        if there is not None:
            self._change(ref, spec=copy.deepcopy(body["spec"]))
            return self.objects[ref]
        thing = copy.deepcopy(dict(body))
        thing["metadata"] |= {
            "uid": f"uid-{next(self._counter)}",
            "generation": 1,
            "creationTimestamp": CREATED,
            **metadata,
        }
        self.objects[ref] = thing
        return thing

    def edit(self, resource: Resource, patch: Mapping[str, Any], name: str = "digits") -> None:
        """Edit an object as `kubectl edit` does."""
        ref = Ref(resource, NAMESPACE, name)
        merged = overlay(self.objects[ref], patch)
        self._change(ref, spec=merged["spec"], metadata=merged["metadata"])

    def remove(self, resource: Resource, name: str = "digits") -> None:
        del self.objects[Ref(resource, "" if resource == MODEL_RUNTIME else NAMESPACE, name)]

    def of_kind(self, resource: Resource) -> list[dict[str, Any]]:
        return [thing for ref, thing in self.objects.items() if ref.resource == resource]

    def pods(self, *statuses: dict[str, Any], revision: str | None = None) -> None:
        """Put pods of a revision, by default the one that the Deployment has, instead of those that it had."""
        wanted = revision or self.revision
        for pod in self.of_kind(POD):
            if pod["metadata"]["labels"][REVISION] == wanted:
                self.remove(POD, pod["metadata"]["name"])
        for number, status in enumerate(statuses, 1):
            name = f"digits-{wanted}-{number}"
            labels = {**self.deployment["spec"]["selector"]["matchLabels"], REVISION: wanted}
            pod = {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {"name": name, "namespace": NAMESPACE, "labels": labels},
            }
            self.put(pod)["status"] = status

    def observe(self, *conditions: dict[str, Any]) -> None:
        """Be the Deployment controller: count rollouts, which is a new generation, and pods."""
        self.edit(DEPLOYMENT, {"metadata": {"annotations": {"deployment.kubernetes.io/revision": self.revision}}})
        pods = self.of_kind(POD)
        updated = [pod for pod in pods if pod["metadata"]["labels"][REVISION] == self.revision]
        ready = sum(is_ready(pod) for pod in pods)
        counts = {
            "replicas": len(pods),
            "updatedReplicas": len(updated),
            "readyReplicas": ready,
            "availableReplicas": ready,
        }
        self.deployment["status"] = {
            "observedGeneration": self.deployment["metadata"]["generation"],
            **{key: count for key, count in counts.items() if count},
            "conditions": list(conditions),
        }

    def roll_out(self) -> None:
        """Reconcile, and be controller and kubelet for whom all goes well."""
        self.settle()
        for pod in self.of_kind(POD):
            self.remove(POD, pod["metadata"]["name"])
        self.pods(*[READY] * self.deployment["spec"]["replicas"])
        self.observe()
        self.settle()

    # What there is ----------------------------------------------------------------------------------------------------

    @property
    def owner(self) -> dict[str, Any]:
        return self.objects[Ref(MODEL_DEPLOYMENT, NAMESPACE, "digits")]

    @property
    def deployment(self) -> dict[str, Any]:
        return self.objects[Ref(DEPLOYMENT, NAMESPACE, "digits")]

    @property
    def service(self) -> dict[str, Any]:
        return self.objects[Ref(SERVICE, NAMESPACE, "digits")]

    @property
    def template(self) -> dict[str, Any]:
        template: dict[str, Any] = self.deployment["spec"]["template"]
        return template

    @property
    def revision(self) -> str:
        found: str = self.template["metadata"]["labels"][REVISION]
        return found

    @property
    def revisions(self) -> list[str]:
        return [thing["metadata"]["name"] for thing in self.of_kind(CONTROLLER_REVISION)]

    @property
    def status(self) -> dict[str, Any]:
        status: dict[str, Any] = self.owner["status"]
        return status

    def condition(self, type_: str) -> dict[str, Any]:
        return next((c for c in self.status["conditions"] if c["type"] == type_), {})

    def says(self, type_: str) -> str:
        """Give status and reason of a condition in one word, empty if it is absent."""
        found = self.condition(type_)
        return f"{found['status']}/{found['reason']}" if found else ""

    # The runtime in small ---------------------------------------------------------------------------------------------

    def settle(self) -> None:
        """Reconcile until nothing is written any more."""
        for _ in range(20):
            before = len(self.writes)
            self.reconcile()
            if len(self.writes) == before:
                return
        raise AssertionError(f"never settles: {self.writes[-6:]}")

    def reconcile(self) -> Plan:
        self._memory = replace(self._memory, reads={})
        plan = self._plan()
        for _ in range(3):
            if not plan.reads:
                break
            self._memory = replace(self._memory, reads={**self._memory.reads, **{r: self._read(r) for r in plan.reads}})
            plan = self._plan()
        assert not plan.reads
        if plan.status is not None:
            self.owner["status"] = copy.deepcopy(dict(plan.status))
            self.writes.append("status")
        for action in plan.actions:
            self._act(action)
        self.events.extend(plan.events)
        self.plans.append(plan)
        return plan

    def pass_time(self, **length: float) -> None:
        self.now += timedelta(**length)

    def _plan(self) -> Plan:
        snapshot = observe_deployment(self, KEY, self.settings)
        assert snapshot is not None
        return plan_deployment(snapshot, self.now)

    def _read(self, read: object) -> ReadResult:
        if isinstance(read, EventsAbout):
            return ReadResult(self.now, self.pod_events)
        assert isinstance(read, GetLive)
        return ReadResult(self.now, self.objects.get(read.ref))

    def _act(self, action: Action) -> None:
        failures = {ref: failure for ref, failure in self._memory.failures.items() if ref != action.ref}
        failure = self._refuse(action)
        if failure is not None:
            failures[action.ref] = failure
        self._memory = replace(self._memory, failures=failures)
        if failure is None:
            self._carry_out(action)

    def _refuse(self, action: Action) -> Failure | None:
        there = self.objects.get(action.ref)
        if isinstance(action, Apply | Create) and there is not None:
            if names.controller_uid(there) != names.controller_uid(action.body):
                return Failure(409, "NameConflict", f"{action.ref} belongs to somebody else", self.now)
            return None
        return self.refusals.get(action.ref.resource)

    def _carry_out(self, action: Action) -> None:
        match action:
            case Create(ref, body):
                if ref not in self.objects:
                    self.put(body)
                    self.writes.append(f"create {ref.resource.kind}")
            case Apply(ref, body):
                self._apply(ref, body)
            case Delete(ref, uid):
                assert self.objects[ref]["metadata"]["uid"] == uid
                del self.objects[ref]
                self.writes.append(f"delete {ref.resource.kind}")
            case MergePatch(ref, uid, body):
                assert self.objects[ref]["metadata"]["uid"] == uid
                self._change(ref, spec={**self.objects[ref]["spec"], **body["spec"]})
                self.writes.append(f"patch {ref.resource.kind}")
            case _:
                assert_never(action)

    def _apply(self, ref: Ref, body: Object) -> None:
        there = self.objects.get(ref)
        if there is None:
            self.put(self._with_defaults(body))
        else:
            merged = self._with_defaults(overlay(there, body))
            if merged == there:
                return
            self._change(ref, spec=merged["spec"], metadata=merged["metadata"])
        self.writes.append(f"apply {ref.resource.kind}")

    def _with_defaults(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """Do what the API server does: add defaults, leave out what is empty, write quantities its own way."""
        thing = copy.deepcopy(dict(body))
        if thing["kind"] != "Deployment":
            return thing
        spec = thing["spec"]
        if not spec.get("paused"):
            spec.pop("paused", None)
        spec["template"]["metadata"].setdefault("creationTimestamp", None)
        pod = spec["template"]["spec"]
        if "hostname" in pod:
            pod["hostname"] = self.rewrites.get(pod["hostname"], pod["hostname"])
        pod |= {"dnsPolicy": "ClusterFirst", "restartPolicy": "Always", "schedulerName": "default-scheduler"}
        for part in pod["containers"]:
            part |= {"imagePullPolicy": "IfNotPresent", "terminationMessagePath": "/dev/termination-log"}
            part["ports"] = [{"protocol": "TCP", **port} for port in part.get("ports", ())]
            requests = part.get("resources", {}).get("requests", {})
            if requests.get("cpu") == "1000m":
                requests["cpu"] = "1"
        return thing

    def _change(self, ref: Ref, *, spec: Any, metadata: Any = None) -> None:
        old = self.objects[ref]
        changed = dict(metadata or old["metadata"])
        annotated = ref.resource == DEPLOYMENT and changed.get("annotations") != old["metadata"].get("annotations")
        if (spec != old["spec"] or annotated) and ref.resource != SERVICE:
            changed["generation"] = old["metadata"]["generation"] + 1
        self.objects[ref] = {**old, "spec": copy.deepcopy(spec), "metadata": copy.deepcopy(changed)}


def new_world(**spec: Any) -> World:
    """Give a world with a runtime and a deployment that uses it."""
    world = World()
    world.put(runtime())
    world.put(modeldeployment(**spec))
    return world


def ref_of(thing: Mapping[str, Any]) -> Ref:
    return Ref(BY_KIND[thing["kind"]], thing["metadata"].get("namespace", ""), thing["metadata"]["name"])
