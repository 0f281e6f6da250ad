"""One look at a graph, its object and its traffic together: as lines for people and as JSON for programs.

Pure, and the middle of `rondo graph`: show.py looks, this module says what it means, screen.py draws it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from rondo.cli.graph.topology import Branch, Member, graph_message, graph_state, member_tone, members, tree
from rondo.cli.graph.traffic import WHOLE, Traffic
from rondo.cli.progress import Object, Tone, condition
from rondo.core.durations import parse_duration

_SLOW: Final = 0.8
"""Part of its limit of time from which on a node counts as slow."""
_OUTSTANDING: Final = 2.0
"""So many times what any other target takes is worth a word."""
_ENOUGH: Final = 20
"""So many requests it takes to judge: of fewer, p95 is the slowest one."""
_DEADLINE: Final = "504"
"""Status of an answer that the graph did not have in time."""
_DEFAULT_TIMEOUT: Final = "60s"
_SHARES: Final = (("retries", "{} retried"), ("hedges", "{} hedged"))
_STREAMING: Final = {"Passthrough": "streams", "Buffered": "buffered"}


@dataclass(frozen=True, slots=True)
class View:
    """One look.

    Attributes:
        graph: The ModelGraph.
        traffic: What passed through, by node; None if it is not known.
        seconds: Over how long it was seen; None if it is all there was since the routers began.
        routers: Names of the pods that were read.
        notes: What could not be seen, and why.
    """

    graph: Object
    traffic: Mapping[str, Traffic] | None = None
    seconds: float | None = None
    routers: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Line:
    """One node, or the graph itself, as people see it.

    Attributes:
        name: Its name.
        state: How it is, in one word.
        tone: How that is meant.
        figures: Requests, errors, p50 and p95; empty where there is nothing to say.
        trouble: What is wrong, in words.
        words: Everything else.
        children: What it asks.
    """

    name: str
    state: str = ""
    tone: Tone = Tone.NEUTRAL
    figures: tuple[str, str, str, str] = ("", "", "", "")
    trouble: str = ""
    words: str = ""
    children: tuple[Line, ...] = field(default=())


def line_of(view: View) -> Line:
    """Describe a graph: itself, and the tree of its nodes below."""
    graph, whole = view.graph, _of(view, WHOLE)
    state, tone = graph_state(graph)
    known = members(graph)
    judged = _Judged(slowest(view), waited_for(view))
    failures, url = _failures(whole), graph.get("status", {}).get("url", "")
    late = f"{failures}: no answer in time from {', '.join(judged.late)}" if judged.late else failures
    slow = _slow(view, whole, _timeout(graph))
    return Line(
        name=graph["metadata"]["name"],
        state=state,
        tone=Tone.TROUBLE if tone is Tone.GOOD and failures else tone,
        figures=_figures(view, whole),
        trouble=_joined(["" if tone is Tone.GOOD else graph_message(graph), late, slow]),
        words=_joined([graph["spec"].get("protocol", ""), url, *_in_flight(whole), _released(graph)]),
        children=tuple(_line(branch, known, view, judged) for branch in tree(graph)),
    )


def fold(line: Line) -> Line:
    """Put the nodes that are well and ask no others into one line each time, for where there is no room."""
    calm = [child for child in line.children if _is_calm(child)]
    kept = [fold(child) for child in line.children if not _is_calm(child)]
    if len(calm) < 2:
        return replace(line, children=tuple(fold(child) for child in line.children))
    return replace(line, children=(*kept, Line(f"{len(calm)} nodes", "Ready", Tone.GOOD)))


def _is_calm(line: Line) -> bool:
    return not line.children and line.tone in {Tone.GOOD, Tone.NEUTRAL}


def slowest(view: View) -> str:
    """Name the target that takes by far the most time; empty if there is none for certain."""
    spans = sorted(
        (span, name)
        for name, member in members(view.graph).items()
        if member.kind == "target" and (span := _p95(view, _of(view, name))) is not None
    )
    if len(spans) < 2:
        return ""
    (_, next_high), ((low, high), name) = spans[-2][0], spans[-1]
    whole = _p95(view, _of(view, WHOLE))
    takes_the_time = whole is None or high > whole[0] / 2
    return name if low >= _OUTSTANDING * next_high and takes_the_time else ""


def waited_for(view: View) -> tuple[str, ...]:
    """Name the nodes that had not answered when the graph's deadline passed, and not those that waited for them."""
    whole = _of(view, WHOLE)
    if whole is None or not whole.outcomes.get(_DEADLINE):
        return ()
    known = members(view.graph)
    late = [name for name in known if (traffic := _of(view, name)) is not None and traffic.given_up]
    return tuple(name for name in late if not any(ask.node in late for ask in known[name].asks))


