"""The ConfigMap of a router: the plan that it watches, and beside it what the operator has to remember of it.

The plan is always one that a router takes as a whole: a graph that cannot be compiled now keeps the part that it had,
and what the router refused is not put into it again.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final

from rondo.core.modelgraph.compilation import with_revision
from rondo.core.modelgraph.part_names import names_of
from rondo.core.modelgraph.parts import Entry, Shelf
from rondo.core.plan import Object
from rondo.core.recent import Recent

PLAN_KEY: Final = "plan.json"
STATE_KEY: Final = "state.json"

LIMIT: Final = 1 << 20
"""Bytes that a ConfigMap has at most: `MaxSecretSize` of Kubernetes, which counts for both."""


@dataclass(frozen=True)
class Document:
    """What a ConfigMap says.

    Attributes:
        revision: That of the whole plan; empty if there is none.
        entries: The graphs of the plan, by name.
        uids: Whose the entries are: uids of ModelGraphs, by name.
        refused: What a router refused, by name of the graph: the revision that it has without a port, and its words.
        former: Parts of the plan that were served last, of graphs whose new part no router has been heard to serve yet.
        last_port: The port that was given last.
        versions: Which versions of graphs that make releases the entries are, by name.
    """

    revision: str = ""
    entries: Mapping[str, Entry] = field(default_factory=dict)
    uids: Mapping[str, str] = field(default_factory=dict)
    refused: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    former: Mapping[str, Entry] = field(default_factory=dict)
    last_port: int = 0
    versions: Mapping[str, str] = field(default_factory=dict)

    def port_of(self, graph: str) -> int | None:
        """Give the port of a graph, if it has one."""
        port: int | None = self.entries.get(graph, {}).get("port")
        return port

    def shelf_of(self, graph: str, uid: str) -> Shelf:
        """Give the parts of a graph that make up its versions, if they are those of the graph with this uid."""
        mine = [name for name in names_of(graph) if name in self.entries and self.uids.get(name) == uid]
        return Shelf({n: self.entries[n] for n in mine}, {n: self.versions[n] for n in mine if n in self.versions})

    def data(self) -> dict[str, str]:
        """Write the ConfigMap's data."""
        return dict(self._data)

    @property
    def size(self) -> int:
        """Bytes of it as the API server counts them."""
        return sum(len(key) + len(text.encode()) for key, text in self._data.items())

    @cached_property
    def _data(self) -> Mapping[str, str]:
        plan = with_revision({"graphs": [self.entries[name] for name in sorted(self.entries)], "models": []})
        state = {"uids": self.uids, "refused": self.refused, "former": self.former, "lastPort": self.last_port}
        if self.versions:
            state["versions"] = self.versions
        return {PLAN_KEY: _written(plan), STATE_KEY: _written(state)}


_READ: Final[Recent[Document]] = Recent(256)


def read(config: Object | None) -> Document:
    """Read a ConfigMap; what somebody made unreadable counts as empty."""
    if config is None:
        return Document()
    return _READ.get(config["metadata"]["uid"], config, lambda: _read(config))


def _read(config: Object) -> Document:
    data: Mapping[str, str] = config.get("data") or {}
    try:
        plan, state = json.loads(data.get(PLAN_KEY, "{}")), json.loads(data.get(STATE_KEY, "{}"))
        return Document(
            revision=plan.get("revision", ""),
            entries={entry["name"]: entry for entry in plan.get("graphs", ())},
            uids=dict(state.get("uids", {})),
            refused={name: (str(revision), str(words)) for name, (revision, words) in state.get("refused", {}).items()},
            former=dict(state.get("former", {})),
            last_port=int(state.get("lastPort", 0)),
            versions=dict(state.get("versions", {})),
        )
    except (ValueError, TypeError, KeyError, AttributeError):
        return Document()


def _written(value: Any) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
