"""Directed acyclic graphs by name: order, cycles, and what comes before what."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from graphlib import CycleError, TopologicalSorter


@dataclass(frozen=True)
class Graph:
    """Nodes and what each needs directly.

    Attributes:
        needs: For each node the nodes that come before it; all of them are nodes themselves.
    """

    needs: Mapping[str, frozenset[str]]

    @cached_property
    def order(self) -> tuple[str, ...]:
        """All nodes, each after what it needs; nodes that are free of order stand as they were given.

        Raises:
            graphlib.CycleError: There is a cycle; `args[1]` lists its nodes, the first again at the end.
        """
        position = {name: index for index, name in enumerate(self.needs)}
        sorter = TopologicalSorter(self.needs)
        sorter.prepare()
        order: list[str] = []
        while sorter.is_active():
            batch = sorted(sorter.get_ready(), key=position.__getitem__)
            order.extend(batch)
            sorter.done(*batch)
        return tuple(order)

    @cached_property
    def ancestors(self) -> Mapping[str, frozenset[str]]:
        """For each node all nodes that come before it through any chain. The graph has to be acyclic."""
        found: dict[str, frozenset[str]] = {}
        for name in self.order:
            direct = self.needs[name]
            found[name] = direct.union(*(found[need] for need in direct))
        return found

    @cached_property
    def cycle(self) -> tuple[str, ...]:
        """One cycle, its first node again at the end; empty if there is none."""
        try:
            _ = self.order
        except CycleError as error:
            return tuple(reversed(error.args[1]))
        return ()


def nearest(name: str, known: Iterable[str]) -> str:
    """Give ` (did you mean X?)` for the known name most like `name`, or nothing where none is like it."""
    found = difflib.get_close_matches(name, list(known), n=1)
    return f" (did you mean {found[0]}?)" if found else ""
