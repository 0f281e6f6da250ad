"""Job stages: one attempt after another until one succeeds or the policy says enough.

The order that makes this safe: the intent of an attempt (its number and the name of its Job) is written to status
first, the Job is created after that was accepted, and creating it again is harmless because the name is the attempt's
own. A Job that this run is known to have had and that is gone ends the attempt as Deleted; it is never made again under
its name.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final, assert_never

from rondo.api.pipeline import Job, Retry
from rondo.api.pipelinerun import Attempt, PerItem, StageState, StageStatus
from rondo.core import artifacts, causes, names
from rondo.core.artifacts import ArtifactStore, Place, parse_uri
from rondo.core.causes import DISRUPTIONS, Cause, Reason
from rondo.core.conditions import shorten, timestamp
from rondo.core.durations import format_duration, parse_duration, parse_time
from rondo.core.items import ItemsError, allowed_failures, expand, file_of
from rondo.core.plan import (
    Action,
    Create,
    EventDraft,
    EventsAbout,
    EventType,
    Failure,
    GetLive,
    ListLive,
    Object,
    Ref,
)
from rondo.core.references import UnresolvedError, whole
from rondo.core.render.container import resolve
from rondo.core.render.context import AttemptContext, Gathering, Indexed, Lines
from rondo.core.render.job import build_items, build_job, workspace_claim
from rondo.core.render.memory import raise_memory
from rondo.core.resources import CONFIG_MAP, JOB, PERSISTENT_VOLUME_CLAIM, POD
from rondo.core.run.attempt import Done, Ended, Held, Runs, current_pod, is_over, judge, says_how_it_ended
from rondo.core.run.retry import Again, GiveUp, decide, policy_of
from rondo.core.run.snapshot import StageView
from rondo.core.run.step import WORDS_LIMIT, Step, end, update
from rondo.intervals import parse_intervals

KEPT_ATTEMPTS: Final = 5
"""So many ended attempts stand in status; the counts tell of the others."""

ANY_UID: Final = "any"
"""Stands for the uid of a Job that was seen, where status has no room for it."""

QUIET: Final = timedelta(seconds=3)
"""A pod that has not come or not started for so long has a reason that only Events tell."""


def plan_job(view: StageView, job: Job, now: datetime) -> Step:
    """Plan a job stage whose needs are met and that has not ended."""
    if view.status.attempt == 0:
        return _begin(view, job, now, number=1)
    if view.status.retry_time is not None:
        return _await_retry(view, job, now)
    found = find_job(view)
    match found:
        case GetLive():
            return Step(view.status, reads=(found,))
        case Cause():
            return end_attempt(view, found, now)
        case None:
            return _create(view, job, now)
        case _:
            return _follow(view, found, now)


def _begin(view: StageView, job: Job, now: datetime, *, number: int) -> Step:
    """Write down the intent of an attempt and create its Job after that."""
    try:
        context = _context(view, number)
        body = build_job(context, job)
        items = _items(view, context)
    except (UnresolvedError, ItemsError, ValueError) as error:
        return Step(end(view.status, StageState.FAILED, Reason.CONFIG_ERROR.value, str(error), at=now))
    status = update(
        view.status,
        state=StageState.WAITING,
        reason=Reason.STARTING.value,
        message="",
        start_time=view.status.start_time or timestamp(now),
        attempt=number,
        job=context.job_name,
        job_uid=None,
        retry_time=None,
    )
    ref = Ref(JOB, view.snapshot.namespace, context.job_name)
    return Step(status, actions=(*_claims(view), *items, Create(ref, body)))


def _items(view: StageView, context: AttemptContext) -> tuple[Create, ...]:
    """Give what creates the ConfigMap with the items of an indexed Job."""
    fan, for_each = view.status.fan_out, view.wiring.stages[view.name].for_each
    if context.indexed is None or not isinstance(context.indexed.items, str) or fan is None or for_each is None:
        return ()
    values = expand(for_each, view.values.lookup)
    mine = [values[index] for index in sorted(parse_intervals(fan.indexes))]
    body = build_items(context, context.indexed.items, mine)
    return (Create(Ref(CONFIG_MAP, view.snapshot.namespace, context.indexed.items), body),)


def _indexed(view: StageView, number: int) -> Indexed | None:
    """Give what one Job for all items needs to know, if the stage has one."""
    fan, for_each = view.status.fan_out, view.wiring.stages[view.name].for_each
    if fan is None or for_each is None or fan.per_item is not PerItem.INDEX:
        return None
    count = len(parse_intervals(fan.indexes))
    file = file_of(for_each)
    if file is None:
        items: str | Lines = names.child_name(view.snapshot.name, view.name, view.snapshot.uid, "items", number)
    else:
        stored = view.values.stages[file[1]].outputs[file[3]]
        items = Lines(parse_uri(stored.uri), stored.digest, fan.indexes)
    may_fail = max(allowed_failures(for_each, fan.total) - fan.failed, 0)
    return Indexed(count, items, for_each.parallelism or count, min(may_fail, count))


def _gathered(view: StageView) -> dict[str, Gathering]:
    """Give the inputs that are outputs of all items of a fan-out, by the input's path."""
    found = {}
    for wanted in view.wiring.stages[view.name].inputs:
        path = whole(wanted.from_) or ()
        match path:
            case ("stages", name, "outputs", key) if view.wiring.stages[name].for_each is not None:
                fan = view.values.stages[name].fan_out
                if fan is None:
                    raise UnresolvedError(path, f"stage {name} has no items")
                output = next(each for each in view.wiring.stages[name].outputs if each.name == key)
                place = output.path.rstrip("/").rpartition("/")[2]
                found[wanted.path] = Gathering(key, place, fan.total, fan.stored, fan.stored_in)
    return found


