"""An in-memory model of a cluster for the planners: objects, a clock, and a kubelet that does what a test says.

It carries plans out in the order of the contract (`rondo.core.plan`), one effect at a time, so that a test can stop
between any two as a crash does. It models the API server's rules that planners rely on: names are taken once, status
has a version, generations count specs, and what an object owns goes with it.
"""

from __future__ import annotations

import copy
import itertools
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, assert_never

from rondo.core import names
from rondo.core.conditions import timestamp
from rondo.core.expressions import ExpressionError, evaluate
from rondo.core.pipeline.planner import observe_pipeline, pipeline_of_run, plan_pipeline
from rondo.core.plan import (
    Action,
    Apply,
    Create,
    Delete,
    Evaluate,
    EventDraft,
    EventsAbout,
    Failure,
    GetLive,
    ListLive,
    Memory,
    MergePatch,
    Object,
    Plan,
    Read,
    ReadResult,
    Ref,
    Resource,
    StatusKind,
)
from rondo.core.resources import BY_KIND, JOB, PIPELINE, PIPELINE_RUN, POD
from rondo.core.run.controller import observe_run, run_of_child, run_of_target
from rondo.core.run.item_index import INDEX_LABEL
from rondo.core.run.planner import plan_run
from rondo.core.settings import PlannerSettings
from rondo.core.view import Key
from rondo.intervals import format_intervals, parse_intervals

NAMESPACE = "team"
START = datetime(2026, 11, 1, 12, 0, 0, tzinfo=UTC)

_UIDS = itertools.count(1)
"""Shared by all clusters: uids are unique in time and space."""


class CrashError(Exception):
    """The operator was killed between two effects."""


