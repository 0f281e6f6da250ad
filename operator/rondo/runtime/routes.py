"""Routes: for each watched kind, whose work its objects are."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from rondo.core.plan import Object, Resource
from rondo.core.view import Key, View


def _nobody(_: Object) -> Iterable[Key]:
    return ()


def _no_watchers(_: Object, __: View) -> Iterable[Key]:
    return ()


def _never(_: Object) -> bool:
    return False


def _whole(thing: Object) -> Object:
    return thing


@dataclass(frozen=True)
class Route:
    """How objects of one kind are watched, kept and handed on.

    Attributes:
        resource: The kind.
        labels: Label selector of the watch, empty for all objects.
        owners: Keys that an object is filed under and that are looked at when it changes.
        watchers: More keys that are looked at when it changes; may ask the view.
        trim: Keeps of an object what planners read.
        minor: Whether a view of an object tells only progress, so that a look at its owners can wait a moment.
    """

    resource: Resource
    labels: str = ""
    owners: Callable[[Object], Iterable[Key]] = _nobody
    watchers: Callable[[Object, View], Iterable[Key]] = _no_watchers
    trim: Callable[[Object], Object] = _whole
    minor: Callable[[Object], bool] = _never

    @property
    def files(self) -> bool:
        """Whether objects of this kind belong to keys."""
        return self.owners is not _nobody


def itself(thing: Object, resource: Resource) -> Key:
    """Give an object's own key."""
    metadata = thing["metadata"]
    return Key(resource, metadata.get("namespace", ""), metadata["name"])