def _create(view: StageView, job: Job, now: datetime) -> Step:
    """Create the Job of an attempt whose intent is written; say why, if that has failed before."""
    failure = view.snapshot.memory.failures.get(_job_ref(view))
    if failure is not None and failure.reason == Reason.NAME_CONFLICT:
        return end_attempt(view, Cause(Reason.NAME_CONFLICT, failure.message), now)
    if failure is not None and failure.lasting:
        return end_attempt(view, Cause(Reason.INVALID_OBJECT, f"{_job_ref(view)} was refused: {failure.message}"), now)
    step = _begin(view, job, now, number=view.status.attempt)
    if failure is None or step.status.state.terminal:
        return step
    cause = _refused(failure)
    status = update(view.status, state=StageState.WAITING, reason=cause.reason.value, message=cause.message)
    return Step(status, actions=step.actions)


def find_job(view: StageView) -> Object | GetLive | Cause | None:
    """Find the attempt's Job: the object, a read that must come first, why it is lost, or None if it is to be made."""
    ref = _job_ref(view)
    job = view.snapshot.jobs.get(ref.name)
    known_uid = view.status.job_uid or view.snapshot.memory.created.get(ref)
    if job is None and known_uid is not None:
        live = view.snapshot.memory.reads.get(GetLive(ref))
        if live is None or live.error is not None:
            return GetLive(ref)
        job = live.value
    if job is None:
        return None if known_uid is None else Cause(Reason.DELETED, f"Job {ref.name} was deleted")
    if names.controller_uid(job) != view.snapshot.uid:
        return Cause(Reason.NAME_CONFLICT, f"{ref} exists and belongs to somebody else; delete it or rename the run")
    if known_uid not in {None, ANY_UID, job["metadata"]["uid"]}:
        return Cause(Reason.DELETED, f"Job {ref.name} was deleted and made again by somebody else")
    return job


def _follow(view: StageView, job: Object, now: datetime) -> Step:
    """Go by what the Job and its pods say."""
    stage = view.wiring.stages[view.name]
    view_uid = update(view.status, job_uid=job["metadata"]["uid"])
    seen = replace(view, status=view_uid)
    pods = _pods_of(view, job)
    if isinstance(pods, ListLive):
        return Step(view.status, reads=(pods,))
    place = place_of(view).uri if stage.outputs else ""
    verdict = judge(stage, job, pods, place, told=view.status.reason)
    match verdict:
        case Done():
            done = end(
                seen.status, StageState.SUCCEEDED, "Succeeded", "", at=now,
                results=dict(verdict.results), outputs=dict(verdict.outputs),
            )  # fmt: skip
            return Step(done)
        case Runs():
            message = f"{_which_attempt(seen)}{verdict.message}"
            return Step(update(seen.status, state=StageState.RUNNING, reason=verdict.reason, message=message))
        case Ended():
            return end_attempt(seen, verdict.cause, now)
        case Held():
            return hold_job(seen, job, verdict, now)
        case _:
            assert_never(verdict)


