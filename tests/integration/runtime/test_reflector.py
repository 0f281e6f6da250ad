"""Nothing is missed, whatever happens to the watch: also what was deleted while nobody looked."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Set
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from localcluster.cluster import Cluster
from rondo.core.plan import Ref
from rondo.core.resources import CONFIG_MAP
from rondo.kube import reflector as reflector_module
from rondo.kube.client import Client, Selector
from rondo.kube.reflector import Reflector
from rondo.kube.session import Credentials
from tests.integration.conftest import credentials_of, open_client, restart_api_server
from tests.integration.runtime.harness import running, until, until_state
from tests.integration.runtime.test_client import config_map
from tests.integration.runtime.toys import TOY, toy
from tests.integration.runtime.wire import Wire, wired

pytestmark = pytest.mark.filterwarnings("default::ResourceWarning")

MINE = "mine=yes"


@dataclass
class Sink:
    """Knows what the reflector told, and how."""

    known: dict[str, dict[str, Any]] = field(default_factory=dict)
    lists: int = 0

    def listed(self, uids: Set[str], version: str) -> None:
        del version
        self.known = {name: item for name, item in self.known.items() if item["metadata"]["uid"] in uids}
        self.lists += 1

    def stored(self, item: dict[str, Any]) -> None:
        self.known[item["metadata"]["name"]] = item

    def deleted(self, item: dict[str, Any]) -> None:
        self.known.pop(item["metadata"]["name"], None)


@pytest.fixture
def fragile(fragile_toy_server: Cluster) -> Credentials:
    return credentials_of(fragile_toy_server)


@pytest.fixture
async def writer(fragile: Credentials) -> AsyncIterator[Client]:
    """A client that is not behind the wire."""
    async with open_client(fragile) as client:
        yield client


@asynccontextmanager
async def reflecting(credentials: Credentials, namespace: str) -> AsyncIterator[tuple[Wire, Sink, Reflector]]:
    """Reflect the ConfigMaps of a namespace over a wire until the block ends."""
    sink = Sink()
    async with wired(credentials) as (wire, behind), open_client(behind) as client:
        reflector = Reflector(client, Selector(CONFIG_MAP, namespace, MINE), sink)
        task = asyncio.create_task(reflector.run())
        try:
            await asyncio.wait_for(reflector.synced.wait(), 30)
            yield wire, sink, reflector
            assert not task.done(), task
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def make(client: Client, namespace: str, name: str) -> dict[str, Any]:
    return await client.create(Ref(CONFIG_MAP, namespace, name), config_map(name, labels={"mine": "yes"}))


async def drop(client: Client, namespace: str, made: dict[str, Any]) -> None:
    ref = Ref(CONFIG_MAP, namespace, made["metadata"]["name"])
    await client.delete(ref, uid=made["metadata"]["uid"], propagation="Background")


async def test_after_a_cut_the_watch_goes_on_without_a_list(
    fragile: Credentials, writer: Client, fragile_namespace: str
) -> None:
    async with reflecting(fragile, fragile_namespace) as (wire, sink, _):
        gone = await make(writer, fragile_namespace, "gone")
        await until(lambda: "gone" in sink.known)
        wire.cut()
        await drop(writer, fragile_namespace, gone)
        await make(writer, fragile_namespace, "new")
        await until(lambda: set(sink.known) == {"new"})
        assert sink.lists == 1


async def test_a_stream_that_is_silent_is_given_up(
    fragile: Credentials, writer: Client, fragile_namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reflector_module, "INACTIVITY_TIMEOUT", 1.0)
    async with reflecting(fragile, fragile_namespace) as (wire, sink, reflector):
        await make(writer, fragile_namespace, "first")
        await until(lambda: "first" in sink.known)
        wire.go_dead()
        await make(writer, fragile_namespace, "second")
        await until(lambda: "second" in sink.known)
        assert sink.lists == 1
        assert reflector.silence < 30


async def test_what_was_deleted_beyond_the_api_servers_memory_is_gone(
    fragile: Credentials, writer: Client, fragile_namespace: str, fragile_toy_server: Cluster
) -> None:
    """The stream is cut, an object deleted, history compacted: the watch answers 410 and only a list can tell."""
    async with reflecting(fragile, fragile_namespace) as (wire, sink, _):
        gone = await make(writer, fragile_namespace, "gone")
        await make(writer, fragile_namespace, "kept")
        await until(lambda: set(sink.known) == {"gone", "kept"})
        wire.refuse = True
        wire.cut()
        await drop(writer, fragile_namespace, gone)
        await asyncio.to_thread(fragile_toy_server.compact_etcd)
        await asyncio.to_thread(fragile_toy_server.restart_component, "kube-apiserver")
        wire.refuse = False
        await until(lambda: set(sink.known) == {"kept"})
        assert sink.lists == 2


async def test_a_restart_of_the_api_server_is_survived(
    fragile: Credentials, writer: Client, fragile_namespace: str, fragile_toy_server: Cluster
) -> None:
    async with reflecting(fragile, fragile_namespace) as (_, sink, _reflector):
        await make(writer, fragile_namespace, "before")
        await asyncio.to_thread(fragile_toy_server.restart_component, "kube-apiserver")
        await make(writer, fragile_namespace, "after")
        await until(lambda: set(sink.known) == {"before", "after"})


async def test_a_kind_that_cannot_be_listed_is_tried_until_it_can(
    fragile: Credentials, fragile_namespace: str, fragile_toy_server: Cluster
) -> None:
    """As when the operator starts before the API server, or before its rights."""
    fragile_toy_server.stop_component("kube-apiserver")
    starting = asyncio.create_task(asyncio.to_thread(fragile_toy_server.start_component, "kube-apiserver"))
    async with reflecting(fragile, fragile_namespace) as (_, sink, _reflector):
        assert sink.lists == 1
    await starting


# The whole engine ----------------------------------------------------------------------------------------------------


async def test_a_job_deleted_while_the_engine_saw_nothing_is_lost(
    fragile: Credentials, writer: Client, fragile_namespace: str, fragile_toy_server: Cluster
) -> None:
    async with wired(fragile) as (wire, behind), running(behind, fragile_namespace) as engine:
        await writer.create(Ref(TOY, fragile_namespace, "a"), toy("a", suspend=True))
        running_toy = await until_state(engine, fragile_namespace, "a", "Running")
        wire.refuse = True
        wire.cut()
        fragile_toy_server.kubectl("delete", "job", "a-0", "-n", fragile_namespace, "--cascade=background")
        await asyncio.to_thread(fragile_toy_server.compact_etcd)
        await asyncio.to_thread(fragile_toy_server.restart_component, "kube-apiserver")
        wire.refuse = False
        lost = await until_state(engine, fragile_namespace, "a", "Lost")
        assert lost["status"]["started"] == running_toy["status"]["started"]


async def test_a_toy_deleted_while_the_engine_saw_nothing_is_no_ghost(
    fragile: Credentials, writer: Client, fragile_namespace: str, fragile_toy_server: Cluster
) -> None:
    """kopf lists again after a 410 and says nothing of what is gone; the engine's own list does."""
    async with wired(fragile) as (wire, behind), running(behind, fragile_namespace) as engine:
        for name in ("a", "b"):
            await writer.create(Ref(TOY, fragile_namespace, name), toy(name, suspend=True))
            await until_state(engine, fragile_namespace, name, "Running")
        wire.refuse = True
        wire.cut()
        fragile_toy_server.kubectl("delete", "toy", "a", "-n", fragile_namespace)
        await asyncio.to_thread(fragile_toy_server.compact_etcd)
        await asyncio.to_thread(fragile_toy_server.restart_component, "kube-apiserver")
        wire.refuse = False
        await until(lambda: [key.name for key in engine.store.keys(TOY)] == ["b"])


async def test_an_engine_works_through_a_restart_of_the_api_server(
    fragile: Credentials, writer: Client, fragile_namespace: str, fragile_toy_server: Cluster
) -> None:
    async with running(fragile, fragile_namespace) as engine:
        for index in range(10):
            await writer.create(Ref(TOY, fragile_namespace, f"t{index}"), toy(f"t{index}", jobs=3))
        await until(lambda: engine.client.requests["POST", "Job", 201] >= 10)
        await asyncio.to_thread(restart_api_server, fragile_toy_server)
        for index in range(10):
            await until_state(engine, fragile_namespace, f"t{index}", "Done")
        assert engine.trouble == ""
