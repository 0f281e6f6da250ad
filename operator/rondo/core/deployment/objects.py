"""What has to be applied so that Deployment and Service are as a revision says, and what stands in the way.

An object that somebody deleted or edited is put back; one that belongs to somebody else is never touched.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from rondo.api.modeldeployment import ModelDeploymentSpec
from rondo.core import names
from rondo.core.deployment.drift import mark, needs_apply
from rondo.core.deployment.finding import Finding, Reason, conflict, from_failure
from rondo.core.deployment.render import build_deployment, build_service
from rondo.core.deployment.revision import Revision
from rondo.core.deployment.snapshot import DeploymentSnapshot
from rondo.core.plan import Apply, Failure, MergePatch, Object, Ref, Resource
from rondo.core.resources import DEPLOYMENT, SERVICE


@dataclass(frozen=True)
class Change:
    """An object that is not as declared yet.

    Attributes:
        finding: What to say of it.
        apply: What makes it so, or None if nothing may be done.
        path: The field that differs, empty if the object is not there.
        resource: Its kind.
    """

    finding: Finding
    apply: Apply | MergePatch | None = None
    path: str = ""
    resource: Resource | None = None


def find_changes(snapshot: DeploymentSnapshot, spec: ModelDeploymentSpec, revision: Revision) -> tuple[Change, ...]:
    """Compare Deployment and Service with what a revision and the spec say."""
    declared = {
        DEPLOYMENT: build_deployment(snapshot.owner, spec, revision),
        SERVICE: build_service(snapshot.owner),
    }
    changes = ((resource, _compare(snapshot, resource, body)) for resource, body in declared.items())
    return tuple(replace(change, resource=resource) for resource, change in changes if change is not None)


def worst(changes: Iterable[Change]) -> Finding | None:
    """Give what to say of all changes together: what a person has to end before what ends by itself."""
    return min((change.finding for change in changes), key=lambda f: (not f.stalled, f.normal), default=None)


def compare(
    ref: Ref, declared: Mapping[str, Any], found: Object | None, *, ours: bool, failure: Failure | None
) -> Change | None:
    """Compare an object with what it shall be; None if it is so.

    Args:
        ref: The object.
        declared: What it shall be.
        found: The object, if it is there.
        ours: Whether it may be changed.
        failure: Why it could not be applied the last time, if so.
    """
    if found is not None and "deletionTimestamp" in found["metadata"]:
        return Change(Finding(Reason.RECREATING, f"{ref} is being deleted; it is made again after that", normal=True))
    if not ours:
        return Change(conflict(ref))
    path = "" if found is None else needs_apply(declared, found)
    if path is None:
        return None
    words = f"{ref} is being applied" + (f" ({path})" if path else "")
    finding = from_failure(ref, failure) if failure is not None else Finding(Reason.ROLLING_OUT, words, normal=True)
    if found is not None and ref.resource == SERVICE and path.startswith("spec.ports"):
        return Change(finding, _replace_ports(ref, declared, found), path)
    body = mark(declared, found) if ref.resource == DEPLOYMENT else declared
    return Change(finding, Apply(ref, body, manager=names.MANAGER, force=True), path)


def _compare(snapshot: DeploymentSnapshot, resource: Resource, declared: Mapping[str, Any]) -> Change | None:
    ref, found = snapshot.ref(resource), snapshot.found(resource)
    ours = found is None or snapshot.controls(found)
    return compare(ref, declared, found, ours=ours, failure=snapshot.memory.failures.get(ref))


def _replace_ports(ref: Ref, declared: Mapping[str, Any], found: Object) -> MergePatch:
    """Put the ports of a Service back as a whole.

    Applying would leave a port whose number was edited beside ours, and two of one name are refused.
    """
    return MergePatch(ref, found["metadata"]["uid"], {"spec": {"ports": declared["spec"]["ports"]}})
