"""Paths of requests, and streams cut at any byte."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, cast

import aiohttp
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rondo.core.plan import Ref
from rondo.core.resources import JOB, MODEL_RUNTIME, POD
from rondo.kube.client import Selector, _lines, collection, path_of
from rondo.kube.errors import ApiError


@pytest.mark.parametrize(
    ("ref", "path"),
    [
        (Ref(POD, "team", "p"), "/api/v1/namespaces/team/pods/p"),
        (Ref(JOB, "team", "j"), "/apis/batch/v1/namespaces/team/jobs/j"),
        (Ref(MODEL_RUNTIME, "", "vllm"), "/apis/rondo.dev/v1alpha1/modelruntimes/vllm"),
    ],
)
def test_the_path_of_an_object(ref: Ref, path: str) -> None:
    assert path_of(ref) == path


def test_a_collection_is_a_namespaces_or_everybodys() -> None:
    assert collection(POD, "team") == "/api/v1/namespaces/team/pods"
    assert collection(POD, "") == "/api/v1/pods"


def test_empty_selectors_are_left_out() -> None:
    assert Selector(POD, labels="a=b").query() == {"labelSelector": "a=b"}


class Response:
    """A response whose body comes in given pieces."""

    def __init__(self, chunks: list[bytes]) -> None:
        self.content = self
        self._chunks = chunks

    async def iter_any(self) -> AsyncIterator[bytes]:
        for chunk in self._chunks:
            yield chunk


async def read(chunks: list[bytes]) -> list[dict[str, Any]]:
    return [event async for event in _lines(cast("aiohttp.ClientResponse", Response(chunks)))]


EVENTS = st.lists(
    st.fixed_dictionaries(
        {"type": st.sampled_from(["ADDED", "BOOKMARK"]), "object": st.dictionaries(st.text(), st.text())}
    )
)


@given(EVENTS, st.data())
async def test_a_stream_may_be_cut_anywhere(events: list[dict[str, Any]], data: st.DataObject) -> None:
    body = b"".join(msgspec.json.encode(event) + b"\n" for event in events)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(body)), max_size=5)))
    chunks = [body[start:end] for start, end in zip([0, *cuts], [*cuts, len(body)], strict=True)]
    assert await read(chunks) == events


async def test_half_a_line_at_the_end_is_not_an_event() -> None:
    assert await read([b'{"type":"ADDED","object":{}}\n{"type":"ADD']) == [{"type": "ADDED", "object": {}}]


async def test_a_line_may_be_long() -> None:
    event = {"type": "ADDED", "object": {"x": "y" * 1_000_000}}
    line = msgspec.json.encode(event) + b"\n"
    assert await read([line[index : index + 65_536] for index in range(0, len(line), 65_536)]) == [event]


async def test_an_error_event_is_raised() -> None:
    line = b'{"type":"ERROR","object":{"kind":"Status","code":410,"reason":"Expired","message":"too old"}}\n'
    with pytest.raises(ApiError) as caught:
        await read([line])
    assert caught.value.gone