@dataclass
class Cluster:
    """All objects, the clock, and what happened.

    Attributes:
        now: The clock.
        objects: Objects as the API server has them, by Ref.
        refuse: What the API server answers to the creation of an object of a Ref's kind and name prefix.
        starts: Names of the Jobs for which a pod was ever started, once for each pod.
        writes: Every write by the operator, as `VERB kind`.
        lingering: Whether deleted pods stay, as on a node that does not answer.
        status_limit: Characters that a status may have.
    """

    now: datetime = START
    objects: dict[Ref, dict[str, Any]] = field(default_factory=dict)
    refuse: dict[str, tuple[int, str, str]] = field(default_factory=dict)
    starts: list[str] = field(default_factory=list)
    writes: list[str] = field(default_factory=list)
    events: list[EventDraft] = field(default_factory=list)
    settings: PlannerSettings = field(default_factory=PlannerSettings)
    lingering: bool = False
    status_limit: int = 1_000_000
    _versions: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    # The API server -----------------------------------------------------------------------------------------

    def create(self, body: Mapping[str, Any]) -> dict[str, Any]:
        thing = copy.deepcopy(dict(body))
        version = next(self._versions)
        metadata = thing.setdefault("metadata", {})
        metadata.setdefault("namespace", NAMESPACE)
        metadata |= {
            "uid": f"uid-{next(_UIDS)}",
            "resourceVersion": str(version),
            "generation": 1,
            "creationTimestamp": timestamp(self.now),
        }
        self.objects[ref_of(thing)] = thing
        return thing

    def change(self, thing: Mapping[str, Any], **fields: Any) -> dict[str, Any]:
        """Replace top-level fields of an object; a changed spec is a new generation."""
        old = self.objects[ref_of(thing)]
        new = {**old, **copy.deepcopy(fields)}
        metadata = {**new["metadata"], "resourceVersion": str(next(self._versions))}
        if "spec" in fields and fields["spec"] != old.get("spec"):
            metadata["generation"] = old["metadata"]["generation"] + 1
        new["metadata"] = metadata
        self.objects[ref_of(thing)] = new
        return new

    def delete(self, thing: Mapping[str, Any]) -> None:
        if self.lingering and thing["kind"] == "Pod":
            self.change(thing, metadata={**thing["metadata"], "deletionTimestamp": timestamp(self.now)})
            return
        self.objects.pop(ref_of(thing), None)
        for child in [c for c in self.objects.values() if names.controller_uid(c) == thing["metadata"]["uid"]]:
            self.delete(child)

    def of_kind(self, resource: Resource) -> list[dict[str, Any]]:
        return [thing for ref, thing in self.objects.items() if ref.resource == resource]

    def find(self, resource: Resource, name: str) -> dict[str, Any]:
        return self.objects[Ref(resource, NAMESPACE, name)]

    # Controllers and kubelet --------------------------------------------------------------------------------

    def start_pods(self) -> None:
        """Be the Job controller: give each Job that has none its pod."""
        for job in self.of_kind(JOB):
            if job["spec"].get("completionMode") == "Indexed":
                self._start_indexes(job)
                continue
            has_pod = any(names.controller_uid(pod) == job["metadata"]["uid"] for pod in self.of_kind(POD))
            over = any(c["status"] == "True" for c in job.get("status", {}).get("conditions", ()))
            if not has_pod and not over and not job["spec"].get("suspend"):
                self._start_pod(job)

    def _start_indexes(self, job: dict[str, Any]) -> None:
        """Give as many indexes of a Job a pod as may run at a time."""
        pods = [pod for pod in self.of_kind(POD) if names.controller_uid(pod) == job["metadata"]["uid"]]
        taken = {int(pod["metadata"]["labels"][INDEX_LABEL]) for pod in pods}
        active = sum(pod["status"]["phase"] not in {"Succeeded", "Failed"} for pod in pods)
        free = [index for index in range(job["spec"]["completions"]) if index not in taken]
        for index in free[: job["spec"]["parallelism"] - active]:
            self._start_pod(job, index=index)

    def count_indexes(self, job: dict[str, Any], *, failed: str = "", reason: str = "") -> None:
        """Be the Job controller: say which indexes are over, and whether the Job is."""
        pods = [pod for pod in self.of_kind(POD) if names.controller_uid(pod) == job["metadata"]["uid"]]
        done = {int(p["metadata"]["labels"][INDEX_LABEL]) for p in pods if p["status"]["phase"] == "Succeeded"}
        lost = parse_intervals(failed)
        said: dict[str, Any] = {"completedIndexes": format_intervals(done), "failedIndexes": failed}
        if len(done | lost) == job["spec"]["completions"] or reason:
            over = {"type": "Failed" if lost else "Complete", "status": "True", "reason": reason or "FailedIndexes"}
            said["conditions"] = [over]
        self.change(job, status={**job.get("status", {}), **said})

    def _start_pod(self, job: dict[str, Any], *, index: int | None = None) -> None:
        name = job["metadata"]["name"]
        self.starts.append(name if index is None else f"{name}-{index}")
        labels = {} if index is None else {INDEX_LABEL: str(index)}
        pod = self.create(
            {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {
                    "name": f"{name}-{len(self.starts):05x}",
                    "labels": {**job["spec"]["template"]["metadata"]["labels"], **labels},
                    "ownerReferences": [names.owner_reference(job)],
                },
                "spec": job["spec"]["template"]["spec"],
            }
        )
        self.change(pod, status={"phase": "Pending"})
        self.change(job, status={"startTime": timestamp(self.now), "active": 1})

    def run_pods(self) -> None:
        """Be the kubelet: let each pending pod run."""
        for pod in self.of_kind(POD):
            if pod["status"]["phase"] == "Pending":
                statuses = [{"name": "main", "image": "x", "ready": True, "state": {"running": {}}}]
                self.change(pod, status={"phase": "Running", "containerStatuses": statuses})

    def finish(
        self,
        stage: str,
        *,
        code: int = 0,
        message: str = "",
        reason: str = "",
        push: str | None = None,
        item: int | None = None,
    ) -> None:
        """Let the running pods of a stage end, or those of one item of it."""
        for pod in self.pods_of(stage):
            labels = pod["metadata"]["labels"]
            if item is not None and str(item) not in {labels.get(names.ITEM), labels.get(INDEX_LABEL)}:
                continue
            ended = {"exitCode": code, "message": message, "reason": reason or ("Completed" if not code else "Error")}
            status: dict[str, Any] = {
                "phase": "Failed" if code else "Succeeded",
                "containerStatuses": [{"name": "main", "image": "x", "state": {"terminated": ended}}],
            }
            if push is not None:
                stored = {"name": "push", "state": {"terminated": {"exitCode": 0, "message": push}}}
                status["initContainerStatuses"] = [stored]
            self.change(pod, status=status)

    def pods_of(self, stage: str) -> list[dict[str, Any]]:
        """Give the pods of a stage that have not ended."""
        return [
            pod
            for pod in self.of_kind(POD)
            if pod["metadata"]["labels"].get(names.STAGE) == stage
            and pod["status"]["phase"] not in {"Succeeded", "Failed"}
        ]

    def pass_time(self, **length: float) -> None:
        self.now += timedelta(**length)


