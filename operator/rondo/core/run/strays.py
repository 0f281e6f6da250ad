"""Jobs that must not go on: of stages that were cancelled, and of attempts that ended while their pods had not."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from rondo.api.pipelinerun import StageStatus
from rondo.core import names
from rondo.core.plan import Delete, Object, Ref
from rondo.core.resources import JOB
from rondo.core.run.attempt import condition
from rondo.core.run.snapshot import RunSnapshot


def delete_strays(
    snapshot: RunSnapshot, stages: Iterable[StageStatus], items: frozenset[str] = frozenset()
) -> Iterator[Delete]:
    """Delete each unfinished Job of the run that neither a stage nor one of these Jobs' items waits for.

    A Job whose pods have all ended is left to its controller, which is about to finish it: its pods keep the logs.
    """
    awaited = items | {stage.job for stage in stages if not stage.state.terminal and stage.retry_time is None}
    for name, job in snapshot.jobs.items():
        if name in awaited or names.controller_uid(job) != snapshot.uid or _over(job) or _ending(snapshot, job):
            continue
        yield Delete(Ref(JOB, snapshot.namespace, name), job["metadata"]["uid"])


def _over(job: Object) -> bool:
    gone = "deletionTimestamp" in job["metadata"]
    return gone or condition(job, "Complete") is not None or condition(job, "Failed") is not None


def _ending(snapshot: RunSnapshot, job: Object) -> bool:
    pods = snapshot.pods_of(job)
    return bool(pods) and all(pod.get("status", {}).get("phase") in {"Succeeded", "Failed"} for pod in pods)
