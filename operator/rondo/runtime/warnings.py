"""The Warning Events of the cluster, read for all of a namespace at once and only while somebody asks.

The API server keeps no index of Events: it reads all those of a namespace from etcd to find those about one object. A
thousand pods that start slowly would each have it do that every few seconds, and start more slowly still.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final, TypeAlias

from rondo.core.plan import EventsAbout, Failure, Object, ReadResult
from rondo.core.resources import CORE_EVENT
from rondo.kube.client import Client, Selector
from rondo.kube.errors import ApiError

AGE: Final = 2.0
"""Seconds for which what was read counts, at least."""

_ByUid: TypeAlias = Mapping[str, tuple[Object, ...]]


@dataclass
class WarningReader:
    """Reads the warnings of namespaces.

    Attributes:
        client: The API server.
        clock: Monotonic seconds.
    """

    client: Client
    clock: Callable[[], float]
    _lists: dict[str, tuple[float, asyncio.Task[_ByUid | Failure]]] = field(default_factory=dict)

    async def read(self, about: EventsAbout, *, age: float = AGE) -> ReadResult:
        """Give the warnings about an object; what was read at most `age` seconds ago counts."""
        oldest = self.clock() - age
        self._lists = {space: known for space, known in self._lists.items() if known[0] > oldest}
        if about.namespace not in self._lists:
            self._lists[about.namespace] = self.clock(), asyncio.create_task(self._list(about.namespace))
        found = await asyncio.shield(self._lists[about.namespace][1])
        if isinstance(found, Failure):
            return ReadResult(found.at, None, found)
        return ReadResult(datetime.now(UTC), found.get(about.uid, ()))

    async def _list(self, namespace: str) -> _ByUid | Failure:
        try:
            listing = await self.client.list(Selector(CORE_EVENT, namespace, fields="type=Warning"))
        except ApiError as error:
            return Failure(error.code, error.reason, error.message, datetime.now(UTC))
        found: dict[str, list[Object]] = {}
        for event in sorted(listing.items, key=_time_of):
            found.setdefault(event["involvedObject"].get("uid", ""), []).append(event)
        return {uid: tuple(events) for uid, events in found.items()}


def _time_of(event: Mapping[str, Any]) -> str:
    return str(event.get("lastTimestamp") or event.get("eventTime") or event["metadata"]["creationTimestamp"])
