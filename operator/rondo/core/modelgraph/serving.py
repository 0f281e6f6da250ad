"""Whether the routers serve a graph as it is now, and if not, what is in the way."""

from __future__ import annotations

from dataclasses import dataclass

from rondo.core.deployment.finding import Finding, from_failure
from rondo.core.modelgraph.compilation import compile_graph, with_port
from rondo.core.modelgraph.finding import Reason
from rondo.core.modelgraph.judge import Accepted
from rondo.core.modelgraph.snapshot import GraphSnapshot
from rondo.core.plan import Ref
from rondo.core.resources import CONFIG_MAP


@dataclass(frozen=True)
class Serving:
    """How far a graph is served.

    Attributes:
        finding: What is in the way; None if every ready router serves the graph as it is.
        revision: What all ready routers serve; empty while they differ, or there is none.
        routers: How many answer.
    """

    finding: Finding | None
    revision: str
    routers: int


def see_serving(snapshot: GraphSnapshot, graph: Accepted | None) -> Serving:
    """Tell how far a graph is served.

    Args:
        snapshot: One look at it.
        graph: It, if it is accepted.
    """
    served = snapshot.router.served(snapshot.name)
    common = set(served.values())
    revision = common.pop() if len(common) == 1 else ""
    finding = None if graph is None else _finding(snapshot, graph, served)
    return Serving(finding, revision, len(served))


def _finding(snapshot: GraphSnapshot, graph: Accepted, served: dict[str, str]) -> Finding | None:
    return _unplanned(snapshot, graph) or _unserved(snapshot, served)


def _unplanned(snapshot: GraphSnapshot, graph: Accepted) -> Finding | None:
    """Say why the plan does not have the graph as it is."""
    router, name = snapshot.router, snapshot.name
    ref = Ref(CONFIG_MAP, router.key.namespace, router.key.name)
    failure = router.memory.failures.get(ref) or snapshot.memory.failures.get(ref)
    if router.config is None:
        if failure is not None:
            return from_failure(ref, failure)
        return Finding(Reason.PLANNING, f"{ref} is being made", normal=True)
    entry = router.document.entries.get(name)
    wanted = compile_graph(graph, None)["revision"]
    if entry is not None and with_port(entry, None)["revision"] == wanted:
        return None
    refused = router.document.refused.get(name)
    if refused is not None and refused[0] == wanted:
        return Finding(Reason.PLAN_REFUSED, f"the router refuses it: {refused[1]}", stalled=True)
    if failure is not None:
        return from_failure(ref, failure)
    return Finding(Reason.PLANNING, f"{ref} is being written", normal=True)


def _unserved(snapshot: GraphSnapshot, served: dict[str, str]) -> Finding | None:
    """Say which router does not serve what the plan says."""
    router = snapshot.router
    if not served:
        reason, words = router.why_down()
        normal = reason in {Reason.ROUTER_STARTING, "Starting", "NotReady"}
        return Finding(reason, f"no router answers: {words}", normal=normal)
    wanted = router.document.entries[snapshot.name]["revision"]
    behind = [pod for pod, revision in served.items() if revision != wanted]
    if not behind:
        return None
    pod = behind[0]
    told = router.reports.get(pod)
    if told is None:
        words = f"Pod {router.key.namespace}/{pod} has not told yet what it serves"
    else:
        words = f"Pod {router.key.namespace}/{pod} still serves {served[pod] or 'nothing of it'}"
    up = len(served) - len(behind)
    return Finding(Reason.ROUTER_RELOADING, f"{up}/{len(served)} routers serve revision {wanted}: {words}", normal=True)
