"""Sets of indexes as Kubernetes writes them in the status of an Indexed Job: `0-17,20`."""

from __future__ import annotations

from collections.abc import Iterable


def parse_intervals(text: str) -> set[int]:
    """Read a set of indexes."""
    found: set[int] = set()
    for part in filter(None, text.split(",")):
        first, _, last = part.partition("-")
        found.update(range(int(first), int(last or first) + 1))
    return found


def format_intervals(indexes: Iterable[int]) -> str:
    """Write a set of indexes, neighbours put together."""
    runs: list[list[int]] = []
    for index in sorted(set(indexes)):
        if runs and index == runs[-1][1] + 1:
            runs[-1][1] = index
        else:
            runs.append([index, index])
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in runs)