def _pods_of(view: StageView, job: Object) -> Sequence[Object] | ListLive:
    """Give the pods of a Job, or the read that must come first.

    Jobs and pods have watches of their own, and a Job may be seen to end before its pod is. What a pod says is lost
    only if a live look does not find it either.
    """
    known = view.snapshot.pods_of(job)
    stage = view.wiring.stages[view.name]
    if not is_over(job) or says_how_it_ended(stage, job, current_pod(job, known)):
        return known
    read = _list_pods(view)
    result = view.snapshot.memory.reads.get(read)
    return read if result is None or result.error is not None else result.value or ()


def _list_pods(view: StageView) -> ListLive:
    """Give the read of all pods of a stage, or of one item of it."""
    item = () if view.item is None else ((names.ITEM, str(view.item.index)),)
    labels = ((names.RUN_UID, view.snapshot.uid), (names.STAGE, view.name), *item)
    return ListLive(POD, view.snapshot.namespace, labels)


def hold_job(view: StageView, job: Object, held: Held, now: datetime) -> Step:
    """Say why an attempt does not run yet, and end it where waiting is of no use or has taken too long."""
    begun = parse_time(job["metadata"]["creationTimestamp"])
    waited = now - begun
    cause, read = _ask_events(view, job, held, quiet=waited >= QUIET)
    if read is not None:
        return Step(view.status, reads=(read,))
    if held.stuck or _too_long(view, cause, waited):
        return end_attempt(view, _overdue(cause), now)
    message = f"{_which_attempt(view)}{cause.message}"
    status = update(view.status, state=StageState.WAITING, reason=cause.reason.value, message=message)
    return Step(status, look_again=_next_look(view, waited))


def _ask_events(view: StageView, job: Object, held: Held, *, quiet: bool) -> tuple[Cause, EventsAbout | None]:
    """Find the cause in Events where the objects themselves do not tell."""
    if held.cause.reason is not Reason.STARTING or not quiet:
        return held.cause, None
    about = held.pod if held.pod is not None else job
    read = EventsAbout(view.snapshot.namespace, about["metadata"]["uid"])
    result = view.snapshot.memory.reads.get(read)
    if result is None:
        return held.cause, read
    events: tuple[Object, ...] = result.value or ()
    told = causes.from_events(held.pod, events) if held.pod is not None else causes.creation_failure(events)
    return told or held.cause, None


def _overdue(cause: Cause) -> Cause:
    """Name what took too long; where nothing is known but that it has not started, the limit itself is the reason."""
    if cause.reason is not Reason.STARTING:
        return cause
    return Cause(Reason.PENDING_TIMEOUT, f"not started within pendingTimeout: {cause.message}")


def _too_long(view: StageView, cause: Cause, waited: timedelta) -> bool:
    stage = view.wiring.stages[view.name]
    limit = stage.pending_timeout or view.wiring.spec.defaults.pending_timeout
    if limit is None or cause.reason is Reason.SUSPENDED:
        return False
    return waited > parse_duration(limit)


def _next_look(view: StageView, waited: timedelta) -> float:
    """Look again soon at first, then less and less often; what matters most comes by watch anyway."""
    stage = view.wiring.stages[view.name]
    limit = stage.pending_timeout or view.wiring.spec.defaults.pending_timeout
    pause = min(max(QUIET.total_seconds() - waited.total_seconds() + 0.1, waited.total_seconds() / 4, 1.0), 60.0)
    if limit is None:
        return pause
    left = (parse_duration(limit) - waited).total_seconds()
    return min(pause, max(left, 0.0) + 0.1)


def end_attempt(view: StageView, cause: Cause, now: datetime) -> Step:
    """Write down how an attempt ended, and either when the next is due or that the stage has failed."""
    disrupted = cause.reason in DISRUPTIONS
    status = update(
        view.status,
        failures=view.status.failures + (not disrupted),
        disruptions=view.status.disruptions + disrupted,
        oom_kills=view.status.oom_kills + (cause.reason is Reason.OOM_KILLED),
        attempts=[*view.status.attempts, _attempt(view.status, cause, now)][-KEPT_ATTEMPTS:],
    )
    policy = policy_of(view.wiring.stages[view.name], view.wiring.spec)
    decision = decide(
        policy, cause,
        failures=status.failures, disruptions=status.disruptions, at_most_memory=_at_most_memory(view, policy),
    )  # fmt: skip
    event = EventDraft(EventType.WARNING, cause.reason.value, "RunStage", f"stage {view.name}: {cause.message}")
    match decision:
        case GiveUp(why):
            message = f"{cause.message} ({why})" if why else cause.message
            return Step(end(status, StageState.FAILED, cause.reason.value, message, at=now), events=(event,))
        case Again(delay):
            due = now + delay
            message = f"attempt {status.attempt} ended: {cause.message}; next attempt in {format_duration(delay)}"
            waiting = update(
                status, state=StageState.WAITING, reason=cause.reason.value, message=message, retry_time=timestamp(due)
            )
            return Step(waiting, events=(event,), look_again=max(delay.total_seconds(), 0.0))
        case _:
            assert_never(decision)


