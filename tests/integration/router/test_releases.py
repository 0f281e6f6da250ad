"""Releases as the plan says them: who answers, what is counted of each side, and that no request is lost meanwhile."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from rondo.core.modelgraph.numbers import Comparison, add_up
from tests.integration.router.backends import backend
from tests.integration.router.process import PATIENCE, RouterProcess, graph
from tests.integration.router.test_reload import Load, target
from tests.ports import free_port
from tests.unit.core.modelgraph.builders import A
from tests.unit.core.modelgraph.builders import graph as planned
from tests.unit.core.modelgraph.world import World

Json = Any

pytestmark = pytest.mark.asyncio(loop_scope="module")


def parts(old: str, new: str, divide: Json, *, port: int, epoch: str, **fields: Json) -> list[Json]:
    """Give the parts of a plan that the operator makes of a graph under release."""
    outer = [
        {"name": "release", **divide},
        {"name": "old", "graph": "g.old"},
        {"name": "new", "graph": "g.new"},
    ]
    sides = {"old": old, "new": new}
    inner = [
        {**graph([target("n", url, **fields)], port=0, name=f"g.{side}", revision=url), "counted": epoch}
        for side, url in sides.items()
    ]
    return [
        graph(outer, port=port, revision=epoch),
        *({k: v for k, v in part.items() if k != "port"} for part in inner),
    ]


def split(old: int, new: int, **fields: Json) -> Json:
    return {"split": {"to": [{"node": "old", "weight": old}, {"node": "new", "weight": new}], **fields}}


async def counted(running: RouterProcess, epoch: str, requests: int, compared: int = 0) -> Comparison:
    """Wait until so many requests are counted, by both sides together, and so many answers compared."""
    async with asyncio.timeout(PATIENCE), running.watch(counts=True) as reports:
        async for report in reports:
            found = add_up([report], "g", epoch)
            if found.old.requests + found.new.requests >= requests and found.new.compared >= compared:
                return found
    raise AssertionError("nothing was counted")


async def ask(running: RouterProcess, port: int, times: int, **headers: str) -> list[str]:
    async def once() -> str:
        async with running.session.post(f"http://127.0.0.1:{port}/", json={}, headers=headers) as answer:
            return f"{answer.status} {await answer.text()}"

    return [await once() for _ in range(times)]


async def test_each_side_is_counted_by_itself_and_steps_begin_at_zero(running: RouterProcess) -> None:
    async with backend({"json": "a"}) as old, backend({"status": 503, "json": "b"}) as new:
        port = free_port()
        await running.serve(parts(old.url, new.url, split(50, 50), port=port, epoch="2.1"))
        answers = await ask(running, port, 100)
        found = await counted(running, "2.1", 100)
        fallen = sum(answer.startswith("503") for answer in answers)
        assert (found.new.requests, found.new.errors, found.old.requests, found.old.errors) == (
            fallen, fallen, 100 - fallen, 0,
        )  # fmt: skip
        assert 20 < fallen < 80
        assert sum(found.old.buckets.values()) == found.old.requests
        assert 0 < found.old.quantile(0.5) <= found.old.quantile(0.99) < PATIENCE
        await running.serve(parts(old.url, new.url, split(10, 90), port=port, epoch="2.2"))
        await ask(running, port, 20)
        assert (await counted(running, "2.2", 20)).new.requests > 10


async def test_mistakes_of_clients_speak_against_no_side(running: RouterProcess) -> None:
    async with backend({"json": "a"}) as old, backend({"json": "b"}) as new:
        port = free_port()
        plan = parts(old.url, new.url, split(0, 1), port=port, epoch="7.1")
        for part in plan[1:]:
            part["nodes"].append({"name": "s", "switch": [{"when": "request.headers['x-a'] == 'b'", "node": "n"}]})
            part["entry"] = "s"
        await running.serve(plan)
        assert {answer[:3] for answer in await ask(running, port, 3)} == {"404"}
        assert await ask(running, port, 1, **{"x-a": "b"}) == ['200 "b"']
        found = await counted(running, "7.1", 4)
        assert (found.new.requests, found.new.errors) == (4, 0)


async def test_what_does_not_answer_in_time_is_an_error(running: RouterProcess) -> None:
    async with backend({"json": "a"}) as old, backend({"after": 5, "json": "b"}) as new:
        port = free_port()
        plan = parts(old.url, new.url, split(0, 1), port=port, epoch="3.1")
        for part in plan:
            part["timeoutMillis"] = 100
        await running.serve(plan)
        assert [answer[:3] for answer in await ask(running, port, 3)] == ["504"] * 3
        found = await counted(running, "3.1", 3)
        assert (found.new.requests, found.new.errors) == (3, 3)
        assert found.new.quantile(0.5) == pytest.approx(0.1, rel=0.3)


async def test_a_shadow_counts_what_agrees_and_answers_by_the_old(running: RouterProcess) -> None:
    async with backend({"json": {"y": 1}}) as old, backend([{"json": {"y": 1}}, {"json": {"y": 2}}]) as new:
        port = free_port()
        mirror = {"mirror": {"node": "old", "to": ["new"], "compare": "primary.body.y == shadow.body.y"}}
        await running.serve(parts(old.url, new.url, mirror, port=port, epoch="4.1"))
        assert set(await ask(running, port, 3)) == {'200 {"y": 1}'}
        found = await counted(running, "4.1", 6, compared=3)
        assert (found.old.requests, found.new.requests, found.new.agreed) == (3, 3, 1)


async def test_no_request_is_dropped_from_step_to_step_to_promotion(running: RouterProcess) -> None:
    async with backend({"json": "a"}) as old, backend({"json": "b"}) as new:
        port = free_port()
        await running.serve([graph([target("n", old.url)], port=port)])
        load = Load(port)
        async with load.beside():
            for weight in (10, 50, 90):
                await running.serve(
                    parts(old.url, new.url, split(100 - weight, weight), port=port, epoch=f"5.{weight}")
                )
                await counted(running, f"5.{weight}", 50)
            await running.serve([graph([target("n", new.url)], port=port, revision="2")])
        assert set(load.answers) == {'200 "a"', '200 "b"'}


async def test_a_sticky_request_stays_on_its_side_and_one_without_a_value_is_answered(running: RouterProcess) -> None:
    async with backend({"json": "a"}) as old, backend({"json": "b"}) as new:
        port = free_port()
        divide = split(50, 50, sticky="request.headers['x-user']", lenient=True)
        await running.serve(parts(old.url, new.url, divide, port=port, epoch="6.1"))
        for user in ("ann", "bob", "eve"):
            headers = {"x-user": user}
            assert len(set(await ask(running, port, 10, **headers))) == 1
        assert set(await ask(running, port, 60)) == {'200 "a"', '200 "b"'}


CANARY: Json = {"steps": [{"weight": 10, "hold": "1m"}], "sticky": "request.headers['x-user']"}
COMPARE = "primary.body == shadow.body"
SHADOW: Json = {"strategy": "Shadow", "steps": [{"percent": 50, "hold": "1m"}], "compare": COMPARE}


@pytest.mark.parametrize("release", [CANARY, SHADOW], ids=["canary", "shadow"])
async def test_a_router_takes_what_the_operator_plans(running: RouterProcess, release: Json) -> None:
    world = World()
    world.model("a", revision="a1", kept={"a1": 1})
    for timeout in ("5s", "6s"):
        world.put(planned("g", {**A, "timeout": timeout}, release=release))
        world.settle()
        world.pass_time(seconds=2)
        world.serve()
    plan = world.plan()
    assert [part["name"] for part in plan["graphs"]] == ["g", "g.new", "g.old"]
    running.write_text(json.dumps(plan))
    report = await running.reported(plan["revision"])
    assert report["refused"] is None
    assert set(report["graphs"]) == {"g", "g.new", "g.old"}
