"""Driving a run on the in-memory cluster, and reading its status."""

from __future__ import annotations

from typing import Any

from rondo.core import names
from rondo.core.resources import JOB, PIPELINE_RUN
from tests.unit.core.cluster import Cluster, Operator


def start(cluster: Cluster, operator: Operator, body: dict[str, Any]) -> None:
    cluster.create(body)
    operator.settle()
    advance(cluster, operator)


def advance(cluster: Cluster, operator: Operator) -> None:
    """Let what was created run, and a second pass so that progress in words is written too."""
    cluster.start_pods()
    cluster.run_pods()
    cluster.pass_time(seconds=1)
    operator.settle()


def status_of(cluster: Cluster, name: str = "r") -> dict[str, Any]:
    status: dict[str, Any] = cluster.find(PIPELINE_RUN, name).get("status", {})
    return status


def stage_of(cluster: Cluster, stage: str, name: str = "r") -> dict[str, Any]:
    return next(s for s in status_of(cluster, name)["stages"] if s["name"] == stage)


def condition_of(cluster: Cluster, type_: str, name: str = "r") -> dict[str, Any]:
    return next((c for c in status_of(cluster, name)["conditions"] if c["type"] == type_), {})


def finish(cluster: Cluster, operator: Operator, stage: str, **how: Any) -> None:
    cluster.finish(stage, **how)
    operator.settle()
    advance(cluster, operator)


def states(cluster: Cluster, name: str = "r") -> dict[str, str]:
    """Give the state of each stage that is not Pending any more."""
    found = {stage["name"]: stage.get("state", "Pending") for stage in status_of(cluster, name)["stages"]}
    return {stage: state for stage, state in found.items() if state != "Pending"}


def job_of(cluster: Cluster, stage: str) -> dict[str, Any]:
    """Give the newest Job of a stage."""
    jobs = [job for job in cluster.of_kind(JOB) if job["metadata"]["labels"][names.STAGE] == stage]
    return max(jobs, key=lambda job: int(job["metadata"]["labels"][names.ATTEMPT]))


def set_state(cluster: Cluster, operator: Operator, state: str, name: str = "r") -> None:
    """Change `spec.state` of a run, as a user does."""
    run = cluster.find(PIPELINE_RUN, name)
    cluster.change(run, spec={**run["spec"], "state": state})
    operator.settle()
    advance(cluster, operator)
