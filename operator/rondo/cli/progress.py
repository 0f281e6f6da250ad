"""What a run or a model deployment shows of itself: from the object as the API server keeps it to a tree of words.

Pure, and the middle of `rondo watch`: cluster.py brings objects, this module says what they mean, screen.py draws it.
It reads plain objects and not the API's models, so that a status written by a newer operator is shown and not refused.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import Enum, auto
from typing import Any, Final, Generic, Protocol, Self, TypeVar

Object = Mapping[str, Any]
"""An object of the API."""


class Tone(Enum):
    """How a row is meant, from which its mark and colour follow."""

    IDLE = auto()
    ACTIVE = auto()
    TROUBLE = auto()
    GOOD = auto()
    BAD = auto()
    NEUTRAL = auto()


@dataclass(frozen=True, slots=True)
class Node:
    """One row of the tree with what hangs below it.

    Attributes:
        name: What it is about.
        state: How far it is, in one word.
        tone: How that is meant.
        took: How long it has taken, `""` if it has not begun.
        words: Everything else: attempt, cause, results.
        children: Rows below it.
    """

    name: str
    state: str
    tone: Tone = Tone.NEUTRAL
    took: str = ""
    words: str = ""
    children: tuple[Node, ...] = ()


class Tree(Protocol):
    """What has more of its kind below it."""

    @property
    def children(self) -> Sequence[Self]:
        """What hangs below."""


T = TypeVar("T", bound=Tree)


@dataclass(frozen=True, slots=True)
class Row(Generic[T]):
    """One line of the drawn tree; `guide` is what joins it to the rows above, of `Guides`' characters."""

    guide: str
    node: T


@dataclass(frozen=True, slots=True)
class Guides:
    """The lines of a tree."""

    child: str
    last: str
    through: str
    blank: str


FANCY: Final = Guides("├─ ", "└─ ", "│  ", "   ")
PLAIN: Final = Guides("|- ", "`- ", "|  ", "   ")

_TONES: Final = {
    "Pending": Tone.IDLE,
    "Waiting": Tone.ACTIVE,
    "Running": Tone.ACTIVE,
    "Succeeded": Tone.GOOD,
    "Cached": Tone.GOOD,
    "Failed": Tone.BAD,
    "Cancelled": Tone.BAD,
}
_CALM: Final = frozenset({"", "Starting", "Running", "Deploying", "Succeeded"})
"""Reasons of a stage on its way that are no trouble."""
_VALUE_LIMIT: Final = 40


def run_node(run: Object, now: datetime) -> Node:
    """Describe a PipelineRun with its stages.

    Args:
        run: A PipelineRun.
        now: The time of this look, timezone-aware UTC.
    """
    status = run.get("status", {})
    stages = tuple(stage_node(stage, now) for stage in status.get("stages", ()))
    state = run_state(run)
    started = status.get("startTime") or run["metadata"].get("creationTimestamp")
    node = Node(run["metadata"]["name"], state, tone_of(state), elapsed(started, status.get("completionTime"), now))
    if not status.get("conditions"):
        return replace(node, words="the operator has not looked at it yet")
    counted = f"{status['progress']} stages" if status.get("progress") else ""
    # With stages below, only the count and the results are news; without them the message is all there is.
    said = [counted, values(status.get("results", {}))] if stages else [status.get("message", "")]
    return replace(node, words="; ".join(filter(None, said)), children=stages)


def stage_node(stage: Mapping[str, Any], now: datetime) -> Node:
    """Describe one stage of a run's status, its former attempts below it."""
    state = stage.get("state", "Pending")
    took = elapsed(stage.get("startTime"), stage.get("completionTime"), now)
    tone = tone_of(state)
    if tone is Tone.ACTIVE and stage.get("reason", "") not in _CALM:
        tone = Tone.TROUBLE
    # What the stage itself says is not said again below it.
    message = stage.get("message", "")
    former = (past for past in stage.get("attempts", ()) if (past.get("message") or past["reason"]) not in message)
    return Node(stage["name"], state, tone, took, _stage_words(stage), tuple(map(_attempt_node, former)))


def deployment_node(deployment: Object) -> Node:
    """Describe a ModelDeployment."""
    state = serving_state(deployment)
    status = deployment.get("status", {})
    ready = condition(deployment, "Ready")
    message = ready.get("message", "") if ready else "the operator has not looked at it yet"
    words = "; ".join(filter(None, [message, status.get("url", "")]))
    return Node(f"ModelDeployment {deployment['metadata']['name']}", state, _DEPLOYMENT_TONES[state], "", words)


def run_state(run: Object) -> str:
    """Give a run's state in one word: Pending, Running, Succeeded, Failed, or the reason of an outcome of its own."""
    succeeded = condition(run, "Succeeded")
    match succeeded.get("status"):
        case "True":
            return "Succeeded"
        case "False":
            return "Failed"
        case _ if run_over(run):
            return str(succeeded.get("reason", "Unknown"))
        case _:
            return "Running" if run.get("status", {}).get("stages") else "Pending"


def run_over(run: Object) -> bool:
    """Tell whether a run has ended."""
    return "completionTime" in run.get("status", {})


def serving_state(thing: Object) -> str:
    """Give the state of what serves in one word: Ready, Stalled or Progressing; never of an older generation."""
    if not observed(thing):
        return "Progressing"
    if condition(thing, "Ready").get("status") == "True":
        return "Ready"
    return "Stalled" if condition(thing, "Stalled").get("status") == "True" else "Progressing"


def observed(thing: Object) -> bool:
    """Tell whether a status speaks of the spec as it is now."""
    generation: int = thing["metadata"].get("generation", 0)
    return bool(thing.get("status", {}).get("observedGeneration") == generation)


