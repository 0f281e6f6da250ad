"""The engine: reflectors and lists fill the store, the store fills the queue, workers empty it.

Kinds of our own are watched by the shell (kopf) and listed here, at the start and at each resync, because a watch never
tells what was deleted while it was away. Children are watched here. Workers start when everything has been listed once.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import Any, Final

from rondo.core.plan import Object, Resource
from rondo.core.resources import POD
from rondo.core.view import Key
from rondo.kube.client import Client, Selector
from rondo.kube.errors import ApiError
from rondo.kube.reflector import Reflector, list_into
from rondo.runtime.controller import Controller
from rondo.runtime.events import EventRecorder
from rondo.runtime.listener import Listener, Source
from rondo.runtime.queue import Queue
from rondo.runtime.reconciler import Reconciler
from rondo.runtime.routes import Route
from rondo.runtime.store import Store
from rondo.runtime.workers import Workers

RESYNC_SECONDS: Final = 300.0
DEBOUNCE_SECONDS: Final = 1.0
STUCK_SECONDS: Final = 300.0
SILENT_SECONDS: Final = 300.0

log = logging.getLogger(__name__)


@dataclass
class Engine:
    """Everything between the API server and the planners.

    Attributes:
        client: The API server.
        controllers: The planners, by kind.
        primaries: Routes of our own kinds, which the shell watches.
        children: Routes of the kinds that the engine watches itself.
        told: Routes of what pods tell, with where they do.
        namespaces: Namespaces to work in; empty for all.
        instance: Name of this process.
    """

    client: Client
    controllers: Mapping[Resource, Controller[Any]]
    primaries: Sequence[Route]
    children: Sequence[Route]
    namespaces: Sequence[str] = ()
    instance: str = "rondo"
    told: Sequence[tuple[Sequence[Route], Source]] = ()
    synced: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        """Put the parts together."""
        self.store = Store([*self.primaries, *self.children, *(route for routes, _ in self.told for route in routes)])
        self.queue: Queue[Key] = Queue()
        self.events = EventRecorder(self.client, self.instance)
        self.reconciler = Reconciler(self.client, self.store, self.queue, self.controllers, self.events)
        self.workers = Workers(self.queue, self.reconciler)
        self.reflectors = [
            Reflector(
                self.client, Selector(route.resource, namespace, route.labels), _Sink(self, route.resource, namespace)
            )
            for route in self.children
            for namespace in self._spaces(route)
        ]
        self.listeners = [self._listener(source) for _, source in self.told]
        self._relists: dict[Resource, asyncio.Task[None]] = {}

    async def run(self) -> None:
        """Work until cancelled."""
        try:
            async with asyncio.TaskGroup() as tasks:
                for reflector in self.reflectors:
                    tasks.create_task(reflector.run())
                for listener in self.listeners:
                    tasks.create_task(listener.run())
                tasks.create_task(self.events.run())
                tasks.create_task(self._start(tasks))
        finally:
            await self.reconciler.evaluator.close()
            await self.events.flush()

    async def _start(self, tasks: asyncio.TaskGroup) -> None:
        """List everything, then work, and list our own kinds again from time to time."""
        for route in self.primaries:
            await self._list_until_done(route)
        for reflector in self.reflectors:
            await reflector.synced.wait()
        self.enqueue(key for resource in self.controllers for key in self.store.keys(resource))
        self.synced.set()
        log.info("synced; %d objects to look at", len(self.queue))
        tasks.create_task(self.workers.run())
        tasks.create_task(self._resync())

    # What the shell's watches call -----------------------------------------------------------------------------------

    def take(self, resource: Resource, type_: str | None, thing: Object) -> None:
        """Take in what a watch of our own kinds tells; a listing (type None) may have hidden a deletion."""
        if type_ == "DELETED":
            self.enqueue(self.store.remove(resource, thing))
            return
        self.enqueue(self.store.put(resource, thing))
        if type_ is None and self.synced.is_set():
            self.relist(resource)

    def relist(self, resource: Resource) -> None:
        """List a kind again soon; many wishes at once are one list."""
        running = self._relists.get(resource)
        if running is None or running.done():
            route = next(route for route in self.primaries if route.resource == resource)
            self._relists[resource] = asyncio.create_task(self._list_soon(route))

    def enqueue(self, keys: Iterable[Key]) -> None:
        """Have keys looked at, those of kinds that have a planner."""
        for key in keys:
            if key.resource in self.controllers:
                self.queue.add(key)

    def enqueue_news(self, keys: Iterable[Key], *, minor: bool) -> None:
        """Have keys looked at that own what has changed: within a moment if that is only progress, else before others.

        A crowd that starts at once does not delay the next stages of what runs already.
        """
        for key in keys:
            if key.resource not in self.controllers:
                continue
            if minor:
                self.queue.add_soon(key, self.reconciler.moment)
            else:
                self.queue.add(key, ahead=True)

    @property
    def trouble(self) -> str:
        """Say what hangs, or nothing: a reconcile that takes minutes, a watch that has been silent for as long."""
        if self.workers.longest > STUCK_SECONDS:
            return f"a reconcile has taken {self.workers.longest:.0f} s"
        silent = [r.selector.resource.plural for r in self.reflectors if r.silence > SILENT_SECONDS]
        return f"watches are silent: {', '.join(silent)}" if silent else ""

    # Lists ----------------------------------------------------------------------------------------------------

    async def _list_soon(self, route: Route) -> None:
        await asyncio.sleep(DEBOUNCE_SECONDS)
        await self._list_until_done(route)

    async def _list_until_done(self, route: Route) -> None:
        for attempt in range(1_000_000):
            try:
                await self._list(route)
            except ApiError as error:
                log.warning("%s cannot be listed: %s", route.resource.plural, error)
                await asyncio.sleep(min(0.2 * 2.0**attempt, 30.0))
            else:
                return

    async def _list(self, route: Route) -> None:
        for namespace in self._spaces(route):
            selector = Selector(route.resource, namespace, route.labels)
            await list_into(_Sink(self, route.resource, namespace), self.client, selector)

    async def _resync(self) -> None:
        """Look at everything again from time to time, whatever was missed."""
        while True:
            await asyncio.sleep(RESYNC_SECONDS * random.uniform(0.8, 1.2))  # noqa: S311 - jitter is no secret
            for route in self.primaries:
                await self._list_until_done(route)
            self.enqueue(key for resource in self.controllers for key in self.store.keys(resource))

    def _listener(self, source: Source) -> Listener:
        """Listen to pods; what they tell is kept like anything that is watched."""

        def told(kind: Resource, thing: dict[str, Any]) -> None:
            self.enqueue(self.store.put(kind, thing))

        def silent(kind: Resource, thing: dict[str, Any]) -> None:
            self.enqueue(self.store.remove(kind, thing))

        return Listener(source, told, silent)

    def _spaces(self, route: Route) -> Sequence[str]:
        return self.namespaces if self.namespaces and route.resource.namespaced else ("",)


@dataclass
class _Sink:
    """Puts what a reflector sees into the store, and the keys concerned into the queue."""

    engine: Engine
    resource: Resource
    namespace: str

    def stored(self, item: dict[str, Any]) -> None:
        if self.resource == POD:
            for listener in self.engine.listeners:
                listener.seen(item)
        keys = self.engine.store.put(self.resource, item)
        if keys:
            self.engine.enqueue_news(keys, minor=self.engine.store.is_minor(self.resource, item))

    def listed(self, uids: Set[str], version: str) -> None:
        if self.resource == POD:
            for listener in self.engine.listeners:
                listener.keep_only(uids, self.namespace)
        self.engine.enqueue(self.engine.store.keep_only(self.resource, uids, version, self.namespace))

    def deleted(self, item: dict[str, Any]) -> None:
        if self.resource == POD:
            for listener in self.engine.listeners:
                listener.gone(item)
        self.engine.enqueue(self.engine.store.remove(self.resource, item))
