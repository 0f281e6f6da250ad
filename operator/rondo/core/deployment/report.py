"""The status of a deployment: what `kubectl get`, GitOps tools, deploy stages and people read."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from rondo.api.modeldeployment import ModelDeploymentStatus, ModelStatus, RevisionStatus
from rondo.api.status import ConditionStatus
from rondo.core import conditions
from rondo.core.conditions import Condition, Status
from rondo.core.deployment.finding import Finding, Reason
from rondo.core.deployment.kept import kept_status
from rondo.core.deployment.render import selector, url
from rondo.core.deployment.revision import Revision
from rondo.core.deployment.snapshot import DeploymentSnapshot, is_ready
from rondo.core.plan import StatusKind


@dataclass(frozen=True)
class Verdict:
    """What a plan has found out.

    Attributes:
        refusal: Why the spec is not accepted, or None if it is.
        revision: The revision that is rolled out, if there is one.
        replicas: How many pods are wanted.
        finding: What keeps the deployment from being as declared, or None if it is.
        outdated: How the revision's ModelRuntime has changed, empty if it has not.
    """

    refusal: Finding | None
    revision: Revision | None
    replicas: int
    finding: Finding | None
    outdated: str = ""


def build_status(snapshot: DeploymentSnapshot, verdict: Verdict, now: datetime) -> ModelDeploymentStatus:
    """Give the status that says what was found out.

    Args:
        snapshot: One look at the deployment.
        verdict: What was found out.
        now: The time of this look, timezone-aware UTC.
    """
    counts = (snapshot.own_deployment or {}).get("status", {})
    before = snapshot.owner.get("status", {}).get("conditions", ())
    said = tuple(_conditions(snapshot, verdict, counts.get("availableReplicas", 0)))
    merged = conditions.merge(before, said, generation=snapshot.generation, at=now)
    revision = verdict.revision
    return ModelDeploymentStatus(
        observed_generation=snapshot.generation,
        conditions=[ConditionStatus.model_validate(condition) for condition in merged],
        url=url(snapshot.owner),
        protocol=None if revision is None else revision.origin.protocol,
        runtime=None if revision is None else revision.origin.runtime or "in place",
        replicas=counts.get("replicas", 0),
        ready_replicas=counts.get("readyReplicas", 0),
        selector=",".join(f"{key}={value}" for key, value in selector(snapshot.name).items()),
        model=None if revision is None else _model(revision),
        revision=None if revision is None else revision.hash,
        revisions=_revisions(snapshot),
        kept=kept_status(snapshot),
        message=next((c["message"] for c in merged if c["type"] == "Ready"), ""),
    )


def to_json(status: ModelDeploymentStatus) -> dict[str, Any]:
    """Write a status as the API server keeps it: camelCase, without what is not known."""
    written: dict[str, Any] = status.model_dump(mode="json", by_alias=True, exclude_none=True)
    return written


def kind_of_change(old: ModelDeploymentStatus, new: ModelDeploymentStatus) -> StatusKind:
    """Tell facts from words and counters that changed."""
    if old == new:
        return StatusKind.NONE
    return StatusKind.PROGRESS if _facts(old) == _facts(new) else StatusKind.FACTS


def _facts(status: ModelDeploymentStatus) -> tuple[Any, ...]:
    said = tuple((c.type, c.status, c.reason) for c in status.conditions)
    names = tuple(revision.name for revision in status.revisions)
    kept = tuple((each.hash, tuple(each.graphs), each.ready > 0) for each in status.kept)
    return (status.observed_generation, said, status.url, status.revision, names, kept)


def _conditions(snapshot: DeploymentSnapshot, verdict: Verdict, available: int) -> Iterable[Condition]:
    yield _accepted(verdict)
    yield _available(verdict, available)
    yield _progressing(verdict)
    yield _model_loaded(snapshot, verdict)
    if verdict.outdated:
        yield Condition("RuntimeOutdated", Status.TRUE, Reason.RUNTIME_CHANGED, verdict.outdated)
    yield from _trio(verdict, available)


def _accepted(verdict: Verdict) -> Condition:
    if verdict.refusal is not None:
        return Condition("Accepted", Status.FALSE, verdict.refusal.reason, verdict.refusal.message)
    return Condition("Accepted", Status.TRUE, Reason.ACCEPTED)


def _available(verdict: Verdict, available: int) -> Condition:
    """Tell whether it answers at all, be it with pods of an earlier revision."""
    finding, counted = verdict.finding, f"{available}/{verdict.replicas} pods answer"
    if available > 0 and (finding is None or finding.reason != "NameConflict"):
        return Condition("Available", Status.TRUE, Reason.ANSWERING, counted)
    if finding is None:
        return Condition("Available", Status.FALSE, Reason.SCALED_TO_ZERO, "spec.replicas is 0")
    return Condition("Available", Status.FALSE, finding.reason, f"{counted}: {finding.message}")


def _progressing(verdict: Verdict) -> Condition:
    finding = verdict.finding
    if finding is None:
        return Condition("Progressing", Status.FALSE, Reason.ROLLED_OUT)
    moving = not finding.stalled and verdict.refusal is None
    return Condition("Progressing", Status.TRUE if moving else Status.FALSE, finding.reason, finding.message)


def _model_loaded(snapshot: DeploymentSnapshot, verdict: Verdict) -> Condition:
    """Tell whether a pod of the revision has loaded its model, which is what a model server's readiness means."""
    revision, finding = verdict.revision, verdict.finding
    if revision is not None and not revision.has_readiness:
        words = "the server has no readinessProbe, so nobody knows whether it has loaded the model"
        return Condition("ModelLoaded", Status.UNKNOWN, Reason.NO_READINESS_PROBE, words)
    if revision is not None and any(is_ready(pod) for pod in snapshot.pods_of(revision)):
        return Condition("ModelLoaded", Status.TRUE, Reason.MODEL_LOADED)
    if finding is None:
        return Condition("ModelLoaded", Status.UNKNOWN, Reason.SCALED_TO_ZERO, "no pod runs")
    return Condition("ModelLoaded", Status.FALSE, finding.reason, finding.message)


