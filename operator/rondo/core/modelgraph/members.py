"""What a target is: where, what it speaks, whether it answers, and if not, the root cause in its own words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rondo.api.modelgraph import Target, TargetKind
from rondo.api.modelruntime import Protocol
from rondo.api.release import PinnedMember
from rondo.core import conditions
from rondo.core.deployment.finding import Reason as Rollout
from rondo.core.deployment.render import service_url
from rondo.core.deployment.render import url as url_of
from rondo.core.deployment.revision import name_of
from rondo.core.modelgraph.finding import Reason
from rondo.core.modelgraph.surroundings import RESOURCES, Surroundings
from rondo.core.plan import Object, Ref
from rondo.core.resources import MODEL_DEPLOYMENT, MODEL_RUNTIME, SERVICE


@dataclass(frozen=True, slots=True)
class Member:
    """A target as it is now.

    Attributes:
        ready: Whether it answers, as far as known.
        reason: Why, in one word.
        message: Why not, in words.
        url: Where it is; empty if that is not known.
        protocol: What it speaks; None if that is not known yet.
        model: Its model's name there, if the router has to know it.
    """

    ready: bool
    reason: str
    message: str = ""
    url: str = ""
    protocol: Protocol | None = None
    model: str | None = None


@dataclass(frozen=True, slots=True)
class Missing:
    """A target that is not there, or not as the graph says.

    Attributes:
        reason: Why, in one word.
        message: Why, in words.
        field: The field of the target that is wrong.
    """

    reason: str
    message: str
    field: str = "name"


def find_server(
    target: Target, spoken: Protocol, around: Surroundings, pins: Sequence[PinnedMember] = ()
) -> Member | Missing:
    """Find a target that is no graph.

    Args:
        target: As the graph says.
        spoken: What the graph speaks.
        around: What there is.
        pins: The revisions of a ModelDeployment that are asked, the served one first; none if it is asked as it is.
    """
    if target.url is not None:
        speaks = target.protocol or spoken
        return Member(ready=True, reason=Reason.EXTERNAL, url=target.url, protocol=speaks, model=target.model)
    name = target.name or ""
    found = around.get(RESOURCES[target.kind], name)
    if found is None:
        return absent(target.kind, name, around)
    if target.kind is TargetKind.SERVICE:
        return _service(target, found, spoken, around)
    return _deployment(target, found, around, pins)


def address_of(target: Target, namespace: str, revision: str = "") -> str:
    """Give the URL of an object of this namespace, or of one revision of a ModelDeployment."""
    name = target.name or ""
    port = "" if target.port in {None, 80} else f":{target.port}"
    return service_url(name_of(name, revision) if revision else name, namespace) + port


def no_adapter(spoken: Protocol, speaks: Protocol | None) -> str:
    """Say that a graph and a target cannot understand each other; empty if they can, or that is not known."""
    if speaks in {spoken, None} or Protocol.JSON not in {spoken, speaks}:
        return ""
    return f"the graph speaks {spoken} and the target {speaks}: JSON is adapted to nothing"


def absent(kind: TargetKind, name: str, around: Surroundings) -> Missing:
    """Say that an object is not there."""
    hint = around.hints.get(Ref(RESOURCES[kind], around.namespace, name), "")
    return Missing(Reason.TARGET_NOT_FOUND, f"there is no {kind} {name}{hint}")


def why_silent(deployment: Object, revision: str) -> tuple[str, str] | None:
    """Say, as reason and words, why no pod of a revision answers at its Service; None if one does.

    Args:
        deployment: The ModelDeployment.
        revision: Hash of the revision.
    """
    kept = next((k for k in deployment.get("status", {}).get("kept", ()) if k.get("hash") == revision), None)
    if kept is None:
        return Reason.NO_ENDPOINTS, "it has no Service yet"
    if kept.get("ready", 0) > 0:
        return None
    return kept.get("reason") or Reason.NO_ENDPOINTS, kept.get("message") or "no pod of it answers yet"


def _deployment(target: Target, found: Object, around: Surroundings, pins: Sequence[PinnedMember]) -> Member | Missing:
    name: str = found["metadata"]["name"]
    speaks = next((pin.protocol for pin in pins), None) or _protocol_of(found, around)
    if speaks is None:
        words = f"what ModelDeployment {name} speaks is not known yet: it has no revision, and its runtime is not there"
        return Missing(Reason.TARGET_NOT_ACCEPTED, words)
    url, model = url_of(found), target.model or name
    down = _why_pins_silent(found, pins) if pins else _why_unavailable(found)
    if down is None:
        return Member(ready=True, reason=Reason.ANSWERS, url=url, protocol=speaks, model=model)
    reason, words = down
    message = f"{Ref(MODEL_DEPLOYMENT, around.namespace, name)}{words}"
    return Member(ready=False, reason=reason, message=message, url=url, protocol=speaks, model=model)


def _why_unavailable(deployment: Object) -> tuple[str, str] | None:
    """Say, as reason and words, why a ModelDeployment does not answer; None if it does."""
    said: Sequence[Mapping[str, Any]] = deployment.get("status", {}).get("conditions", ())
    available, ready = conditions.find(said, "Available") or {}, conditions.find(said, "Ready") or {}
    if available.get("status") == "True":
        return None
    told = ready if ready.get("status") == "False" else available
    reason, words = told.get("reason", Reason.NOT_OBSERVED), told.get("message") or "not observed yet"
    if reason == Rollout.ROLLING_OUT:  # Nothing is wrong: its pods may be ready, and their Deployment not say so yet.
        words = f"it has not said yet that it answers: {words}"
    return reason, f": {words}"


def _why_pins_silent(deployment: Object, pins: Sequence[PinnedMember]) -> tuple[str, str] | None:
    """Say the same of revisions that are asked by name, whatever is rolled out meanwhile."""
    for pin in pins:
        down = why_silent(deployment, pin.revision)
        if down is not None:
            return down[0], f", revision {pin.revision}: {down[1]}"
    return None


def _protocol_of(deployment: Object, around: Surroundings) -> Protocol | None:
    """Tell what a ModelDeployment speaks: its revision that is rolled out, else what its spec will give."""
    spec = deployment["spec"]
    runtime = around.get(MODEL_RUNTIME, spec.get("runtime") or "")
    in_place = (spec.get("server") or {}).get("protocol", Protocol.JSON.value) if spec.get("server") else None
    to_come = in_place if runtime is None else runtime["spec"].get("protocol")
    known = deployment.get("status", {}).get("protocol") or to_come
    return Protocol(known) if known in set(Protocol) else None


def _service(target: Target, found: Object, spoken: Protocol, around: Surroundings) -> Member | Missing:
    name, ports = found["metadata"]["name"], [port["port"] for port in found["spec"].get("ports", ())]
    if target.port not in ports:
        has = f"it has {', '.join(map(str, ports))}" if ports else "it has none"
        return Missing(Reason.PORT_NOT_FOUND, f"Service {name} has no port {target.port} ({has})", "port")
    speaks = target.protocol or spoken
    named = speaks in {Protocol.OPEN_INFERENCE, Protocol.KSERVE_V1} and target.path is None
    model = target.model or (name if named else None)
    url = address_of(target, around.namespace)
    if found["spec"].get("type") == "ExternalName":
        return Member(ready=True, reason=Reason.EXTERNAL, url=url, protocol=speaks, model=model)
    slices = around.slices.get(name, ())
    if any(each.get("ready", 0) for each in slices):
        return Member(ready=True, reason=Reason.ANSWERS, url=url, protocol=speaks, model=model)
    count = sum(each.get("total", 0) for each in slices)
    words = f"{Ref(SERVICE, around.namespace, name)} has no ready endpoint" + (f": 0 of {count}" if count else "")
    return Member(ready=False, reason=Reason.NO_ENDPOINTS, message=words, url=url, protocol=speaks, model=model)
