"""Carries out plans: live reads, one status write, actions, events, and when to look again.

The order is the contract of `rondo.core.plan`. Nothing is decided here: every outcome, good or bad, goes into the
store's memory, and the planner is asked again.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Final, Protocol, TypeAlias, assert_never

from rondo.core import names
from rondo.core.plan import (
    Action,
    Apply,
    Create,
    Delete,
    Evaluate,
    EventDraft,
    EventsAbout,
    EventType,
    Failure,
    GetLive,
    ListLive,
    MergePatch,
    Object,
    Plan,
    Read,
    ReadResult,
    Ref,
    Resource,
    StatusKind,
)
from rondo.core.view import Key
from rondo.kube.client import Client, Selector
from rondo.kube.errors import ApiError
from rondo.runtime.controller import Controller
from rondo.runtime.evaluator import Evaluator
from rondo.runtime.queue import MOMENT, Queue
from rondo.runtime.store import Store
from rondo.runtime.warnings import AGE, WarningReader

ROUNDS: Final = 4
"""Rounds of live reads within one reconcile; a planner that wants more is asked again later."""

PROGRESS_INTERVAL: Final = 1.0
"""Seconds between two writes of an object's status that only tell progress, at least."""

PATIENCE: Final = 60.0
"""What can wait does so for so many times as long as a status write takes at present: the API server is loaded then."""

LONGEST_INTERVAL: Final = 15.0
"""Seconds after which progress is told even then."""

HASTE: Final = 30.0
"""The same for a look: troubles are seen by it and told at once."""

LONGEST_MOMENT: Final = 5.0
"""Seconds after which an object is looked at even then."""

PARALLEL_CREATES: Final = 16

log = logging.getLogger(__name__)


_ApiRead: TypeAlias = GetLive | ListLive


class EventSink(Protocol):
    """Where Events about objects are posted."""

    def post(self, about: Object, draft: EventDraft) -> None:
        """Post an Event, some time; never fails and never waits."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What is to happen with the key after a reconcile.

    Attributes:
        failed: Something failed: come back later and later.
        after: Come back after so many seconds, if nothing happens before.
        again: Come back at once.
        pause: After a failure, seconds that the API server wants to be left alone at least.
        effort: Seconds that planning took, in which nothing else went on.
    """

    failed: bool = False
    after: float | None = None
    again: bool = False
    pause: float = 0.0
    effort: float = 0.0

    @property
    def name(self) -> str:
        """What metrics call it, as controller-runtime does."""
        if self.failed:
            return "error"
        if self.again:
            return "requeue"
        return "success" if self.after is None else "requeue_after"