def _trio(verdict: Verdict, available: int) -> tuple[Condition, ...]:
    finding, serves = verdict.finding, _serves(verdict.revision)
    if finding is None and verdict.replicas == 0:
        return conditions.ready(reason=Reason.SCALED_TO_ZERO, message="spec.replicas is 0, so nothing answers")
    if finding is None:
        return conditions.ready(reason=Reason.READY, message=f"{available}/{verdict.replicas} pods serve {serves}")
    message = finding.message
    if (verdict.refusal is not None or finding.reason == Reason.WAITING_FOR_MODEL) and available > 0:
        message += f"; until then {available} pods serve {serves}"
    if finding.stalled:
        return conditions.stalled(reason=finding.reason, message=message)
    return conditions.reconciling(reason=finding.reason, message=message)


def _serves(revision: Revision | None) -> str:
    if revision is None:
        return "an earlier revision"
    version = revision.origin.model_version
    return revision.origin.model_uri + (f" (version {version})" if version else "")


def _model(revision: Revision) -> ModelStatus:
    return ModelStatus(uri=revision.origin.model_uri, version=revision.origin.model_version)


def _revisions(snapshot: DeploymentSnapshot) -> list[RevisionStatus]:
    newest_first = sorted(snapshot.revisions, key=lambda revision: revision.number, reverse=True)
    return [
        RevisionStatus(
            name=revision.name,
            hash=revision.hash,
            image=revision.image,
            model=_model(revision),
            ready=sum(is_ready(pod) for pod in snapshot.pods_of(revision)),
        )
        for revision in newest_first
    ]
