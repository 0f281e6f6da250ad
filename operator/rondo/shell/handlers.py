"""kopf's part: the watches of our own kinds, set up as measured (docs/decisions/0003).

The handlers only store and enqueue, because kopf never retries an error in them; nothing of kopf's own is written to
any object.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import aiohttp
import kopf

from rondo.core.plan import Resource
from rondo.kube.client import PAGE_SIZE
from rondo.kube.session import REQUEST_TIMEOUT, Credentials, open_session
from rondo.runtime.engine import Engine


class NoDiffBase(kopf.DiffBaseStorage):
    """Keeps no last-handled configuration: we have no handlers of changes, and it triples the rate of events."""

    def build(self, **_: Any) -> kopf.BodyEssence:
        """Give an empty essence."""
        return kopf.BodyEssence({})

    def fetch(self, **_: Any) -> kopf.BodyEssence | None:
        """Give none."""
        return None

    def store(self, **_: Any) -> None:
        """Store nothing."""


def build_settings() -> kopf.OperatorSettings:
    """Give kopf's settings."""
    settings = kopf.OperatorSettings()
    settings.persistence.diffbase_storage = NoDiffBase()
    settings.persistence.finalizer = "rondo.dev/finalizer"
    settings.posting.enabled = False
    settings.peering.standalone = True
    settings.networking.request_timeout = REQUEST_TIMEOUT
    settings.networking.connect_timeout = 10
    settings.watching.chunk_size = PAGE_SIZE
    settings.watching.server_timeout = 300
    settings.queueing.idle_timeout = 1
    return settings


def build_registry(
    engine: Engine, resources: Iterable[Resource], credentials: Credentials, connector: aiohttp.TCPConnector
) -> kopf.OperatorRegistry:
    """Register the login and one event handler for each of our own kinds."""
    registry = kopf.OperatorRegistry()

    @kopf.on.login(registry=registry)
    def log_in(**_: Any) -> kopf.AiohttpSession:
        session = open_session(credentials, connector)
        return kopf.AiohttpSession(server=credentials.server, aiohttp_session=session)

    for resource in resources:
        _register(registry, engine, resource)
    return registry


def _register(registry: kopf.OperatorRegistry, engine: Engine, resource: Resource) -> None:
    @kopf.on.event(resource.group, resource.version, resource.plural, registry=registry)
    async def take(event: kopf.RawEvent, **_: Any) -> None:
        engine.take(resource, event["type"], _with_kind(dict(event["object"]), resource))


def _with_kind(thing: dict[str, Any], resource: Resource) -> dict[str, Any]:
    """Items of a list have neither apiVersion nor kind."""
    return {**thing, "apiVersion": resource.api_version, "kind": resource.kind}