def _at_most_memory(view: StageView, policy: Retry) -> bool:
    """Tell whether another attempt after an OOM kill would get no more memory than this one had."""
    job, kills = view.wiring.stages[view.name].job, view.status.oom_kills
    if policy.on_oom is None or job is None:
        return False
    resources = resolve(job, view.lookup).get("resources", {})
    return raise_memory(resources, policy.on_oom, kills) == raise_memory(resources, policy.on_oom, kills + 1)


def _await_retry(view: StageView, job: Job, now: datetime) -> Step:
    """Start the next attempt once it is due and no pod of an earlier one is alive any more."""
    due = parse_time(view.status.retry_time or timestamp(now))
    longest = parse_duration(policy_of(view.wiring.stages[view.name], view.wiring.spec).max_backoff)
    if now < due <= now + longest:  # what is later was decided before the clock was set back
        return Step(view.status, look_again=(due - now).total_seconds())
    read = _list_pods(view)
    result = view.snapshot.memory.reads.get(read)
    if result is None:
        return Step(view.status, reads=(read,))
    alive = [pod for pod in result.value or () if pod.get("status", {}).get("phase") not in {"Succeeded", "Failed"}]
    if result.error is not None or alive:
        what = f"{causes.describe(alive[0])} still ends" if alive else "its pods cannot be listed"
        message = f"the next attempt waits: {what}"
        return Step(update(view.status, message=message), look_again=1.0)
    return _begin(view, job, now, number=view.status.attempt + 1)


def _attempt(status: StageStatus, cause: Cause, now: datetime) -> Attempt:
    return Attempt(
        number=status.attempt,
        job=status.job or "",
        reason=cause.reason.value,
        message=shorten(cause.message, WORDS_LIMIT),
        exit_code=cause.exit_code,
        disruption=cause.reason in DISRUPTIONS,
        completion_time=timestamp(now),
    )


def _which_attempt(view: StageView) -> str:
    """Say which attempt this is, where it is not the first."""
    if view.status.attempt <= 1:
        return ""
    limit = policy_of(view.wiring.stages[view.name], view.wiring.spec).limit
    allowed = limit + 1 + view.status.disruptions
    return f"attempt {view.status.attempt} of {allowed}: "


def _claims(view: StageView) -> tuple[Action, ...]:
    """Give what creates the claims that the attempt mounts and that nobody has seen yet."""
    actions: list[Action] = []
    namespace = view.snapshot.namespace
    store = artifacts.store_of(view.wiring.spec.artifacts, view.snapshot.settings.store)
    stage = view.wiring.stages[view.name]
    if stage.outputs and isinstance(store, ArtifactStore) and store.claim not in view.snapshot.claims:
        actions.append(artifacts.store_claim(store, namespace))
    workspace = view.wiring.spec.workspace
    if workspace is not None:
        body = workspace_claim(view.snapshot.run, workspace)
        if body["metadata"]["name"] not in view.snapshot.claims:
            actions.append(Create(Ref(PERSISTENT_VOLUME_CLAIM, namespace, body["metadata"]["name"]), body))
    return tuple(actions)


def _refused(failure: Failure) -> Cause:
    if failure.code == 403:
        return causes.refusal(failure.message)
    return Cause(Reason.STARTING, f"its Job could not be created yet: {failure.message}")


def _context(view: StageView, number: int) -> AttemptContext:
    return AttemptContext(
        run=view.snapshot.run,
        pipeline=view.snapshot.pipeline,
        wiring=view.wiring,
        stage=view.wiring.stages[view.name],
        number=number,
        lookup=view.lookup,
        digests=view.values.digests,
        settings=view.snapshot.settings,
        oom_kills=view.status.oom_kills,
        item=view.item,
        indexed=None if view.item is not None else _indexed(view, number),
        gathered=_gathered(view),
    )


def place_of(view: StageView) -> Place:
    """Give the folder that the current attempt stores its outputs in."""
    return _context(view, view.status.attempt).place


def _job_ref(view: StageView) -> Ref:
    return Ref(JOB, view.snapshot.namespace, view.status.job or "")
