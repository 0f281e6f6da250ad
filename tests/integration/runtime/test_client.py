"""What the client relies on, as a real API server answers it."""

from __future__ import annotations

import asyncio
import time
from datetime import datetime, timedelta
from typing import Any

import pytest

from rondo.core.plan import Ref
from rondo.core.resources import CONFIG_MAP
from rondo.kube import client as client_module
from rondo.kube.client import Client, Selector
from rondo.kube.errors import ApiError
from tests.integration.runtime.toys import TOY, toy

pytestmark = pytest.mark.usefixtures("toy_api_server")


def config_map(name: str, data: dict[str, str] | None = None, **metadata: Any) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, **metadata}, "data": data or {}}


async def test_create_get_delete(client: Client, namespace: str) -> None:
    ref = Ref(CONFIG_MAP, namespace, "x")
    assert await client.get(ref) is None
    made = await client.create(ref, config_map("x", {"a": "1"}))
    got = await client.get(ref)
    assert got is not None
    assert got["data"] == {"a": "1"}
    with pytest.raises(ApiError) as caught:
        await client.create(ref, config_map("x"))
    assert caught.value.already_exists
    await client.delete(ref, uid=made["metadata"]["uid"], propagation="Background")
    assert await client.get(ref) is None


async def test_an_object_of_the_same_name_is_not_deleted_for_another(client: Client, namespace: str) -> None:
    ref = Ref(CONFIG_MAP, namespace, "x")
    await client.create(ref, config_map("x"))
    await client.delete(ref, uid="00000000-0000-0000-0000-000000000000", propagation="Background")
    assert await client.get(ref) is not None


async def test_a_stale_status_is_a_conflict_and_changes_nothing(client: Client, namespace: str) -> None:
    ref = Ref(TOY, namespace, "a")
    stale = await client.create(ref, toy("a"))
    fresh = await client.merge_patch(ref, stale["metadata"]["uid"], {"metadata": {"annotations": {"a": "b"}}})
    with pytest.raises(ApiError) as caught:
        await client.replace_status(ref, stale, {"state": "Stale"})
    assert caught.value.conflict
    written = await client.replace_status(ref, fresh, {"state": "Fresh"})
    assert written["status"] == {"state": "Fresh"}
    for field in ("labels", "annotations", "generation"):
        assert written["metadata"][field] == fresh["metadata"][field]
    assert written["spec"] == fresh["spec"]


async def test_a_status_is_not_written_to_a_later_object_of_the_name(client: Client, namespace: str) -> None:
    ref = Ref(TOY, namespace, "a")
    first = await client.create(ref, toy("a"))
    await client.delete(ref, uid=first["metadata"]["uid"], propagation="Background")
    second = await client.create(ref, toy("a"))
    with pytest.raises(ApiError) as caught:
        await client.replace_status(ref, first, {"state": "Stale"})
    assert caught.value.conflict
    assert await client.get(ref) == second


async def test_managers_share_an_object_and_a_conflict_names_the_owner(client: Client, namespace: str) -> None:
    ref = Ref(CONFIG_MAP, namespace, "x")
    await client.apply(ref, config_map("x", {"a": "1"}), manager="rondo", force=False)
    both = await client.apply(ref, config_map("x", {"b": "2"}), manager="argocd-controller", force=False)
    assert both["data"] == {"a": "1", "b": "2"}
    with pytest.raises(ApiError) as caught:
        await client.apply(ref, config_map("x", {"b": "3"}), manager="rondo", force=False)
    assert caught.value.conflict
    assert "argocd-controller" in caught.value.message
    forced = await client.apply(ref, config_map("x", {"b": "3"}), manager="rondo", force=True)
    assert forced["data"] == {"b": "3"}


async def test_a_patch_of_an_object_that_was_replaced_finds_nothing(client: Client, namespace: str) -> None:
    ref = Ref(CONFIG_MAP, namespace, "x")
    await client.create(ref, config_map("x", {"a": "1"}))
    with pytest.raises(ApiError) as caught:
        await client.merge_patch(ref, "00000000-0000-0000-0000-000000000000", {"data": {"a": "2"}})
    assert caught.value.not_found
    assert (await client.get(ref) or {})["data"] == {"a": "1"}


async def test_a_list_comes_in_pages_at_one_version_with_kinds(
    client: Client, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_module, "PAGE_SIZE", 3)
    names = [f"x{index}" for index in range(8)]
    labelled = {"labels": {"mine": "yes"}}
    await asyncio.gather(
        *(client.create(Ref(CONFIG_MAP, namespace, name), config_map(name, **labelled)) for name in names)
    )
    before = client.requests["GET", "ConfigMap", 200]
    listing = await client.list(Selector(CONFIG_MAP, namespace, "mine=yes"))
    assert sorted(item["metadata"]["name"] for item in listing.items) == names
    assert {(item["apiVersion"], item["kind"]) for item in listing.items} == {("v1", "ConfigMap")}
    assert client.requests["GET", "ConfigMap", 200] - before == 3
    assert int(listing.version) > 0


async def test_a_watch_goes_on_where_the_list_ended(client: Client, namespace: str) -> None:
    selector = Selector(CONFIG_MAP, namespace, "mine=yes")
    listing = await client.list(selector)
    ref = Ref(CONFIG_MAP, namespace, "x")
    made = await client.create(ref, config_map("x", labels={"mine": "yes"}))
    await client.create(Ref(CONFIG_MAP, namespace, "y"), config_map("y"))
    await client.merge_patch(ref, made["metadata"]["uid"], {"data": {"a": "1"}})
    await client.delete(ref, uid=made["metadata"]["uid"], propagation="Background")
    seen = []
    async with asyncio.timeout(30), client.watch(selector, listing.version) as events:
        async for event in events:
            seen.append((event["type"], event["object"]["metadata"]["name"]))
            if event["type"] == "DELETED":
                break
    assert seen == [("ADDED", "x"), ("MODIFIED", "x"), ("DELETED", "x")]


async def test_a_refused_watch_says_why(client: Client, namespace: str) -> None:
    with pytest.raises(ApiError) as caught:
        async with client.watch(Selector(CONFIG_MAP, namespace, "not a selector"), "1"):
            pass
    assert caught.value.code == 400


async def test_a_server_that_is_not_there_is_unreachable(client: Client, namespace: str) -> None:
    nowhere = Client(client.session, "https://127.0.0.1:1")
    with pytest.raises(ApiError) as caught:
        await nowhere.get(Ref(CONFIG_MAP, namespace, "x"))
    assert (caught.value.code, caught.value.reason) == (0, "Unreachable")


async def test_the_api_servers_clock_counts_and_not_this_machines(
    client: Client, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    hours_off = time.time() + 5 * 3600
    monkeypatch.setattr(time, "time", lambda: hours_off)
    made = await client.create(Ref(CONFIG_MAP, namespace, "x"), config_map("x"))
    since = client.clock.now() - datetime.fromisoformat(made["metadata"]["creationTimestamp"])
    assert abs(since) < timedelta(seconds=3)


async def test_requests_are_counted_by_verb_kind_and_code(client: Client, namespace: str) -> None:
    await client.get(Ref(CONFIG_MAP, namespace, "nothing"))
    assert client.requests["GET", "ConfigMap", 404] == 1
