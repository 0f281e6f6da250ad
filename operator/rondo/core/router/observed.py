"""What is known of a router: its plan, its pods, and what each of them says that it serves."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from rondo.core import names
from rondo.core.deployment.diagnosis import why_unready
from rondo.core.deployment.snapshot import is_ready
from rondo.core.modelgraph.credentials import Credential
from rondo.core.modelgraph.judge import SHARED_ROUTER, own_router
from rondo.core.plan import Memory, Object, Ref, Resource
from rondo.core.resources import CONFIG_MAP, DEPLOYMENT, POD
from rondo.core.router.document import Document, read
from rondo.core.view import Key, View

ROUTER_REPORT: Final = Resource("", "", "RouterReport", "routerreports")
"""What a pod of a router told last; no kind of the API server."""

ROUTER_COUNTS: Final = Resource("", "", "RouterCounts", "routercounts")
"""What a pod of a router has counted of releases, as it told last."""

ADMIN_PORT: Final = 9900


@dataclass(frozen=True)
class Router:
    """One look at a router.

    Attributes:
        key: Its ConfigMap's.
        config: The ConfigMap, if it is there.
        document: What that says.
        deployment: Its Deployment, if it is there.
        pods: Its pods that are not about to go.
        reports: What pods told last, by name of the pod.
        counts: What pods that answer have counted of releases.
        memory: What this process remembers of the work on it.
    """

    key: Key
    config: Object | None
    document: Document
    deployment: Object | None
    pods: tuple[Object, ...]
    reports: Mapping[str, Mapping[str, Any]]
    memory: Memory
    counts: tuple[Mapping[str, Any], ...] = ()

    @property
    def ready_pods(self) -> tuple[str, ...]:
        """Names of the pods that answer."""
        return tuple(sorted(pod["metadata"]["name"] for pod in self.pods if is_ready(pod)))

    def served(self, graph: str) -> dict[str, str]:
        """Give the revision of a graph that each ready pod serves; empty where it serves none or has said nothing."""
        return {pod: self.reports.get(pod, {}).get("graphs", {}).get(graph, "") for pod in self.ready_pods}

    @property
    def unusable(self) -> dict[str, str]:
        """Why pods cannot use credentials, by the file of each."""
        namespace = self.key.namespace
        return {
            file: Credential.of(file).why(namespace, f"{namespace}/{pod}", words)
            for pod in reversed(self.ready_pods)
            for file, words in self.reports.get(pod, {}).get("unusable", {}).items()
        }

    def why_down(self) -> tuple[str, str]:
        """Say, as reason and words, why no pod answers."""
        ref = Ref(DEPLOYMENT, self.key.namespace, self.key.name)
        for other, failure in self.memory.failures.items():
            return "ApplyFailed", f"{other} cannot be applied: {failure.message}"
        if self.deployment is None:
            return "RouterStarting", f"{ref} is being made"
        causes = sorted(
            (cause.reason.value in {"Starting", "NotReady"}, cause.reason.value, cause.message)
            for pod in self.pods
            if (cause := why_unready(pod)) is not None
        )
        if causes:
            return causes[0][1], causes[0][2]
        return "RouterStarting", f"{ref} has no pod yet{_not_created(self.deployment)}"


def look_at_router(view: View, key: Key) -> Router:
    """Look at the router whose ConfigMap a key names."""
    config = view.get(Ref(CONFIG_MAP, key.namespace, key.name))
    pods = tuple(pod for pod in view.children(POD, key) if "deletionTimestamp" not in pod["metadata"])
    return Router(
        key=key,
        config=config,
        document=read(config),
        deployment=view.get(Ref(DEPLOYMENT, key.namespace, key.name)),
        pods=pods,
        reports={report["metadata"]["name"]: report for report in view.children(ROUTER_REPORT, key)},
        memory=view.memory(key),
        counts=tuple(told for pod in pods if (told := view.get(counts_ref(pod))) is not None),
    )


def counts_ref(pod: Object) -> Ref:
    """Name what a pod has counted."""
    return Ref(ROUTER_COUNTS, pod["metadata"]["namespace"], pod["metadata"]["name"])


def report_address(pod: Object) -> str:
    """Give the URL at which a pod tells what it serves; empty if it is no router's, or does not answer yet."""
    ip = pod.get("status", {}).get("podIP", "")
    if not ip or names.ROUTER not in pod["metadata"].get("labels", {}) or not is_ready(pod):
        return ""
    return f"http://{f'[{ip}]' if ':' in ip else ip}:{ADMIN_PORT}/watch"


def router_of_graph(graph: Object) -> Key:
    """Give the key of the router that a graph asks for."""
    metadata, router = graph["metadata"], graph.get("spec", {}).get("router") or {}
    name = own_router(metadata["name"]) if router.get("own") else SHARED_ROUTER
    return Key(CONFIG_MAP, metadata["namespace"], name)


def router_of_child(child: Object) -> Iterable[Key]:
    """Give the router that an object belongs to by its label."""
    name = child["metadata"].get("labels", {}).get(names.ROUTER, "")
    if name:
        yield Key(CONFIG_MAP, child["metadata"]["namespace"], name)


def _not_created(deployment: Object) -> str:
    said = deployment.get("status", {}).get("conditions", ())
    failure = next((c for c in said if c.get("type") == "ReplicaFailure" and c.get("status") == "True"), None)
    return "" if failure is None else f": {failure.get('message', '')}"
