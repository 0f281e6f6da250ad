"""What a look at a graph that makes releases comes to: the next status of its release, and what is said of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from rondo.api.release import PinnedMember, Release, ReleaseState, ReleaseStatus, ReleaseVersion
from rondo.core.conditions import Condition, Status, shorten, timestamp
from rondo.core.deployment.finding import Finding
from rondo.core.durations import format_duration, parse_duration, parse_time
from rondo.core.modelgraph import checks
from rondo.core.modelgraph.judge import Accepted, checked
from rondo.core.modelgraph.members import no_adapter, why_silent
from rondo.core.modelgraph.numbers import Comparison, add_up
from rondo.core.modelgraph.parts import Sources, build_parts, refused_in
from rondo.core.modelgraph.release import Reason, Sight, advance, epoch_of, wake_at
from rondo.core.modelgraph.serving import Serving, see_serving
from rondo.core.modelgraph.snapshot import GraphSnapshot
from rondo.core.modelgraph.versions import Wanted, find_wanted, is_divided
from rondo.core.plan import EventDraft, EventType, GetLive, Ref
from rondo.core.resources import CONFIG_MAP, MODEL_DEPLOYMENT
from rondo.core.router.document import read

WORDS_EVERY: Final = timedelta(seconds=5)
"""How often the numbers of a step are written into status at most."""


@dataclass(frozen=True)
class Released:
    """What a look at a release has found out.

    Attributes:
        status: Its next status; None before the first can begin.
        serving: How far what the status as it stands asks for is served.
        wanted: Which version is asked for; None while the graph is not accepted.
        unready: What this release, or the next one, waits for.
        before: Its status as it stands.
        look_again: Seconds after which to look again though nothing happens.
    """

    status: ReleaseStatus | None
    serving: Serving
    wanted: Wanted | None
    unready: str = ""
    before: ReleaseStatus | None = None
    look_again: float | None = None

    @property
    def is_served(self) -> bool:
        """Whether there is something to be served, by the status as it stands; a router has no use before."""
        return self.before is not None and self.before.served is not None

    @property
    def same_spec(self) -> bool:
        """Whether what is served, and was before this look, is what the spec says, whatever the members."""
        spec = None if self.wanted is None else self.wanted.spec
        both = (self.before, self.status)
        return all(each is not None and each.served is not None and each.served.spec == spec for each in both)

    @property
    def condition(self) -> Condition:
        """Say how far the release is."""
        if self.status is None:
            return Condition("Released", Status.UNKNOWN, Reason.MEMBER_NOT_READY, f"release 1 waits: {self.unready}")
        said = released(self.status, self.unready)
        if self.wanted is None and self.status.candidate is not None:
            return add_words(said, "it goes no further, for the graph is not accepted")
        return said

    @property
    def finding(self) -> Finding | None:
        """Say why the spec is not served in full; None if it is."""
        status, said = self.status, self.condition
        if self.same_spec:
            return None
        settled = self.wanted is not None and not self.wanted.unsettled
        if status is not None and status.state is ReleaseState.ROLLED_BACK and settled:
            return Finding(said.reason, said.message, stalled=True)
        if status is None or status.candidate is not None:
            return Finding(said.reason, said.message, normal=True)
        reason = Reason.MEMBER_NOT_READY if self.unready else Reason.PROGRESSING  # another is about to begin, or served
        return Finding(reason, said.message, normal=True)


def follow_release(
    snapshot: GraphSnapshot, graph: Accepted, release: Release, now: datetime
) -> Released | Finding | GetLive:
    """Take the release of a graph one step further.

    Args:
        snapshot: One look at the graph.
        graph: It, accepted.
        release: How it makes releases.
        now: The time of this look, timezone-aware UTC.

    Returns:
        What was found out; why the graph cannot be released at all; or a read that has to be made first.
    """
    status, sources = snapshot.status.release, _sources(snapshot, graph)
    lost = _is_lost(snapshot, status, sources)
    if isinstance(lost, GetLive):
        return lost
    odd = _other_protocol(graph, status, sources)
    if odd:
        return Finding("InvalidSpec", odd, stalled=True)
    return _advance(snapshot, release, sources, now, lost=lost)


def watch_release(snapshot: GraphSnapshot, now: datetime) -> Released | None:
    """Look at the release of a graph that is not accepted: it goes no further, but it still fails.

    Returns:
        What was found out; None if there is no release, or nothing says any more how it is made.
    """
    topology, _ = checked(snapshot.owner)
    release = None if topology is None else topology.spec.release
    if release is None or snapshot.status.release is None:
        return None
    sound = release.model_copy(update={"checks": checks.sound(release)})
    return _advance(snapshot, sound, _sources(snapshot, None), now, lost=False)


def _sources(snapshot: GraphSnapshot, graph: Accepted | None) -> Sources:
    shelves = (snapshot.router.document.shelf_of(snapshot.name, snapshot.uid), snapshot.lent)
    return Sources(snapshot.name, graph, shelves, snapshot.present)


def _advance(snapshot: GraphSnapshot, release: Release, sources: Sources, now: datetime, *, lost: bool) -> Released:
    status, graph = snapshot.status.release, sources.accepted
    parts = None if status is None else build_parts(status, sources)
    serving = see_serving(snapshot, None if parts is None else parts.entries)
    seen = Comparison() if status is None else add_up(snapshot.router.counts, snapshot.name, epoch_of(status))
    divided = status is not None and is_divided(status)
    lacking = checks.what_lacks(release, seen) if divided else ""
    sight = Sight(
        policy=release,
        wanted=None if graph is None else find_wanted(graph.spec, snapshot.around, status),
        unready="" if status is None else _why_unready(snapshot, graph, status.candidate),
        arrived=parts is not None and serving.finding is None,
        refused=refused_in(parts, snapshot.router.document.refused) if parts is not None and divided else "",
        lost=lost,
        lacking=lacking,
        failed=checks.what_fails(release, seen) if divided and not lacking else "",
    )
    after = advance(status, sight, now)
    if after is not None and after == status:
        after = _with_words(after, sight, seen, now)
    return Released(
        after, serving, sight.wanted, _why_waiting(sight, after), status, _look_again(status, after, release, now)
    )


def _why_waiting(sight: Sight, status: ReleaseStatus | None) -> str:
    """Say what a release, or the next one, waits for; empty if for nothing but time, requests or somebody."""
    unready = sight.unready if status is not None and status.candidate is not None else ""
    if sight.wanted is None or (status is not None and is_divided(status)):
        return unready
    return sight.wanted.unsettled or unready


def _why_unready(snapshot: GraphSnapshot, graph: Accepted | None, version: ReleaseVersion | None) -> str:
    """Say which revisions of a version cannot be asked, or have no pod that answers; empty if there is none."""
    members = () if version is None else version.members
    return "; ".join(words for member in members if (words := _why_member(snapshot, graph, member)))


def _why_member(snapshot: GraphSnapshot, graph: Accepted | None, member: PinnedMember) -> str:
    deployment = snapshot.around.get(MODEL_DEPLOYMENT, member.name)
    if deployment is None:
        return f"{Ref(MODEL_DEPLOYMENT, snapshot.namespace, member.name)} is gone"
    why = "" if graph is None else no_adapter(graph.spec.protocol, member.protocol)
    down = None if why else why_silent(deployment, member.revision)
    why = why if down is None else down[1]
    return f"ModelDeployment {member.name}, revision {member.revision}: {why}" if why else ""


def _is_lost(snapshot: GraphSnapshot, status: ReleaseStatus | None, sources: Sources) -> bool | GetLive:
    """Tell whether what is served is nowhere to be found any more; that the view does not have it is no proof."""
    if status is None or status.served is None:
        return False
    if any(_is_gone(snapshot, member) for member in status.served.members):
        return True
    if sources.find(status.served) is not None:
        return False
    live = GetLive(Ref(CONFIG_MAP, snapshot.namespace, snapshot.router.key.name))
    found = snapshot.memory.reads.get(live)
    if found is None:
        return live
    if found.error is not None:
        return False
    shelf = read(found.value).shelf_of(snapshot.name, snapshot.uid)
    return replace(sources, shelves=(shelf,)).find(status.served) is None


def _is_gone(snapshot: GraphSnapshot, member: PinnedMember) -> bool:
    """Tell whether a ModelDeployment was deleted and made again: nothing of the former one is there any more.

    That one of its revisions is not listed proves nothing, for its pods may answer all the same.
    """
    deployment = snapshot.around.get(MODEL_DEPLOYMENT, member.name)
    return deployment is not None and member.uid not in {"", deployment["metadata"]["uid"]}


def _other_protocol(graph: Accepted, status: ReleaseStatus | None, sources: Sources) -> str:
    """Say that a graph shall speak another protocol than what is served, if so."""
    if status is None or status.served is None:
        return ""
    served = sources.find(status.served)
    if served is None or served["protocol"] == graph.spec.protocol.value:
        return ""
    words = (
        f"it is {graph.spec.protocol} and what is served speaks {served['protocol']}: clients cannot go over in part"
    )
    return f"spec.protocol: {words}; take spec.release out for this change"


# Words ---------------------------------------------------------------------------------------------------------------


def released(status: ReleaseStatus, unready: str = "") -> Condition:
    """Say how far a release is.

    Args:
        status: Its status.
        unready: What it, or the next one, waits for.
    """
    title, served = f"release {status.number}", "" if status.served is None else f"release {status.served.number}"
    match status.state:
        case ReleaseState.PROMOTED:
            words = f"{title} is promoted"
            return _waiting(Condition("Released", Status.TRUE, status.reason, words), unready)
        case ReleaseState.REVERTED:
            words = f"{title} was left, for it is not asked for any more; {served} is served"
            return _waiting(Condition("Released", Status.TRUE, status.reason, words), unready)
        case ReleaseState.ROLLED_BACK:
            words = (
                f"{title} was rolled back{_where(status)}: {status.message}{f'; back to {served}' if served else ''}"
            )
            return _waiting(Condition("Released", Status.FALSE, status.reason, words), unready)
        case ReleaseState.PAUSED:
            words = f"{title} is paused{_where(status)}: {status.message}; decide by spec.release.decision"
            return Condition("Released", Status.UNKNOWN, "Paused", words)
        case ReleaseState.PREPARING:
            reason = Reason.MEMBER_NOT_READY if unready else Reason.PROGRESSING
            words = f"{title} is being prepared: {unready or 'its revisions answer'}"
            if status.candidate is None:
                words = f"what {title} served is lost{f'; next: {unready}' if unready else ''}"
            return Condition("Released", Status.UNKNOWN, reason, words)
        case ReleaseState.PROGRESSING:
            words = status.message or f"{title}{_where(status)}: the routers are going over to it"
            reason = Reason.MEMBER_NOT_READY if unready else Reason.PROGRESSING
            return Condition("Released", Status.UNKNOWN, reason, f"{words}{f'; {unready}' if unready else ''}")


def _waiting(said: Condition, unready: str) -> Condition:
    return add_words(said, f"next: {unready}") if unready else said


def add_words(said: Condition, words: str) -> Condition:
    """Say more of the same."""
    return replace(said, message=f"{said.message}; {words}")


def _where(status: ReleaseStatus) -> str:
    return f" at step {status.step} ({status.weight}%)" if status.step else ""


def _with_words(status: ReleaseStatus, sight: Sight, seen: Comparison, now: datetime) -> ReleaseStatus:
    """Tell what the step has come to so far, if that was not told a moment ago."""
    if status.state is not ReleaseState.PROGRESSING or status.since is None:
        return status
    if status.seen is not None and now - parse_time(status.seen) < WORDS_EVERY:
        return status
    release, lacking = sight.policy, sight.lacking
    step = release.steps[min(status.step, len(release.steps)) - 1]
    held = min(max(now - parse_time(status.since), timedelta(0)), parse_duration(step.hold))
    numbers = seen.words(compared=release.compare is not None)
    message = (
        f"release {status.number}: step {status.step} of {len(release.steps)}, {status.weight}% for "
        f"{format_duration(held)} of {step.hold}; {numbers}{f'; {lacking}' if lacking else ''}"
    )
    return status.model_copy(update={"message": message, "seen": timestamp(now)})


def _look_again(
    before: ReleaseStatus | None, after: ReleaseStatus | None, release: Release, now: datetime
) -> float | None:
    if facts_of(before) != facts_of(after):
        return 0.0
    at = wake_at(after, release, now)
    return None if at is None else (at - now).total_seconds() + 0.01


def facts_of(status: ReleaseStatus | None) -> ReleaseStatus | None:
    """Give a release without what changes as its numbers do."""
    if status is None or status.state is not ReleaseState.PROGRESSING:
        return status
    return status.model_copy(update={"message": "", "seen": None})


def events(before: ReleaseStatus | None, after: ReleaseStatus | None) -> Iterator[EventDraft]:
    """Tell of the beginning, each step and the end of a release."""
    if after is None:
        return
    if before is None or before.number != after.number:
        yield EventDraft(EventType.NORMAL, "ReleaseBegan", "Release", f"release {after.number} begins")
        return
    if (before.state, before.step, before.weight) == (after.state, after.step, after.weight):
        return
    bad = after.state in {ReleaseState.ROLLED_BACK, ReleaseState.PAUSED}
    words = f"release {after.number}: step {after.step}, {after.weight}%"
    if after.state is not ReleaseState.PROGRESSING:
        words = shorten(released(after).message)
    reason = "ReleaseStep" if after.state is ReleaseState.PROGRESSING else after.state.value
    yield EventDraft(EventType.WARNING if bad else EventType.NORMAL, reason, "Release", words)
