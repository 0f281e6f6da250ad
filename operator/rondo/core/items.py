"""The items of a fan-out: from the list, matrix or reference of `forEach` to the values."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from rondo.api.base import Json
from rondo.api.pipeline import MAX_ITEMS, ForEach, Stage
from rondo.api.pipelinerun import PerItem
from rondo.core.pipeline.wiring import references_of
from rondo.core.references import Lookup, Path, UnresolvedError, replace, text_of, whole

MAX_JOBS: Final = 1000
"""Items that can have a Job each; more have to be indexes of one Job."""


class ItemsError(Exception):
    """There is no list of items; the message says why and what would be right."""


@dataclass(frozen=True, slots=True)
class Item:
    """One item.

    Attributes:
        index: Its place in the list, from 0.
        value: Any JSON value.
    """

    index: int
    value: Json

    def lookup(self, others: Lookup) -> Lookup:
        """Give a lookup that knows `$(item.…)` besides the others."""

        def look(path: Path) -> Json:
            if path[0] != "item":
                return others(path)
            fields = self.value if isinstance(self.value, dict) else {"value": self.value}
            value: Json = {"index": self.index, **fields}
            for part in path[1:]:
                if not isinstance(value, dict) or part not in value:
                    known = ", ".join(["index", *fields])
                    raise UnresolvedError(path, f"item {self.index} has no {part}; it has {known}")
                value = value[part]
            return value

        return look

    def __str__(self) -> str:
        """Give the value as JSON."""
        return text_of(self.value)


def expand(for_each: ForEach, lookup: Lookup) -> list[Json]:
    """Give the values of all items.

    Raises:
        UnresolvedError: A reference has no value.
        ItemsError: What is referred to is no list, or there are too many.
    """
    if for_each.matrix is not None:
        return _combine(for_each.matrix, for_each.exclude, lookup)
    file = file_of(for_each)
    if file is not None:
        return _lines_of(file, lookup)
    source = for_each.items if for_each.items is not None else for_each.items_from
    return _as_list(replace(source, lookup), "forEach.itemsFrom")


def file_of(for_each: ForEach) -> Path | None:
    """Give the path of the output whose JSON lines are the items, or None if they are known by value."""
    path = whole(for_each.items_from or "")
    return path if path is not None and path[0] == "stages" and path[2:3] == ("outputs",) else None


def _lines_of(file: Path, lookup: Lookup) -> list[Json]:
    """Give what is known of the lines of a file that only the pods read: their numbers, from 1."""
    lines = lookup((*file, "lines"))
    if not isinstance(lines, int):
        raise ItemsError(f"forEach.itemsFrom: nobody has counted the lines of $({'.'.join(file)})")
    return [{"line": number} for number in range(1, lines + 1)]


def mode_of(stage: Stage) -> PerItem:
    """Tell whether each item has a Job: where the template differs by item, one Job cannot stand for all."""
    by_item = any(found.path[0] == "item" for found in references_of(stage))
    return PerItem.JOB if by_item else PerItem.INDEX


def check_count(items: Sequence[Json], mode: PerItem) -> None:
    """Check that there are not too many items.

    Raises:
        ItemsError: There are.
    """
    if mode is PerItem.JOB and len(items) > MAX_JOBS:
        words = f"{len(items)} items, and {MAX_JOBS} can have a Job each: read the item from the file $RONDO_ITEM"
        raise ItemsError(f"forEach: {words} instead of $(item…), and up to {MAX_ITEMS} become one Job")
    if len(items) > MAX_ITEMS:
        raise ItemsError(f"forEach: {len(items)} items; {MAX_ITEMS} are allowed")


def allowed_failures(for_each: ForEach, total: int) -> int:
    """Give how many items may fail.

    Raises:
        ItemsError: `maxFailed` is neither a number nor a share.
    """
    text = str(for_each.max_failed)
    number = text.removesuffix("%")
    if not number.isdigit():
        raise ItemsError(f"forEach.maxFailed: {text!r} is neither a number such as 3 nor a share such as 5%")
    return total * int(number) // 100 if text.endswith("%") else int(number)


def _combine(matrix: Mapping[str, Json], exclude: Sequence[Mapping[str, Json]], lookup: Lookup) -> list[Json]:
    """Give every combination but the excluded, the last name changing fastest."""
    axes = {name: _as_list(replace(values, lookup), f"forEach.matrix.{name}") for name, values in matrix.items()}
    size = 1
    for values in axes.values():
        size *= len(values)
    if size > MAX_ITEMS:
        raise ItemsError(f"forEach.matrix: {size} combinations; {MAX_ITEMS} are allowed")
    left_out = [replace(dict(each), lookup) for each in exclude]
    combinations = (dict(zip(axes, values, strict=True)) for values in itertools.product(*axes.values()))
    return [item for item in combinations if not any(_agrees(item, each) for each in left_out)]


def _agrees(item: Mapping[str, Json], pattern: Mapping[str, Json]) -> bool:
    return all(key in item and item[key] == value for key, value in pattern.items())


def _as_list(value: Json, where: str) -> list[Json]:
    if not isinstance(value, list):
        raise ItemsError(f"{where}: {text_of(value)[:100]} is not a list")
    return value
