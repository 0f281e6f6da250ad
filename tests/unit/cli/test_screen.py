"""What stands on the terminal."""

from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console

from rondo.api.pipelinerun import StageState
from rondo.cli.progress import Node, run_node
from rondo.cli.screen import Drawing, Lines, draw, screen_for
from tests.unit.cli.builders import NOW, deployment, done, down, ended, graph, run, running, said, stage, target, up


def console(*, width: int = 70, height: int = 20, encoding: str = "utf-8", terminal: bool = True) -> Console:
    file = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    return Console(
        file=file, width=width, height=height, force_terminal=terminal, color_system=None, _environ={"TERM": "xterm"}
    )


def drawn(tree: Node, *, width: int = 70, fancy: bool = True, whole: bool = True) -> list[str]:
    shown = console(width=width)
    with shown.capture() as captured:
        shown.print(draw([tree], fancy=fancy, whole=whole))
    return [line.rstrip() for line in captured.get().splitlines()]


FAILED = ended(
    "False",
    "b failed",
    done("a", results={"n": 1}),
    stage("b", StageState.FAILED, reason="UserError", message="exit code 3: no such column: age", attempt=1),
    stage("c", StageState.SKIPPED, reason="NeedNotMet"),
)


def test_tree() -> None:
    assert drawn(run_node(FAILED, NOW)) == [
        "digits-1  ✘ Failed     1m00s  1/3 stages",
        "├─ a      ✔ Succeeded     5s  n=1",
        "├─ b      ✘ Failed            UserError: exit code 3: no such column:",
        "                              age",
        "└─ c      ○ Skipped           NeedNotMet",
    ]


def test_tree_in_ascii() -> None:
    assert drawn(run_node(FAILED, NOW), width=90, fancy=False) == [
        "digits-1  x Failed     1m00s  1/3 stages",
        "|- a      + Succeeded     5s  n=1",
        "|- b      x Failed            UserError: exit code 3: no such column: age",
        "`- c      - Skipped           NeedNotMet",
    ]


def test_while_it_goes_on_only_trouble_takes_more_than_a_line() -> None:
    calm, trouble = running("a", message="word " * 12), running("b", reason="ImagePull", message="word " * 12)
    lines = drawn(run_node(run(calm, trouble), NOW), whole=False)
    assert len([line for line in lines if "word" in line]) == 1 + 2
    assert lines[1].endswith("…")


def last_screen(given: dict[str, Any], *, height: int) -> str:
    """What a drawing shows at last before it ends."""
    shown = console(height=height)
    drawing = Drawing(shown)
    drawing.run(given)
    with shown.capture() as captured:
        shown.print(drawing._draw())
    return captured.get()


def test_a_tree_that_is_too_tall_is_folded() -> None:
    given = run(*(done(f"done-{n}") for n in range(30)), running("busy"), *(stage(f"next-{n}") for n in range(30)))
    assert "done-7" in last_screen(given, height=80)
    assert "next-7" in last_screen(given, height=40)
    assert "done-7" not in last_screen(given, height=40)
    small = last_screen(given, height=8)
    assert [word in small for word in ("busy", "30 stages", "next-7")] == [True, True, False]


def test_the_last_drawing_is_whole() -> None:
    shown = console(height=10)
    with Drawing(shown) as drawing:
        drawing.run(ended("True", "ok", *(done(f"stage-{n}") for n in range(30))))
        drawing.serving([deployment(said("Ready", "True", "Ready", "1/1 pods serve"))])
    shown.file.flush()
    text = shown.file.buffer.getvalue().decode()  # type: ignore[attr-defined]
    assert "stage-0 " in text
    assert "stage-29" in text
    assert "ModelDeployment digits" in text


def test_a_note_is_shown_until_something_is_known() -> None:
    drawing = Drawing(console())
    drawing.note("waiting for the operator")
    with (shown := console()).capture() as captured:
        shown.print(drawing._draw())
    assert "waiting for the operator" in captured.get()
    drawing.run(run(running("a")))
    with shown.capture() as captured:
        shown.print(drawing._draw())
    assert "waiting" not in captured.get()


def test_lines_tell_each_thing_once() -> None:
    told: list[str] = []
    lines = Lines(told.append, lambda: NOW)
    lines.note("the API server does not answer; trying again")
    lines.note("the API server does not answer; trying again")
    lines.run(run(running("a"), message="0/1 stages done"))
    lines.run(run(running("a"), message="0/1 stages done"))
    lines.run(ended("True", "1/1 stages succeeded", done("a")))
    ready = deployment(said("Ready", "True", "Ready", "1/1 pods serve"))
    lines.serving([ready])
    lines.serving([ready])
    assert told == [
        "the API server does not answer; trying again",
        "digits-1 Running: 0/1 stages done",
        "digits-1/a Running",
        "digits-1/a Succeeded after 5s",
        "digits-1 Succeeded after 1m00s: 1/1 stages succeeded",
        "ModelDeployment digits Ready: 1/1 pods serve",
    ]


CASCADE = [{"name": "f", "fallback": [{"node": "a"}, {"node": "b"}]}, target("a"), target("b")]


def test_lines_tell_of_a_graph_what_changes_and_of_its_nodes_first_what_is_in_trouble() -> None:
    told: list[str] = []
    lines = Lines(told.append, lambda: NOW)
    starting = [said("Ready", "False", "NoEndpoints", "node f: nothing answers"), said("Reconciling", "True")]
    lost = down("a", "NoEndpoints", "no ready pod")
    lines.serving([graph(*CASCADE, conditions=starting, statuses=[up("f"), lost, up("b")])])
    lines.serving([graph(*CASCADE, statuses=[up("f"), up("a"), up("b")])])
    lines.serving([graph(*CASCADE, statuses=[up("f"), up("a"), down("b", "ImagePull", "no image")])])
    assert told == [
        "ModelGraph g Progressing: node f: nothing answers; http://g.team.svc",
        "g/a NoEndpoints: no ready pod",
        "ModelGraph g Ready: 2 routers serve revision r1; http://g.team.svc",
        "g/a Ready: first; ModelDeployment a",
        "g/b ImagePull: no image",
    ]


def test_a_graph_is_drawn_without_a_run_and_folded_where_there_is_no_room() -> None:
    nodes = [target(f"n{number}") for number in range(30)]
    all_ = {"name": "p", "parallel": {"nodes": [node["name"] for node in nodes]}}
    given = graph(all_, *nodes, statuses=[up("p"), *(up(node["name"]) for node in nodes)])
    for height, want in ((60, "n17"), (10, "30 nodes")):
        drawing = Drawing(shown := console(height=height))
        drawing.serving([given])
        with shown.capture() as captured:
            shown.print(drawing._draw())
        assert want in captured.get()


def test_lines_are_neither_wrapped_nor_read_as_markup() -> None:
    shown = console(width=20, terminal=False)
    lines = screen_for(shown)
    lines.note("no [bold] markup :smile: and a line longer than the console is wide")
    shown.file.flush()
    text = shown.file.buffer.getvalue().decode()  # type: ignore[attr-defined]
    assert text == "no [bold] markup :smile: and a line longer than the console is wide\n"


@pytest.mark.parametrize(("terminal", "want"), [(True, Drawing), (False, Lines)])
def test_screen_for(terminal: bool, want: type) -> None:  # noqa: FBT001 (a table's column)
    assert isinstance(screen_for(console(terminal=terminal)), want)
