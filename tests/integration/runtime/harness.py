"""Runs the engine as the operator does, with kopf's watches, over the toy kind; waits for what shall become true."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import kopf

from rondo.core.plan import Object, Ref
from rondo.kube.client import Client
from rondo.kube.session import Credentials, open_connector, open_session
from rondo.runtime.engine import Engine
from rondo.shell.handlers import build_registry, build_settings
from tests.integration.runtime.toys import CHILDREN, CONTROLLERS, PRIMARIES, TOY

PATIENCE = 60.0
"""Seconds that anything may take; what is slower is broken."""


@asynccontextmanager
async def running(credentials: Credentials, namespace: str) -> AsyncIterator[Engine]:
    """Run an engine and kopf over the toys of a namespace until the block ends."""
    connector = open_connector(credentials)
    stop = asyncio.Event()
    async with open_session(credentials, connector) as session:
        engine = Engine(Client(session, credentials.server), CONTROLLERS, PRIMARIES, CHILDREN, (namespace,))
        settings = build_settings()
        settings.scanning.disabled = True
        watches = kopf.operator(
            registry=build_registry(engine, [TOY], credentials, connector),
            settings=settings,
            standalone=True,
            namespaces=(namespace,),
            stop_flag=stop,
        )
        tasks = [asyncio.create_task(watches), asyncio.create_task(engine.run())]
        try:
            await until(lambda: engine.synced.is_set() or _raise_of(tasks))
            yield engine
        finally:
            stop.set()
            tasks[1].cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
    await connector.close()


async def until(condition: Callable[[], Any], *, seconds: float = PATIENCE, what: str = "") -> None:
    """Wait until a condition holds.

    Raises:
        AssertionError: It did not in time.
    """
    try:
        async with asyncio.timeout(seconds):
            while not condition():  # noqa: ASYNC110 - it is other processes that are waited for
                await asyncio.sleep(0.01)
    except TimeoutError:
        raise AssertionError(f"waited {seconds} s for {what or condition}") from None


async def until_state(engine: Engine, namespace: str, name: str, state: str) -> Object:
    """Wait until the engine knows a toy in a state."""
    ref = Ref(TOY, namespace, name)

    def reached() -> bool:
        return ((engine.store.get(ref) or {}).get("status") or {}).get("state") == state

    await until(reached, what=f"{ref} to be {state}: {engine.store.get(ref)}")
    known = engine.store.get(ref)
    assert known is not None
    return known


def _raise_of(tasks: list[asyncio.Task[Any]]) -> bool:
    for task in tasks:
        if task.done():
            task.result()
    return False
