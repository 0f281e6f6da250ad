"""What this process knows of the cluster: the latest view of each object, filed by who works on it.

Views come from watches, lists and the answers to our own writes, in any order. A view that is older than what is known
is dropped, and an object that is known to be deleted does not come back by a late answer, so planners read their own
writes.
"""

from __future__ import annotations

import logging
from collections import OrderedDict, defaultdict
from collections.abc import Iterable, Mapping, Set
from dataclasses import replace
from typing import Any, Final

from rondo.core.plan import Failure, Memory, Object, Read, ReadResult, Ref, Resource
from rondo.core.view import Key
from rondo.runtime.routes import Route

TOMBSTONES: Final = 10_000
"""So many uids of deleted objects are remembered."""

log = logging.getLogger(__name__)


class Store:
    """The latest view of each object. Implements `rondo.core.view.View`."""

    def __init__(self, routes: Iterable[Route]) -> None:
        self._routes: dict[Resource, Route] = {route.resource: route for route in routes}
        self._objects: dict[Resource, dict[tuple[str, str], Object]] = defaultdict(dict)
        self._filed: dict[tuple[Resource, Key], dict[tuple[str, str], Object]] = defaultdict(dict)
        self._deleted: OrderedDict[str, int] = OrderedDict()
        self._memories: dict[Key, Memory] = {}
        self._forgotten: dict[Key, str] = {}
        self._unwatched: dict[Key, set[tuple[Resource, tuple[str, str]]]] = defaultdict(set)

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
        try:
            return self._put(resource, _name(thing), thing)
        except Exception:
            log.exception("%s %s/%s is left out: its route cannot read it", resource.kind, *_name(thing))
            self._objects[resource].pop(_name(thing), None)
            return []

    def _put(self, resource: Resource, name: tuple[str, str], thing: Object) -> list[Key]:
        known = self._objects[resource].get(name)
        if self._is_buried(thing) or (known is not None and not _newer(thing, known)):
            return []
        route = self._routes.get(resource)
        kept = _strip(thing) if route is None else route.trim(_strip(thing))
        before = [] if known is None else self._unfile(resource, name, known)
        if known is not None and known["metadata"]["uid"] != thing["metadata"]["uid"]:
            self._bury(known["metadata"]["uid"], _version(thing))
        self._objects[resource][name] = kept
        keys = self._file(resource, name, kept)
        if known is not None and _same(kept, known):
            return []
        return keys + [owner for owner in before if owner not in keys and not self._is_forgotten(owner)]

    def remove(self, resource: Resource, thing: Object, *, until: int = 0) -> list[Key]:
        """Take in that an object was deleted, or no longer matches its route's selector.

        Args:
            resource: The kind.
            thing: The object; views that are not newer are dropped from now on.
            until: Views up to this version are dropped too.

        Returns:
            The keys that have to be looked at.
        """
        metadata, name = thing["metadata"], _name(thing)
        self._bury(metadata["uid"], max(_version(thing), until))
        known = self._objects[resource].get(name)
        if known is None or known["metadata"]["uid"] != metadata["uid"]:
            return []
        del self._objects[resource][name]
        keys = self._keys(resource, known)
        self._unfile(resource, name, known)
        return keys

    def keep_only(self, resource: Resource, uids: Set[str], version: str, namespace: str = "") -> list[Key]:
        """Take in that a complete list had only these objects, each of which was put in before.

        Args:
            resource: The kind.
            uids: All its objects, of one namespace or of all.
            version: The list's resourceVersion: what is known to be newer than it is kept though it is not in the list.
            namespace: The namespace that was listed, or empty for all.

        Returns:
            The keys that have to be looked at: of what is gone.
        """
        gone = [
            known
            for known in self._objects[resource].values()
            if known["metadata"]["uid"] not in uids
            and _version(known) <= int(version)
            and namespace in {"", known["metadata"].get("namespace", "")}
        ]
        return [key for known in gone for key in self.remove(resource, known, until=int(version))]

    def keys(self, resource: Resource) -> list[Key]:
        """Give the keys of all objects of a kind."""
        return [Key(resource, namespace, name) for namespace, name in self._objects[resource]]

    def counts(self) -> Mapping[Resource, int]:
        """Count the objects of each kind."""
        return {resource: len(objects) for resource, objects in self._objects.items()}

    def forget_children(self, owner: Key, uid: str) -> None:
        """Drop what is filed under an object that needs no further work and nobody else, and keep nothing more of it.

        Args:
            owner: Its key.
            uid: Its uid; an object of the same name that comes later is another.
        """
        self.drop(owner)
        self._forgotten[owner] = uid
        for resource in self._routes:
            for name, thing in list(self._filed.get((resource, owner), {}).items()):
                if _is_itself(owner, resource, name):
                    continue
                if self._unfile(resource, name, thing) == [owner]:
                    del self._objects[resource][name]
                else:
                    self._file(resource, name, thing)

    def is_minor(self, resource: Resource, thing: Object) -> bool:
        """Tell whether a view of an object tells only progress."""
        route = self._routes.get(resource)
        return route is not None and route.minor(thing)

    def lend(self, resource: Resource, thing: Object, key: Key) -> None:
        """Keep an object that no watch will ever tell of only as long as the key whose work it is.

        Args:
            resource: The kind.
            thing: The object, as a write was answered.
            key: Whose write it was.
        """
        route = self._routes.get(resource)
        if route is None or (route.files and not self._owners(resource, thing)):
            self._unwatched[key].add((resource, _name(thing)))

    def drop(self, key: Key) -> None:
        """Drop all that is remembered of a key, and what was kept for it alone."""
        self._memories.pop(key, None)
        self._forgotten.pop(key, None)
        for resource, name in self._unwatched.pop(key, ()):
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
        """File an object under those of its owners that still work; with none left it is not kept."""
        keys, owners = self._keys(resource, thing), self._owners(resource, thing)
        idle = [o for o in owners if self._is_forgotten(o) and not _is_itself(o, resource, name)]
        for owner in owners:
            if owner not in idle:
                self._filed[resource, owner][name] = thing
        if idle and len(idle) == len(owners):
            self._objects[resource].pop(name, None)
        return [key for key in keys if key not in idle]

    def _is_forgotten(self, owner: Key) -> bool:
        """Tell whether an object needs no further work; a later one of the same name does."""
        if owner not in self._forgotten:
            return False
        known = self._objects[owner.resource].get((owner.namespace, owner.name))
        if known is not None and known["metadata"]["uid"] == self._forgotten[owner]:
            return True
        del self._forgotten[owner]
        return False

    def _unfile(self, resource: Resource, name: tuple[str, str], thing: Object) -> list[Key]:
        owners = self._owners(resource, thing)
        for owner in owners:
            filed = self._filed.get((resource, owner))
            if filed is not None:
                filed.pop(name, None)
                if not filed:
                    del self._filed[resource, owner]
        return owners

    def _owners(self, resource: Resource, thing: Object) -> list[Key]:
        route = self._routes.get(resource)
        return [] if route is None else list(route.owners(thing))

    def _keys(self, resource: Resource, thing: Object) -> list[Key]:
        route = self._routes.get(resource)
        return [] if route is None else [*route.owners(thing), *route.watchers(thing, self)]

    def _is_buried(self, thing: Object) -> bool:
        """Tell whether a view is older than its object's end; a newer one has come back to the route's selector."""
        end = self._deleted.get(thing["metadata"]["uid"])
        return end is not None and _version(thing) <= end

    def _bury(self, uid: str, version: int) -> None:
        self._deleted[uid] = max(version, self._deleted.get(uid, 0))
        if len(self._deleted) > TOMBSTONES:
            self._deleted.popitem(last=False)


_FRESH: Final = Memory(first_seen=True)


def _name(thing: Object) -> tuple[str, str]:
    metadata = thing["metadata"]
    return metadata.get("namespace", ""), metadata["name"]


def _is_itself(owner: Key, resource: Resource, name: tuple[str, str]) -> bool:
    """Tell whether an object is filed under its own key."""
    return (owner.resource, owner.namespace, owner.name) == (resource, *name)


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
