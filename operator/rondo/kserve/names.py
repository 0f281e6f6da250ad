"""Names that Rondo takes, made of those that KServe takes."""

from __future__ import annotations

import re
from typing import Final

from rondo.core.expressions import KEYWORDS

LONGEST: Final = 40
"""Characters of a node's name."""

_SERVICE: Final = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")
_SERVICE_LONGEST: Final = 52


def node_name(wanted: str, taken: set[str]) -> str:
    """Make a valid name for a node, unlike all others, and take it.

    Args:
        wanted: What it was called.
        taken: Names that are given already; the new one is added.
    """
    plain = re.sub(r"[^a-z0-9]+", "-", wanted.lower()).strip("-") or "step"
    # In an expression the name is a word.
    if plain in KEYWORDS or plain[0].isdigit():
        plain = f"step-{plain}"
    name = plain[:LONGEST].rstrip("-")
    number = 2
    while name in taken:
        name = f"{plain[: LONGEST - len(str(number)) - 1].rstrip('-')}-{number}"
        number += 1
    taken.add(name)
    return name


def why_no_service(name: str) -> str:
    """Say why a name cannot be that of a Service, as ModelDeployments and ModelGraphs need it; empty if it can."""
    if len(name) <= _SERVICE_LONGEST and _SERVICE.fullmatch(name):
        return ""
    return (
        f"{name!r} has to be at most {_SERVICE_LONGEST} characters, only a-z, 0-9 and '-', beginning with a letter: "
        "it is also the name of a Service"
    )
