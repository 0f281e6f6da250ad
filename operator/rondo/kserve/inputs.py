"""What nodes are asked, as expressions say it.

In a ModelGraph `request` is always what the graph was asked; what a router of KServe was asked is that, or the answer
of a step before it. A node that is sure to have answered is named as it is; else `has(nodes.X)` is asked first.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from rondo.api.modelruntime import Protocol
from rondo.core.expressions import cel_name


@dataclass(frozen=True, slots=True)
class Input:
    """What a node is asked.

    Attributes:
        base: Where its members are, if `guard` holds.
        guard: Whether `base` is there; empty if it surely is.
        body: An expression for all of it; empty if none can say it.
    """

    base: str
    guard: str = ""
    body: str = ""

    def where(self, condition: str) -> str:
        """Give a condition over `base` as one that has a value wherever this is asked."""
        return f"{self.guard} && {condition}" if self.guard else condition


GRAPH: Final = Input("request.body", body="request.body")
"""What the graph was asked."""


def answer_of(node: str, *, sure: bool, instead: Input) -> Input:
    """Give the answer of a node as what the next is asked.

    Args:
        node: Its name.
        sure: Whether it has surely answered by then.
        instead: What is asked if it has not.
    """
    name = f"nodes.{cel_name(node)}"
    base = f"{name}.body"
    return Input(base, body=base) if sure else Input(base, f"has({name})", f"has({name}) ? {base} : {instead.body}")


def mapped(last: Input, instead: Input) -> Input:
    """Give an answer with its predictions as instances."""
    base = f"{{'instances': {last.base}.predictions}}"
    if not last.guard:
        return Input(f"({base})", body=base)
    guard = f"{last.guard} && has({last.base}.predictions)"
    return Input(f"({base})", guard, f"{guard} ? {base} : {instead.body}")


def following(last: Input, protocol: Protocol) -> Input:
    """Give what a sequence makes of an answer for the node that follows, unless a mapping says otherwise."""
    if last.guard:
        return Input("")
    match protocol:
        case Protocol.JSON:
            return last
        case Protocol.KSERVE_V1:
            return mapped(last, last)
        case Protocol.OPEN_INFERENCE:
            return replace(last, body=f"{{'inputs': {last.base}.outputs}}")
        case Protocol.OPENAI:
            return Input("")