def foot(view: View) -> str:
    """Say where the figures come from."""
    revision = view.graph.get("status", {}).get("servedRevision")
    count = len(view.routers)
    routers = f"{count} router{'' if count == 1 else 's'}"
    over = "all since the start" if view.seconds is None else f"the last {view.seconds:.1f} s"
    return _joined([f"{routers}, {over}" if count else "", f"revision {revision}" if revision else ""], "; ")


def as_json(view: View) -> dict[str, Any]:
    """Give a look as JSON: shares as parts of 1, lengths of time in seconds, `null` where nothing is known."""
    graph, status = view.graph, view.graph.get("status", {})
    known = members(graph)
    return {
        "name": graph["metadata"]["name"],
        "namespace": graph["metadata"].get("namespace", ""),
        "protocol": graph["spec"].get("protocol", ""),
        "entry": graph["spec"].get("entry", ""),
        "url": status.get("url"),
        "servedRevision": status.get("servedRevision"),
        "state": graph_state(graph)[0],
        "conditions": list(status.get("conditions", ())),
        "routers": list(view.routers),
        "seconds": view.seconds,
        "traffic": _traffic_json(view, WHOLE),
        "nodes": [{**_member_json(member), "traffic": _traffic_json(view, name)} for name, member in known.items()],
        "notes": list(view.notes),
    }


def length(seconds: float) -> str:
    """Write a length of time, such as `0.4 ms`, `12 ms` or `1.2 s`."""
    millis = seconds * 1000
    if millis < 9.95:
        return f"{millis:.1f} ms"
    return f"{millis:.0f} ms" if millis < 999.5 else f"{seconds:.1f} s"


def percent(part: float) -> str:
    """Write a part of 1, such as `0 %`, `0.4 %`, `<0.1 %` or `12 %`."""
    if 0 < part < 0.001:
        return "<0.1 %"
    return f"{part * 100:.1f} %" if 0 < part < 0.0995 else f"{part * 100:.0f} %"


@dataclass(frozen=True, slots=True)
class _Judged:
    """What is said of nodes beside all others: which is by far the slowest, and which the graph waited for too long."""

    slowest: str
    late: tuple[str, ...]


def _line(branch: Branch, known: Mapping[str, Member], view: View, judged: _Judged) -> Line:
    member = known.get(branch.name)
    if member is None:
        return Line(branch.name, "Missing", Tone.BAD, trouble=branch.role)
    if branch.again:
        return Line(branch.name, words=_joined(["shown above", branch.role]))
    traffic = _of(view, branch.name)
    events, given_up = list(_events(traffic)), _given_up(view, traffic)
    wrong = _wrong(member, view, judged)
    tone = member_tone(member)
    calm = [] if branch.name in judged.late else given_up
    return Line(
        name=branch.name,
        state=member.state,
        tone=Tone.TROUBLE if tone is Tone.GOOD and any(wrong) else tone,
        figures=_figures(view, traffic),
        trouble=_joined([member.message, *wrong, "by far the slowest" if branch.name == judged.slowest else ""]),
        words=_joined([branch.role, member.does, member.url, *member.policies, *events, *calm, _streams(member)]),
        children=tuple(_line(child, known, view, judged) for child in branch.children),
    )


def _wrong(member: Member, view: View, judged: _Judged) -> list[str]:
    """Say what is wrong with what passes through a node."""
    traffic = _of(view, member.name)
    late = _given_up(view, traffic) if member.name in judged.late else []
    slow = _slow(view, traffic, member.limit or _timeout(view.graph))
    return [_failures(traffic), *late, _valueless(traffic), slow]


def _figures(view: View, traffic: Traffic | None) -> tuple[str, str, str, str]:
    if traffic is None:
        return "", "", "", ""
    rounded = view.seconds is None or traffic.requests >= 10 or not traffic.requests
    requests = f"{traffic.requests:.0f}" if rounded else f"{traffic.requests:.1f}"
    errors = "-" if traffic.errors is None else percent(traffic.errors)
    return requests, errors, _quantile(traffic, 0.5), _quantile(traffic, 0.95)


