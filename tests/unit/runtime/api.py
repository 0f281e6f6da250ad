"""An API server in memory for the engine's logic: versions, uids and the refusals that the engine decides on.

What a real API server does with a request is tested against a real one (tests/integration); here a test says what is
refused and sees the order of writes.
"""

from __future__ import annotations

import copy
import itertools
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from rondo.core.plan import Object, Ref
from rondo.kube.client import Listing, Selector
from rondo.kube.clock import ServerClock
from rondo.kube.errors import ApiError

NOT_FOUND = ApiError(404, "NotFound", "not found")
CONFLICT = ApiError(409, "Conflict", "the object has been modified")


@dataclass
class Api:
    """Objects by Ref, the writes in order, and what is to be refused.

    Attributes:
        objects: What there is.
        calls: Each request, as `verb name`.
        refuse: Refusals to come, by `verb name`; each is used once, in order.
    """

    objects: dict[Ref, dict[str, Any]] = field(default_factory=dict)
    calls: list[str] = field(default_factory=list)
    refuse: dict[str, list[ApiError]] = field(default_factory=dict)
    requests: Counter[tuple[str, str, int]] = field(default_factory=Counter)
    clock: ServerClock = field(default_factory=ServerClock)
    _versions: Iterator[int] = field(default_factory=lambda: itertools.count(100))

    async def get(self, ref: Ref) -> dict[str, Any] | None:
        self._call("get", ref)
        return copy.deepcopy(self.objects.get(ref))

    async def list(self, selector: Selector) -> Listing:
        self.calls.append(f"list {selector.resource.plural}")
        wanted = dict(pair.split("=") for pair in selector.labels.split(",") if "=" in pair)
        items = [
            copy.deepcopy(thing)
            for ref, thing in self.objects.items()
            if ref.resource == selector.resource
            and selector.namespace in {"", ref.namespace}
            and wanted.items() <= thing["metadata"].get("labels", {}).items()
        ]
        return Listing(items, str(next(self._versions)))

    async def create(self, ref: Ref, body: Object) -> dict[str, Any]:
        self._call("create", ref)
        if ref in self.objects:
            raise ApiError(409, "AlreadyExists", f"{ref} already exists")
        return self.have(ref, body)

    async def apply(self, ref: Ref, body: Object, **_: Any) -> dict[str, Any]:
        self._call("apply", ref)
        return self.have(ref, {**self.objects.get(ref, {}), **body})

    async def replace_status(self, ref: Ref, thing: Object, status: Object) -> dict[str, Any]:
        self._call("status", ref)
        there = self._there(ref)
        if there["metadata"]["resourceVersion"] != thing["metadata"]["resourceVersion"]:
            raise CONFLICT
        return self.have(ref, {**there, "status": status})

    async def replace(self, ref: Ref, body: Object) -> dict[str, Any]:
        self._call("replace", ref)
        if self._there(ref)["metadata"]["resourceVersion"] != body["metadata"]["resourceVersion"]:
            raise CONFLICT
        return self.have(ref, body)

    async def merge_patch(self, ref: Ref, uid: str, body: Object) -> dict[str, Any]:
        self._call("patch", ref)
        there = self._there(ref)
        if there["metadata"]["uid"] != uid:
            raise NOT_FOUND
        return self.have(ref, {**there, **{k: v for k, v in body.items() if k != "metadata"}})

    async def delete(self, ref: Ref, *, uid: str, **_: Any) -> None:
        self._call("delete", ref)
        if ref in self.objects and self.objects[ref]["metadata"]["uid"] == uid:
            del self.objects[ref]

    def have(self, ref: Ref, body: Object) -> dict[str, Any]:
        """Have an object from now on, as a user's write would make it."""
        version = str(next(self._versions))
        known = self.objects.get(ref, {}).get("metadata", {})
        metadata = {
            **known,
            **body.get("metadata", {}),
            "name": ref.name,
            "namespace": ref.namespace,
            "uid": known.get("uid") or f"uid-{ref.name}-{version}",
            "resourceVersion": version,
        }
        kind = {"apiVersion": ref.resource.api_version, "kind": ref.resource.kind}
        self.objects[ref] = {**kind, **copy.deepcopy(dict(body)), "metadata": metadata}
        return copy.deepcopy(self.objects[ref])

    @property
    def writes(self) -> Sequence[str]:
        """Give the requests that were not reads."""
        return [call for call in self.calls if not call.startswith(("get", "list"))]

    def _there(self, ref: Ref) -> dict[str, Any]:
        if ref not in self.objects:
            raise NOT_FOUND
        return self.objects[ref]

    def _call(self, verb: str, ref: Ref) -> None:
        call = f"{verb} {ref.name}"
        self.calls.append(call)
        if self.refuse.get(call):
            raise self.refuse[call].pop(0)
