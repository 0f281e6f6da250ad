"""Kubernetes Events about our objects: posted beside the work, deduplicated, and never in its way."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from rondo.core.plan import EventDraft, Object, Ref
from rondo.core.resources import EVENT
from rondo.kube.client import Client
from rondo.kube.errors import ApiError

QUIET: Final = 300.0
"""Seconds in which the same Event about the same object is posted once."""

REMEMBERED: Final = 5_000
WAITING: Final = 1_000

FLUSH_TIMEOUT: Final = 3.0
"""Seconds that the end of the process waits for Events."""

log = logging.getLogger(__name__)


@dataclass
class EventRecorder:
    """Posts Events, one after the other, from a bounded queue.

    Attributes:
        client: The API server.
        instance: Name of this process, such as the pod's.
        clock: Monotonic seconds.
    """

    client: Client
    instance: str
    clock: Callable[[], float] = time.monotonic
    _posted: OrderedDict[str, float] = field(default_factory=OrderedDict)
    _queue: asyncio.Queue[tuple[Ref, dict[str, Any]]] = field(default_factory=lambda: asyncio.Queue(WAITING))

    def post(self, about: Object, draft: EventDraft) -> None:
        """Post an Event, some time. One that was posted a moment ago is not posted again."""
        metadata = about["metadata"]
        digest = hashlib.sha256(f"{metadata['uid']}\0{draft.reason}\0{draft.note}".encode()).hexdigest()[:16]
        if self.clock() - self._posted.get(digest, -QUIET) < QUIET:
            return
        self._posted[digest] = self.clock()
        self._posted.move_to_end(digest)
        if len(self._posted) > REMEMBERED:
            self._posted.popitem(last=False)
        with contextlib.suppress(asyncio.QueueFull):
            self._queue.put_nowait(self._event(about, draft, digest))

    async def run(self) -> None:
        """Post what waits until cancelled."""
        while True:
            ref, body = await self._queue.get()
            await self._send(ref, body)

    async def flush(self) -> None:
        """Post what still waits, for a few seconds at most."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(FLUSH_TIMEOUT):
                while not self._queue.empty():
                    await self._send(*self._queue.get_nowait())

    async def _send(self, ref: Ref, body: dict[str, Any]) -> None:
        try:
            await self.client.create(ref, body)
        except ApiError as error:
            log.info("event %s was not posted: %s", ref.name, error)

    def _event(self, about: Object, draft: EventDraft, digest: str) -> tuple[Ref, dict[str, Any]]:
        metadata = about["metadata"]
        namespace = metadata.get("namespace") or "default"
        now = self.client.clock.now()
        name = f"{metadata['name'][:200]}.{digest}{int(now.timestamp() * 1e6):x}"
        body = {
            "apiVersion": EVENT.api_version,
            "kind": EVENT.kind,
            "metadata": {"name": name, "namespace": namespace},
            "eventTime": now.isoformat(timespec="microseconds").replace("+00:00", "Z"),
            "reportingController": "rondo.dev/operator",
            "reportingInstance": self.instance,
            "action": draft.action,
            "reason": draft.reason,
            "type": draft.type.value,
            "note": draft.note[:1024],
            "regarding": {
                "apiVersion": about["apiVersion"],
                "kind": about["kind"],
                "name": metadata["name"],
                "namespace": metadata.get("namespace", ""),
                "uid": metadata["uid"],
                "resourceVersion": metadata["resourceVersion"],
            },
        }
        return Ref(EVENT, namespace, name), body
