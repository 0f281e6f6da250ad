"""How runs are looked at: which objects concern a run, and the snapshot made of them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from rondo.api.pipeline import Reclaim
from rondo.api.pipelinerun import PipelineRunStatus
from rondo.core import names
from rondo.core.plan import Object, Ref
from rondo.core.resources import CONTROLLER_REVISION, JOB, MODEL_DEPLOYMENT, PERSISTENT_VOLUME_CLAIM, PIPELINE_RUN, POD
from rondo.core.run.deploy_stage import DEPLOYED_BY
from rondo.core.run.snapshot import RunSnapshot
from rondo.core.settings import PlannerSettings
from rondo.core.view import Key, View

_CACHE_SIZE: Final = 512


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
        status=_STATUSES.get(uid, run.get("status", {})),
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
    """Give the run that last deployed to a ModelDeployment: it may wait for it."""
    marker: str = target["metadata"].get("annotations", {}).get(DEPLOYED_BY, "")
    if marker:
        yield Key(PIPELINE_RUN, target["metadata"]["namespace"], marker.split("/", 1)[0])


class _StatusCache:
    """Parsed statuses of runs that go on: most looks at a run follow something else than a write of its status."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._known: dict[str, tuple[Object, PipelineRunStatus]] = {}

    def get(self, uid: str, raw: Object) -> PipelineRunStatus:
        """Give the parsed status of the run with this uid, whose status now reads `raw`."""
        known = self._known.pop(uid, None)
        status = known[1] if known is not None and known[0] is raw else PipelineRunStatus.model_validate(raw)
        if status.completion_time is None:
            while len(self._known) >= self._size:
                del self._known[next(iter(self._known))]
            self._known[uid] = raw, status
        return status


_STATUSES: Final = _StatusCache(_CACHE_SIZE)


def _targets(view: View, namespace: str, run: Object) -> dict[str, Object]:
    """Give the ModelDeployments of the namespace; only unfinished runs look at them."""
    if "completionTime" in run.get("status", {}):
        return {}
    return {target["metadata"]["name"]: target for target in view.select(MODEL_DEPLOYMENT, namespace)}


def _is_reclaimed(claim: Object, uid: str) -> bool:
    return _label(claim, names.RUN_UID) == uid and _label(claim, names.RECLAIM) == Reclaim.RUN_END


def _label(thing: Object, key: str) -> str:
    value: str = thing["metadata"].get("labels", {}).get(key, "")
    return value
