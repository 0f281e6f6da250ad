"""An output of every item of a fan-out as one input: a folder with a folder for each item, and an index.

    index.jsonl      {"index": 0, "state": "Succeeded", "results": {"auc": 0.93}, "path": "0/model"}
                     {"index": 1, "state": "Failed"}
    0/model          what item 0 stored

What is on a claim is linked to, since the user's container has the claim mounted at the same path; what is in a bucket
is downloaded. What the items gave stands in records that the operator keeps in ConfigMaps, mounted as files named by
the index.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from rondo.artifacts.config import Config, Gathered, Input
from rondo.artifacts.errors import ArtifactError
from rondo.artifacts.store import open_store

INDEX: Final = "index.jsonl"
"""Lists all items, in order, those that failed too."""

_TOLD: Final = 3
"""Failures that a message names; thousands would tell no more."""


def gather(wanted: Gathered, config: Config) -> None:
    """Provide the output of every item that succeeded, and the index.

    Raises:
        ArtifactError: At least one is missing or not the expected one.
    """
    folder = Path(wanted.path)
    folder.mkdir(parents=True, exist_ok=True)
    failures: list[ArtifactError] = []
    with (folder / INDEX).open("w", encoding="utf-8") as index:
        for number in range(wanted.total):
            record = _record(wanted, number)
            entry: dict[str, Any] = {"index": number, "state": "Succeeded" if record is not None else "Failed"}
            try:
                entry |= _provide(wanted, number, record, config) if record is not None else {}
            except ArtifactError as error:
                failures.append(error)
            index.write(json.dumps(entry, ensure_ascii=False) + "\n")
    if failures:
        more = f" (and {len(failures) - _TOLD} more)" if len(failures) > _TOLD else ""
        raise ArtifactError("; ".join(map(str, failures[:_TOLD])) + more, failures[0].code)


def _record(wanted: Gathered, number: int) -> Mapping[str, Any] | None:
    """Read what an item gave; nothing, if it failed."""
    if wanted.records is None:
        return None
    path = Path(wanted.records) / str(number)
    if not path.exists():
        return None
    found: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def _provide(wanted: Gathered, number: int, record: Mapping[str, Any], config: Config) -> dict[str, Any]:
    stored = record["outputs"][wanted.output]
    relative = f"{number}/{wanted.name}"
    place = Path(wanted.path) / relative
    place.parent.mkdir(exist_ok=True)
    uri: str = stored["uri"]
    what = f"{wanted.what}, item {number},"
    found = open_store(uri, config).provide(Input(uri, what, stored["digest"], str(place)))
    if found != place:
        _link(place, found)
    return {**_results(record), "path": relative}


def _results(record: Mapping[str, Any]) -> dict[str, Any]:
    return {"results": record["results"]} if record.get("results") else {}


def _link(place: Path, target: Path) -> None:
    """Link to what is on a claim; again after a restart of this container."""
    place.unlink(missing_ok=True)
    place.symlink_to(target)
