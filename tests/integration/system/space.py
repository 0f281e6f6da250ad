"""What a user can see and do in one namespace of a control plane, and waiting for what shall become true."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from kubernetes.client import ApiClient, ApiException
from kubernetes.config import new_client_from_config
from kubernetes.dynamic import DynamicClient
from kubernetes.dynamic.exceptions import NotFoundError

from localcluster.cluster import Cluster
from rondo.core.plan import Resource
from rondo.core.resources import BY_KIND, CORE_EVENT

Body = dict[str, Any]
T = TypeVar("T")

MERGE = "application/merge-patch+json"
OPERATOR = "system:serviceaccount:rondo-system:rondo"
OTHERS = {"Event": CORE_EVENT, "ResourceQuota": Resource("", "v1", "ResourceQuota", "resourcequotas")}
PATIENCE = 30.0
"""Seconds that anything may take; what is slower is broken."""


def eventually(look: Callable[[], T | None], what: str, *, within: float = PATIENCE, every: float = 0.05) -> T:
    """Look until something is there, and give it.

    Raises:
        AssertionError: It was not there in time; with what was seen last.
    """
    deadline = time.monotonic() + within
    while True:
        seen = look()
        if seen:
            return seen
        assert time.monotonic() < deadline, f"not within {within} s: {what}; last seen {seen!r}"
        time.sleep(every)  # between two looks; the wait ends with the condition


def always(look: Callable[[], bool], what: str, *, during: float) -> None:
    """Look for a while that something stays true: the only way to see that nothing happens."""
    end = time.monotonic() + during
    while time.monotonic() < end:
        assert look(), f"no longer: {what}"
        time.sleep(0.1)


@dataclass(frozen=True)
class Plane:
    """A control plane with the CRDs and the rights of the chart.

    Attributes:
        cluster: The control plane.
        kubeconfig: How the operator's ServiceAccount reaches it.
    """

    cluster: Cluster
    kubeconfig: Path

    @cached_property
    def client(self) -> DynamicClient:
        """The official client, as the administrator."""
        own: ApiClient = new_client_from_config(str(self.cluster.kubeconfig))  # type: ignore[no-untyped-call]
        return DynamicClient(own, cache_file=str(self.kubeconfig.with_name("discovery.json")))  # type: ignore[no-untyped-call]

    def audited(self, namespace: str) -> list[Body]:
        """Give the finished requests of the operator in a namespace, but those for its Lease."""
        with self.cluster.audit_log.open() as lines:
            events = (json.loads(line) for line in lines if OPERATOR in line)
            return [
                event
                for event in events
                if event["stage"] == "ResponseComplete"
                and event["user"]["username"] == OPERATOR
                and event.get("objectRef", {}).get("namespace") == namespace
                and event["objectRef"]["resource"] != "leases"
            ]

    def writes(self, namespace: str) -> list[str]:
        """Give the operator's writes in a namespace, as `verb resource/subresource name code`."""
        verbs = {"create", "update", "patch", "delete"}
        return [_describe(event) for event in self.audited(namespace) if event["verb"] in verbs]

    def story(self, namespace: str, job: str) -> list[str]:
        """Give who asked for what of a Job, its pods and the run that it belongs to, in order."""
        run = job.rpartition("-")[0].rpartition("-")[0]
        found = []
        with self.cluster.audit_log.open() as lines:
            for event in (json.loads(line) for line in lines if run in line):
                what = event.get("objectRef", {})
                name = what.get("name", "")
                if what.get("namespace") == namespace and (name == run or name.startswith(job)):
                    code = event.get("responseStatus", {}).get("code")
                    times = f"{event['requestReceivedTimestamp'][11:23]}-{event['stageTimestamp'][17:23]}"
                    path = f"{what['resource']}/{what.get('subresource', '')} {name}"
                    found.append(f"{times} {event['verb']} {path} {code} {event.get('userAgent', '')[:40]}")
        return sorted(found)

    def created_twice(self, namespace: str, resource: str = "jobs") -> list[str]:
        """Give the creations of the operator in a namespace that the API server granted more than once."""
        made = Counter(write for write in self.writes(namespace) if write.startswith(f"create {resource} "))
        return [write for write, count in made.items() if count > 1 and write.endswith(" 201")]


