"""What a planner returns: the contract between the pure decisions of `core` and the effects of `runtime`.

A reconcile is observe -> plan -> apply. A planner sees a frozen snapshot and a clock reading and answers with a Plan;
`runtime.reconciler` carries it out in this order: live reads (then it plans again), one status write, the actions,
the events. A planner is called again after every step that may have changed its snapshot, so it has to be idempotent:
the same snapshot gives the same plan, and a plan that was carried out gives an empty one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Final, TypeAlias

Object: TypeAlias = Mapping[str, Any]
"""A Kubernetes object as decoded JSON. Never changed in place: it may be shared with the store."""


@dataclass(frozen=True, slots=True)
class Resource:
    """A kind of the API, with what is needed to build its URLs.

    Attributes:
        group: API group, empty for the core group.
        version: Version within the group, such as `v1`.
        kind: CamelCase kind.
        plural: Plural name in URLs.
        namespaced: Whether its objects live in namespaces.
    """

    group: str
    version: str
    kind: str
    plural: str
    namespaced: bool = True

    @property
    def api_version(self) -> str:
        """`apiVersion` of the kind's objects, such as `batch/v1`, or `v1` for the core group."""
        return f"{self.group}/{self.version}" if self.group else self.version


@dataclass(frozen=True, slots=True)
class Ref:
    """Names one object. `namespace` is empty for cluster-scoped kinds."""

    resource: Resource
    namespace: str
    name: str

    def __str__(self) -> str:
        """Give what a person would type: `Job ns/name`."""
        where = f"{self.namespace}/{self.name}" if self.namespace else self.name
        return f"{self.resource.kind} {where}"


# Live reads ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class GetLive:
    """Read one object past the store. Result: the object, or None if the API server says NotFound."""

    ref: Ref


@dataclass(frozen=True, slots=True)
class ListLive:
    """List objects of a namespace by label past the store. Result: a tuple of objects."""

    resource: Resource
    namespace: str
    labels: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class EventsAbout:
    """Find the core/v1 Events of type Warning about one object. Result: a tuple of Events, oldest first."""

    namespace: str
    uid: str


@dataclass(frozen=True, slots=True)
class Evaluate:
    """Evaluate a CEL expression that may take long, outside of this process. Result: its value.

    It takes its time: until then the result is a Failure with reason `PENDING`, and the key is looked at again when it
    is there. An expression that has no value is a Failure with reason `ExpressionError`.

    Attributes:
        text: The expression.
        variables: Its variables as one JSON object.
    """

    text: str
    variables: str


PENDING: Final = "Pending"

Read: TypeAlias = GetLive | ListLive | EventsAbout | Evaluate


@dataclass(frozen=True, slots=True)
class ReadResult:
    """What a live read gave, and when.

    Attributes:
        at: When it was read, timezone-aware UTC.
        value: An object, None, or a tuple of objects, as the Read says.
        error: Why it could not be read, if so; then `value` is None.
    """

    at: datetime
    value: Any = None
    error: Failure | None = None


# Actions -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Create:
    """POST an object once. If the name is taken it counts as done only if our controller owner's uid is on it.

    Otherwise the outcome is a Failure with reason `NameConflict`, and the foreign object is left alone.

    Attributes:
        ref: The object.
        body: All of it.
        shared: The object belongs to nobody in particular: any that has the name counts as done.
    """

    ref: Ref
    body: Object
    shared: bool = False


@dataclass(frozen=True, slots=True)
class Apply:
    """Server-side apply of an object's fields under a field manager.

    Attributes:
        ref: The object.
        body: The fields to own.
        manager: Field manager, such as `rondo` or `rondo-deploy.fraud`.
        force: Take fields over from other managers. Without it a conflict is a Failure with reason `Conflict`.
        owned: Do nothing to an existing object whose controller owner is not the one in `body` (`NameConflict`). Where
            neither has one, it is ours by our label, or by any owner that both have.
    """

    ref: Ref
    body: Object
    manager: str
    force: bool = False
    owned: bool = True


