"""What pods tell, heard from a real server: lines as they come, breaks, refusals, pods that come and go."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiohttp import web

from rondo.core.plan import Resource
from rondo.runtime import listener as module
from rondo.runtime.listener import Listener, Source

REPORT = Resource("", "", "Report", "reports")
COUNTS = Resource("", "", "Counts", "counts")
PATIENCE = 5.0


@dataclass
class Teller:
    """A server that tells lines to whoever listens."""

    lines: list[bytes] = field(default_factory=list)
    status: int = 200
    listening: int = 0
    asked: int = 0
    port: int = 0
    _news: asyncio.Condition = field(default_factory=asyncio.Condition)
    _cut: int = 0

    async def tell(self, *lines: dict[str, Any] | bytes) -> None:
        async with self._news:
            self.lines += [line if isinstance(line, bytes) else json.dumps(line).encode() + b"\n" for line in lines]
            self._news.notify_all()

    async def cut(self) -> None:
        """Break all streams."""
        async with self._news:
            self._cut += 1
            self._news.notify_all()

    async def watch(self, request: web.Request) -> web.StreamResponse:
        self.asked += 1
        response = web.StreamResponse(status=self.status, headers={"Location": "/elsewhere"})
        await response.prepare(request)
        if self.status != 200:
            return response
        self.listening += 1
        cut, told = self._cut, max(len(self.lines) - 1, 0)
        try:
            while self._cut == cut:
                for line in self.lines[told:]:
                    await response.write(line)
                told = len(self.lines)
                await self._until_more(told, cut)
        finally:
            self.listening -= 1
        return response

    async def _until_more(self, told: int, cut: int) -> None:
        async with self._news:
            await self._news.wait_for(lambda: len(self.lines) > told or self._cut != cut)


@asynccontextmanager
async def serving() -> AsyncIterator[Teller]:
    teller = Teller()
    app = web.Application()
    app.add_routes([web.get("/watch", teller.watch)])
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    teller.port = runner.addresses[0][1]
    yield teller
    await teller.cut()
    await runner.cleanup()


@dataclass
class Heard:
    """What was heard."""

    told: list[dict[str, Any]] = field(default_factory=list)
    silent: list[dict[str, Any]] = field(default_factory=list)
    counted: list[dict[str, Any]] = field(default_factory=list)
    uncounted: list[dict[str, Any]] = field(default_factory=list)


@asynccontextmanager
async def hearing() -> AsyncIterator[tuple[Listener, Heard]]:
    heard = Heard()
    source = Source(REPORT, lambda pod: str(pod.get("url", "")), {"counts": COUNTS})
    told = {REPORT: heard.told, COUNTS: heard.counted}
    silent = {REPORT: heard.silent, COUNTS: heard.uncounted}
    listener = Listener(source, lambda kind, t: told[kind].append(t), lambda kind, t: silent[kind].append(t))
    task = asyncio.create_task(listener.run())
    yield listener, heard
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def pod(teller: Teller | None = None, name: str = "p", uid: str = "u") -> dict[str, Any]:
    url = "" if teller is None else f"http://127.0.0.1:{teller.port}/watch"
    return {"metadata": {"name": name, "namespace": "n", "uid": uid, "labels": {"a": "b"}}, "url": url}


async def until(look: Callable[[], object]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not look():  # noqa: ASYNC110 - it looks at what others do
            await asyncio.sleep(0.005)


async def test_lines_are_told_as_they_come_with_the_pod_as_their_name() -> None:
    async with serving() as teller, hearing() as (listener, heard):
        await teller.tell({"n": 1})
        listener.seen(pod(teller))
        await until(lambda: heard.told)
        await teller.tell({"n": 2}, {"n": 3})
        await until(lambda: len(heard.told) == 3)
        assert [thing["n"] for thing in heard.told] == [1, 2, 3]
        versions = [int(thing["metadata"].pop("resourceVersion")) for thing in heard.told]
        assert versions == sorted(set(versions))
        assert heard.told[0]["metadata"] == {"name": "p", "namespace": "n", "uid": "u", "labels": {"a": "b"}}


async def test_a_line_may_come_in_pieces() -> None:
    async with serving() as teller, hearing() as (listener, heard):
        await teller.tell(b'{"n"')
        listener.seen(pod(teller))
        await until(lambda: teller.listening)
        await teller.tell(b": 1}\n\n")
        await until(lambda: heard.told)
        assert heard.told[0]["n"] == 1


async def test_a_stream_that_breaks_is_made_again_and_what_was_told_stays() -> None:
    async with serving() as teller, hearing() as (listener, heard):
        await teller.tell({"n": 1})
        listener.seen(pod(teller))
        await until(lambda: heard.told)
        await teller.cut()
        await until(lambda: len(heard.told) == 2)
        assert heard.silent == []


@pytest.mark.parametrize("status", [302, 404, 500])
async def test_a_refusal_is_tried_again_and_not_followed(status: int) -> None:
    async with serving() as teller, hearing() as (listener, heard):
        teller.status = status
        await teller.tell({"n": 1})
        listener.seen(pod(teller))
        await until(lambda: teller.asked >= 2)
        assert heard.told == []
        teller.status = 200
        await until(lambda: heard.told)


@pytest.mark.parametrize("line", [b"nonsense\n", b"[1]\n", b"1\n"])
async def test_what_is_no_object_ends_the_stream_and_nothing_else(line: bytes) -> None:
    async with serving() as teller, hearing() as (listener, heard):
        await teller.tell(line)
        listener.seen(pod(teller))
        await until(lambda: teller.asked >= 2)
        assert heard.told == []
        await teller.tell({"n": 1})
        await until(lambda: heard.told)


async def test_a_line_without_end_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LINE_LIMIT", 1000)
    async with serving() as teller, hearing() as (listener, heard):
        await teller.tell(b"x" * 2000)
        listener.seen(pod(teller))
        await until(lambda: teller.asked >= 2)
        assert heard.told == []


async def test_a_pod_that_goes_is_left_and_its_words_with_it() -> None:
    async with serving() as teller, hearing() as (listener, heard):
        await teller.tell({"n": 1})
        listener.seen(pod(teller))
        await until(lambda: heard.told)
        listener.gone(pod(teller))
        await until(lambda: heard.silent)
        assert heard.silent[0]["n"] == 1
        await teller.tell({"n": 2})
        await until(lambda: teller.listening == 0)
        assert len(heard.told) == 1


async def test_a_pod_that_shall_not_be_asked_any_more_is_left() -> None:
    async with serving() as teller, hearing() as (listener, heard):
        await teller.tell({"n": 1})
        listener.seen(pod(teller))
        await until(lambda: heard.told)
        listener.seen(pod())
        await until(lambda: heard.silent)


async def test_another_pod_of_the_same_name_is_another() -> None:
    async with serving() as teller, hearing() as (listener, heard):
        await teller.tell({"n": 1})
        listener.seen(pod(teller))
        await until(lambda: heard.told)
        listener.seen(pod(teller, uid="other"))
        await until(lambda: len(heard.told) == 2)
        assert heard.told[1]["metadata"]["uid"] == "other"
        assert [thing["metadata"]["uid"] for thing in heard.silent] == ["u"]


async def test_a_list_without_a_pod_ends_it_but_only_in_its_namespace() -> None:
    async with serving() as teller, hearing() as (listener, heard):
        await teller.tell({"n": 1})
        listener.seen(pod(teller))
        await until(lambda: heard.told)
        listener.keep_only({"u"}, "n")
        listener.keep_only(set(), "elsewhere")
        await teller.tell({"n": 2})
        await until(lambda: len(heard.told) == 2)
        assert heard.silent == []
        listener.keep_only(set(), "n")
        await until(lambda: heard.silent)


async def test_the_same_view_again_changes_nothing() -> None:
    async with serving() as teller, hearing() as (listener, heard):
        await teller.tell({"n": 1})
        for _ in range(5):
            listener.seen(pod(teller))
        await until(lambda: heard.told)
        await teller.tell({"n": 2})
        await until(lambda: len(heard.told) == 2)
        assert teller.asked == 1


async def test_a_pod_that_cannot_be_reached_hinders_no_other() -> None:
    async with serving() as teller, hearing() as (listener, heard):
        away = pod(teller, name="away", uid="away")
        listener.seen({**away, "url": "http://127.0.0.1:1/watch"})
        await teller.tell({"n": 1})
        listener.seen(pod(teller))
        await until(lambda: heard.told)


async def test_lines_of_another_kind_are_kept_apart() -> None:
    async with serving() as teller, hearing() as (listener, heard):
        await teller.tell({"n": 1})
        listener.seen(pod(teller))
        await until(lambda: heard.told)
        await teller.tell({"counts": {"g": 1}}, {"counts": {"g": 2}})
        await until(lambda: len(heard.counted) == 2)
        assert [thing["counts"] for thing in heard.counted] == [{"g": 1}, {"g": 2}]
        assert len(heard.told) == 1
        listener.gone(pod(teller))
        await until(lambda: heard.silent and heard.uncounted)
        assert (heard.silent[0]["n"], heard.uncounted[0]["counts"]) == (1, {"g": 2})