@dataclass
class Operator:
    """The runtime in small: it looks at everything there is, always freshly, and forgets all when it is restarted."""

    cluster: Cluster
    memories: dict[Key, Memory] = field(default_factory=dict)
    crash_after: int | None = None
    last_writes: dict[Key, datetime] = field(default_factory=dict)
    refused: int = 0
    late: dict[Resource, list[dict[str, Any]]] = field(default_factory=dict)
    _effects: int = 0

    # View ---------------------------------------------------------------------------------------------------

    def get(self, ref: Ref) -> Object | None:
        return self.cluster.objects.get(ref)

    def children(self, resource: Resource, owner: Key) -> Iterable[Object]:
        route = pipeline_of_run if resource == PIPELINE_RUN else run_of_child
        known = self.late.get(resource, self.cluster.of_kind(resource))
        return [thing for thing in known if owner in route(thing)]

    def fall_behind(self, resource: Resource) -> None:
        """See the objects of a kind for ever as they are now: each kind has a watch of its own, and one may be late."""
        self.late[resource] = self.cluster.of_kind(resource)

    def select(self, resource: Resource, namespace: str) -> Iterable[Object]:
        return [t for t in self.cluster.of_kind(resource) if namespace in {"", t["metadata"]["namespace"]}]

    def memory(self, key: Key) -> Memory:
        return self.memories.get(key, Memory())

    # Engine -------------------------------------------------------------------------------------------------

    def settle(self, *, rounds: int = 50) -> None:
        """Reconcile everything until nothing is written any more."""
        for _ in range(rounds):
            before = len(self.cluster.writes) + self.refused
            for resource, run in ((PIPELINE, self.reconcile_pipeline), (PIPELINE_RUN, self.reconcile_run)):
                for thing in self.cluster.of_kind(resource):
                    run(thing["metadata"]["name"])
            if len(self.cluster.writes) + self.refused == before:
                return
        raise AssertionError(f"never settles: {self.cluster.writes[-10:]}")

    def reconcile_run(self, name: str) -> Plan:
        key = Key(PIPELINE_RUN, NAMESPACE, name)

        def plan() -> Plan | None:
            snapshot = observe_run(self, key, self.cluster.settings)
            return None if snapshot is None else plan_run(snapshot, self.cluster.now)

        return self._reconcile(key, plan)

    def reconcile_pipeline(self, name: str) -> Plan:
        key = Key(PIPELINE, NAMESPACE, name)

        def plan() -> Plan | None:
            snapshot = observe_pipeline(self, key)
            return None if snapshot is None else plan_pipeline(snapshot, self.cluster.now)

        return self._reconcile(key, plan)

    def restart(self) -> None:
        """Lose all memory, as a crash does, and list everything anew."""
        self.memories.clear()
        self.late.clear()
        self.crash_after = None
        self._effects = 0

    def _reconcile(self, key: Key, plan_it: Callable[[], Plan | None]) -> Plan:
        memory = self.memory(key)
        self.memories[key] = Memory(failures=memory.failures, created=memory.created)
        plan = plan_it()
        for _ in range(5):
            if plan is None or not plan.reads:
                break
            self._read(key, plan.reads)
            plan = plan_it()
        if plan is None:
            return Plan()
        assert not plan.reads, f"still wants {plan.reads}"
        self._carry_out(key, plan)
        return plan

    def _carry_out(self, key: Key, plan: Plan) -> None:
        me = Ref(key.resource, key.namespace, key.name)
        if plan.status is not None and not self._throttled(key, plan):
            if len(json.dumps(plan.status)) > self.cluster.status_limit:
                self._refuse_status(key, me)
                return
            self._effect(f"status {key.resource.kind}")
            self.cluster.change(self.cluster.objects[me], status=dict(plan.status))
        for action in plan.actions:
            self._act(key, action)
        self.cluster.events.extend(plan.events)

    def _refuse_status(self, key: Key, me: Ref) -> None:
        """Answer as the API server does if an object is too large for etcd."""
        memory = self.memories[key]
        count = memory.failures[me].count + 1 if me in memory.failures else 1
        failure = Failure(500, "HTTP500", "etcdserver: request is too large", self.cluster.now, count)
        self.memories[key] = Memory({**memory.failures, me: failure}, memory.reads, memory.created)
        self.refused += 1

    def _throttled(self, key: Key, plan: Plan) -> bool:
        """Progress in words is written at most once a second, by a clock that nobody sets back."""
        assert plan.status_kind is not StatusKind.NONE
        since = self.cluster.now - self.last_writes.get(key, START - timedelta(hours=1))
        if plan.status_kind is StatusKind.PROGRESS and timedelta(0) <= since < timedelta(seconds=1):
            return True
        self.last_writes[key] = self.cluster.now
        return False

    def _effect(self, what: str) -> None:
        if self.crash_after is not None and self._effects >= self.crash_after:
            raise CrashError(what)
        self._effects += 1
        self.cluster.writes.append(what)

    def _read(self, key: Key, reads: Iterable[Read]) -> None:
        results = {read: self._result(read) for read in reads}
        memory = self.memories[key]
        self.memories[key] = Memory(memory.failures, {**memory.reads, **results}, memory.created)

    def _result(self, read: Read) -> ReadResult:
        try:
            return ReadResult(self.cluster.now, self._value(read))
        except ExpressionError as error:
            return ReadResult(self.cluster.now, None, Failure(0, "ExpressionError", str(error), self.cluster.now))

    def _value(self, read: Read) -> Any:
        match read:
            case GetLive(ref):
                return self.cluster.objects.get(ref)
            case ListLive(resource, _, labels):
                return tuple(
                    thing
                    for thing in self.cluster.of_kind(resource)
                    if all(thing["metadata"].get("labels", {}).get(key) == value for key, value in labels)
                )
            case EventsAbout():
                return ()
            case Evaluate(text, variables):
                return evaluate(text, json.loads(variables))
            case _:
                assert_never(read)

    def _act(self, key: Key, action: Action) -> None:
        there = self.cluster.objects.get(action.ref)
        match action:
            case Create(ref, body, shared):
                self._create(key, ref, body, shared=shared)
            case Apply(ref, body):
                self._effect(f"apply {ref.resource.kind}")
                if there is None:
                    self.cluster.create(body)
                else:
                    annotations = {**there["metadata"].get("annotations", {}), **body["metadata"]["annotations"]}
                    metadata = {**there["metadata"], "annotations": annotations}
                    spec = {**there["spec"], **body["spec"]}
                    generation = there["metadata"]["generation"] + (spec != there["spec"])
                    self.cluster.change(there, metadata=metadata, spec=there["spec"])
                    changed = self.cluster.change(self.cluster.objects[ref], spec=spec)
                    assert changed["metadata"]["generation"] == generation
            case MergePatch(ref, uid, body):
                if there is not None and there["metadata"]["uid"] == uid:
                    self._effect(f"patch {ref.resource.kind}")
                    labels = {**there["metadata"].get("labels", {}), **body["metadata"]["labels"]}
                    self.cluster.change(there, metadata={**there["metadata"], "labels": labels})
            case Delete(ref, uid):
                if there is not None and there["metadata"]["uid"] == uid:
                    self._effect(f"delete {ref.resource.kind}")
                    self.cluster.delete(there)
            case _:
                assert_never(action)

    def _create(self, key: Key, ref: Ref, body: Object, *, shared: bool) -> None:
        memory = self.memories[key]
        there = self.cluster.objects.get(ref)
        failures = {k: v for k, v in memory.failures.items() if k != ref}
        created = dict(memory.created)
        refusal = next((v for k, v in self.cluster.refuse.items() if ref.name.startswith(k)), None)
        if there is not None and not shared and names.controller_uid(there) != names.controller_uid(body):
            failures[ref] = Failure(409, "NameConflict", f"{ref} belongs to somebody else", self.cluster.now)
        elif there is None and refusal is not None:
            failures[ref] = Failure(*refusal, self.cluster.now)
        elif there is None:
            self._effect(f"create {ref.resource.kind}")
            created[ref] = self.cluster.create(body)["metadata"]["uid"]
        self.memories[key] = Memory(failures, memory.reads, created)


def ref_of(thing: Mapping[str, Any]) -> Ref:
    resource = BY_KIND[thing["kind"]]
    return Ref(resource, thing["metadata"].get("namespace", NAMESPACE), thing["metadata"]["name"])


def targets_of(thing: Object) -> list[Key]:
    return list(run_of_target(thing))
