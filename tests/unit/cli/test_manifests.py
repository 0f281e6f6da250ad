"""Manifests as people write them, with their lines."""

from __future__ import annotations

from pathlib import Path

import pytest

from rondo.cli.errors import CommandError
from rondo.cli.manifests import Manifest, parse, read

TEXT = """\
# a comment
apiVersion: rondo.dev/v1alpha1
kind: Pipeline
metadata: {name: digits}
spec:
  stages:
    - name: prepare
      job: {image: x}
    - name: train
      needs:
        - prepare
      inputs:
        - {from: a, path: /in}
---
kind: ConfigMap
---
---
[1, 2]
"""


def only(text: str) -> Manifest:
    (found,) = parse(text, "f.yaml")
    return found


def test_documents_are_numbered_and_named() -> None:
    assert [(each.number, each.title) for each in parse(TEXT, "f.yaml")] == [
        (1, "Pipeline/digits"),
        (2, "document 2"),
        (3, "document 3"),
        (4, "document 4"),
    ]


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ("", 2),
        ("kind", 3),
        ("metadata.name", 4),
        ("spec", 5),
        ("spec.stages[train]", 9),
        ("spec.stages[1]", 9),
        ("spec.stages[train].needs", 10),
        ("spec.stages[train].needs[0]", 11),
        ("spec.stages[train].inputs[/in].from", 13),
        ("spec.stages[train].job.image", 9),
        ("spec.stages[nobody].job", 6),
        ("spec.stages[7]", 6),
    ],
)
def test_line_of_a_path_or_of_the_nearest_part(path: str, line: int) -> None:
    assert next(parse(TEXT, "f.yaml")).line(path) == line


def test_items_of_a_list_are_objects() -> None:
    text = "kind: List\nitems:\n- kind: A\n  metadata: {name: x}\n- kind: B\n  metadata: {name: y}\n"
    assert [(each.title, each.line("kind")) for each in parse(text, "f")] == [("A/x", 3), ("B/y", 5)]


FLAWS = {
    "a key twice": ("a:\n  b: 1\n  b: 2\n", [(3, "a.b: stands here again, first in line 2")]),
    "a key twice in an item": ("a:\n- {b: 1, b: 2}\n", [(2, "a[0].b: stands here again, first in line 2")]),
    "a merged key put over": ("a: &a {b: 1, c: 2}\nd:\n  <<: *a\n  b: 2\n", []),
    "a key that YAML takes for a boolean": ("on: 1\n", [(1, 'the key on is read as true or false: write "on"')]),
    "a quoted one is text": ('"on": 1\n', []),
    "the same key in two items": ("- {b: 1}\n- {b: 1}\n", []),
    "merge keys": ("x: &x {a: 1}\ny: &y {b: 1}\nz:\n  <<: *x\n  <<: *y\n", []),
}


@pytest.mark.parametrize(("text", "want"), FLAWS.values(), ids=FLAWS.keys())
def test_flaws(text: str, want: list[tuple[int, str]]) -> None:
    assert [(flaw.line, flaw.message) for flaw in only(text).flaws] == want


@pytest.mark.parametrize(
    ("text", "number", "line"),
    [("a: [1\n", 1, 2), ("a: 1\n---\nb: {\n", 2, 4), ("a: 1\n---\n\tb: 1\n", 2, 3), ("a: \x00\n", 1, 1)],
)
def test_no_yaml(text: str, number: int, line: int) -> None:
    last = list(parse(text, "f"))[-1]
    assert (last.number, last.content, [flaw.line for flaw in last.flaws]) == (number, None, [line])
    assert last.flaws[0].message.startswith("is not YAML: ")


def test_values_are_read_as_kubectl_reads_them() -> None:
    content = only('date: 2026-11-01\non: 1\nnumber: 1.5\njson: {"a": [true, null]}\n').content
    assert content == {"date": "2026-11-01", "true": 1, "number": 1.5, "json": {"a": [True, None]}}


def test_folders_are_read_whole(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    for name in ("b.yaml", "a.json", "deep/c.yml", "readme.md"):
        (tmp_path / name).write_text(f'{{"kind": "{name}"}}')
    assert [each.kind for each in read([tmp_path])] == ["a.json", "b.yaml", "deep/c.yml"]


def test_what_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match=r"nowhere\.yaml: cannot be read"):
        list(read([tmp_path / "nowhere.yaml"]))
    (tmp_path / "binary").write_bytes(b"\xff\xfe\xff")
    with pytest.raises(CommandError, match="binary: cannot be read"):
        list(read([tmp_path / "binary"]))
