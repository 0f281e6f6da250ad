"""What is sent to a graph, and what its answer means."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from rondo.api.modelruntime import Protocol
from rondo.cli.cluster import Reply
from rondo.cli.errors import CommandError
from rondo.cli.graph import ask
from rondo.cli.output import Output
from tests.unit.cli.builders import graph, target

STEPS = [{"id": 0, "graph": "g", "node": "a", "start": 0.0, "took": 4.0, "attempts": 1, "status": 200, "answer": 1}]
TRACED = {"graph": "g", "revision": "r1", "answer": {"y": 1}, "steps": STEPS}
DEBUG = {"x-rondo-debug": "true"}


@dataclass
class Wire:
    """A cluster whose API server gives one reply, and remembers what it was asked."""

    reply: Reply
    namespace: str = "team"
    asked: list[dict[str, Any]] = field(default_factory=list)

    def request(self, method: str, path: str, **rest: Any) -> Reply:
        self.asked.append({"method": method, "path": path, **rest})
        return self.reply


def reply(status: int, body: Any, headers: Mapping[str, str] | None = None) -> Reply:
    return Reply(status, headers or {}, json.dumps(body).encode())


def refused(code: int, message: str) -> Reply:
    """What the API server itself says."""
    return reply(code, {"kind": "Status", "apiVersion": "v1", "code": code, "message": message})


def sent(given: Mapping[str, Any], answer: Reply, **more: Any) -> tuple[ask.Told, dict[str, Any]]:
    wire = Wire(answer)
    told = ask.ask_graph(wire, given, ask.Request(b"{}", **more))  # type: ignore[arg-type]
    return told, wire.asked[0]


def test_a_graph_is_asked_through_its_service() -> None:
    told, asked = sent(graph(target("a"), timeout="20s"), reply(200, TRACED, DEBUG), headers={"x-user": "u"})
    assert asked["method"] == "POST"
    assert asked["path"] == "/api/v1/namespaces/team/services/g:80/proxy/"
    assert asked["headers"] == {
        "content-type": "application/json",
        "accept": "application/json",
        "x-user": "u",
        "x-rondo-debug": "true",
    }
    assert asked["patience"] == 25, "longer than the graph itself may take"
    assert (told.status, told.answer, told.revision, len(told.steps)) == (200, {"y": 1}, "r1", 1)


@pytest.mark.parametrize(
    ("protocol", "want"),
    [
        ("OpenInference", "v2/models/g/infer"),
        ("KServeV1", "v1/models/g:predict"),
        ("OpenAI", "v1/chat/completions"),
        ("JSON", ""),
    ],
)
def test_the_path_is_that_of_the_protocol(protocol: str, want: str) -> None:
    _, asked = sent(graph(target("a"), protocol=protocol), reply(200, TRACED, DEBUG))
    assert asked["path"].endswith(f"/proxy/{want}")
    assert protocol in {each.value for each in Protocol}


def test_every_protocol_has_a_path() -> None:
    assert set(ask.PATHS) == {each.value for each in Protocol}


def test_another_path() -> None:
    _, asked = sent(graph(target("a")), reply(200, TRACED, DEBUG), path="/v1/embeddings")
    assert asked["path"].endswith("/services/g:80/proxy/v1/embeddings")


def test_a_header_that_the_api_server_keeps_is_refused_with_another_way() -> None:
    with pytest.raises(CommandError, match=r"-H authorization: .*kubectl port-forward service/g 8080:80, and --url"):
        sent(graph(target("a")), reply(200, TRACED), headers={"authorization": "Bearer x"})


def test_words_of_the_api_server_are_not_taken_for_an_answer() -> None:
    with pytest.raises(CommandError, match="you may not create services/proxy in namespace team; the role edit"):
        sent(graph(target("a")), refused(403, "forbidden"))
    with pytest.raises(CommandError, match=r'g cannot be asked .* \(503\): no endpoints available for service "g"'):
        sent(graph(target("a")), refused(503, 'no endpoints available for service "g"'))


ANSWERS: dict[str, tuple[Reply, ask.Told]] = {
    "steps": (reply(502, {**TRACED, "answer": None}, DEBUG), ask.Told(502, None, tuple(STEPS), "r1")),
    "refused before the first node": (reply(404, {"error": "ask POST"}), ask.Told(404, {"error": "ask POST"})),
    "no JSON": (Reply(500, {}, b"oops"), ask.Told(500, "oops")),
}


@pytest.mark.parametrize(("given", "want"), ANSWERS.values(), ids=ANSWERS.keys())
def test_understand(given: Reply, want: ask.Told) -> None:
    assert ask.understand(given) == want


def test_exit_code() -> None:
    assert [ask.code_of(ask.Told(status, None)) for status in (200, 204, 302, 404, 500)] == [0, 0, 1, 1, 1]


def test_the_answer_can_be_piped() -> None:
    told = ask.Told(200, {"y": 1}, tuple(STEPS), "r1")
    assert json.loads(ask.written_out(told, Output.TABLE)) == {"y": 1}
    assert json.loads(ask.written_out(told, Output.JSON)) == {
        "status": 200,
        "revision": "r1",
        "answer": {"y": 1},
        "steps": STEPS,
    }
    assert ask.written_out(told, Output.YAML).startswith("status: 200\nrevision: r1\n")
    assert ask.written_out(ask.Told(500, "oops"), Output.TABLE) == "oops"


def test_a_page_of_something_in_between_is_cut_for_people() -> None:
    told = ask.Told(502, "<html>\n" + "bad gateway " * 2000)
    assert ask.written_out(told, Output.TABLE) == "<html> " + "bad gateway " * 24 + "bad g... (24006 characters)"
    assert json.loads(ask.written_out(told, Output.JSON))["answer"] == told.answer
    long = ask.Told(200, "word " * 1000)
    assert ask.written_out(long, Output.TABLE) == long.answer, "what a graph answered is whole"


def shown(told: ask.Told) -> list[str]:
    console = Console(file=io.TextIOWrapper(io.BytesIO(), encoding="utf-8"), width=80, color_system=None)
    with console.capture() as captured:
        ask.show(told, console, answers=False)
    return [line.rstrip() for line in captured.get().splitlines()]


def test_what_a_person_sees() -> None:
    assert shown(ask.Told(200, {}, tuple(STEPS), "r1")) == ["status 200 from revision r1", "a  ✔ 200  4.0 ms"]
    assert shown(ask.Told(404, {})) == [
        "status 404",
        "the answer has no steps: no node was asked, or no router answered",
    ]


def test_request_file(tmp_path: Path) -> None:
    file = tmp_path / "request.json"
    file.write_text('{"big": 12345678901234567890}')
    assert ask.read_request(file) == b'{"big": 12345678901234567890}', "sent as it stands"
    file.write_text("{")
    with pytest.raises(CommandError, match=r"request\.json: is no request: "):
        ask.read_request(file)
    with pytest.raises(CommandError, match="No such file"):
        ask.read_request(tmp_path / "none")


def test_headers() -> None:
    assert ask.parse_headers(["X-User: a:b", "x-empty:"]) == {"x-user": "a:b", "x-empty": ""}
    assert ask.parse_headers(["x: ü"]) == {"x": "ü"}, "HTTP has Latin-1"


@pytest.mark.parametrize("bad", ["x-user", ": a", "x y: a", "ü: a", "x\n: a", "x: a\r\ny: b", "x: 中", "x: \udcff"])
def test_what_is_no_header(bad: str) -> None:
    with pytest.raises(CommandError, match="is no header; write NAME:VALUE"):
        ask.parse_headers([bad])


def test_an_address_is_waited_for_as_long_as_any_graph_may_take(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[float] = []

    def send(*_: Any, patience: float, **__: Any) -> Reply:
        asked.append(patience)
        return reply(200, TRACED, DEBUG)

    monkeypatch.setattr(ask, "send", send)
    ask.ask_url("http://127.0.0.1:1/", ask.Request(b"{}"))
    assert asked == [3600]


def test_an_address_that_does_not_answer() -> None:
    with pytest.raises(CommandError, match=r"http://127\.0\.0\.1:1/x does not answer: .*refused"):
        ask.ask_url("http://127.0.0.1:1/", ask.Request(b"{}", "/x"))
