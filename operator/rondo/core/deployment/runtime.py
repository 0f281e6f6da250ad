"""The planner of model runtimes: is the template one that model deployments can be rendered from.

A runtime has no children. Its status is for the platform team that writes it: a mistake shows on the runtime itself and
not only on the first deployment that uses it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from rondo.api.modelruntime import ModelRuntimeSpec, ModelRuntimeStatus
from rondo.api.status import ConditionStatus
from rondo.core import conditions
from rondo.core.conditions import Condition, Status
from rondo.core.deployment import server
from rondo.core.deployment.acceptance import Refused, parse_runtime
from rondo.core.deployment.finding import Reason
from rondo.core.deployment.render import model_lookup
from rondo.core.plan import Object, Plan, Ref, StatusKind
from rondo.core.problems import Problem, summarize
from rondo.core.references import UnresolvedError
from rondo.core.render import container
from rondo.core.resources import MODEL_RUNTIME
from rondo.core.view import Key, View


@dataclass(frozen=True)
class RuntimeSnapshot:
    """One look at a ModelRuntime.

    Attributes:
        runtime: The ModelRuntime.
        status: Its status, parsed.
    """

    runtime: Object
    status: ModelRuntimeStatus


def observe_runtime(view: View, key: Key) -> RuntimeSnapshot | None:
    """Look at a runtime; None if it is not there."""
    runtime = view.get(Ref(MODEL_RUNTIME, "", key.name))
    if runtime is None:
        return None
    return RuntimeSnapshot(runtime, ModelRuntimeStatus.model_validate(runtime.get("status", {})))


def plan_runtime(snapshot: RuntimeSnapshot, now: datetime) -> Plan:
    """Plan a runtime.

    Args:
        snapshot: One look at it.
        now: The time of this look, timezone-aware UTC.
    """
    metadata = snapshot.runtime["metadata"]
    wrong = _problem(metadata["name"], snapshot.runtime)
    said = (Condition("Accepted", Status.TRUE, Reason.ACCEPTED), *conditions.ready(reason=Reason.ACCEPTED))
    if wrong:
        refused = Condition("Accepted", Status.FALSE, Reason.INVALID_RUNTIME, wrong)
        said = (refused, *conditions.stalled(reason=Reason.INVALID_RUNTIME, message=wrong))
    before = snapshot.runtime.get("status", {}).get("conditions", ())
    merged = conditions.merge(before, said, generation=metadata["generation"], at=now)
    status = ModelRuntimeStatus(
        observed_generation=metadata["generation"],
        conditions=[ConditionStatus.model_validate(condition) for condition in merged],
    )
    if status == snapshot.status:
        return Plan()
    return Plan(status=status.model_dump(mode="json", by_alias=True), status_kind=StatusKind.FACTS)


def _problem(name: str, runtime: Object) -> str:
    """Say what keeps a runtime from being rendered; empty if nothing does."""
    spec = parse_runtime(name, runtime["spec"])
    if isinstance(spec, Refused):
        return spec.message
    return summarize([*server.block_problems(spec.server, "spec.server"), *_reference_problems(spec)])


def _reference_problems(spec: ModelRuntimeSpec) -> list[Problem]:
    try:
        container.resolve(spec.server, model_lookup("any"))
    except UnresolvedError as error:
        return [Problem("spec.server", f"{error}; a server may refer to $(model.path) and $(model.name)")]
    return []
