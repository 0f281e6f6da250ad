"""The composition root: puts the parts together and runs them until the process is told to stop."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any

import aiohttp
import kopf
import uvloop

from rondo.kube.client import Client
from rondo.kube.session import Credentials, open_connector, open_session
from rondo.runtime.engine import Engine
from rondo.runtime.leader import Elector, LostError
from rondo.shell import presets
from rondo.shell.handlers import build_registry, build_settings
from rondo.shell.login import find_credentials
from rondo.shell.logs import set_up_logs
from rondo.shell.probes import Health, serve
from rondo.shell.settings import Settings, from_environment
from rondo.shell.wiring import build_controllers, child_routes, primary_routes, told_routes

log = logging.getLogger(__name__)


def main() -> None:
    """Run the operator until SIGTERM."""
    settings = from_environment()
    set_up_logs(settings.log_format, settings.log_level)
    uvloop.run(run_operator(settings, find_credentials()))


async def run_operator(settings: Settings, credentials: Credentials) -> None:
    """Run the operator until SIGTERM or SIGINT.

    Args:
        settings: The installation's settings.
        credentials: How to reach the API server.
    """
    stop = asyncio.Event()
    _stop_on_signals(stop)
    routes = len(primary_routes()) + len(child_routes())
    connector = open_connector(credentials, routes * max(1, len(settings.watch_namespaces)))
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(connector.close)
        session = await stack.enter_async_context(open_session(credentials, connector))
        client = Client(session, credentials.server)
        health = Health(standing_by=settings.leader_election)
        if settings.probe_port:
            runner = await serve(health, settings.probe_port)
            stack.push_async_callback(runner.cleanup)
        operator = _Operator(settings, credentials, connector, client, health)
        await operator.run(stop)
        asyncio.get_running_loop().set_exception_handler(leave_torn_streams)


def leave_torn_streams(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Say nothing of kopf's watches at the end of the process; anything else is told as ever.

    The loop closes all generators at once then, and those of a watch, one within the other, trip over each other now
    and then: an error with a traceback that means nothing.
    """
    if "asyncgen" not in context:
        loop.default_exception_handler(context)


@dataclass
class _Operator:
    """One process of the operator."""

    settings: Settings
    credentials: Credentials
    connector: aiohttp.TCPConnector
    client: Client
    health: Health

    async def run(self, stop: asyncio.Event) -> None:
        """Stand by, lead, work, and give the lease back at the end."""
        if not self.settings.leader_election:
            await self._until(stop, self._work(stop))
            return
        elector = Elector(self.client, self.settings.namespace, self.settings.lease, self.settings.identity)
        await self._until(stop, elector.acquire())
        if not elector.leading:
            return
        try:
            await self._until(stop, self._hold(elector), self._work(stop))
        finally:
            await elector.release()

    async def _hold(self, elector: Elector) -> None:
        """Hold the lease; without it this process must end at once, whatever it is doing."""
        try:
            await elector.hold()
        except LostError as error:
            log.critical("%s; ending", error)
            os._exit(1)

    async def _work(self, stop: asyncio.Event) -> None:
        """Be the operator: kopf watches our own kinds, the engine does the rest."""
        planner, namespaces = self.settings.planner, self.settings.watch_namespaces
        primaries = primary_routes()
        engine = Engine(
            self.client,
            build_controllers(planner),
            primaries,
            child_routes(),
            namespaces,
            self.settings.identity,
            told_routes(),
        )
        self.health.engine, self.health.standing_by = engine, False
        registry = build_registry(engine, [route.resource for route in primaries], self.credentials, self.connector)
        ours = asyncio.all_tasks()
        watches = await self._watches(stop, registry)
        await run_and_end(self._drive(engine), kopf.run_tasks(watches, ignored=ours))

    async def _drive(self, engine: Engine) -> None:
        """Run the engine, and apply the presets beside it."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(engine.run())
            if self.settings.runtimes is not None:
                tasks.create_task(presets.apply_runtimes(self.client, self.settings.runtimes))

    async def _watches(self, stop: asyncio.Event, registry: kopf.OperatorRegistry) -> list[asyncio.Task[None]]:
        """Start kopf, which takes the signals of the process for itself; they stay ours."""
        namespaces = self.settings.watch_namespaces
        settings = build_settings()
        settings.scanning.disabled = bool(namespaces)
        tasks = await kopf.spawn_tasks(
            registry=registry, settings=settings, standalone=True, clusterwide=not namespaces, namespaces=namespaces
        )
        _stop_on_signals(stop)
        return list(tasks)

    async def _until(self, stop: asyncio.Event, *work: Coroutine[None, None, None]) -> None:
        """Run work until it ends or the process is told to stop."""
        tasks: list[asyncio.Task[Any]] = [asyncio.create_task(stop.wait()), *map(asyncio.create_task, work)]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


async def run_and_end(engine: Coroutine[None, None, None], watches: Coroutine[None, None, None]) -> None:
    """Run both until one ends or this is cancelled, and end the engine first.

    kopf cancels at its end every task that was started after it, so a worker would be torn out of what it does.
    """
    tasks = [asyncio.create_task(engine), asyncio.create_task(watches)]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


def _stop_on_signals(stop: asyncio.Event) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
