"""Versions of a graph: what it says and which revisions it asks, and which of them its objects ask for now.

A version is the spec without `release` and `router`, and one revision of each ModelDeployment among its targets. Graphs
that it points at have releases of their own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from rondo.api.modelgraph import ModelGraphSpec, TargetKind
from rondo.api.modelruntime import Protocol
from rondo.api.release import (
    PinnedMember,
    Release,
    ReleaseState,
    ReleaseStatus,
    ReleaseStrategy,
    ReleaseVersion,
)
from rondo.core import conditions
from rondo.core.deployment.canonical import digest
from rondo.core.deployment.revision import name_of
from rondo.core.modelgraph.surroundings import Surroundings, pinned_members
from rondo.core.plan import Object
from rondo.core.resources import MODEL_DEPLOYMENT


@dataclass(frozen=True)
class Wanted:
    """What a graph and its targets ask for now.

    Attributes:
        spec: Hash of the spec alone.
        members: The revision of each ModelDeployment, by name.
        unsettled: Why the members are not known yet, or are about to change; empty if they are.
        assumed: Some member offers no revision now, so the one that was asked so far stands for it.
    """

    spec: str
    members: tuple[PinnedMember, ...]
    unsettled: str = ""
    assumed: bool = False

    @property
    def hash(self) -> str:
        """Hash of spec and revisions together."""
        return digest([self.spec, [(member.name, member.revision) for member in self.members]])

    def version(self, number: int) -> ReleaseVersion:
        """Give it as a release of a number."""
        return ReleaseVersion(number=number, hash=self.hash, spec=self.spec, members=list(self.members))


def spec_hash(spec: ModelGraphSpec) -> str:
    """Give the hash of what a spec says of requests. A default that a newer operator adds changes nothing."""
    said = spec.model_dump(
        mode="json", by_alias=True, exclude_defaults=True, exclude_none=True, exclude={"release", "router"}
    )
    return digest(said)


def policy_hash(release: Release) -> str:
    """Give the hash of how releases are made: who makes that another tries again what was rolled back."""
    return digest(release.model_dump(mode="json", by_alias=True, exclude_defaults=True, exclude={"decision"}))


def find_wanted(spec: ModelGraphSpec, around: Surroundings, before: ReleaseStatus | None) -> Wanted:
    """Tell which version a graph and its targets ask for.

    A ModelDeployment that rolls out another revision offers the one that was asked so far, until it has.

    Args:
        spec: The spec of the graph.
        around: Its targets.
        before: Its newest release.
    """
    known = _known(before)
    members: list[PinnedMember] = []
    unsettled: list[str] = []
    assumed = False
    for name in sorted(deployments_of(spec)):
        offered, moving = _offered(around.get(MODEL_DEPLOYMENT, name) or {}, name, known.get(name))
        member = offered or known.get(name)
        assumed = assumed or offered is None
        if member is not None:
            members.append(member)
        if moving or member is None:
            unsettled.append(f"ModelDeployment {name} {moving or 'has no revision that is rolled out'}")
    return Wanted(spec_hash(spec), tuple(members), "; ".join(unsettled), assumed)


def deployments_of(spec: ModelGraphSpec) -> frozenset[str]:
    """Give the ModelDeployments among the targets of a graph."""
    targets = (node.target for node in spec.nodes if node.target is not None)
    return frozenset(t.name for t in targets if t.name is not None and t.kind is TargetKind.MODEL_DEPLOYMENT)


def is_divided(status: ReleaseStatus) -> bool:
    """Tell whether a candidate gets requests."""
    routed = status.state in {ReleaseState.PROGRESSING, ReleaseState.PAUSED}
    return routed and status.candidate is not None and status.served is not None


def answering(graph: Object) -> Mapping[str, tuple[PinnedMember, ...]]:
    """Give the revisions of ModelDeployments by which a graph that makes releases answers, by their names.

    What a Shadow shows requests to answers nobody.
    """
    said = graph.get("status", {}).get("release")
    if not said:
        return {}
    status = ReleaseStatus.model_validate(said)
    divided = is_divided(status) and status.strategy is ReleaseStrategy.CANARY
    found: dict[str, tuple[PinnedMember, ...]] = {}
    for version in (status.served, status.candidate if divided else None):
        for member in () if version is None else version.members:
            found[member.name] = (*found.get(member.name, ()), member)
    return found


def pins_of(release: ReleaseStatus | None) -> Iterator[str]:
    """Give the Services of all revisions that a release needs, or did until all routers have left them."""
    if release is None:
        return
    for version in (release.served, release.candidate):
        yield from services_of(version)
    yield from release.leaving


def services_of(version: ReleaseVersion | None) -> list[str]:
    """Give the Services of the revisions that a version asks."""
    return [] if version is None else [name_of(member.name, member.revision) for member in version.members]


def pinned_in(graph: Object) -> frozenset[str]:
    """Give the Services of all revisions that a graph needs by its status, of any form that was ever written."""
    release: Mapping[str, Any] = graph.get("status", {}).get("release") or {}
    members = (name_of(member["name"], member["revision"]) for member in pinned_members(graph))
    return frozenset([*members, *release.get("leaving", ())])


def _known(before: ReleaseStatus | None) -> Mapping[str, PinnedMember]:
    if before is None:
        return {}
    versions = [version for version in (before.served, before.candidate) if version is not None]
    return {member.name: member for version in versions for member in version.members}


def _offered(deployment: Object, name: str, known: PinnedMember | None) -> tuple[PinnedMember | None, str]:
    """Give the revision that a ModelDeployment has rolled out, and what it does if it is about to have another."""
    status: Mapping[str, Any] = deployment.get("status", {})
    if status.get("observedGeneration") != deployment.get("metadata", {}).get("generation"):
        return None, "is not observed yet"
    member = _member(deployment, name) if status.get("revision") else None
    if member is not None and known is not None and member.revision == known.revision:
        return member, ""
    ready = conditions.find(status.get("conditions", ()), "Ready") or {}
    if ready.get("status") == "True":
        return member, ""
    if conditions.find(status.get("conditions", ()), "Stalled") is not None:
        return None, ""
    return None, f"is not rolled out: {ready.get('message') or 'not observed yet'}"


def _member(deployment: Object, name: str) -> PinnedMember:
    """Pin the revision that a ModelDeployment tells; its protocol stands in the same status and so is that one's."""
    status: Mapping[str, Any] = deployment["status"]
    speaks = status.get("protocol")
    protocol = Protocol(speaks) if speaks in set(Protocol) else None
    return PinnedMember(name=name, revision=status["revision"], protocol=protocol, uid=deployment["metadata"]["uid"])