def _describe(event: Body) -> str:
    what = event["objectRef"]
    path = "/".join(filter(None, (what["resource"], what.get("subresource"))))
    return f"{event['verb']} {path} {what.get('name', '')} {event['responseStatus']['code']}"


@dataclass(frozen=True)
class Space:
    """One namespace."""

    plane: Plane
    namespace: str

    def create(self, *bodies: Body) -> None:
        """Create objects.

        Raises:
            ApiException: One was refused.
        """
        for body in bodies:
            self._kind(body["kind"]).create(body=body, namespace=self.namespace)

    def get(self, kind: str, name: str) -> Body | None:
        """Give an object, or None if it is not there."""
        try:
            found: Body = self._kind(kind).get(name=name, namespace=self.namespace).to_dict()
        except NotFoundError:
            return None
        return found

    def items(self, kind: str, selector: str = "") -> list[Body]:
        """Give the objects of a kind, oldest first."""
        found: list[Body] = self._kind(kind).get(namespace=self.namespace, label_selector=selector).to_dict()["items"]
        return sorted(found, key=lambda item: (item["metadata"]["creationTimestamp"], item["metadata"]["name"]))

    def patch(self, kind: str, name: str, change: Body, *, status: bool = False) -> None:
        """Merge a change into an object or its status."""
        resource = self._kind(kind)
        target = resource.status if status else resource
        target.patch(body=change, name=name, namespace=self.namespace, content_type=MERGE)

    def delete(self, kind: str, name: str, **options: Any) -> None:
        """Delete an object; one that is gone counts."""
        body = {"propagationPolicy": "Background", **options}
        try:
            self._kind(kind).delete(name=name, namespace=self.namespace, body=body)
        except NotFoundError:
            return

    def scale(self, kind: str, name: str, replicas: int) -> None:
        """Set the number of pods by the `scale` subresource, as `kubectl scale` and autoscalers do."""
        change = {"spec": {"replicas": replicas}}
        self._kind(kind).scale.patch(body=change, name=name, namespace=self.namespace, content_type=MERGE)

    def scaled(self, kind: str, name: str) -> tuple[int, int]:
        """Give the numbers of pods that `scale` tells: how many are wanted, and how many there are."""
        told = self._kind(kind).scale.get(name=name, namespace=self.namespace).to_dict()
        return told["spec"].get("replicas", 0), told["status"].get("replicas", 0)

    def evict(self, pod: str) -> None:
        """Evict a pod by the Eviction API."""
        metadata = {"name": pod, "namespace": self.namespace}
        body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": metadata}
        self._kind("Pod").eviction.create(body=body, name=pod, namespace=self.namespace)

    def end_pod(self, name: str, *, exit_code: int = 0) -> None:
        """Let the program of a pod end."""
        reason = {0: "Completed", 137: "OOMKilled"}.get(exit_code, "Error")
        ended = {"terminated": {"exitCode": exit_code, "reason": reason}}
        status = {"name": "main", "image": "x", "imageID": "", "ready": False, "restartCount": 0, "state": ended}
        phase = "Failed" if exit_code else "Succeeded"
        self.patch("Pod", name, {"status": {"phase": phase, "containerStatuses": [status]}}, status=True)

    def live_pods(self) -> list[Body]:
        """Give the pods that have not ended and are not being deleted."""
        unended = "status.phase!=Succeeded,status.phase!=Failed"
        found: list[Body] = self._kind("Pod").get(namespace=self.namespace, field_selector=unended).to_dict()["items"]
        return [pod for pod in found if "deletionTimestamp" not in pod["metadata"]]

    def end_pod_if_there(self, name: str, *, exit_code: int) -> None:
        """Let the program of a pod end, unless the pod is gone; with 137 it is killed for memory."""
        try:
            self.end_pod(name, exit_code=exit_code)
        except NotFoundError:
            return

    def until_gone(self, kind: str, name: str) -> None:
        """Wait until an object is gone."""
        eventually(lambda: self.get(kind, name) is None, f"{kind} {name} to be gone")

    # Runs -----------------------------------------------------------------------------------------------------

    def run(self, name: str) -> Body:
        """Give a run; empty while it is not there."""
        return self.get("PipelineRun", name) or {}

    def stage(self, run: str, name: str) -> Body:
        """Give the status of a stage; empty while there is none."""
        stages = self.run(run).get("status", {}).get("stages", ())
        return next((stage for stage in stages if stage["name"] == name), {})

    def ended(self, name: str, *, within: float = PATIENCE) -> Body:
        """Wait until a run has ended, and give it."""

        def look() -> Body | None:
            run = self.run(name)
            return run if "completionTime" in run.get("status", {}) else None

        try:
            return eventually(look, f"run {name} to end", within=within)
        except AssertionError as error:
            raise AssertionError(f"{error}; it is {json.dumps(self.run(name).get('status'))}") from None

    def succeeded(self, name: str, *, within: float = PATIENCE) -> Body:
        """Wait until a run has ended with success, and give it."""
        run = self.ended(name, within=within)
        said = condition(run, "Succeeded")
        assert said["status"] == "True", said
        return run

    def until_stage(self, run: str, name: str, *, within: float = PATIENCE, **fields: Any) -> Body:
        """Wait until fields of a stage's status are as given, and give it."""

        def look() -> Body | None:
            stage = self.stage(run, name)
            return stage if all(stage.get(key) == value for key, value in fields.items()) else None

        try:
            return eventually(look, f"stage {name} of {run} to be {fields}", within=within)
        except AssertionError as error:
            raise AssertionError(f"{error}; it is {self.stage(run, name)}") from None

    def until_condition(self, kind: str, name: str, type_: str, *, within: float = PATIENCE, **fields: str) -> Body:
        """Wait until a condition that speaks of the current generation is as given, and give it."""

        def look() -> Body | None:
            thing = self.get(kind, name) or {}
            current = thing.get("status", {}).get("observedGeneration") == thing.get("metadata", {}).get("generation")
            said = condition(thing, type_)
            return said if current and all(said.get(key) == value for key, value in fields.items()) else None

        try:
            return eventually(look, f"{kind} {name} {type_} {fields}", within=within)
        except AssertionError as error:
            raise AssertionError(f"{error}; it is {(self.get(kind, name) or {}).get('status')}") from None

    def jobs(self, run: str, stage: str = "") -> list[Body]:
        """Give the Jobs of a run, or of one stage of it."""
        return self.items("Job", f"rondo.dev/run={run}" + (f",rondo.dev/stage={stage}" if stage else ""))

    def pods(self, run: str, stage: str = "") -> list[Body]:
        """Give the pods of a run, or of one stage of it."""
        return self.items("Pod", f"rondo.dev/run={run}" + (f",rondo.dev/stage={stage}" if stage else ""))

    def once(self, name: str, *, within: float = PATIENCE) -> Body:
        """Wait until a run has ended, see that each attempt had one Job and each Job one pod, and give the run."""
        run = self.ended(name, within=within)
        attempts = sum(stage.get("attempt", 0) for stage in run["status"]["stages"])
        jobs, pods = self.jobs(name), self.pods(name)
        labels = [job["metadata"]["labels"] for job in jobs]
        told_apart = {(label["rondo.dev/stage"], label["rondo.dev/attempt"]) for label in labels}
        assert len(told_apart) == len(jobs) == len(pods) == attempts, (run["status"], labels)
        return run

    def running_pod(self, run: str, stage: str) -> str:
        """Wait until the run says that a stage runs, and give the name of its pod."""
        self.until_stage(run, stage, state="Running")
        (pod,) = (pod for pod in self.pods(run, stage) if pod["status"]["phase"] == "Running")
        return str(pod["metadata"]["name"])

    def _kind(self, kind: str) -> Any:
        resource = BY_KIND[kind] if kind in BY_KIND else OTHERS[kind]
        return self.plane.client.resources.get(api_version=resource.api_version, kind=kind)


def only(things: Iterable[T]) -> T:
    """Give the only one."""
    (thing,) = things
    return thing


def condition(thing: Body, type_: str) -> Body:
    """Give a condition; empty while there is none."""
    said = thing.get("status", {}).get("conditions", ())
    return next((each for each in said if each["type"] == type_), {})


def words_of(error: ApiException) -> str:
    """Give what the API server said."""
    return str(json.loads(error.body or "{}")["message"])