def _quantile(traffic: Traffic, part: float) -> str:
    seconds = traffic.durations.quantile(part)
    if seconds is None:
        return "-"
    return f">{length(seconds)}" if seconds >= traffic.durations.longest else length(seconds)


def _failures(traffic: Traffic | None) -> str:
    """Say how requests failed: `12 % timeout, 1 % 5xx`."""
    found = {} if traffic is None else traffic.failures
    return ", ".join(f"{percent(part)} {name.replace('_', ' ')}" for name, part in list(found.items())[:3])


def _valueless(traffic: Traffic | None) -> str:
    """Say how often a condition could not be told, which counts as false."""
    count = 0.0 if traffic is None else traffic.events.get("expressionErrors", 0.0)
    if traffic is None or not count or not traffic.requests:
        return ""
    return f"{percent(min(1.0, count / traffic.requests))} with a condition without a value"


def _released(graph: Object) -> str:
    """Say how far a release is that goes on or was rolled back, unless that is what is said of the graph anyway."""
    said = condition(graph, "Released")
    message = str(said.get("message", ""))
    return "" if said.get("status", "True") == "True" or message == graph_message(graph) else message


def _slow(view: View, traffic: Traffic | None, timeout: str) -> str:
    """Say that a node comes near its timeout if it does for certain: by the least that p95 can be."""
    p95 = _p95(view, traffic)
    try:
        limit = parse_duration(timeout).total_seconds()
    except ValueError:
        return ""
    return f"slow: p95 near its timeout of {timeout}" if p95 is not None and p95[0] >= _SLOW * limit else ""


def _given_up(view: View, traffic: Traffic | None) -> list[str]:
    """Say how many requests nobody waited for any more."""
    if traffic is None or not traffic.given_up:
        return []
    count = traffic.given_up * (1.0 if view.seconds is None else view.seconds)
    return [f"{max(1, round(count))} given up before it answered"]


def _events(traffic: Traffic | None) -> Iterator[str]:
    if traffic is None or not traffic.requests:
        return
    seen = traffic.events
    for name, words in _SHARES:
        if seen.get(name):
            yield words.format(percent(seen[name] / traffic.requests))
    looked = seen.get("cacheHits", 0) + seen.get("cacheMisses", 0)
    if looked:
        yield f"{percent(seen.get('cacheHits', 0) / looked)} from the cache"
    compared = seen.get("agreements", 0) + seen.get("disagreements", 0)
    if compared:
        yield f"{percent(seen.get('agreements', 0) / compared)} agree"


def _in_flight(traffic: Traffic | None) -> list[str]:
    return [f"{traffic.in_flight:.0f} under way"] if traffic is not None and traffic.in_flight else []


def _of(view: View, node: str) -> Traffic | None:
    return None if view.traffic is None else view.traffic.get(node, Traffic())


def _p95(view: View, traffic: Traffic | None) -> tuple[float, float] | None:
    """Give the bounds in seconds between which p95 lies; None if there were too few requests to judge."""
    count = 0.0 if traffic is None else traffic.durations.count * (1.0 if view.seconds is None else view.seconds)
    return None if traffic is None or round(count) < _ENOUGH else traffic.durations.bounds(0.95)


def _timeout(graph: Object) -> str:
    return str(graph["spec"].get("timeout", _DEFAULT_TIMEOUT))


def _streams(member: Member) -> str:
    return _STREAMING.get(member.streaming, "")


def _joined(words: list[str], by: str = "; ") -> str:
    return by.join(filter(None, words))


def _member_json(member: Member) -> dict[str, Any]:
    return {
        "name": member.name,
        "kind": member.kind,
        "does": member.does,
        "policies": list(member.policies),
        "asks": [{"node": ask.node, "role": ask.role} for ask in member.asks],
        "state": member.state,
        "message": member.message,
        "url": member.url or None,
        "streaming": member.streaming or None,
    }


def _traffic_json(view: View, node: str) -> dict[str, Any] | None:
    """Give what passed through; of figures that are no rate, but sums, `requests` says so by `seconds` being null."""
    traffic = _of(view, node)
    if traffic is None:
        return None
    return {
        "requests": traffic.requests,
        "errors": traffic.errors,
        "outcomes": dict(traffic.outcomes),
        "p50": traffic.durations.quantile(0.5),
        "p95": traffic.durations.quantile(0.95),
        "events": dict(traffic.events),
        **({"inFlight": traffic.in_flight} if node == WHOLE else {}),
    }
