"""What a container says when it ends: its termination message, which the operator reads, and its log."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from rondo.artifacts.digest import Summary
from rondo.artifacts.sweep import Swept

TERMINATION_LOG: Final = "/dev/termination-log"

MAX_MESSAGE: Final = 2048
"""Bytes of a termination message. The kubelet shares 12 KiB among the containers of a pod and cuts silently."""

_MAX_OUTPUTS: Final = 4096
"""Bytes of a container's termination message that the kubelet reads at all."""


def say(message: str, termination_log: str) -> None:
    """Write a message for people to the log and, cut to its limit, to the termination message."""
    print(message, file=sys.stderr, flush=True)  # noqa: T201
    write(cut(message), termination_log)


def write(message: str, termination_log: str) -> None:
    """Write the termination message; outside a pod there is none."""
    try:
        Path(termination_log).write_text(message, encoding="utf-8", errors="replace")
    except OSError as error:
        print(f"no termination message: {error}", file=sys.stderr, flush=True)  # noqa: T201


def cut(message: str) -> str:
    """Cut a message to its limit in bytes, between characters."""
    content = message.encode(errors="replace")
    if len(content) <= MAX_MESSAGE:
        return content.decode()
    return content[: MAX_MESSAGE - 3].decode(errors="ignore") + "…"


@dataclass(frozen=True, slots=True)
class Stored:
    """What `push` has stored.

    Attributes:
        summary: What is known of it.
        lines: Number of its lines of JSON, where they are counted.
    """

    summary: Summary
    lines: int | None = None


def outputs_message(stored: Mapping[str, Stored]) -> str:
    """Give what `push` reports: `{"outputs": {NAME: {"digest": …, "size": BYTES, "files": NUMBER, "lines": NUMBER}}}`.

    Size and number are left out where many outputs with long names would exceed the limit of a message; the digests
    always fit (16 outputs with names of 63 letters take 2.5 kB).
    """
    message = _compact({name: _needed(one) | _more(one.summary) for name, one in stored.items()})
    if len(message) <= MAX_MESSAGE:
        return message
    message = _compact({name: _needed(one) for name, one in stored.items()})
    assert len(message) <= _MAX_OUTPUTS, message  # noqa: S101 (the limits of the API see to it)
    return message


def sweep_message(swept: Swept) -> str:
    """Give what `sweep` reports: `{"removed": NUMBER, "size": BYTES, "kept": NUMBER}`."""
    return json.dumps(asdict(swept))


def _needed(one: Stored) -> dict[str, Any]:
    return {"digest": one.summary.digest, **({} if one.lines is None else {"lines": one.lines})}


def _more(summary: Summary) -> dict[str, Any]:
    return {"size": summary.size, "files": summary.files}


def _compact(outputs: Mapping[str, Any]) -> str:
    return json.dumps({"outputs": outputs}, separators=(",", ":"))
