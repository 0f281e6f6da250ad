"""What the API server's audit log tells of one namespace: who wrote what, and how soon one Job followed another.

The log has microseconds, objects only seconds.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import msgspec

_WRITES: Final = frozenset({"create", "update", "patch", "delete", "deletecollection"})
_KWOK: Final = "localcluster:kwok"


@dataclass(frozen=True)
class Request:
    """One write that the API server accepted.

    Attributes:
        user: Who made it.
        agent: Its User-Agent.
        verb: Such as `create`.
        what: Plural name of the kind, with the subresource behind it if there is one, such as `pods/status`.
        name: Name of the object.
        received: When the API server had read it, in seconds.
        answered: When it had answered, in seconds.
    """

    user: str
    agent: str
    verb: str
    what: str
    name: str
    received: float
    answered: float


def read(log: Path, namespace: str) -> list[Request]:
    """Read all writes in a namespace, in the order of the log."""
    with log.open("rb") as lines:
        mine = f'"namespace":"{namespace}"'.encode()
        return [found for line in lines if mine in line for found in parse(line, namespace)]


def parse(line: bytes, namespace: str) -> Iterator[Request]:
    """Read one line; nothing if it is no write in the namespace, or was refused."""
    event: dict[str, Any] = msgspec.json.decode(line)
    about = event.get("objectRef", {})
    accepted = event.get("responseStatus", {}).get("code", 0) < 300
    if event["verb"] not in _WRITES or about.get("namespace") != namespace or not accepted:
        return
    what = "/".join(filter(None, (about["resource"], about.get("subresource"))))
    received, answered = (_seconds(event[key]) for key in ("requestReceivedTimestamp", "stageTimestamp"))
    user, agent = event["user"]["username"], event.get("userAgent", "")
    yield Request(user, agent, event["verb"], what, about.get("name", ""), received, answered)


def count_writes(requests: Iterable[Request], agent: str) -> Counter[str]:
    """Count the writes of one client, by verb and kind."""
    return Counter(f"{each.verb} {each.what}" for each in requests if each.agent.startswith(agent))


def hand_offs(
    requests: Iterable[Request],
    agent: str,
    jobs: Mapping[str, tuple[str, str]],
    needs: Mapping[str, tuple[str, ...]],
) -> list[float]:
    """Give the seconds between the end of the last pod that a Job waited for and the request that creates the Job.

    Args:
        requests: All writes of the namespace.
        agent: User-Agent of who creates the Jobs, without its version.
        jobs: Run and stage of each Job, by its name.
        needs: What each stage needs.
    """
    ended: dict[tuple[str, str], float] = {}
    created: dict[tuple[str, str], float] = {}
    for each in requests:
        if each.what == "pods/status" and each.user == _KWOK:
            job = jobs.get(each.name.rpartition("-")[0])
            if job is not None:
                ended[job] = each.answered  # kwok's last word about a pod is its end
        elif each.verb == "create" and each.what == "jobs" and each.agent.startswith(agent) and each.name in jobs:
            created[jobs[each.name]] = each.received
    return [
        at - max(ended[run, need] for need in needs[stage]) for (run, stage), at in created.items() if needs.get(stage)
    ]


def _seconds(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()
