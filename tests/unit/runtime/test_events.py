"""Events are posted beside the work: once for equal ones, and never in its way."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from rondo.core.plan import EventDraft, EventType
from rondo.kube.client import Client
from rondo.kube.errors import ApiError
from rondo.runtime.events import QUIET, WAITING, EventRecorder
from tests.unit.runtime.api import Api
from tests.unit.runtime.things import toy


class Recorder:
    """A recorder over an API server in memory, with a clock that the test moves."""

    def __init__(self) -> None:
        self.api = Api()
        self.time = 0.0
        self.recorder = EventRecorder(cast("Client", self.api), "rondo-0", clock=lambda: self.time)

    def post(self, note: str = "made it", *, name: str = "a", reason: str = "Made") -> None:
        self.recorder.post(toy(name), EventDraft(EventType.NORMAL, reason, "Make", note))

    async def posted(self) -> list[dict[str, Any]]:
        await self.recorder.flush()
        return list(self.api.objects.values())


@pytest.fixture
def events() -> Recorder:
    return Recorder()


async def test_an_event_says_what_kubectl_shows(events: Recorder) -> None:
    events.post()
    (got,) = await events.posted()
    assert (got["apiVersion"], got["kind"]) == ("events.k8s.io/v1", "Event")
    assert (got["type"], got["reason"], got["action"], got["note"]) == ("Normal", "Made", "Make", "made it")
    assert got["regarding"]["name"] == "a"
    assert got["reportingInstance"] == "rondo-0"
    assert got["metadata"]["namespace"] == "team"


async def test_equal_events_are_posted_once_until_a_while_has_passed(events: Recorder) -> None:
    events.post()
    events.time += QUIET - 1
    events.post()
    assert len(await events.posted()) == 1
    events.time += 2
    events.post()
    assert len(await events.posted()) == 2


async def test_other_notes_reasons_and_objects_are_other_events(events: Recorder) -> None:
    events.post()
    events.post("made another")
    events.post(reason="Unmade")
    events.post(name="b")
    assert len(await events.posted()) == 4


async def test_a_refused_event_is_dropped_and_the_next_is_posted(events: Recorder) -> None:
    async def create(*_: Any) -> dict[str, Any]:
        if not refused:
            refused.append(1)
            raise ApiError(403, "Forbidden", "no")
        return {}

    refused: list[int] = []
    events.api.create = create  # type: ignore[method-assign, assignment]
    events.post("one")
    events.post("two")
    await events.recorder.flush()
    assert refused == [1]


async def test_a_flood_never_waits_and_never_grows(events: Recorder) -> None:
    for number in range(WAITING + 500):
        events.post(f"number {number}")
    assert len(await events.posted()) == WAITING


async def test_flushing_does_not_wait_for_an_api_server_that_does_not_answer(
    events: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def create(*_: Any) -> dict[str, Any]:
        await asyncio.Event().wait()
        return {}

    monkeypatch.setattr("rondo.runtime.events.FLUSH_TIMEOUT", 0.01, raising=False)
    events.api.create = create  # type: ignore[method-assign, assignment]
    events.post()
    async with asyncio.timeout(2):
        await events.recorder.flush()
