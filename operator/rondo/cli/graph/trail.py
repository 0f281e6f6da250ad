"""What a graph did with one request: from the answer to the debug header to a tree of words.

Pure, and the middle of `rondo graph test`. The router tells each step, who asked for it, and what came of it
(`router/src/trail.rs`).
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from rondo.cli.graph.topology import Member
from rondo.cli.graph.traffic import PARTS
from rondo.cli.graph.view import length
from rondo.cli.output import shorten
from rondo.cli.progress import Node, Tone

Step = Mapping[str, Any]

_LONGEST: Final = 400
"""Characters of a step's answer that are shown."""


def steps_node(steps: Sequence[Step], known: Mapping[str, Member], *, answers: bool = False) -> Node | None:
    """Lay the steps of a request out as a tree, each in the order in which they began.

    Args:
        steps: What the router told.
        known: The nodes of the graph, to tell which were not asked; empty if they are not known.
        answers: Show what each step answered.

    Returns:
        None if there were no steps.
    """
    below: defaultdict[int | None, list[Step]] = defaultdict(list)
    for step in steps:
        below[step.get("parent")].append(step)
    if not below[None]:
        return None
    own = {(graph, name): member for graph in _own(steps) for name, member in known.items()}
    return _node(below[None][0], below, own, answers=answers)


def _own(steps: Sequence[Step]) -> set[str]:
    """Name the graphs of which the nodes are those of the graph that was asked.

    Nodes of a graph within are not, even if they are called the same. While a release runs, they are those of its
    parts, and the graph itself is what divides the requests.
    """
    asked = next(str(step.get("graph")) for step in steps if step.get("parent") is None)
    parts = {f"{asked}.{part}" for part in PARTS} & {str(step.get("graph")) for step in steps}
    return parts or {asked}


def _node(
    step: Step, below: Mapping[int | None, Sequence[Step]], own: Mapping[tuple[str, str], Member], *, answers: bool
) -> Node:
    asked = below.get(step["id"], ())
    children = [_node(each, below, own, answers=answers) for each in asked]
    member = own.get((str(step.get("graph")), step["node"]))
    skipped = _not_asked(member, {each["node"] for each in asked}, step)
    children += [Node(skipped, "not asked", Tone.IDLE)] if skipped else []
    state, tone = _state(step)
    took = length(step["took"] / 1000) if "took" in step else ""
    return Node(step["node"], state, tone, took, "; ".join(_words(step, answers=answers)), tuple(children))


def _state(step: Step) -> tuple[str, Tone]:
    """Give how a step ended in one word, and how that is meant: a failure that was made good is but trouble."""
    if "took" not in step:
        return "given up", Tone.NEUTRAL
    status = step.get("status")
    word = str(step.get("code", "failed")).replace("_", " ") if status is None else str(status)
    if status is not None and 200 <= status < 300:
        return word, Tone.TROUBLE if "leftOut" in step else Tone.GOOD
    return word, Tone.TROUBLE if "leftOut" in step else Tone.BAD


def _words(step: Step, *, answers: bool) -> Iterator[str]:
    attempts = step.get("attempts", 1)
    if attempts > 1:
        yield f"{attempts} attempts, before: {', '.join(step.get('retried', ()))}"
    if step.get("hedged"):
        yield "hedged"
    if step.get("cached"):
        yield "from the cache"
    left, error = step.get("leftOut", ""), step.get("error", "")
    if left:
        yield f"left out: {left}"
    if error and error != left:
        yield error
    if answers and step.get("answer") is not None:
        yield shorten(json.dumps(step["answer"], ensure_ascii=False), _LONGEST)


def _not_asked(member: Member | None, asked: set[str], step: Step) -> str:
    """Name the nodes that a step did not ask. Shadows are asked beside the request and never stand among its steps."""
    if member is None or member.kind in {"mirror", "batch"} or "took" not in step:
        return ""
    return ", ".join(ask.node for ask in member.asks if ask.node not in asked)
