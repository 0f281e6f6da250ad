"""LIST and WATCH of one kind, so that nothing is missed: also what was deleted while no watch was open.

kopf's watches have no signal for "all is known" and never report what was deleted while a stream was cut beyond the API
server's memory (410 Gone); children are acted on by their absence, so they come through here (docs/decisions/0005).
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable, Set
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from rondo.kube.client import Client, Selector
from rondo.kube.errors import ApiError

INACTIVITY_TIMEOUT: Final = 75.0
"""Seconds without any event or bookmark after which a stream is dead; bookmarks come once a minute."""

SHORT_STREAM: Final = 1.0
"""Seconds; a watch that ends sooner is tried again later and later, lest it become a loop."""

log = logging.getLogger(__name__)


class Sink(Protocol):
    """Where a reflector puts what it sees."""

    def stored(self, item: dict[str, Any]) -> None:
        """An object is there: it was listed, added or changed."""

    def listed(self, uids: Set[str], version: str) -> None:
        """All objects that were there as of a resourceVersion have been told one by one; others were not there."""

    def deleted(self, item: dict[str, Any]) -> None:
        """An object was deleted."""


@dataclass
class Reflector:
    """Keeps a sink up to date with one kind.

    Attributes:
        client: The client.
        selector: Which objects.
        sink: Where they go.
        synced: Set after the first complete list.
        clock: Monotonic seconds.
    """

    client: Client
    selector: Selector
    sink: Sink
    synced: asyncio.Event = field(default_factory=asyncio.Event)
    clock: Callable[[], float] = time.monotonic
    _version: str = ""
    _heard_at: float = 0.0

    @property
    def silence(self) -> float:
        """Seconds since the stream last gave anything; a sign of life for probes."""
        return self.clock() - self._heard_at

    async def run(self) -> None:
        """List and watch until cancelled."""
        attempt = 0
        self._heard_at = self.clock()
        while True:
            try:
                if not self._version:
                    await self._list()
                begun = self.clock()
                await self._watch()
                attempt = 0 if self.clock() - begun > SHORT_STREAM else attempt + 1
                await asyncio.sleep(_pause(None, attempt))
            except ApiError as error:
                self._after(error)
                attempt = 0 if error.gone else attempt + 1
                await asyncio.sleep(_pause(error, attempt))

    async def _list(self) -> None:
        self._version = await list_into(self.sink, self.client, self.selector)
        self._heard_at = self.clock()
        self.synced.set()

    async def _watch(self) -> None:
        async with self.client.watch(self.selector, self._version) as events:
            iterator = aiter(events)
            while True:
                async with asyncio.timeout(INACTIVITY_TIMEOUT):
                    event = await anext(iterator, None)
                if event is None:
                    return
                self._heard_at = self.clock()
                self._take(event["type"], event["object"])

    def _take(self, type_: str, item: dict[str, Any]) -> None:
        self._version = item["metadata"]["resourceVersion"]
        if type_ == "DELETED":
            self.sink.deleted(item)
        elif type_ != "BOOKMARK":
            self.sink.stored(item)

    def _after(self, error: ApiError) -> None:
        """After 410 Gone list again; after anything else go on from the last version."""
        if error.gone or error.code == 400:
            self._version = ""
        log.info("watch of %s ended: %s", self.selector.resource.plural, error)


async def list_into(sink: Sink, client: Client, selector: Selector) -> str:
    """List all objects into a sink, page by page; give the resourceVersion from which a watch goes on.

    Raises:
        ApiError: The API server refused or did not answer; what was told until then is there none the less.
    """
    uids: set[str] = set()
    version = ""
    async for page in client.pages(selector):
        for item in page.items:
            sink.stored(item)
            uids.add(item["metadata"]["uid"])
        version = page.version
    sink.listed(uids, version)
    return version


def _pause(error: ApiError | None, attempt: int) -> float:
    """Seconds before the next try: what the API server asked for, else longer each time, with jitter, 30 s at most."""
    if error is not None and error.retry_after is not None:
        return error.retry_after
    return min(0.1 * 2.0 ** min(attempt, 9), 30.0) * random.uniform(0.5, 1.0)  # noqa: S311 - jitter is no secret
