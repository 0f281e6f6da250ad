"""Two operators: one leads and the other takes over, and even two that both work run nothing twice.

The Lease is the one that the chart's rights name, in the operator's own namespace.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from rondo.runtime.leader import LEASE_SECONDS, RENEW_SECONDS, RETRY_SECONDS
from rondo.runtime.workers import STOP_TIMEOUT
from tests.integration.system.objects import chain, claim, deploy, inline_run, job, pipeline, retry
from tests.integration.system.processes import Operator, Operators
from tests.integration.system.space import PATIENCE, Plane, Space, eventually

ELECTION = {"RONDO_LEADER_ELECTION": "true", "RONDO_LEASE": "rondo", "RONDO_NAMESPACE": "rondo-system"}
SPLIT = 12.0
"""Seconds for which two operators work side by side while new runs come."""


@pytest.fixture(autouse=True)
def _lease(fragile_plane: Plane, operators: Operators) -> Iterator[None]:
    """Leave no Lease behind that a killed leader still holds."""
    yield
    operators.end()
    fragile_plane.cluster.kubectl("-n", "rondo-system", "delete", "lease", "rondo", "--ignore-not-found")


def test_a_leader_that_stops_hands_its_runs_over_at_once(fragile: Space, operators: Operators) -> None:
    leader, other = _leader_and_other(fragile, operators)
    _start_runs(fragile, "before")
    pod = fragile.running_pod("held", "a")
    begun = time.monotonic()
    leader.stop()
    assert time.monotonic() - begun < STOP_TIMEOUT, leader.said()
    _until_leading(other)
    assert time.monotonic() - begun < LEASE_SECONDS - RETRY_SECONDS
    _end_runs(fragile, pod, "before")


def test_a_leader_that_is_killed_is_succeeded_when_its_lease_expires(fragile: Space, operators: Operators) -> None:
    leader, other = _leader_and_other(fragile, operators)
    _start_runs(fragile, "before")
    pod = fragile.running_pod("held", "a")
    begun = time.monotonic()
    leader.kill()
    fragile.create(inline_run("between", *chain(3)))
    _until_leading(other)
    assert time.monotonic() - begun > LEASE_SECONDS - RENEW_SECONDS
    _end_runs(fragile, pod, "before", "between")


def test_two_operators_without_an_election_run_nothing_twice(fragile: Space, operators: Operators) -> None:
    both = [operators.start(fragile.namespace) for _ in range(2)]
    for operator in both:
        operator.works()
    fragile.create(claim())
    runs: list[str] = []
    end = time.monotonic() + SPLIT
    while time.monotonic() < end:
        runs.append(_add_run(fragile, len(runs)))
        fragile.until_stage(runs[-1], "s0", state="Succeeded" if len(runs) % 4 != 3 else "Failed")
    print(f"{len(runs)} runs")
    for name in runs:
        stages = fragile.once(name)["status"]["stages"]
        assert not any(stage.get("disruptions") for stage in stages)
        fails = stages[0].get("failures", 0)
        assert sum(stage.get("attempt", 0) for stage in stages) == (2 if fails else _jobs(stages))
    assert not _created_twice(fragile)
    assert all(operator.alive for operator in both)


def _leader_and_other(space: Space, operators: Operators) -> tuple[Operator, Operator]:
    """Start two operators, the first of which leads."""
    leader = operators.start(space.namespace, **ELECTION).works()
    other = operators.start(space.namespace, **ELECTION)
    eventually(lambda: "standing by for lease" in other.said(), "the other to stand by")
    return leader, other


def _start_runs(space: Space, name: str) -> None:
    """Start a run that holds in its first stage, and one that is in its middle when the leader goes."""
    space.create(inline_run("held", job("a", image="holds"), *chain(3, "a")))
    space.create(inline_run(name, *chain(12)))
    space.until_stage(name, "s0", state="Succeeded")


def _until_leading(operator: Operator) -> None:
    """Wait until an operator that did not lead leads and has listed everything."""
    assert "leading as" not in operator.said()
    eventually(lambda: "leading as" in operator.said(), "the other to lead", within=LEASE_SECONDS + PATIENCE)
    operator.works()


def _end_runs(space: Space, pod: str, *others: str) -> None:
    """End the run that holds, and see that all end without an attempt too many."""
    space.end_pod(pod)
    for name in ("held", *others):
        stages = space.once(name)["status"]["stages"]
        assert {(stage["state"], stage["attempt"]) for stage in stages} == {("Succeeded", 1)}
    assert not _created_twice(space)


def _add_run(space: Space, number: int) -> str:
    """Start a run: a chain, one of a Pipeline, one that fails and is tried again, or one that deploys."""
    match number % 4:
        case 0:
            name = f"r{number}"
            space.create(inline_run(name, *chain(4)))
        case 1:
            name = f"p{number}-1"
            space.create(pipeline(f"p{number}", *chain(2)))
        case 2:
            name = f"r{number}"
            space.create(inline_run(name, job("s0", image="fails", **retry(limit=1)), job("s1", "s0")))
        case _:
            name = f"p{number}-1"
            space.create(pipeline(f"p{number}", *chain(1), deploy("d", "s0", model=f"m{number}")))
    return name


def _jobs(stages: list[dict[str, object]]) -> int:
    return sum("job" in stage for stage in stages)


def _created_twice(space: Space) -> list[str]:
    created = (space.plane.created_twice(space.namespace, resource) for resource in ("jobs", "pipelineruns"))
    return [write for writes in created for write in writes]
