"""What this process knows of the cluster: the latest view of each object, filed by who works on it.

Views come from watches, lists and the answers to our own writes, in any order. A view that is older than what is known
is dropped, and an object that is known to be deleted does not come back by a late answer, so planners read their own
writes.
"""

from __future__ import annotations

from collections import OrderedDict, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from rondo.core.plan import Failure, Memory, Object, Read, ReadResult, Ref, Resource
from rondo.core.view import Key
from rondo.runtime.routes import Route

TOMBSTONES: Final = 10_000
"""So many uids of deleted objects are remembered."""


class Store:
    """The latest view of each object. Implements `rondo.core.view.View`."""

    def __init__(self, routes: Iterable[Route]) -> None:
        self._routes: dict[Resource, Route] = {route.resource: route for route in routes}
        self._objects: dict[Resource, dict[tuple[str, str], Object]] = defaultdict(dict)
        self._filed: dict[tuple[Resource, Key], dict[tuple[str, str], Object]] = defaultdict(dict)
        self._deleted: OrderedDict[str, None] = OrderedDict()
        self._memories: dict[Key, Memory] = {}
        self._forgotten: dict[Key, str] = {}

    # View ---------------------------------------------------------------------------------------------------

    def get(self, ref: Ref) -> Object | None:
        """Give the object as last seen, or None."""
        return self._objects[ref.resource].get((ref.namespace, ref.name))

    def children(self, resource: Resource, owner: Key) -> Iterable[Object]:
        """Give the objects of a kind that are filed under a key."""
        return tuple(self._filed.get((resource, owner), {}).values())

    def select(self, resource: Resource, namespace: str) -> Iterable[Object]:
        """Give all objects of a kind in a namespace, or in all where it is empty."""
        return tuple(thing for (space, _), thing in self._objects[resource].items() if namespace in {"", space})

    def memory(self, key: Key) -> Memory:
        """Give what is remembered about a key."""
        return self._memories.get(key, _FRESH)

    # Objects ------------------------------------------------------------------------------------------------

    def put(self, resource: Resource, thing: Object) -> list[Key]:
        """Take in a view of an object.

        Returns:
            The keys that have to be looked at; none if it told nothing new.
        """
        metadata = thing["metadata"]
        name = (metadata.get("namespace", ""), metadata["name"])
        known = self._objects[resource].get(name)
        if metadata["uid"] in self._deleted or (known is not None and not _newer(thing, known)):
            return []
        route = self._routes.get(resource)
        kept = _strip(thing) if route is None else route.trim(_strip(thing))
        if known is not None:
            self._unfile(resource, name, known)
        self._objects[resource][name] = kept
        keys = self._file(resource, name, kept)
        return [] if known is not None and _same(kept, known) else keys

    def remove(self, resource: Resource, thing: Object) -> list[Key]:
        """Take in that an object was deleted.

        Returns:
            The keys that have to be looked at.
        """
        metadata = thing["metadata"]
        self._bury(metadata["uid"])
        name = (metadata.get("namespace", ""), metadata["name"])
        known = self._objects[resource].get(name)
        if known is None or known["metadata"]["uid"] != metadata["uid"]:
            return []
        del self._objects[resource][name]
        keys = self._keys(resource, known)
        self._unfile(resource, name, known)
        return keys

    def replace(self, resource: Resource, things: Sequence[Object], version: str, namespace: str = "") -> list[Key]:
        """Take in a complete list.

        Args:
            resource: The kind.
            things: All its objects, of one namespace or of all.
            version: The list's resourceVersion: what is known to be newer than it is kept though it is not in the list.
            namespace: The namespace that was listed, or empty for all.

        Returns:
            The keys that have to be looked at: of what is new, changed or gone.
        """
        there = {thing["metadata"]["uid"] for thing in things}
        gone = [
            known
            for known in self._objects[resource].values()
            if known["metadata"]["uid"] not in there
            and _version(known) <= int(version)
            and namespace in {"", known["metadata"].get("namespace", "")}
        ]
        keys = [key for known in gone for key in self.remove(resource, known)]
        return keys + [key for thing in things for key in self.put(resource, thing)]

    def keys(self, resource: Resource) -> list[Key]:
        """Give the keys of all objects of a kind."""
        return [Key(resource, namespace, name) for namespace, name in self._objects[resource]]

    def forget_children(self, owner: Key, uid: str) -> None:
        """Drop what is filed under an object that needs no further work, and keep nothing more of it.

        Args:
            owner: Its key.
            uid: Its uid; an object of the same name that comes later is another.
        """
        self._memories.pop(owner, None)
        if self._forgotten.get(owner) == uid:
            return
        self._forgotten[owner] = uid
        for resource, key in [filed for filed in self._filed if filed[1] == owner]:
            for name in self._filed.pop((resource, key)):
                self._objects[resource].pop(name, None)

    # Memory -------------------------------------------------------------------------------------------------

    def begin(self, key: Key) -> None:
        """Begin a reconcile: reads of the last one are no longer fresh."""
        known = self._memories.get(key)
        self._memories[key] = Memory(first_seen=True) if known is None else replace(known, reads={}, first_seen=False)

    def remember_reads(self, key: Key, results: Mapping[Read, ReadResult]) -> None:
        """Remember the results of live reads until the next reconcile begins."""
        memory = self.memory(key)
        self._memories[key] = replace(memory, reads={**memory.reads, **results})

    def remember_failure(self, key: Key, ref: Ref, failure: Failure) -> None:
        """Remember that an action failed; equal failures in a row are counted."""
        memory = self.memory(key)
        before = memory.failures.get(ref)
        if before is not None and before.message == failure.message:
            failure = replace(failure, at=before.at, count=before.count + 1)
        self._memories[key] = replace(memory, failures={**memory.failures, ref: failure})

    def remember_success(self, key: Key, ref: Ref, *, created: str | None = None) -> None:
        """Remember that an action succeeded, and the uid of what it created."""
        memory = self.memory(key)
        failures = {known: failure for known, failure in memory.failures.items() if known != ref}
        uids = memory.created if created is None else {**memory.created, ref: created}
        self._memories[key] = replace(memory, failures=failures, created=uids)

    # Filing -------------------------------------------------------------------------------------------------

    def _file(self, resource: Resource, name: tuple[str, str], thing: Object) -> list[Key]:
        keys = self._keys(resource, thing)
        for owner in self._owners(resource, thing):
            if owner in self._forgotten:
                if self._is_forgotten(owner):
                    self._objects[resource].pop(name, None)
                    return []
                del self._forgotten[owner]
            self._filed[resource, owner][name] = thing
        return keys

    def _is_forgotten(self, owner: Key) -> bool:
        """Tell whether the object that was forgotten is still the one that has the name."""
        known = self._objects[owner.resource].get((owner.namespace, owner.name))
        return known is not None and known["metadata"]["uid"] == self._forgotten[owner]

    def _unfile(self, resource: Resource, name: tuple[str, str], thing: Object) -> None:
        for owner in self._owners(resource, thing):
            filed = self._filed.get((resource, owner))
            if filed is not None:
                filed.pop(name, None)
                if not filed:
                    del self._filed[resource, owner]

    def _owners(self, resource: Resource, thing: Object) -> list[Key]:
        route = self._routes.get(resource)
        return [] if route is None else list(route.owners(thing))

    def _keys(self, resource: Resource, thing: Object) -> list[Key]:
        route = self._routes.get(resource)
        return [] if route is None else [*route.owners(thing), *route.watchers(thing, self)]

    def _bury(self, uid: str) -> None:
        self._deleted[uid] = None
        if len(self._deleted) > TOMBSTONES:
            self._deleted.popitem(last=False)


_FRESH: Final = Memory(first_seen=True)


def _newer(thing: Object, known: Object) -> bool:
    """Tell whether a view is newer than the known one. Versions of one kind are ordered integers (KEP-5504)."""
    return _version(thing) > _version(known)


def _same(thing: Object, known: Object) -> bool:
    """Tell whether two views differ in nothing but their version, once trimmed: no planner could tell them apart."""
    if any(thing.get(part) != known.get(part) for part in thing.keys() | known.keys() if part != "metadata"):
        return False
    return _without_version(thing) == _without_version(known)


def _without_version(thing: Object) -> dict[str, Any]:
    return {key: value for key, value in thing["metadata"].items() if key != "resourceVersion"}


def _version(thing: Object) -> int:
    return int(thing["metadata"]["resourceVersion"])


def _strip(thing: Object) -> dict[str, Any]:
    """Leave out `managedFields`, a quarter of most objects."""
    if "managedFields" not in thing["metadata"]:
        return dict(thing)
    metadata = {key: value for key, value in thing["metadata"].items() if key != "managedFields"}
    return {**thing, "metadata": metadata}
