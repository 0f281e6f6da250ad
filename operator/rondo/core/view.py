"""What a planner may see of the cluster: a read-only view of the runtime's store."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from rondo.core.plan import Memory, Object, Ref, Resource


@dataclass(frozen=True, slots=True)
class Key:
    """Names one object to reconcile; the unit of work of the queue. `namespace` is empty for cluster-scoped kinds."""

    resource: Resource
    namespace: str
    name: str

    def __str__(self) -> str:
        """Give `kind/namespace/name`, as in logs."""
        return f"{self.resource.kind}/{self.namespace}/{self.name}"


class View(Protocol):
    """Read access to the store. Objects are shared and must not be changed."""

    def get(self, ref: Ref) -> Object | None:
        """Give the object as last seen, or None. Absence is never proof: ask for a GetLive before acting on it."""

    def children(self, resource: Resource, owner: Key) -> Iterable[Object]:
        """Give the objects of a kind that were routed to this key, in no particular order."""

    def select(self, resource: Resource, namespace: str) -> Iterable[Object]:
        """Give all objects of a kind in a namespace, or in all where it is empty, in no particular order."""

    def memory(self, key: Key) -> Memory:
        """Give what this process remembers about the key."""
