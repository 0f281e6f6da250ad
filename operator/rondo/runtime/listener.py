"""What pods tell of themselves: JSON lines over HTTP, the last of which stands in the store as an object of a kind.

No watch of the API server tells it, and it shall not go there: it changes with every reload of a program, and is of use
only to who looks now. One connection a pod; one that breaks is made again, later each time, and until then what was
told last counts.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import random
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Set
from dataclasses import dataclass, field
from typing import Any, Final

import aiohttp
import msgspec

from rondo.core.plan import Object, Resource

LINE_LIMIT: Final = 4 * 2**20
"""Bytes of a line; a pod that sends more is left."""

LONGEST_PAUSE: Final = 5.0
CONNECT_TIMEOUT: Final = 3.0
HEARD: Final = 1.0
"""Seconds after which a stream counts as one that had begun well."""

log = logging.getLogger(__name__)

Name = tuple[str, str]


@dataclass(frozen=True)
class Source:
    """Which pods tell something, and where.

    Attributes:
        resource: The kind of which what they tell is kept.
        address: URL of the stream of a pod; empty if it is not to be listened to.
        others: Lines that tell something else: the field that they have, and the kind of which they are kept.
    """

    resource: Resource
    address: Callable[[Object], str]
    others: Mapping[str, Resource] = field(default_factory=dict)

    def kind_of(self, line: Object) -> Resource:
        """Give the kind of which a line is kept."""
        return next((kind for field_, kind in self.others.items() if field_ in line), self.resource)


@dataclass
class Listener:
    """Listens to every pod of a source.

    Attributes:
        source: Which pods.
        told: Called with the kind of each object that a pod told, and the object.
        silent: Called with the last objects of a pod that is no longer listened to, likewise.
    """

    source: Source
    told: Callable[[Resource, dict[str, Any]], None]
    silent: Callable[[Resource, dict[str, Any]], None]
    _wanted: dict[Name, tuple[str, Object]] = field(default_factory=dict)
    _tasks: dict[Name, tuple[str, asyncio.Task[None]]] = field(default_factory=dict)
    _last: dict[Name, dict[Resource, dict[str, Any]]] = field(default_factory=dict)
    _news: asyncio.Event = field(default_factory=asyncio.Event)
    _versions: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def seen(self, pod: Object) -> None:
        """Take in a view of any pod."""
        name, address = _name(pod), self.source.address(pod)
        if not address:
            self.gone(pod)
        elif self._wanted.get(name, ("",))[0] != address or _uid(self._wanted[name][1]) != _uid(pod):
            self._wanted[name] = address, pod
            self._news.set()

    def gone(self, pod: Object) -> None:
        """Take in that a pod is gone."""
        if self._wanted.pop(_name(pod), None) is not None:
            self._news.set()

    def keep_only(self, uids: Set[str], namespace: str = "") -> None:
        """Take in that a complete list of pods, of a namespace or of all, had only these."""
        for (space, _), (_, pod) in list(self._wanted.items()):
            if _uid(pod) not in uids and namespace in {"", space}:
                self.gone(pod)

    async def run(self) -> None:
        """Listen until cancelled."""
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT)
        async with aiohttp.ClientSession(timeout=timeout, connector=aiohttp.TCPConnector(limit=0)) as session:
            try:
                while True:
                    await self._news.wait()
                    self._news.clear()
                    self._follow(session)
            finally:
                for _, task in self._tasks.values():
                    task.cancel()
                await asyncio.gather(*(task for _, task in self._tasks.values()), return_exceptions=True)

    def _follow(self, session: aiohttp.ClientSession) -> None:
        """Leave the pods that are not wanted any more, or are others now, and listen to the new ones."""
        for name, (key, task) in list(self._tasks.items()):
            if name not in self._wanted or _key(*self._wanted[name]) != key:
                task.cancel()
                del self._tasks[name]
                for kind, last in self._last.pop(name, {}).items():
                    self.silent(kind, last)
        for name, (address, pod) in self._wanted.items():
            if name not in self._tasks:
                task = asyncio.create_task(self._listen(session, address, pod), name=f"listen-{name[1]}")
                self._tasks[name] = _key(address, pod), task

    async def _listen(self, session: aiohttp.ClientSession, address: str, pod: Object) -> None:
        clock, attempt = asyncio.get_running_loop().time, 0
        while True:
            begun = clock()
            try:
                async with session.get(address, allow_redirects=False) as response:
                    response.raise_for_status()
                    async for line in _lines(response):
                        self._tell(pod, line)
            except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
                log.info("%s/%s at %s: %s", *_name(pod), address, str(error) or type(error).__name__)
            attempt = 0 if clock() - begun > HEARD else attempt + 1
            pause = min(0.1 * 2.0 ** min(attempt, 9), LONGEST_PAUSE)
            await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 - jitter is no secret

    def _tell(self, pod: Object, line: dict[str, Any]) -> None:
        metadata = {key: pod["metadata"][key] for key in ("name", "namespace", "uid", "labels")}
        thing = {**line, "metadata": {**metadata, "resourceVersion": str(next(self._versions))}}
        kind = self.source.kind_of(line)
        self._last.setdefault(_name(pod), {})[kind] = thing
        self.told(kind, thing)


async def _lines(response: aiohttp.ClientResponse) -> AsyncIterator[dict[str, Any]]:
    """Decode a stream of JSON objects, one a line.

    Raises:
        ValueError: A line is too long, or no JSON object.
    """
    rest = b""
    async for chunk in response.content.iter_any():
        *lines, rest = (rest + chunk).split(b"\n")
        for line in filter(None, lines):
            yield msgspec.json.decode(line, type=dict[str, Any])
        if len(rest) > LINE_LIMIT:
            raise ValueError(f"a line has more than {LINE_LIMIT} bytes")


def _key(address: str, pod: Object) -> str:
    return f"{_uid(pod)} {address}"


def _name(pod: Object) -> Name:
    return pod["metadata"].get("namespace", ""), pod["metadata"]["name"]


def _uid(pod: Object) -> str:
    uid: str = pod["metadata"]["uid"]
    return uid
