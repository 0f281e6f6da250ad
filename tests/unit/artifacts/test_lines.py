"""Files of JSON lines: counted by `push`, one line picked by `fetch`."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rondo.artifacts import lines
from rondo.artifacts.command import run
from rondo.artifacts.config import Item
from rondo.artifacts.errors import ExitCode
from rondo.artifacts.fetch import INDEX
from tests.unit.artifacts.places import Place

JSON = st.recursive(st.none() | st.booleans() | st.integers() | st.text(), lambda x: st.lists(x, max_size=3))


def push(place: Place, content: str) -> tuple[ExitCode, str]:
    (place.out / "shards").write_text(content)
    output = replace(place.output("shards"), lines=True)
    return run("push", place.environment(outputs=(output,))), place.log.read_text()


def fetch(place: Place, index: str, indexes: str = "0-1") -> tuple[ExitCode, str]:
    digest = place.manifest("shards")["digest"]
    item = Item("pvc://store/runs/1/shards", digest, str(place.out / "item.json"), indexes)
    return run("fetch", {**place.environment(item=item), INDEX: index}), place.log.read_text()


def test_lines_are_counted_where_that_is_asked_for(place: Place) -> None:
    code, message = push(place, '{"a": 1}\n\n  \n"b"')
    assert code is ExitCode.OK
    assert json.loads(message)["outputs"]["shards"]["lines"] == 2
    assert "lines" not in json.loads(place.push("shards")[1])["outputs"]["shards"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ('{"a": 1}\n{"b": \n', "output shards: line 2 of "),
        ("1\n" + "9" * (lines.LONGEST + 1), "line 2 of "),
    ],
)
def test_a_file_that_is_none_fails_the_attempt_with_the_line(place: Place, content: str, said: str) -> None:
    code, message = push(place, content)
    assert code is ExitCode.ARTIFACT
    assert said in message
    assert not place.stored("shards").exists()


def test_a_folder_is_no_file_of_lines(place: Place) -> None:
    (place.out / "shards").mkdir()
    (place.out / "shards" / "a").write_text("1")
    code = run("push", place.environment(outputs=(replace(place.output("shards"), lines=True),)))
    assert code is ExitCode.ARTIFACT
    assert "forEach.itemsFrom takes a file of JSON lines" in place.log.read_text()


def test_each_pod_gets_the_line_of_its_index(place: Place) -> None:
    push(place, '{"a": 1}\n\n"b"\n[3]\n')
    for index, (indexes, line) in {"0": ("0-2", '{"a": 1}'), "1": ("0,2", "[3]")}.items():
        assert fetch(place, index, indexes) == (ExitCode.OK, "")
        assert (place.out / "item.json").read_text() == line


@pytest.mark.parametrize(
    ("index", "indexes", "code", "said"),
    [
        ("5", "0-5", ExitCode.ARTIFACT, "has 2 items, so there is no item 5"),
        ("2", "0-1", ExitCode.CONFIG, "RONDO_INDEX is '2'; this Job has 2 items"),
        ("", "0-1", ExitCode.CONFIG, "RONDO_INDEX is ''"),
    ],
)
def test_an_item_that_is_not_there_is_told(place: Place, index: str, indexes: str, code: ExitCode, said: str) -> None:
    push(place, "1\n2\n")
    got, message = fetch(place, index, indexes)
    assert got is code
    assert said in message


@given(st.lists(JSON, max_size=30))
def test_what_is_counted_can_be_picked(tmp_path_factory: pytest.TempPathFactory, values: list[object]) -> None:
    path = tmp_path_factory.mktemp("lines") / "x"
    path.write_text("".join(json.dumps(value) + "\n" for value in values))
    assert lines.count(path, "x") == len(values)
    assert [json.loads(lines.pick(path, index, "x")) for index in range(len(values))] == values
