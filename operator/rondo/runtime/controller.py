"""A controller: for one kind, how it is looked at and how it is planned."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Generic, TypeVar

from rondo.core.plan import Plan, Resource
from rondo.core.view import Key, View

S = TypeVar("S")


@dataclass(frozen=True)
class Controller(Generic[S]):
    """One kind's planner.

    Attributes:
        resource: The kind whose objects it works on.
        observe: Makes the snapshot, or None if the object is not there.
        plan: Decides, purely, what has to be done.
    """

    resource: Resource
    observe: Callable[[View, Key], S | None]
    plan: Callable[[S, datetime], Plan]

    def look(self, view: View, key: Key, now: datetime) -> Plan | None:
        """Observe and plan; None if the object is not there."""
        snapshot = self.observe(view, key)
        return None if snapshot is None else self.plan(snapshot, now)
