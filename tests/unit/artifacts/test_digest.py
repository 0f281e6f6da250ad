"""The digest says what an artifact holds, and nothing else."""

from __future__ import annotations

import hashlib
import os
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TypeAlias

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rondo.artifacts.config import Output
from rondo.artifacts.digest import CHUNK, digest_of
from rondo.artifacts.pvc import PvcStore
from rondo.artifacts.tree import Kind, walk

File: TypeAlias = tuple[bytes, bool]
Tree: TypeAlias = dict[str, "Tree | File"]


def is_name(name: bytes) -> bool:
    return b"/" not in name and b"\0" not in name and name not in {b".", b".."}


NAMES = st.binary(min_size=1, max_size=12).filter(is_name).map(os.fsdecode)
FILES = st.tuples(st.binary(max_size=64), st.booleans())
ITEMS = st.recursive(FILES, lambda children: st.dictionaries(NAMES, children, max_size=5), max_leaves=15)
TREES = st.dictionaries(NAMES, ITEMS, max_size=5)


def write_file(path: Path, item: File) -> None:
    content, executable = item
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    path.chmod(0o700 if executable else 0o600)


def write(tree: Tree, folder: Path, *, backwards: bool = False) -> None:
    """Make a tree on disk, in one order or the other."""
    folder.mkdir()
    for name, item in sorted(tree.items(), reverse=backwards):
        if isinstance(item, dict):
            write(item, folder / name, backwards=backwards)
        else:
            write_file(folder / name, item)


def flatten(tree: Tree, prefix: str = "") -> dict[str, File]:
    files: dict[str, File] = {}
    for name, item in tree.items():
        files |= flatten(item, f"{prefix}{name}/") if isinstance(item, dict) else {prefix + name: item}
    return files


def by_definition(files: dict[str, File], kind: str = "Directory") -> str:
    """The digest exactly as the module's documentation words it."""
    text = f"rondo-artifact-v1 {kind}\n".encode()
    for name, (content, executable) in sorted((os.fsencode(name), file) for name, file in files.items()):
        text += name + b"\0%d\0" % len(content) + hashlib.sha256(content).hexdigest().encode()
        text += b"\0x\n" if executable else b"\0-\n"
    return "sha256:" + hashlib.sha256(text).hexdigest()


@given(TREES)
@settings(max_examples=150, deadline=None)
def test_follows_its_definition_in_whatever_order_files_were_written(tree: Tree) -> None:
    with tempfile.TemporaryDirectory() as folder:
        one, other = Path(folder, "one"), Path(folder, "other")
        write(tree, one)
        write(tree, other, backwards=True)
        files = flatten(tree)
        summary = digest_of(one)
        assert summary.digest == by_definition(files)
        assert summary == digest_of(other)
        assert (summary.files, summary.size) == (len(files), sum(len(content) for content, _ in files.values()))


@given(TREES)
@settings(max_examples=100, deadline=None)
def test_stored_tree_is_the_same_tree(tree: Tree) -> None:
    with tempfile.TemporaryDirectory() as folder:
        source, claim = Path(folder, "out"), Path(folder, "claim")
        claim.mkdir()
        write(tree, source)
        summary = PvcStore({"c": str(claim)}).put(Output("model", str(source), "pvc://c/a/model"))
        stored = claim / "a" / "model"
        assert summary == digest_of(source) == digest_of(stored)
        assert {e.name for e in walk(stored)} == {e.name for e in walk(source)}, "empty directories are kept too"
        assert {path.name for path in stored.parent.iterdir()} == {"model", "model.rondo.json"}


@given(TREES.map(flatten).filter(bool), st.data())
@settings(max_examples=100, deadline=None)
def test_differs_after_any_change(files: dict[str, File], data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(sorted(files)), label="changed file")
    content, executable = files[name]
    others = {other: item for other, item in files.items() if other != name}
    changes: dict[str, dict[str, File]] = {
        "content": {**others, name: (content + b"\n", executable)},
        "executable": {**others, name: (content, not executable)},
        "renamed": {**others, f"{name}~~~~~~~~~~~~~": (content, executable)},  # Longer than any drawn name.
        "removed": others,
    }
    digests = []
    for version in (files, changes[data.draw(st.sampled_from(sorted(changes)), label="change")]):
        with tempfile.TemporaryDirectory() as folder:
            for path, item in version.items():
                write_file(Path(folder, path), item)
            digests.append(digest_of(Path(folder)).digest)
    assert digests[0] != digests[1]


@pytest.mark.parametrize("size", [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK + 7])
def test_reads_files_of_any_size(tmp_path: Path, size: int) -> None:
    content = os.urandom(size)
    (tmp_path / "weights").write_bytes(content)
    summary = digest_of(tmp_path / "weights")
    assert summary.kind is Kind.FILE
    assert summary.size == size
    assert summary.digest == by_definition({"": (content, False)}, kind="File")


def test_name_owner_and_times_of_a_file_do_not_count(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("x")
    (tmp_path / "b").write_text("x")
    os.utime(tmp_path / "b", (1, 1))
    (tmp_path / "b").chmod(0o606)
    assert digest_of(tmp_path / "a") == digest_of(tmp_path / "b")


def test_a_file_is_not_a_directory_that_holds_it(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "f").write_text("x")
    inside, alone = digest_of(tmp_path / "d"), digest_of(tmp_path / "d" / "f")
    assert replace(inside, kind=Kind.FILE, digest="") == replace(alone, digest="")
    assert inside.digest != alone.digest


def test_known_value_stays_as_it_is(tmp_path: Path) -> None:
    """Digests are stored: a change of the definition is a new version of it."""
    (tmp_path / "m" / "sub").mkdir(parents=True)
    (tmp_path / "m" / "sub" / "b").write_bytes(b"two")
    (tmp_path / "m" / "sub-a").write_bytes(b"one")
    (tmp_path / "m" / "sub-a").chmod(0o755)
    assert digest_of(tmp_path / "m").digest == "sha256:3c28f1fcb939b92d4b4db601bbcd98a3a91e4d5ea6aa5548a683a5565ffe7fcf"
