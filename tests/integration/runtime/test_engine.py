"""The engine with kopf's watches on a real API server: toys come to their end, whatever is in the way."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from rondo.core.plan import Ref
from rondo.core.resources import JOB
from rondo.kube.client import Client, Selector
from rondo.kube.session import Credentials
from tests.integration.runtime.harness import running, until, until_state
from tests.integration.runtime.toys import LABEL, TOY, toy

pytestmark = pytest.mark.usefixtures("toy_api_server")


def toy_ref(namespace: str, name: str) -> Ref:
    return Ref(TOY, namespace, name)


async def jobs_of(client: Client, namespace: str) -> list[dict[str, Any]]:
    return list((await client.list(Selector(JOB, namespace, LABEL))).items)


async def test_a_toy_comes_to_its_end(client: Client, credentials: Credentials, namespace: str) -> None:
    async with running(credentials, namespace) as engine:
        await client.create(toy_ref(namespace, "a"), toy("a", jobs=3))
        await until_state(engine, namespace, "a", "Done")
    live = await client.get(toy_ref(namespace, "a"))
    assert live is not None
    assert len(live["status"]["started"]) == 3
    assert live["metadata"]["labels"] == {"kept": "yes"}
    assert "finalizers" not in live["metadata"]
    assert "annotations" not in live["metadata"]


async def test_what_was_there_before_the_start_comes_to_its_end_too(
    client: Client, credentials: Credentials, namespace: str
) -> None:
    await client.create(toy_ref(namespace, "a"), toy("a", jobs=2))
    async with running(credentials, namespace) as engine:
        await until_state(engine, namespace, "a", "Done")


async def test_many_at_once_make_each_job_once_and_then_rest(
    client: Client, credentials: Credentials, namespace: str
) -> None:
    count = 40
    async with running(credentials, namespace) as engine:
        for index in range(count):
            await client.create(toy_ref(namespace, f"t{index}"), toy(f"t{index}", jobs=2))
        await asyncio.gather(*(until_state(engine, namespace, f"t{i}", "Done") for i in range(count)))
        assert len(await jobs_of(client, namespace)) == 2 * count
        assert engine.client.requests["POST", "Job", 201] == 2 * count
        assert engine.client.requests["POST", "Job", 409] == 0, "a planner did not see its own write"
        before = dict(engine.client.requests)
        engine.enqueue(engine.store.keys(TOY))
        await until(lambda: not engine.queue and not engine.workers.longest)
        writes = {key: n for key, n in engine.client.requests.items() if key[0] != "GET" and n != before.get(key, 0)}
        assert writes == {}


async def test_a_restart_in_the_middle_makes_nothing_twice(
    client: Client, credentials: Credentials, namespace: str
) -> None:
    for index in range(10):
        await client.create(toy_ref(namespace, f"t{index}"), toy(f"t{index}", jobs=4))
    async with running(credentials, namespace) as engine:
        await until(lambda: engine.client.requests["POST", "Job", 201] >= 10)
    first = {job["metadata"]["uid"] for job in await jobs_of(client, namespace)}
    async with running(credentials, namespace) as engine:
        await asyncio.gather(*(until_state(engine, namespace, f"t{i}", "Done") for i in range(10)))
    jobs = await jobs_of(client, namespace)
    assert len(jobs) == 40
    assert first <= {job["metadata"]["uid"] for job in jobs}


async def test_somebody_elses_job_is_left_alone_and_said_so(
    client: Client, credentials: Credentials, namespace: str
) -> None:
    spec = {"containers": [{"name": "main", "image": "theirs"}], "restartPolicy": "Never"}
    theirs = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "a-0"},
        "spec": {"suspend": True, "template": {"spec": spec}},
    }
    made = await client.create(Ref(JOB, namespace, "a-0"), theirs)
    async with running(credentials, namespace) as engine:
        await client.create(toy_ref(namespace, "a"), toy("a"))
        stuck = await until_state(engine, namespace, "a", "Stuck")
        assert stuck["status"]["reason"] == "NameConflict"
        there = await client.get(Ref(JOB, namespace, "a-0"))
        assert there is not None
        assert "ownerReferences" not in there["metadata"]
        assert there["metadata"]["generation"] == made["metadata"]["generation"]
        await client.delete(Ref(JOB, namespace, "a-0"), uid=made["metadata"]["uid"], propagation="Background")
        await until_state(engine, namespace, "a", "Done")


async def test_a_deleted_job_is_noticed_at_once(client: Client, credentials: Credentials, namespace: str) -> None:
    async with running(credentials, namespace) as engine:
        await client.create(toy_ref(namespace, "a"), toy("a", suspend=True))
        await until_state(engine, namespace, "a", "Running")
        (job,) = await jobs_of(client, namespace)
        begun = time.monotonic()
        await client.delete(Ref(JOB, namespace, "a-0"), uid=job["metadata"]["uid"], propagation="Background")
        await until_state(engine, namespace, "a", "Lost")
        assert time.monotonic() - begun < 5


async def test_a_user_who_edits_at_the_same_time_loses_nothing(
    client: Client, credentials: Credentials, namespace: str
) -> None:
    """Every status write races with an edit of the labels; both come through."""
    ref = toy_ref(namespace, "a")
    async with running(credentials, namespace) as engine:
        made = await client.create(ref, toy("a", jobs=5))
        edits = 0
        while ((engine.store.get(ref) or {}).get("status") or {}).get("state") != "Done":
            edits += 1
            await client.merge_patch(ref, made["metadata"]["uid"], {"metadata": {"labels": {"edit": str(edits)}}})
        live = await client.get(ref)
    assert live is not None
    assert live["metadata"]["labels"] == {"kept": "yes", "edit": str(edits)}
    assert len(live["status"]["started"]) == 5


async def test_a_deleted_toy_is_forgotten(client: Client, credentials: Credentials, namespace: str) -> None:
    async with running(credentials, namespace) as engine:
        made = await client.create(toy_ref(namespace, "a"), toy("a", suspend=True))
        await until_state(engine, namespace, "a", "Running")
        await client.delete(toy_ref(namespace, "a"), uid=made["metadata"]["uid"], propagation="Background")
        await until(lambda: not engine.store.keys(TOY) and not engine.store.keys(JOB))


async def test_a_hundred_chains_of_three_jobs_are_done(
    client: Client,
    credentials: Credentials,
    namespace: str,
    record_property: Any,
) -> None:
    count = 100
    async with running(credentials, namespace) as engine:
        begun, cpu, reconciles = time.monotonic(), time.process_time(), engine.workers.results.total()
        await asyncio.gather(*(client.create(toy_ref(namespace, f"t{i}"), toy(f"t{i}", jobs=3)) for i in range(count)))
        await asyncio.gather(*(until_state(engine, namespace, f"t{i}", "Done") for i in range(count)))
        seconds, cpu = time.monotonic() - begun, time.process_time() - cpu
    record_property("seconds", seconds)
    record_property("cpu_seconds", cpu)
    record_property("reconciles", engine.workers.results.total() - reconciles)
    print(f"{seconds:.1f} s, {cpu:.1f} s of CPU, {engine.workers.results.total() - reconciles} reconciles")
