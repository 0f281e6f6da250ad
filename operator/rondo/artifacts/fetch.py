"""`fetch` and `verify`: see that what a container reads is there, before the container starts.

A claim is mounted into the container, so there is nothing to copy; what is in a bucket is downloaded. All inputs are
looked at before anything is said, so that one message names everything that is wrong.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Final

from rondo.artifacts import lines
from rondo.artifacts.config import Config, Input, Item
from rondo.artifacts.errors import ArtifactError, ExitCode
from rondo.artifacts.gather import gather
from rondo.artifacts.store import open_store
from rondo.intervals import parse_intervals

INDEX: Final = "RONDO_INDEX"
"""Environment variable with the pod's place among the items of its Job, from 0."""


def provide_inputs(config: Config, environment: Mapping[str, str] = os.environ) -> None:
    """Provide every input, and the item of this pod if it has one.

    Raises:
        ArtifactError: At least one is missing or not the expected one; its code is that of the first.
    """
    steps: list[Callable[[], None]] = [partial(_provide, wanted, config) for wanted in config.inputs]
    steps += [partial(gather, wanted, config) for wanted in config.gathered]
    if config.item is not None:
        steps.append(partial(_pick, config.item, config, environment))
    failures: list[ArtifactError] = []
    for step in steps:
        try:
            step()
        except ArtifactError as error:
            failures.append(error)
    if failures:
        raise ArtifactError("; ".join(map(str, failures)), failures[0].code)


def _provide(wanted: Input, config: Config) -> None:
    open_store(wanted.uri, config).provide(wanted)


def _pick(item: Item, config: Config, environment: Mapping[str, str]) -> None:
    """Write the line of the file that is this pod's item."""
    target = Path(item.path)
    copy = target.with_name("items.jsonl")
    file = open_store(item.uri, config).provide(Input(item.uri, "items", item.digest, str(copy)))
    target.write_bytes(lines.pick(file, _index_of(item, environment), "items"))
    copy.unlink(missing_ok=True)


def _index_of(item: Item, environment: Mapping[str, str]) -> int:
    place = environment.get(INDEX, "")
    indexes = sorted(parse_intervals(item.indexes))
    if not place.isdigit() or int(place) >= len(indexes):
        raise ArtifactError(f"{INDEX} is {place!r}; this Job has {len(indexes)} items", ExitCode.CONFIG)
    return indexes[int(place)]
