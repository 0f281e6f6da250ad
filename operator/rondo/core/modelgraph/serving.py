"""Whether the routers serve a graph as it is now, and if not, what is in the way."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from rondo.core.deployment.finding import Finding, from_failure
from rondo.core.modelgraph.compilation import with_port
from rondo.core.modelgraph.finding import Reason
from rondo.core.modelgraph.parts import Entry
from rondo.core.modelgraph.snapshot import GraphSnapshot
from rondo.core.plan import Ref
from rondo.core.resources import CONFIG_MAP
from rondo.core.router.render import leads_to


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


def see_serving(snapshot: GraphSnapshot, wanted: Mapping[str, Entry] | None) -> Serving:
    """Tell how far a graph is served.

    Args:
        snapshot: One look at it.
        wanted: The parts of the plan that it shall have, without ports; none if nobody can tell.
    """
    served = snapshot.router.served(snapshot.name)
    common = set(served.values())
    revision = common.pop() if len(common) == 1 else ""
    finding = None if wanted is None else _unplanned(snapshot, wanted) or _unserved(snapshot, wanted)
    return Serving(_led(snapshot, finding), revision, len(served))


def _led(snapshot: GraphSnapshot, finding: Finding | None) -> Finding | None:
    """Say also where requests go while the Service leads to another router than the graph asks for."""
    if finding is None or snapshot.service is None or not snapshot.led_elsewhere:
        return finding
    words = f"its Service still leads to router {leads_to(snapshot.service)}"
    return replace(finding, message=f"{finding.message}; {words}")


def _unplanned(snapshot: GraphSnapshot, wanted: Mapping[str, Entry]) -> Finding | None:
    """Say why the plan does not have the graph as it is."""
    router = snapshot.router
    ref = Ref(CONFIG_MAP, router.key.namespace, router.key.name)
    failure = router.memory.failures.get(ref) or snapshot.memory.failures.get(ref)
    if router.config is None:
        if failure is not None:
            return from_failure(ref, failure)
        return Finding(Reason.PLANNING, f"{ref} is being made", normal=True)
    entries = router.document.entries
    differ = [name for name, part in wanted.items() if _revision(entries.get(name)) != part["revision"]]
    if not differ:
        return None
    refused = router.document.refused
    words = [refused[name][1] for name in differ if name in refused and refused[name][0] == wanted[name]["revision"]]
    if words:
        return Finding(Reason.PLAN_REFUSED, f"the router refuses it: {words[0]}", stalled=True)
    if failure is not None:
        return from_failure(ref, failure)
    return Finding(Reason.PLANNING, f"{ref} is being written", normal=True)


def _revision(entry: Entry | None) -> str:
    """Give the revision of a part without its port."""
    return "" if entry is None else str(with_port(entry, None)["revision"])


def _unserved(snapshot: GraphSnapshot, wanted: Mapping[str, Entry]) -> Finding | None:
    """Say which router does not serve what the plan says."""
    router, name = snapshot.router, snapshot.name
    served = router.served(name)
    if not served:
        reason, words = router.why_down()
        normal = reason in {Reason.ROUTER_STARTING, "Starting", "NotReady"}
        silent = f"router {router.key.name} does not serve it yet" if snapshot.led_elsewhere else "no router answers"
        return Finding(reason, f"{silent}: {words}", normal=normal)
    planned = {part: router.document.entries[part]["revision"] for part in wanted}
    behind = {pod for part in wanted for pod, told in router.served(part).items() if told != planned[part]}
    if not behind:
        return None
    pod = min(behind)
    told = router.reports.get(pod)
    if told is None:
        words = f"Pod {router.key.namespace}/{pod} has not told yet what it serves"
    else:
        words = f"Pod {router.key.namespace}/{pod} still serves {served[pod] or 'nothing of it'}"
    up, revision = len(served) - len(behind), planned[name]
    message = f"{up}/{len(served)} routers serve revision {revision}: {words}"
    return Finding(Reason.ROUTER_RELOADING, message, normal=True)
