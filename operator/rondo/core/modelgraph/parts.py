"""What the plan of a router has of a graph that makes releases: one part, or while a release runs three.

`GRAPH` is what clients ask. While a candidate gets requests it is a small graph that divides them between, or shows
them to, `GRAPH.old` and `GRAPH.new`; no other graph can have such names. What is served cannot be made again from the
spec once that has changed, so it is taken from where it stands: the plan itself.
"""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import dataclass, field
from typing import Any

from rondo.api.release import Release, ReleaseStatus, ReleaseStrategy, ReleaseVersion
from rondo.core.modelgraph.compilation import compile_graph, with_port, with_revision
from rondo.core.modelgraph.judge import Accepted
from rondo.core.modelgraph.part_names import NEW, OLD, names_of
from rondo.core.modelgraph.release import epoch_of
from rondo.core.modelgraph.versions import is_divided, spec_hash

Entry = Mapping[str, Any]
"""A graph's part of the plan."""


@dataclass(frozen=True)
class Shelf:
    """Where versions of graphs can be found besides their specs.

    Attributes:
        entries: Parts of plans, by name.
        versions: Hashes of the versions that they are, by name.
    """

    entries: Mapping[str, Entry] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)

    def find(self, graph: str, version: str, present: Container[str]) -> Entry | None:
        """Give the part that is a version of a graph; None if there is none, or it asks a graph that is gone.

        Args:
            graph: Name of the graph.
            version: Hash of the version.
            present: Names of the graphs that there are.
        """
        names = (part for part in names_of(graph) if self.versions.get(part) == version)
        found = (self.entries[part] for part in names if part in self.entries)
        return next((entry for entry in found if all(name in present for name in nested_in(entry))), None)


@dataclass(frozen=True)
class Sources:
    """From where the versions of a graph can be had.

    Attributes:
        graph: Name of the graph.
        accepted: It as it is now; None if it is not accepted, so that nothing can be made of it.
        shelves: Where versions stand that the spec does not say any more.
        present: Names of the graphs that there are.
    """

    graph: str
    accepted: Accepted | None
    shelves: tuple[Shelf, ...]
    present: Container[str]

    def find(self, version: ReleaseVersion) -> Entry | None:
        """Give the part of a version: made anew if it is what the spec says, else as it stands somewhere."""
        if self.accepted is not None and spec_hash(self.accepted.spec) == version.spec:
            return compile_graph(self.accepted, None, version.members)
        found = (shelf.find(self.graph, version.hash, self.present) for shelf in self.shelves)
        return next((entry for entry in found if entry is not None), None)


@dataclass(frozen=True)
class Parts:
    """What the plan shall have of a graph.

    Attributes:
        entries: The parts, by name, without ports.
        versions: Which of them are versions, by name.
    """

    entries: Mapping[str, Entry]
    versions: Mapping[str, str]


def nested_in(entry: Entry) -> list[str]:
    """Give the graphs, and parts of graphs, that a part asks."""
    return [node["graph"] for node in entry.get("nodes", ()) if "graph" in node]


def build_parts(status: ReleaseStatus, sources: Sources) -> Parts | None:
    """Give the parts of a graph that makes releases; None if nothing is served yet, or that is lost.

    Args:
        status: How far its newest release is.
        sources: From where its versions can be had.
    """
    graph = sources.graph
    if sources.accepted is None and is_divided(status):
        return _standing(status, sources)
    served = None if status.served is None else sources.find(status.served)
    if served is None or status.served is None:
        return None
    new = sources.find(status.candidate) if status.candidate is not None and is_divided(status) else None
    if new is None or status.candidate is None or sources.accepted is None:
        return Parts({graph: _named(served, graph)}, {graph: status.served.hash})
    (_, old_name, new_name), epoch = names_of(graph), epoch_of(status)
    parts = {old_name: _counted(served, old_name, epoch), new_name: _counted(new, new_name, epoch)}
    outer = _outer(sources.accepted, status, (parts[old_name], parts[new_name]))
    versions = {old_name: status.served.hash, new_name: status.candidate.hash}
    return Parts({graph: outer, **parts}, versions)


def _standing(status: ReleaseStatus, sources: Sources) -> Parts | None:
    """Give the parts of a divided graph as they stand, if they are of this step; only then they are what it says."""
    for shelf in sources.shelves:
        new = shelf.entries.get(names_of(sources.graph)[2], {})
        if new.get("counted") == epoch_of(status):
            return Parts({name: with_port(entry, None) for name, entry in shelf.entries.items()}, shelf.versions)
    return None


def _named(entry: Entry, name: str) -> dict[str, Any]:
    """Give a version as a part of a name, without what it had at another place."""
    rest = {key: value for key, value in entry.items() if key not in {"port", "counted"}}
    return with_revision({**rest, "name": name})


def _counted(entry: Entry, name: str, epoch: str) -> dict[str, Any]:
    return with_revision({**_named(entry, name), "counted": epoch})


def _outer(accepted: Accepted, status: ReleaseStatus, parts: tuple[Entry, Entry]) -> dict[str, Any]:
    """Build the graph that clients ask: as patient and as large as either of its parts."""
    old, new = parts
    limits = {key: max(part["limits"][key] for part in parts) for key in ("body", "inFlight")}
    nodes = [
        {"name": "release", **_divide(accepted.spec.release, status)},
        {"name": OLD, "graph": old["name"]},
        {"name": NEW, "graph": new["name"]},
    ]
    return with_revision(
        {
            "name": accepted.name,
            "protocol": old["protocol"],
            "entry": "release",
            "timeoutMillis": max(part["timeoutMillis"] for part in parts),
            "limits": limits,
            "headers": [],
            "nodes": nodes,
        }
    )


def _divide(release: Release | None, status: ReleaseStatus) -> dict[str, Any]:
    if status.strategy is ReleaseStrategy.SHADOW:
        compare = {"compare": release.compare} if release is not None and release.compare else {}
        return {"mirror": {"node": OLD, "to": [NEW], "percent": status.weight, **compare}}
    # The candidate stands last, so more weight takes requests from the old version and moves no other.
    to = [{"node": OLD, "weight": 100 - status.weight}, {"node": NEW, "weight": status.weight}]
    sticky = {"sticky": release.sticky, "lenient": True} if release is not None and release.sticky else {}
    return {"split": {"to": to, **sticky}}


def refused_in(parts: Parts, refused: Mapping[str, tuple[str, str]]) -> str:
    """Say why routers refuse one of the parts; empty if they do not.

    Args:
        parts: The parts, without ports.
        refused: What routers refused, by name: revision and words.
    """
    bad = (refused[name][1] for name, part in parts.entries.items() if refused.get(name, ("",))[0] == part["revision"])
    return next(bad, "")
