"""How runs are looked at: which objects concern a run, and the snapshot made of them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from rondo.api.pipeline import Reclaim
from rondo.api.pipelinerun import PipelineRunStatus
from rondo.core import names
from rondo.core.plan import Object, Ref
from rondo.core.recent import Recent
from rondo.core.resources import (
    CONTROLLER_REVISION,
    JOB,
    MODEL_DEPLOYMENT,
    MODEL_GRAPH,
    PERSISTENT_VOLUME_CLAIM,
    PIPELINE_RUN,
    POD,
)
from rondo.core.run.deploy_stage import DEPLOYED_BY
from rondo.core.run.snapshot import RunSnapshot
from rondo.core.settings import PlannerSettings
from rondo.core.view import Key, View

_STATUSES: Final[Recent[PipelineRunStatus]] = Recent(512)
"""Statuses of runs that go on."""


def observe_run(view: View, key: Key, settings: PlannerSettings) -> RunSnapshot | None:
    """Look at a run; None if it is not there."""
    run = view.get(Ref(PIPELINE_RUN, key.namespace, key.name))
    if run is None:
        return None
    uid = run["metadata"]["uid"]
    revision = Ref(CONTROLLER_REVISION, key.namespace, names.child_name(key.name, "spec", uid))
    claims = tuple(view.select(PERSISTENT_VOLUME_CLAIM, key.namespace))
    return RunSnapshot(
        run=run,
        status=_parsed(uid, run.get("status", {})),
        jobs={job["metadata"]["name"]: job for job in view.children(JOB, key)},
        pods=tuple(pod for pod in view.children(POD, key) if _label(pod, names.RUN_UID) == uid),
        targets=_targets(view, key.namespace, run),
        claims=frozenset(claim["metadata"]["name"] for claim in claims),
        workspace=next((claim for claim in claims if _is_reclaimed(claim, uid)), None),
        revision=view.get(revision),
        memory=view.memory(key),
        settings=settings,
    )


def run_of_child(child: Object) -> Iterable[Key]:
    """Give the run that a Job or pod belongs to by its labels; whether it really does the planner checks by uid."""
    name = _label(child, names.RUN)
    if name:
        yield Key(PIPELINE_RUN, child["metadata"]["namespace"], name)


def run_of_target(target: Object) -> Iterable[Key]:
    """Give the run that last deployed to a ModelDeployment or ModelGraph: it may wait for it."""
    marker: str = target["metadata"].get("annotations", {}).get(DEPLOYED_BY, "")
    if marker:
        yield Key(PIPELINE_RUN, target["metadata"]["namespace"], marker.split("/", 1)[0])


def _parsed(uid: str, raw: Object) -> PipelineRunStatus:
    """Parse the status of a run; most looks at it follow something else than a write of its status."""
    status = _STATUSES.get(uid, raw, lambda: PipelineRunStatus.model_validate(raw))
    if status.completion_time is not None:
        _STATUSES.forget(uid)
    return status


def _targets(view: View, namespace: str, run: Object) -> dict[Ref, Object]:
    """Give the ModelDeployments and ModelGraphs of the namespace; only unfinished runs look at them."""
    if "completionTime" in run.get("status", {}):
        return {}
    return {
        Ref(resource, namespace, target["metadata"]["name"]): target
        for resource in (MODEL_DEPLOYMENT, MODEL_GRAPH)
        for target in view.select(resource, namespace)
    }


def _is_reclaimed(claim: Object, uid: str) -> bool:
    return _label(claim, names.RUN_UID) == uid and _label(claim, names.RECLAIM) == Reclaim.RUN_END


def _label(thing: Object, key: str) -> str:
    value: str = thing["metadata"].get("labels", {}).get(key, "")
    return value
