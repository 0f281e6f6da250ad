"""Paths within JSON, and where a mapping copies from; read as the router reads them, so that none is refused there."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

MAX_INDEX: Final = 10_000
"""The longest list that a path may make by itself."""

_STEP: Final = re.compile(
    r"\['(?P<quoted>[^']*(?:'(?!\])[^']*)*)'\]|\[(?P<index>[0-9]+)\]|(?P<dot>\.?)(?P<word>[\w-]+)"
)


class PlaceError(ValueError):
    """A text is no path; the message says what would be one."""


@dataclass(frozen=True, slots=True)
class Source:
    """Where a value is copied from.

    Attributes:
        root: `request`, `response` or `nodes`.
        node: The node's name as written, if it is an answer of a node.
    """

    root: str
    node: str = ""


def check_path(text: str) -> None:
    """See that a text is a path: `inputs[0].data`, with `['a.b']` for names that are no words.

    Raises:
        PlaceError: It is none.
    """
    position = 0
    while position < len(text):
        step = _STEP.match(text, position)
        if step is None or _misplaced(step, position):
            wrong = text[position:]
            raise PlaceError(f"{text!r} is no path: wrong from {wrong!r} on; write it like inputs[0].data, or ['a.b']")
        position = step.end()
    if not text:
        raise PlaceError("a path is not empty")


def read_source(text: str, roots: tuple[str, ...]) -> Source:
    """Read where a mapping copies from: `request.body.x`, `response.body.x` or `nodes.NAME.body.x`.

    Args:
        text: As written.
        roots: Those of the three that there are at its place.

    Raises:
        PlaceError: It is none of them.
    """
    forms = ", ".join(f"{'nodes.NAME' if root == 'nodes' else root}.body…" for root in roots)
    root, _, rest = text.partition(".")
    node = ""
    if root == "nodes":
        node, _, rest = rest.partition(".")
    if root not in roots or not rest:
        raise PlaceError(f"{text!r} is none of {forms}")
    if not re.match(r"body(?![\w-])", rest):
        raise PlaceError(f"{text!r}: only a body is copied from: {forms}")
    inner = rest.removeprefix("body").removeprefix(".")
    if inner:
        check_path(inner)
    return Source(root, node)


def _misplaced(step: re.Match[str], position: int) -> bool:
    """Tell whether a step cannot stand where it does: a word needs a dot before it, but at the beginning."""
    if step["index"] is not None:
        return int(step["index"]) > MAX_INDEX
    return step["word"] is not None and bool(step["dot"]) != (position > 0)
