"""A kind of its own for the engine's tests, and a planner for it: a toy is a chain of Jobs, one after the other.

The planner is written as the real ones are: it asks for a live look before it believes that a Job is gone, and writes
down the uid of each Job as a fact.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from localcluster.cluster import Cluster
from rondo.core import names
from rondo.core.plan import Create, GetLive, Memory, Object, Plan, Ref, Resource, StatusKind
from rondo.core.resources import JOB, POD
from rondo.core.view import Key, View
from rondo.runtime.controller import Controller
from rondo.runtime.routes import Route, itself

TOY: Final = Resource("toys.example", "v1", "Toy", "toys")
LABEL: Final = "toys.example/toy"

_FREE_FORM: Final = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
CRD: Final = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "toys.toys.example"},
    "spec": {
        "group": TOY.group,
        "scope": "Namespaced",
        "names": {"kind": TOY.kind, "plural": TOY.plural, "singular": "toy", "listKind": "ToyList"},
        "versions": [
            {
                "name": TOY.version,
                "served": True,
                "storage": True,
                "subresources": {"status": {}},
                "schema": {
                    "openAPIV3Schema": {"type": "object", "properties": {"spec": _FREE_FORM, "status": _FREE_FORM}}
                },
            }
        ],
    },
}


def install(cluster: Cluster) -> None:
    """Make the kind known to a control plane."""
    cluster.kubectl("apply", "-f", "-", stdin=json.dumps(CRD))
    cluster.kubectl("wait", "--for=condition=Established", "--timeout=60s", "crd/toys.toys.example")


def toy(name: str, jobs: int = 1, **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": TOY.api_version,
        "kind": TOY.kind,
        "metadata": {"name": name, "labels": {"kept": "yes"}},
        "spec": {"jobs": jobs, **spec},
    }


@dataclass(frozen=True)
class Snapshot:
    """What the planner sees of a toy."""

    toy: Object
    jobs: dict[str, Object]
    finished: frozenset[str]
    memory: Memory


def observe(view: View, key: Key) -> Snapshot | None:
    """Look at a toy; None if it is not there."""
    thing = view.get(Ref(TOY, key.namespace, key.name))
    if thing is None:
        return None
    pods = view.children(POD, key)
    return Snapshot(
        toy=thing,
        jobs={job["metadata"]["name"]: job for job in view.children(JOB, key)},
        finished=frozenset(
            pod["metadata"]["labels"]["job-name"] for pod in pods if pod.get("status", {}).get("phase") == "Succeeded"
        ),
        memory=view.memory(key),
    )


def plan(snapshot: Snapshot, _: datetime) -> Plan:
    """Create the Jobs of a toy one after the other; say `Done` at the end, `Lost` if somebody deleted one."""
    status = snapshot.toy.get("status", {})
    if status.get("state") in {"Done", "Lost"}:
        return Plan()
    started: dict[str, str] = status.get("started", {})
    for index in range(snapshot.toy["spec"]["jobs"]):
        ref = Ref(JOB, snapshot.toy["metadata"]["namespace"], f"{snapshot.toy['metadata']['name']}-{index}")
        if ref.name not in snapshot.jobs and ref.name in started:
            return _missing(snapshot, ref, started)
        if ref.name not in snapshot.jobs:
            return _start(snapshot, ref, started)
        if ref.name not in started:
            uid = snapshot.jobs[ref.name]["metadata"]["uid"]
            return _write(snapshot, {"state": "Running", "started": {**started, ref.name: uid}})
        if ref.name not in snapshot.finished:
            return Plan()
    return _write(snapshot, {"state": "Done", "started": started})


def _start(snapshot: Snapshot, ref: Ref, started: dict[str, str]) -> Plan:
    if (failure := snapshot.memory.failures.get(ref)) is not None:
        problem = {"state": "Stuck", "reason": failure.reason, "started": started}
        written = _write(snapshot, problem)
        return written if written.status else Plan(actions=(_create(snapshot, ref),))
    return Plan(actions=(_create(snapshot, ref),))


def _missing(snapshot: Snapshot, ref: Ref, started: dict[str, str]) -> Plan:
    live = snapshot.memory.reads.get(GetLive(ref))
    if live is None:
        return Plan(reads=(GetLive(ref),))
    if live.value is not None or live.error is not None:
        return Plan(requeue_after=1.0)
    return _write(snapshot, {"state": "Lost", "reason": ref.name, "started": started})


def _create(snapshot: Snapshot, ref: Ref) -> Create:
    labels = {LABEL: snapshot.toy["metadata"]["name"]}
    containers = [{"name": "main", "image": "x", "command": ["true"]}]
    body = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": ref.name,
            "namespace": ref.namespace,
            "labels": labels,
            "ownerReferences": [names.owner_reference(snapshot.toy)],
        },
        "spec": {
            "suspend": snapshot.toy["spec"].get("suspend", False),
            "template": {"metadata": {"labels": labels}, "spec": {"containers": containers, "restartPolicy": "Never"}},
        },
    }
    return Create(ref, body)


def _write(snapshot: Snapshot, status: dict[str, Any]) -> Plan:
    unchanged = snapshot.toy.get("status") == status
    return Plan() if unchanged else Plan(status=status, status_kind=StatusKind.FACTS, requeue_after=0.0)


def owners(child: Object) -> Iterable[Key]:
    """Give the toy that a child belongs to by its label."""
    name = child["metadata"].get("labels", {}).get(LABEL)
    if name:
        yield Key(TOY, child["metadata"]["namespace"], name)


CONTROLLERS: Final = {TOY: Controller(TOY, observe, plan)}
PRIMARIES: Final = (Route(TOY, owners=lambda thing: [itself(thing, TOY)]),)
CHILDREN: Final = (Route(JOB, LABEL, owners=owners), Route(POD, LABEL, owners=owners))