@dataclass(frozen=True, slots=True)
class MergePatch:
    """JSON merge patch of an object with this uid; for what a creator may change later (labels, suspend)."""

    ref: Ref
    uid: str
    body: Object


@dataclass(frozen=True, slots=True)
class Delete:
    """Delete an object if it still has this uid. An object that is gone already counts as done.

    Attributes:
        propagation: `Background`, `Foreground` or `Orphan`.
        grace: Grace period in seconds; None leaves the object's own.
    """

    ref: Ref
    uid: str
    propagation: str = "Background"
    grace: int | None = None


Action: TypeAlias = Create | Apply | MergePatch | Delete


_TOO_LARGE: Final = "request is too large"
"""So etcd says that an object is larger than 1.5 MiB; the API server answers 500 then."""


@dataclass(frozen=True, slots=True)
class Failure:
    """Why an action or a read did not succeed, as the API server said it.

    Attributes:
        code: HTTP status, 0 if no answer came.
        reason: Reason of the API's Status object (`Forbidden`, `Invalid`…), `NameConflict`, or `Unreachable`.
        message: The API server's message, bounded to 1,024 characters.
        at: When it was first seen in this series of equal failures, timezone-aware UTC.
        count: How often in a row.
    """

    code: int
    reason: str
    message: str
    at: datetime
    count: int = 1

    @property
    def lasting(self) -> bool:
        """Whether the object itself is at fault: it is invalid or too large, and would be refused again."""
        return self.code in {400, 413, 422} or _TOO_LARGE in self.message


class EventType(StrEnum):
    """The two types of a Kubernetes Event."""

    NORMAL = "Normal"
    WARNING = "Warning"


@dataclass(frozen=True, slots=True)
class EventDraft:
    """An Event to post about the reconciled object after the status write succeeded.

    Attributes:
        reason: CamelCase, as in conditions.
        action: What the operator did, CamelCase (events.k8s.io `action`).
        note: Human-readable, bounded to 1,024 characters.
        related: Another object that it is about.
    """

    type: EventType
    reason: str
    action: str
    note: str
    related: Ref | None = None


class StatusKind(StrEnum):
    """How a status write is treated."""

    NONE = "None"  # nothing changed
    PROGRESS = "Progress"  # only words and counters changed: at most one write a second and object
    FACTS = "Facts"  # a fact that later steps depend on: written at once, before the actions


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that one reconcile wants done.

    Attributes:
        reads: Live reads needed before deciding. If any is missing from the snapshot, only they are carried out, and
            the planner is asked again with their results.
        status: The whole new status, or None to leave it.
        status_kind: Whether the write may wait. With `FACTS` the actions are carried out only after it was accepted.
        actions: In order. A failed one does not stop the others; all failures are in the next snapshot.
        events: After the status write, only if it was accepted.
        requeue_after: Look again after so many seconds, even if nothing happens.
        forget: The object needs no further work and its children need not be kept in the store.
    """

    reads: tuple[Read, ...] = ()
    status: Object | None = None
    status_kind: StatusKind = StatusKind.NONE
    actions: tuple[Action, ...] = ()
    events: tuple[EventDraft, ...] = ()
    requeue_after: float | None = None
    forget: bool = False


@dataclass(frozen=True, slots=True)
class Memory:
    """What the runtime remembers about one key between reconciles of this process; empty after a restart.

    Attributes:
        failures: The last outcome of each action that failed and has not succeeded since, by its Ref. A status write
            that failed stands under the object's own Ref.
        reads: Results of the live reads that this reconcile has made so far; never older than its start, but for
            EventsAbout, which may be some seconds old (`at` says when).
        created: The uid that each successful Create of this process gave, by its Ref: a child that was created and is
            no longer there was deleted, and must not be created again.
        first_seen: True at the first reconcile of this key in this process.
    """

    failures: Mapping[Ref, Failure] = field(default_factory=dict)
    reads: Mapping[Read, ReadResult] = field(default_factory=dict)
    created: Mapping[Ref, str] = field(default_factory=dict)
    first_seen: bool = False
