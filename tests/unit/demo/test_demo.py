"""The parts of the demo that need no cluster; the whole is run by `make demo`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from demo import clusters
from demo.clusters import Built, Cluster
from demo.commands import CommandError, follow, output, serving, succeeds
from demo.journal import Journal, stamp

IMAGE = Built(("app:dev-1", "app:dev"), None)
HUB = "docker.io/library/"


def python(program: str) -> list[str]:
    return [sys.executable, "-c", program]


def test_journal_tells_the_time_of_each_step() -> None:
    lines: list[str] = []
    clock = iter([100.0, 100.4, 167.0])
    journal = Journal(lines.append, lambda: next(clock))
    journal.step("Cluster: make it")
    journal.detail("one\n\ntwo\n")
    journal.fail("it is gone")
    assert lines == ["[  0:00] Cluster: make it", "         one", "", "         two", "[  1:07] FAILED: it is gone"]


@pytest.mark.parametrize(("seconds", "want"), [(0, "  0:00"), (59.9, "  0:59"), (3601, " 60:01")])
def test_stamp(seconds: float, want: str) -> None:
    assert stamp(seconds) == want


NODES: dict[str, tuple[list[list[str]], bool]] = {
    "both names": ([[f"{HUB}app:dev", f"{HUB}app:dev-1", f"{HUB}app@sha256:1"]], True),
    "NAME:dev is of an older build": ([[f"{HUB}app:dev", f"{HUB}app:dev-0"], [f"{HUB}app:dev-1"]], False),
    "another image": ([[f"{HUB}other:dev", f"{HUB}other:dev-1"]], False),
    "no image": ([], False),
}


@pytest.mark.parametrize(("names", "want"), NODES.values(), ids=NODES.keys())
def test_image_on_a_node(names: list[list[str]], want: bool) -> None:  # noqa: FBT001 (a table's column)
    node: dict[str, Any] = {"status": {"images": [{"names": each} for each in names]}}
    assert clusters._on_node(node, IMAGE) is want


def test_images_of_a_foreign_cluster_must_be_there() -> None:
    foreign = Cluster("context prod", own=False, kind=None, name="prod", programs=None)
    with pytest.raises(CommandError, match=r"the cluster has no image app:dev-1.*bring app:dev-1 and app:dev to"):
        foreign.load(IMAGE)


def test_a_missing_program_is_named_with_where_to_get_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(CommandError, match=r"helm is not on PATH; it is at https://helm\.sh"):
        clusters.require("helm")


def test_output_of_a_program_that_fails_holds_its_last_lines() -> None:
    assert output(python("print(input())"), stdin="hello") == "hello\n"
    with pytest.raises(CommandError, match=r"ended with exit code 3:\nline 70\n") as caught:
        output(python("import sys; [print('line', n, file=sys.stderr) for n in range(100)]; sys.exit(3)"))
    assert str(caught.value).endswith("line 99")


def test_a_program_that_is_not_there() -> None:
    assert not succeeds(["/nowhere/program"])
    with pytest.raises(CommandError, match="/nowhere/program cannot be run: No such file"):
        output(["/nowhere/program"])


def test_follow_hands_on_what_is_said_and_gives_what_is_written() -> None:
    said: list[str] = []
    assert follow(python("import sys; print('tag'); print('building', file=sys.stderr)"), said.append) == "tag\n"
    assert said == ["building"]
    with pytest.raises(CommandError, match="ended with exit code 1"):
        follow(python("raise SystemExit(1)"), said.append)


SERVER = "import time; print('a warning\\nForwarding from 127.0.0.1:4711 -> 8080', flush=True); time.sleep(60)"


def test_serving_is_ready_at_its_line_and_ended_with_the_block() -> None:
    with serving(python(SERVER), {}, r"from (\S+:\d+)", within=20) as found:
        assert found[1] == "127.0.0.1:4711"


@pytest.mark.parametrize(
    ("program", "words"),
    [
        ("print('no such service'); raise SystemExit(1)", "ended with exit code 1:\nno such service"),
        ("import time; print('hm', flush=True); time.sleep(60)", "was not ready in 2 s; it said: hm"),
    ],
)
def test_serving_that_does_not_become_ready(program: str, words: str) -> None:
    with pytest.raises(CommandError, match=words), serving(python(program), {}, "never", within=2):
        pytest.fail("the block must not run")
