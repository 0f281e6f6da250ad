"""Manifests as people write them: files of YAML or JSON to objects that know their lines.

Read as kubectl reads them: a key that stands twice is refused, and dates stay text.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from rondo.cli.errors import CommandError

SUFFIXES: Final = frozenset({".yaml", ".yml", ".json"})
"""Files that are read of a folder."""

_PART: Final = re.compile(r"\.([^.\[\]]+)|\[([^\]]*)\]")
_KEYS: Final = ("name", "path", "key")
"""Fields by which a path may name an item of a list."""


class _Loader(yaml.SafeLoader):
    """Without dates: in a manifest they are text."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


@dataclass(frozen=True)
class Flaw:
    """What is wrong with a text before it is an object: where in the file, and what."""

    line: int
    message: str


@dataclass(frozen=True)
class Manifest:
    """One object of a file.

    Attributes:
        file: Where it was read.
        number: Which document of the file it is, from 1.
        content: The object, with whatever stands in the file.
        node: The same with its lines.
        flaws: What is wrong with the text.
    """

    file: str
    number: int
    content: Any
    node: yaml.Node | None
    flaws: tuple[Flaw, ...] = ()

    @property
    def kind(self) -> str:
        """Its kind, as written."""
        return str(self.content.get("kind", "")) if isinstance(self.content, dict) else ""

    @property
    def api_version(self) -> str:
        """Its apiVersion, as written."""
        return str(self.content.get("apiVersion", "")) if isinstance(self.content, dict) else ""

    @property
    def title(self) -> str:
        """What to call it: KIND/NAME, or its place in the file where it has no name."""
        metadata = self.content.get("metadata") if isinstance(self.content, dict) else None
        name = metadata.get("name") if isinstance(metadata, dict) else None
        return f"{self.kind}/{name}" if name else f"document {self.number}"

    def line(self, path: str) -> int:
        """Give the line, from 1, of a field path such as `spec.stages[train].needs`, or of the nearest part of it."""
        return 1 if self.node is None else _find(self.node, path).start_mark.line + 1


def read(places: Iterable[Path]) -> Iterator[Manifest]:
    """Read all objects of files; of folders those files that end like manifests; `-` is standard input.

    Raises:
        CommandError: A file cannot be read.
    """
    for place in places:
        for file in _files(place):
            yield from parse(_text(file), str(file))


def parse(text: str, file: str) -> Iterator[Manifest]:
    """Read all objects of a text, those of a List one by one.

    Args:
        text: YAML or JSON.
        file: What to call the text.
    """
    number = 0
    try:
        for node, content in _documents(text):
            number += 1
            flaws = (*_repeated(node), *_misread(node))
            yield from _objects(Manifest(file, number, _with_text_keys(content), node, flaws))
    except yaml.YAMLError as error:
        yield Manifest(file, number + 1, None, None, (_unreadable(error),))


def _documents(text: str) -> Iterator[tuple[yaml.Node | None, Any]]:
    loader = _Loader(text)
    try:
        while loader.check_node():
            node = loader.get_node()
            yield node, loader.construct_document(node)
    finally:
        loader.dispose()


def _unreadable(error: yaml.YAMLError) -> Flaw:
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        return Flaw(error.problem_mark.line + 1, f"is not YAML: {error.problem}")
    return Flaw(1, f"is not YAML: {' '.join(str(error).split())}")


def _files(place: Path) -> list[Path]:
    if not place.is_dir():
        return [place]
    return sorted(file for file in place.rglob("*") if file.suffix in SUFFIXES and file.is_file())


def _text(file: Path) -> str:
    try:
        return sys.stdin.read() if str(file) == "-" else file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise CommandError(f"{file}: cannot be read: {error}") from error


def _objects(manifest: Manifest) -> Iterator[Manifest]:
    items = manifest.content.get("items") if isinstance(manifest.content, dict) else None
    if not manifest.kind.endswith("List") or not isinstance(items, list):
        yield manifest
        return
    for index, item in enumerate(items):
        node = _find(manifest.node, f"items[{index}]") if manifest.node else None
        yield Manifest(manifest.file, manifest.number, item, node, manifest.flaws if index == 0 else ())


def _find(node: yaml.Node, path: str) -> yaml.Node:
    """Find the node of a field path as far as it goes; of a field, its key."""
    where = node
    for key, index in _PART.findall(f".{path}"):
        found = _field(node, key) if key else _item(node, index)
        if found is None:
            return where
        where, node = found
    return where


def _field(node: yaml.Node, name: str) -> tuple[yaml.Node, yaml.Node] | None:
    pairs = node.value if isinstance(node, yaml.MappingNode) else ()
    return next(((key, value) for key, value in pairs if key.value == name), None)


def _item(node: yaml.Node, index: str) -> tuple[yaml.Node, yaml.Node] | None:
    items = node.value if isinstance(node, yaml.SequenceNode) else []
    if index.isdecimal() and int(index) < len(items):
        return items[int(index)], items[int(index)]
    named = (item for item in items for key in _KEYS if (found := _field(item, key)) and found[1].value == index)
    return next(((item, item) for item in named), None)


def _repeated(node: yaml.Node | None, path: str = "") -> Iterator[Flaw]:
    """Find keys that stand twice in a mapping: all but the last would be lost without a word.

    What a merge key (`<<`) brought stands in the mapping by now, and may be put over: it was written elsewhere.
    """
    if isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            yield from _repeated(item, f"{path}[{index}]")
    if isinstance(node, yaml.MappingNode):
        seen: dict[Any, int] = {}
        for key, value in node.value:
            where = f"{path}.{key.value}".removeprefix(".")
            if not node.start_mark.index <= key.start_mark.index < node.end_mark.index:
                continue
            if key.value in seen and key.tag != "tag:yaml.org,2002:merge":
                yield Flaw(key.start_mark.line + 1, f"{where}: stands here again, first in line {seen[key.value]}")
            seen.setdefault(key.value, key.start_mark.line + 1)
            yield from _repeated(value, where)


def _misread(node: yaml.Node | None) -> Iterator[Flaw]:
    """Find keys that YAML 1.1, which kubectl reads, takes for true or false."""
    for part in node.value if isinstance(node, yaml.SequenceNode) else ():
        yield from _misread(part)
    for key, value in node.value if isinstance(node, yaml.MappingNode) else ():
        if key.tag == "tag:yaml.org,2002:bool":
            yield Flaw(key.start_mark.line + 1, f'the key {key.value} is read as true or false: write "{key.value}"')
        yield from _misread(value)


def _with_text_keys(value: Any) -> Any:
    """Write every key as text, as JSON has it: YAML reads `on:` as the key true."""
    if isinstance(value, dict):
        return {_key(key): _with_text_keys(item) for key, item in value.items()}
    return [_with_text_keys(item) for item in value] if isinstance(value, list) else value


def _key(key: Any) -> str:
    return str(key).lower() if isinstance(key, bool) else str(key)
