"""Targets that are lost: what has to be known of them is in the plan that the routers have."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rondo.api.modelgraph import Target
from rondo.api.modelruntime import Protocol
from rondo.api.release import PinnedMember
from rondo.core.deployment.render import service_url
from rondo.core.modelgraph.finding import Reason
from rondo.core.modelgraph.members import Member, Missing, address_of
from rondo.core.modelgraph.part_names import graph_of
from rondo.core.modelgraph.surroundings import Surroundings
from rondo.core.plan import Object


@dataclass(frozen=True)
class Lost:
    """A target that is not there.

    Attributes:
        node: The node that asks it.
        target: It as the graph says.
        missing: What is missing.
        pins: The revisions by which it is asked, if the graph makes releases.
    """

    node: str
    target: Target
    missing: Missing
    pins: tuple[PinnedMember, ...]


def find_lost(graph: Object, lost: Lost, around: Surroundings) -> Member | None:
    """Give a target that was there when it was last planned, as a member that does not answer; None if it never was.

    The graph is what it was, and whoever can answer without that member still does.

    Args:
        graph: The graph.
        lost: The target.
        around: What there is.
    """
    if lost.missing.reason not in {Reason.TARGET_NOT_FOUND, Reason.PORT_NOT_FOUND}:
        return None
    url = address_of(lost.target, around.namespace)
    urls = {url, *(address_of(lost.target, around.namespace, pin.revision) for pin in lost.pins)}
    mine = [part for part, uid in around.uids.items() if uid == graph["metadata"]["uid"] and part in around.entries]
    for entry in (around.entries[part] for part in mine):
        known = next((_asked(node, entry, around) for node in entry["nodes"] if node["name"] == lost.node), {})
        if known.get("url") in urls:
            reason, message = lost.missing.reason, lost.missing.message
            return Member(
                ready=False,
                reason=reason,
                message=message,
                url=url,
                protocol=Protocol(known["protocol"]),
                model=known.get("model"),
            )
    return None


def target_of_graph(name: str, namespace: str, protocol: str) -> dict[str, Any]:
    """Write a graph that is in no plan as a target: its Service, which is there again once it is."""
    return {"url": service_url(name, namespace), "protocol": protocol, "model": name}


def _asked(node: Mapping[str, Any], entry: Mapping[str, Any], around: Surroundings) -> Mapping[str, Any]:
    """Read of a node of a plan what server it asks."""
    if "graph" not in node:
        return node.get("target") or {}
    protocol = around.entries.get(node["graph"], entry)["protocol"]
    return target_of_graph(graph_of(node["graph"]), around.namespace, protocol)