def condition(thing: Object, type_: str) -> Mapping[str, Any]:
    """Give a condition, empty if the object has none of that type."""
    conditions: Iterable[Mapping[str, Any]] = thing.get("status", {}).get("conditions", ())
    return next((each for each in conditions if each.get("type") == type_), {})


def tone_of(state: str) -> Tone:
    """Give the tone of a run's or stage's state."""
    return _TONES.get(state, Tone.NEUTRAL)


def rows(node: T, guides: Guides, guide: str = "", below: str = "") -> list[Row[T]]:
    """Lay a tree out as lines."""
    found = [Row(guide, node)]
    for child in node.children:
        last = child is node.children[-1]
        joint, rest = (guides.last, guides.blank) if last else (guides.child, guides.through)
        found += rows(child, guides, below + joint, below + rest)
    return found


def foldings(node: Node, noun: str = "stages") -> Iterator[Node]:
    """Give a tree, then ever smaller ones for where there is no room: rows that say least are put into one.

    Those that are done come first, then those that have not begun; one with something below it stays.

    Args:
        node: The tree.
        noun: What several of its rows are called.
    """
    yield node
    for tones in ({Tone.GOOD, Tone.NEUTRAL}, {Tone.IDLE}):
        node = _fold(node, tones, noun)
        yield node


def news(before: Object | None, after: Object, now: datetime) -> list[str]:
    """Give lines about what has changed in a run, for where nothing can be redrawn.

    Args:
        before: The run as it was last told about, None at the beginning.
        after: The run as it is.
        now: The time of this look, timezone-aware UTC.
    """
    name = after["metadata"]["name"]
    told = {} if before is None else {node.name: node for node in run_node(before, now).children}
    tree = run_node(after, now)
    lines = [line(name, node) for node in tree.children if _is_news(told.get(node.name), node)]
    if before is None or run_state(before) != tree.state:
        own = line("", replace(tree, words=after.get("status", {}).get("message", "") or tree.words))
        lines = [*lines, own] if run_over(after) else [own, *lines]
    return lines


def line(prefix: str, node: Node) -> str:
    """Write a row as a sentence, such as `digits-1/train Failed after 12s: exit code 1`."""
    name = f"{prefix}/{node.name}" if prefix else node.name
    took = f" after {node.took}" if node.took and node.tone in {Tone.GOOD, Tone.BAD} else ""
    return f"{name} {node.state}{took}" + (f": {node.words}" if node.words else "")


def elapsed(start: str | None, end: str | None, now: datetime) -> str:
    """Write how long something has taken, as `12s`, `3m05s` or `2h04m`; nothing if it has not begun."""
    if start is None:
        return ""
    return length((_time(end) if end else now) - _time(start))


def length(span: timedelta) -> str:
    """Write a length of time as `12s`, `3m05s` or `2h04m`; a negative one, by clocks that differ, as `0s`."""
    seconds = max(0, int(span.total_seconds()))
    minutes, hours = seconds // 60, seconds // 3600
    if hours:
        return f"{hours}h{minutes % 60:02}m"
    return f"{minutes}m{seconds % 60:02}s" if minutes else f"{seconds}s"


def values(results: Mapping[str, Any]) -> str:
    """Write results as `accuracy=0.983, winner=svm`, long ones cut."""
    return ", ".join(f"{name}={_value(value)}" for name, value in results.items())


_DEPLOYMENT_TONES: Final = {"Ready": Tone.GOOD, "Stalled": Tone.BAD, "Progressing": Tone.ACTIVE}


def _stage_words(stage: Mapping[str, Any]) -> str:
    reason, message = stage.get("reason", ""), stage.get("message", "")
    number = f"attempt {stage.get('attempt', 0)}"
    attempt = number if stage.get("attempt", 0) > 1 and number not in message else ""
    named = reason not in {*_CALM, stage.get("state")} and reason not in message
    cause = f"{reason}: {message}" if named and message else message or (reason if named else "")
    return "; ".join(filter(None, [attempt, cause])) or values(stage.get("results", {}))


def _attempt_node(attempt: Mapping[str, Any]) -> Node:
    words = f"{attempt['reason']}: {attempt.get('message', '')}".removesuffix(": ")
    return Node(f"attempt {attempt['number']}", "Ended", Tone.NEUTRAL, "", words)


def _is_news(before: Node | None, after: Node) -> bool:
    if before is None:
        return after.tone is not Tone.IDLE
    # While all goes well, each step of a starting pod would be a line.
    words = after.tone is not Tone.ACTIVE and before.words != after.words
    return words or (before.state, before.tone, before.children) != (after.state, after.tone, after.children)


def _fold(node: Node, tones: set[Tone], noun: str) -> Node:
    """Put what has one of these tones, and nothing below it, into one row a state, where its first one stood."""
    folded: dict[str, list[Node]] = {}
    kept: list[Node | str] = []
    for child in node.children:
        if child.tone not in tones or child.children:
            kept.append(_fold(child, tones, noun))
        elif child.state in folded:
            folded[child.state].append(child)
        else:
            folded[child.state] = [child]
            kept.append(child.state)
    children = (_folded(folded[each], noun) if isinstance(each, str) else each for each in kept)
    return replace(node, children=tuple(children))


def _folded(nodes: Sequence[Node], noun: str) -> Node:
    first = nodes[0]
    return first if len(nodes) == 1 else Node(f"{len(nodes)} {noun}", first.state, first.tone)


def _value(value: Any) -> str:
    text = f"{value:.4g}" if isinstance(value, float) else value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= _VALUE_LIMIT else f"{text[: _VALUE_LIMIT - 3]}..."


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)
