"""Names of the parts that the plan of a router has of a graph; no graph can have a name with a dot of its own."""

from __future__ import annotations

from typing import Final

OLD: Final = "old"
NEW: Final = "new"


def names_of(graph: str) -> tuple[str, str, str]:
    """Give the names of all parts that a graph may have."""
    return graph, f"{graph}.{OLD}", f"{graph}.{NEW}"


def graph_of(part: str) -> str:
    """Give the graph to which a part belongs."""
    return part.partition(".")[0]
