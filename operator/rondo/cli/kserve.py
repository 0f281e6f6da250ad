"""`rondo import kserve`: files of KServe's manifests in, Rondo's out, with a word on each difference.

The differences stand twice: as a comment above the line that they concern, and as lines on standard error that name the
line of the manifest they come from.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from rondo.api.base import Json
from rondo.cli import manifests
from rondo.cli.errors import CommandError
from rondo.cli.manifests import Manifest
from rondo.core.problems import Problem
from rondo.kserve.findings import Imported, Note
from rondo.kserve.importer import import_all

_WIDTH: Final = 118
"""Of a comment."""


@dataclass(frozen=True)
class Document:
    """A manifest that was written.

    Attributes:
        name: What its file is called.
        text: YAML with comments.
    """

    name: str
    text: str


@dataclass(frozen=True)
class Result:
    """What came of files.

    Attributes:
        documents: Manifests, in the order of the files.
        notes: Differences, a line each.
        errors: What cannot be expressed, a line each.
        remarks: What differs for every object of a kind, a line each.
        read: Manifests of KServe that were read.
        skipped: Documents that are not KServe's.
    """

    documents: tuple[Document, ...]
    notes: tuple[str, ...]
    errors: tuple[str, ...]
    remarks: tuple[str, ...]
    read: int
    skipped: int

    @property
    def summary(self) -> str:
        """The result in one line."""
        skipped = f", {_count(self.skipped, 'document')} of other kinds passed over" if self.skipped else ""
        if not self.read and not self.errors:
            return f"nothing to import: no InferenceGraph and no InferenceService{skipped}"
        found = f"{_count(len(self.notes), 'note')}, {_count(len(self.errors), 'error')}"
        return f"{_count(self.read, 'manifest')} read{skipped}, {len(self.documents)} written: {found}"


def convert(places: Iterable[Path]) -> Result:
    """Translate files.

    Args:
        places: Files, folders, or `-` for standard input.

    Raises:
        CommandError: One cannot be read.
    """
    return translate(list(manifests.read(places)))


def translate(found: Sequence[Manifest]) -> Result:
    """Translate objects."""
    results = import_all([manifest.content for manifest in found])
    documents: list[Document] = []
    notes: list[str] = []
    errors: list[str] = []
    for manifest, result in zip(found, results, strict=True):
        errors += (f"{manifest.file}:{flaw.line}: {manifest.title}: error: {flaw.message}" for flaw in manifest.flaws)
        if result is None:
            continue
        notes += (_line(manifest, "note", each) for each in result.notes)
        errors += (_line(manifest, "error", each) for each in result.problems)
        documents += _documents(manifest, result)
    remarks = dict.fromkeys(
        f"every {manifest.kind}: {remark}"
        for manifest, result in zip(found, results, strict=True)
        for remark in (result.remarks if result else ())
    )
    read = sum(result is not None for result in results)
    skipped = sum(result is None and m.content is not None for m, result in zip(found, results, strict=True))
    return Result(tuple(_unlike(documents)), tuple(notes), tuple(errors), tuple(remarks), read, skipped)


def write(documents: Sequence[Document], folder: Path) -> None:
    """Write manifests as files.

    Raises:
        CommandError: They cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for document in documents:
            (folder / document.name).write_text(document.text, encoding="utf-8")
    except OSError as error:
        raise CommandError(f"{folder}: cannot be written: {error}") from error


def _line(manifest: Manifest, word: str, found: Note | Problem) -> str:
    return f"{manifest.file}:{manifest.line(found.path)}: {manifest.title}: {word}: {found}"


def _documents(manifest: Manifest, result: Imported) -> Iterator[Document]:
    for index, content in enumerate(result.documents):
        notes = [note for note in result.notes if note.document == index]
        problems = result.problems if index == 0 else ()
        head = [f"From {manifest.title} of KServe.", *(f"NOT EXPRESSED: {problem}" for problem in problems)]
        text = _commented(content, notes, head)
        yield Document(_file_name(content), text)


def _file_name(content: Mapping[str, Json]) -> str:
    metadata = content["metadata"]
    namespace = f"{metadata['namespace']}." if "namespace" in metadata else ""
    return f"{namespace}{metadata['name']}.{content['kind'].lower()}.yaml"


def _unlike(documents: Iterable[Document]) -> Iterator[Document]:
    """Give each document a file of its own, should two objects have one name."""
    taken: dict[str, int] = {}
    for document in documents:
        taken[document.name] = number = taken.get(document.name, 0) + 1
        stem = document.name.removesuffix(".yaml")
        yield document if number == 1 else Document(f"{stem}.{number}.yaml", document.text)


# YAML with comments ---------------------------------------------------------------------------------------------------


class _Dumper(yaml.SafeDumper):
    """Writes lists indented and no references."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:  # noqa: ARG002, FBT001, FBT002 - its signature
        super().increase_indent(flow, indentless=False)

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002 - its signature
        return True


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    """Write strings with single quotes in double ones: nearly all are expressions."""
    style = '"' if "'" in value and value[0] in "!'[{" else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)


_Dumper.add_representer(str, _text)


def _commented(content: Mapping[str, Json], notes: Sequence[Note], head: Sequence[str]) -> str:
    """Write an object with a comment above each line that a note concerns."""
    plain = yaml.dump(content, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100_000)
    written = next(iter(manifests.parse(plain, "")))
    lines = plain.splitlines()
    above: dict[int, list[str]] = {}
    for note in notes:
        number = written.line(note.place) - 1 if note.place else 0
        said = above.setdefault(number, [])
        said += [] if str(note) in said else [str(note)]
    made = [line for words in head for line in _comment(words, "")]
    for number, line in enumerate(lines):
        indent = line[: len(line) - len(line.lstrip())]
        made += (each for words in above.get(number, ()) for each in _comment(words, indent))
        made.append(line)
    return "\n".join(made) + "\n"


def _comment(words: str, indent: str) -> list[str]:
    lead = f"{indent}# "
    single = " ".join(words.split())
    return textwrap.wrap(single, _WIDTH, initial_indent=lead, subsequent_indent=f"{lead}  ", break_long_words=False)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