@dataclass
class Reconciler:
    """Reconciles keys, one at a time each.

    Attributes:
        client: The API server.
        store: What is known.
        queue: Where keys come from and go back to.
        controllers: By kind.
        events: Where Events go.
        clock: Monotonic seconds.
        evaluator: Evaluates expressions that may take long.
        warnings: Reads the Warning Events of namespaces.
        write_seconds: How long a status write takes at present; a moving average.
    """

    client: Client
    store: Store
    queue: Queue[Key]
    controllers: Mapping[Resource, Controller[Any]]
    events: EventSink
    clock: Callable[[], float] = time.monotonic
    write_seconds: float = 0.0
    evaluator: Evaluator = field(init=False)
    warnings: WarningReader = field(init=False)
    _written_at: dict[Key, float] = field(default_factory=dict)
    _pauses: dict[Key, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Have expensive expressions evaluated elsewhere, and warnings read once for all."""
        self.evaluator = Evaluator(self.queue.add)
        self.warnings = WarningReader(self.client, self.clock)

    async def reconcile(self, key: Key) -> Outcome:
        """Look at an object once and do what its plan says.

        Raises:
            Exception: A planner has a bug; the worker logs it and backs off.
        """
        self.store.begin(key)
        plan, effort = await self._plan(key)
        if plan is None:
            self._written_at.pop(key, None)
            self.store.drop(key)
            return Outcome()
        if plan.reads:
            return Outcome(failed=True, effort=effort)
        return replace(await self._carry_out(key, plan), effort=effort)

    async def _plan(self, key: Key) -> tuple[Plan | None, float]:
        """Plan, with as many rounds of live reads as it takes; tell how long the planner took in all."""
        plan, effort = self._look(key)
        for _ in range(ROUNDS):
            if plan is None or not plan.reads:
                break
            results = await asyncio.gather(*(self._read(key, read) for read in plan.reads))
            self.store.remember_reads(key, dict(zip(plan.reads, results, strict=True)))
            plan, more = self._look(key)
            effort += more
        return plan, effort

    def _look(self, key: Key) -> tuple[Plan | None, float]:
        begun = self.clock()
        plan = self.controllers[key.resource].look(self.store, key, self._now())
        return plan, self.clock() - begun

    async def _carry_out(self, key: Key, plan: Plan) -> Outcome:
        me = Ref(key.resource, key.namespace, key.name)
        thing = self.store.get(me)
        if thing is None:
            return Outcome()
        wait = self._wait_to_write(key, plan)
        if plan.status is not None and plan.status != thing.get("status") and wait is None:
            refused = await self._write_status(key, me, thing, plan.status)
            if refused is not None:
                return refused
        elif any(isinstance(action, Create | Delete) for action in plan.actions) and await self._is_old(me, thing):
            return self._look_again(me, thing)
        failed = await self._act_all(key, plan.actions)
        if wait is None:
            for draft in plan.events:
                self.events.post(thing, draft)
        if plan.forget and not failed:
            self._written_at.pop(key, None)
            self.store.forget_children(key, thing["metadata"]["uid"])
        delays = [delay for delay in (plan.requeue_after, wait) if delay is not None]
        return Outcome(failed=failed, after=min(delays, default=None), pause=self._pauses.pop(key, 0.0))

    @property
    def moment(self) -> float:
        """Seconds within which an object is looked at of which only progress is told: longer on a loaded API server."""
        return min(MOMENT + HASTE * self.write_seconds, LONGEST_MOMENT)

    def _now(self) -> datetime:
        """Give the time as the API server's clock shows it: with its times the planners compare."""
        return self.client.clock.now()

    # Status -------------------------------------------------------------------------------------------------

    def _wait_to_write(self, key: Key, plan: Plan) -> float | None:
        """Give the seconds that a write of mere progress still has to wait, None if it may be made."""
        if plan.status is None or plan.status_kind is not StatusKind.PROGRESS:
            return None
        interval = min(PROGRESS_INTERVAL + PATIENCE * self.write_seconds, LONGEST_INTERVAL)
        left = self._written_at.get(key, -interval) + interval - self.clock()
        return left if left > 0 else None

    async def _write_status(self, key: Key, me: Ref, thing: Object, status: Object) -> Outcome | None:
        """Write a status; give the outcome of the reconcile if that was refused, None to go on."""
        begun = self.clock()
        try:
            written = await self.client.replace_status(me, thing, status)
        except ApiError as error:
            return await self._status_refused(key, thing, error)
        self._written_at[key] = self.clock()
        self.write_seconds += (self._written_at[key] - begun - self.write_seconds) / 8
        self.store.remember_success(key, me)
        self._take(me.resource, written, but=key)
        return None

    async def _status_refused(self, key: Key, thing: Object, error: ApiError) -> Outcome:
        """Take in the live object and look again at once if ours was old; remember anything else.

        What would be refused again is told by an Event, since status cannot tell it.
        """
        me = Ref(key.resource, key.namespace, key.name)
        if error.conflict or error.not_found:
            self._take_live(me, await self.client.get(me))
            if (again := self._look_again(me, thing)).again:
                return again
        log.warning("status of %s was refused: %s", me, error, extra={"key": str(key)})
        if self._fail(key, me, error).lasting:
            note = f"its status was refused: {error.message}"
            self.events.post(thing, EventDraft(EventType.WARNING, "StatusRefused", "WriteStatus", note))
        return Outcome(failed=True, pause=self._pauses.pop(key, 0.0))

    def _take_live(self, ref: Ref, live: Object | None) -> None:
        """Take in an object as the API server has it, or that it is gone."""
        known = self.store.get(ref)
        if live is not None:
            self._take(ref.resource, live)
        elif known is not None:
            self._wake(self.store.remove(ref.resource, known, until=sys.maxsize))

    def _look_again(self, ref: Ref, thing: Object) -> Outcome:
        """Look again at once at what was looked at by an old view, or later should there still be no newer one."""
        return Outcome(again=True) if self.store.get(ref) is not thing else Outcome(failed=True)

    async def _is_old(self, me: Ref, thing: Object) -> bool:
        """Tell whether the API server has a newer object than the one that was planned by, and take that in.

        An accepted status write says so as well. Without one nothing would tell a process that sees late, beside
        another that leads by now, that what it is about to create was made, and is gone, already; or that what it is
        about to delete as nobody's was made by the other a moment ago.
        """
        live = await self.client.get(me)
        if live is not None and live["metadata"]["resourceVersion"] == thing["metadata"]["resourceVersion"]:
            return False
        self._take_live(me, live)
        return True

    # Actions ------------------------------------------------------------------------------------------------

    async def _act_all(self, key: Key, actions: Sequence[Action]) -> bool:
        """Carry out actions in order, neighbouring creations together; tell whether any failed."""
        failed = False
        for batch in _batches(actions):
            outcomes = await asyncio.gather(*(self._act(key, action) for action in batch))
            failed = failed or not all(outcomes)
        return failed

    async def _act(self, key: Key, action: Action) -> bool:
        try:
            match action:
                case Create():
                    return await self._create(key, action)
                case Apply():
                    return await self._apply(key, action)
                case MergePatch(ref, uid, body):
                    self._take(ref.resource, await self.client.merge_patch(ref, uid, body))
                case Delete(ref, uid, propagation, grace):
                    await self.client.delete(ref, uid=uid, propagation=propagation, grace=grace)
                case _:
                    assert_never(action)
        except ApiError as error:
            if not error.not_found or not isinstance(action, MergePatch):
                log.info("%s of %s failed: %s", type(action).__name__, action.ref, error, extra={"key": str(key)})
                self._fail(key, action.ref, error)
                return False
        self.store.remember_success(key, action.ref)
        return True

    async def _create(self, key: Key, action: Create) -> bool:
        try:
            made = await self.client.create(action.ref, action.body)
        except ApiError as error:
            if not error.already_exists:
                raise
            return await self._already_there(key, action)
        self._take_child(key, action.ref, made)
        self.store.remember_success(key, action.ref, created=made["metadata"]["uid"])
        return True

    async def _already_there(self, key: Key, action: Create) -> bool:
        """Take an object of that name for ours only if our owner's uid is on it."""
        there = await self.client.get(action.ref)
        if there is None:
            return False
        owner = names.controller_uid(action.body)
        if not action.shared and names.controller_uid(there) != owner:
            self._conflict(key, action.ref)
            return False
        self._take_child(key, action.ref, there)
        self.store.remember_success(key, action.ref, created=there["metadata"]["uid"])
        return True

    async def _apply(self, key: Key, action: Apply) -> bool:
        if action.owned and await self._is_foreign(action):
            self._conflict(key, action.ref)
            return False
        applied = await self.client.apply(action.ref, action.body, manager=action.manager, force=action.force)
        self._take_child(key, action.ref, applied)
        self.store.remember_success(key, action.ref)
        return True

    async def _is_foreign(self, action: Apply) -> bool:
        there = self.store.get(action.ref) or await self.client.get(action.ref)
        return there is not None and not _same_owners(there, action.body)

    def _conflict(self, key: Key, ref: Ref) -> None:
        words = f"{ref} exists and belongs to somebody else; it is left alone"
        self.store.remember_failure(key, ref, Failure(409, "NameConflict", words, self._now()))

    def _fail(self, key: Key, ref: Ref, error: ApiError) -> Failure:
        failure = Failure(error.code, error.reason, error.message, self._now())
        self.store.remember_failure(key, ref, failure)
        self._pauses[key] = max(error.retry_after or 0.0, self._pauses.get(key, 0.0))
        return failure

    # Reads --------------------------------------------------------------------------------------------------

    async def _read(self, key: Key, read: Read) -> ReadResult:
        if isinstance(read, Evaluate):
            return self.evaluator.look(read, key)
        if isinstance(read, EventsAbout):
            return await self.warnings.read(read, age=AGE + PATIENCE * self.write_seconds)
        try:
            return ReadResult(self._now(), await self._read_value(read))
        except ApiError as error:
            return ReadResult(self._now(), None, Failure(error.code, error.reason, error.message, self._now()))

    async def _read_value(self, read: _ApiRead) -> Any:
        match read:
            case GetLive(ref):
                return await self.client.get(ref)
            case ListLive(resource, namespace, labels):
                wanted = ",".join(f"{key}={value}" for key, value in labels)
                return tuple((await self.client.list(Selector(resource, namespace, wanted))).items)
            case _:
                assert_never(read)

    def _take_child(self, key: Key, ref: Ref, thing: Object) -> None:
        """Take in the answer to an action; if it is news its author looks again, even if it is nobody's by a route."""
        before = self.store.get(ref)
        self._take(ref.resource, thing)
        self.store.lend(ref.resource, thing, key)
        if self.store.get(ref) is not before:
            self._wake([key], soon=self.store.is_minor(ref.resource, thing))

    def _take(self, resource: Resource, thing: Object, *, but: Key | None = None) -> None:
        """Take in the answer to a write: planners read their own writes, and all concerned look at it.

        The watch will tell it again, but that is no news then.
        """
        keys = [key for key in self.store.put(resource, thing) if key != but]
        self._wake(keys, soon=bool(keys) and self.store.is_minor(resource, thing))

    def _wake(self, keys: Iterable[Key], *, soon: bool = False) -> None:
        for key in keys:
            if key.resource not in self.controllers:
                continue
            if soon:
                self.queue.add_soon(key, self.moment)
            else:
                self.queue.add(key)


def _same_owners(there: Object, body: Object) -> bool:
    """Tell whether an object is ours: by its controller, or, if what is applied has none, by our label or any owner."""
    if names.controller_uid(body) is not None or names.controller_uid(there) is not None:
        return names.controller_uid(there) == names.controller_uid(body)
    owners = [{owner["uid"] for owner in thing["metadata"].get("ownerReferences", ())} for thing in (there, body)]
    return there["metadata"].get("labels", {}).get(names.MANAGED_BY) == names.MANAGER or bool(owners[0] & owners[1])


def _batches(actions: Iterable[Action]) -> Iterable[list[Action]]:
    """Put neighbouring creations together, as many as may be made at once; everything else stands alone."""
    batch: list[Action] = []
    for action in actions:
        if batch and (not isinstance(action, Create) or len(batch) == PARALLEL_CREATES):
            yield batch
            batch = []
        if isinstance(action, Create):
            batch.append(action)
        else:
            yield [action]
    if batch:
        yield batch
