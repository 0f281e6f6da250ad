"""The routers of a graph: their pods, and what their admin ports tell, read through the API server's pod proxy.

So it works from wherever kubectl does, with the right to `get` pods and `pods/proxy`. What cannot be read is said in
words, and the rest is read all the same.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final

from rondo.cli.cluster import Cluster, Reply
from rondo.cli.errors import CommandError
from rondo.cli.graph.traffic import Sample, read_metrics
from rondo.cli.progress import Object
from rondo.core import names

ADMIN_PORT: Final = 9900
SHARED_ROUTER: Final = "rondo-router"
OWN_ROUTER: Final = "{graph}-router"
"""Names of the routers of a namespace and of one graph. The module that has them takes a second to import."""

_LONGEST_LABEL: Final = 63
"""Characters of a label's value; of a longer one the API server refuses to look for any."""
_ENDED: Final = frozenset({"Succeeded", "Failed"})
"""Phases of pods that stay, such as those that were evicted, and will never answer."""
_PATIENCE: Final = 5.0
_AT_ONCE: Final = 16


@dataclass(frozen=True, slots=True)
class Reading:
    """One reading of all routers of a graph.

    Attributes:
        samples: What each told, by pod.
        notes: What could not be read, and why.
    """

    samples: Mapping[str, Sample]
    notes: tuple[str, ...] = ()


def read_routers(cluster: Cluster, graph: Object) -> Reading:
    """Read the metrics of all routers that may serve a graph.

    Args:
        cluster: Where it is.
        graph: The ModelGraph.

    Raises:
        CommandError: The API server cannot be reached.
    """
    name = graph["metadata"]["name"]
    path = f"/api/v1/namespaces/{cluster.namespace}/pods"
    reply = cluster.request("GET", path, query={"labelSelector": _selector(name)})
    listed = _items(reply)
    if listed is None:
        return Reading({}, (f"rates are not known: {_refused(reply, 'list pods', cluster.namespace)}",))
    pods = [pod for pod in listed if _is_there(pod)]
    if not pods:
        return Reading({}, ("rates are not known: there is no router yet",))
    with ThreadPoolExecutor(_AT_ONCE) as threads:
        read = list(threads.map(lambda pod: _read(cluster, pod, name), pods))
    told = {pod["metadata"]["name"]: said for pod, said in zip(pods, read, strict=True)}
    # Of a router that does not serve the graph there is nothing to say.
    samples = {pod: said for pod, said in told.items() if isinstance(said, Sample) and said.values}
    return Reading(samples, _notes(samples, {pod: said for pod, said in told.items() if isinstance(said, str)}))


def _selector(graph: str) -> str:
    """Select the routers of a graph; while it goes over from one to another, both serve it."""
    routers = [SHARED_ROUTER, OWN_ROUTER.format(graph=graph)]
    found = ",".join(router for router in routers if len(router) <= _LONGEST_LABEL)
    return f"{names.MANAGED_SELECTOR},{names.ROUTER} in ({found})"


def _items(reply: Reply) -> Sequence[Mapping[str, Any]] | None:
    """Give what is listed; None if the answer is no list."""
    try:
        said = reply.json() if reply.status == 200 else None
    except ValueError:
        return None
    items = said.get("items") if isinstance(said, dict) else None
    return items if isinstance(items, list) else None


def _is_there(pod: Mapping[str, Any]) -> bool:
    return "deletionTimestamp" not in pod["metadata"] and pod.get("status", {}).get("phase") not in _ENDED


def _notes(samples: Mapping[str, Sample], failed: Mapping[str, str]) -> tuple[str, ...]:
    """Say what could not be read: what is the same of all pods, such as a missing right, once."""
    if samples:
        return tuple(f"rates are without router {pod}: {why}" for pod, why in failed.items())
    reasons = dict.fromkeys(failed.values()) or ("no router serves it yet",)
    return tuple(f"rates are not known: {why}" for why in reasons)


def _read(cluster: Cluster, pod: Mapping[str, Any], graph: str) -> Sample | str:
    """Read one router; give why not where that fails."""
    if not pod.get("status", {}).get("podIP"):
        return "it has no address yet"
    path = f"/api/v1/namespaces/{cluster.namespace}/pods/{pod['metadata']['name']}:{_admin_port(pod)}/proxy/metrics"
    try:
        reply = cluster.request("GET", path, patience=_PATIENCE)
        if reply.status != 200:
            return _refused(reply, "get pods/proxy", cluster.namespace)
        return Sample(time.monotonic(), read_metrics(reply.body.decode(), graph))
    except (CommandError, ValueError) as error:
        return f"its metrics cannot be read: {error}"


def _admin_port(pod: Mapping[str, Any]) -> int:
    ports = (port for container in pod["spec"].get("containers", ()) for port in container.get("ports", ()))
    return next((port["containerPort"] for port in ports if port.get("name") == "admin"), ADMIN_PORT)


def _refused(reply: Reply, right: str, namespace: str) -> str:
    if reply.status == 403:
        return f"you may not {right} in namespace {namespace}; the role edit allows it"
    words = "200, but no list" if reply.status == 200 else str(reply.status)
    return f"the API server answered {words}: {reply.why}"
