"""Which revision a spec asks for: one that is frozen already, one to be frozen, or none and why."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import pydantic

from rondo.api.modeldeployment import ModelDeploymentSpec
from rondo.api.modelruntime import ModelRuntimeSpec
from rondo.core.artifacts import parse_uri
from rondo.core.deployment import revision as revisions
from rondo.core.deployment import server
from rondo.core.deployment.finding import Reason
from rondo.core.deployment.render import build_template
from rondo.core.deployment.revision import Origin, Revision
from rondo.core.deployment.server import ChosenServer
from rondo.core.deployment.snapshot import DeploymentSnapshot, runtime_read
from rondo.core.graph import nearest
from rondo.core.plan import Create, GetLive
from rondo.core.problems import Problem, from_validation_error, summarize
from rondo.core.references import UnresolvedError
from rondo.core.resources import CONTROLLER_REVISION

_DNS_1035: Final = re.compile(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?")
"""Names of Services; RFC 1035."""


@dataclass(frozen=True)
class Frozen:
    """The revision that the spec asks for is stored.

    Attributes:
        revision: It.
        outdated: How its ModelRuntime differs from what the revision was rendered with; empty if it does not.
    """

    revision: Revision
    outdated: str = ""


@dataclass(frozen=True)
class Unfrozen:
    """The revision that the spec asks for has to be stored first.

    Attributes:
        hash: What it will be called.
        create: Stores it.
    """

    hash: str
    create: Create


@dataclass(frozen=True)
class Waiting:
    """The spec names no model yet."""


@dataclass(frozen=True)
class Refused:
    """The spec cannot be followed.

    Attributes:
        reason: Why, in one word.
        message: Why, in words.
        patience: What is missing may come by itself, as in an apply of many objects in any order.
    """

    reason: str
    message: str
    patience: bool = False


Wanted: TypeAlias = Frozen | Unfrozen | Waiting | Refused | GetLive


def parse(raw: Mapping[str, Any]) -> ModelDeploymentSpec | Refused:
    """Read a spec."""
    try:
        return ModelDeploymentSpec.model_validate(raw)
    except pydantic.ValidationError as error:
        return _invalid(from_validation_error(error, "spec"))


def want(snapshot: DeploymentSnapshot, spec: ModelDeploymentSpec) -> Wanted:
    """Tell which revision a spec asks for; a GetLive has to be answered first."""
    if not _DNS_1035.fullmatch(snapshot.name):
        words = f"metadata.name: {snapshot.name!r} cannot be the name of a Service; use a-z, 0-9 and -, from a letter"
        return Refused(Reason.INVALID_NAME, f"{words}, at most 63 characters")
    if spec.model is None:
        chosen = _choose_server(snapshot, spec)
        return Waiting() if isinstance(chosen, ChosenServer) else chosen
    hash_ = revisions.hash_of(snapshot.uid, spec)
    frozen = next((revision for revision in snapshot.revisions if revision.hash == hash_), None)
    if frozen is not None:
        return Frozen(frozen, _outdated(snapshot, frozen))
    return _recover(snapshot, hash_) or _render(snapshot, spec, hash_)


def _recover(snapshot: DeploymentSnapshot, hash_: str) -> Unfrozen | None:
    """Store a revision again that was deleted while the Deployment rolls it out."""
    deployment = snapshot.own_deployment
    if deployment is None or revisions.rolled_out(deployment) != hash_:
        return None
    found = revisions.recover(deployment)
    return None if found is None else _freeze(snapshot, hash_, *found)


def _render(snapshot: DeploymentSnapshot, spec: ModelDeploymentSpec, hash_: str) -> Wanted:
    chosen = _choose_server(snapshot, spec)
    if not isinstance(chosen, ChosenServer):
        return chosen
    assert spec.model is not None  # noqa: S101 (the only caller has looked)
    try:
        parse_uri(spec.model.uri)
    except ValueError as error:
        return _invalid([Problem("spec.model.uri", str(error))])
    try:
        template = build_template(
            snapshot.owner, hash_=hash_, server=chosen, model=spec.model, settings=snapshot.settings
        )
    except UnresolvedError as error:
        where = f"ModelRuntime {chosen.runtime}" if chosen.runtime else "spec"
        words = f"{where}: {error}; a server may refer to $(model.path) and $(model.name)"
        return Refused(Reason.INVALID_RUNTIME if chosen.runtime else Reason.INVALID_SPEC, words)
    origin = Origin(spec.model.uri, spec.model.version, chosen.protocol.value, chosen.runtime, chosen.digest)
    return _freeze(snapshot, hash_, template, origin)


def _freeze(snapshot: DeploymentSnapshot, hash_: str, template: Mapping[str, Any], origin: Origin) -> Unfrozen:
    number = 1 + max((revision.number for revision in snapshot.revisions), default=0)
    name, body = revisions.build(snapshot.owner, hash_=hash_, number=number, template=template, origin=origin)
    return Unfrozen(hash_, Create(snapshot.ref(CONTROLLER_REVISION, name), body))


def _choose_server(snapshot: DeploymentSnapshot, spec: ModelDeploymentSpec) -> ChosenServer | Refused | GetLive:
    if spec.runtime is not None and spec.server is None:
        runtime = _find_runtime(snapshot, spec.runtime)
        return _use_runtime(spec.runtime, runtime, spec) if isinstance(runtime, ModelRuntimeSpec) else runtime
    written = server.in_place(spec)
    if written is None or spec.runtime is not None:
        return _invalid([Problem("spec", "give exactly one of runtime and server")])
    problems = server.block_problems(written.block, "spec.server")
    return _invalid(problems) if problems else written


def _use_runtime(name: str, runtime: ModelRuntimeSpec, spec: ModelDeploymentSpec) -> ChosenServer | Refused:
    refused = server.not_allowed(name, runtime, spec)
    if refused:
        return Refused(Reason.FIELD_NOT_ALLOWED, summarize(refused))
    chosen = server.from_runtime(name, runtime, spec)
    problems = server.block_problems(chosen.block, f"ModelRuntime {name}: spec.server")
    return Refused(Reason.INVALID_RUNTIME, summarize(problems)) if problems else chosen


def _find_runtime(snapshot: DeploymentSnapshot, name: str) -> ModelRuntimeSpec | Refused | GetLive:
    """Find a runtime; that it is not there is said only after a live look."""
    runtime = snapshot.runtime
    if runtime is None:
        looked = snapshot.memory.reads.get(runtime_read(name))
        if looked is None:
            return runtime_read(name)
        if looked.value is None:
            missing = f"spec.runtime: there is no ModelRuntime {name}{nearest(name, snapshot.runtimes)}"
            words = missing if looked.error is None else f"ModelRuntime {name} cannot be read: {looked.error.message}"
            return Refused(Reason.RUNTIME_NOT_FOUND, words, patience=True)
        runtime = looked.value
    return parse_runtime(name, runtime["spec"])


def parse_runtime(name: str, raw: Mapping[str, Any]) -> ModelRuntimeSpec | Refused:
    """Read the spec of a ModelRuntime."""
    try:
        return ModelRuntimeSpec.model_validate(raw)
    except pydantic.ValidationError as error:
        words = summarize(from_validation_error(error, "spec"))
        return Refused(Reason.INVALID_RUNTIME, f"ModelRuntime {name}: {words}")


def _outdated(snapshot: DeploymentSnapshot, revision: Revision) -> str:
    """Say how the ModelRuntime differs from what a revision was rendered with."""
    name = revision.origin.runtime
    if not name:
        return ""
    kept = f"revision {revision.hash} keeps what it was made with"
    if snapshot.runtime is None:
        return f"ModelRuntime {name} is gone; {kept}"
    runtime = parse_runtime(name, snapshot.runtime["spec"])
    if isinstance(runtime, ModelRuntimeSpec) and server.runtime_digest(runtime) == revision.origin.runtime_digest:
        return ""
    return f"ModelRuntime {name} has changed; {kept}, a new spec.model.version takes the change over"


def _invalid(problems: list[Problem]) -> Refused:
    return Refused(Reason.INVALID_SPEC, summarize(problems))
