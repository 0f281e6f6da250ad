"""Random pipelines under random trouble on a real API server: every run ends, with a reason, and nothing runs twice.

`RONDO_TEST_RUNS` says how many runs (thousands take a quarter of an hour and restart the API server too),
`RONDO_TEST_SEED` gives the pipelines and the order of the trouble.
"""

from __future__ import annotations

import json
import os
import random
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import pytest

from rondo.api.pipeline import PipelineSpec
from rondo.core.pipeline.wiring import Tie, Wiring, wire
from tests.integration.conftest import restart_api_server
from tests.integration.system.processes import Operators
from tests.integration.system.space import Body, Space, condition
from tests.integration.system.trouble import Trouble, attempts_of

RUNS = int(os.environ.get("RONDO_TEST_RUNS", "40"))
SEED = int(os.environ.get("RONDO_TEST_SEED", "20261123"))
TERMINAL = {"Succeeded", "Failed", "Skipped", "Cancelled"}
LARGEST = 100 * 1024
"""Bytes of a status."""


@pytest.mark.timeout(600 + 5 * RUNS)
def test_every_run_ends_with_a_reason_and_nothing_runs_twice(fragile: Space, operators: Operators) -> None:
    restart = (lambda: restart_api_server(fragile.plane.cluster)) if RUNS >= 300 else None
    trouble = Trouble(fragile, operators, random.Random(SEED), RUNS, restart, check_end)  # noqa: S311 - no secret
    with replayable():
        trouble.run()
        print(f"{len(trouble.ended)} runs ended; {dict(trouble.happened)}")
        print(dict(Counter(condition(run, "Succeeded")["reason"] for run in trouble.ended)))
        twice = [name for name, count in made_jobs(fragile, 201).items() if count > 1]
        assert not twice, "\n".join(line for name in twice for line in fragile.plane.story(fragile.namespace, name))
        made = made_jobs(fragile, 201, 504)
        begun = first_asked(fragile)
        for run in trouble.ended:
            check_attempts(run, made)
            check_begun(run, begun)


@contextmanager
def replayable() -> Iterator[None]:
    """Have a failure say how it comes again."""
    try:
        yield
    except AssertionError as error:
        error.add_note(f"again with: RONDO_TEST_SEED={SEED} RONDO_TEST_RUNS={RUNS}")
        raise


def check_end(run: Body) -> None:
    """See that a run has ended as the states of its stages say, each stage with a reason, and in order."""
    status, name = run["status"], run["metadata"]["name"]
    succeeded = condition(run, "Succeeded")
    assert succeeded["status"] in {"True", "False"}, (name, succeeded)
    assert succeeded["reason"], (name, succeeded)
    assert succeeded["message"], (name, succeeded)
    assert len(json.dumps(status)) < LARGEST, name
    for stage in status["stages"]:
        assert stage["state"] in TERMINAL, (name, stage)
        assert stage["reason"], (name, stage)
        assert stage["state"] != "Failed" or stage["message"], (name, stage)
    check_order(run)


def check_order(run: Body) -> None:
    """See that no stage began before what it waits for had ended, and that `finally` came last and did come."""
    wiring = wire(PipelineSpec.model_validate(run["spec"]["pipeline"]["spec"]))
    stages = {stage["name"]: stage for stage in run["status"]["stages"]}
    for name, stage in stages.items():
        if name in wiring.final:
            assert stage["state"] != "Skipped" or stage["reason"] in {"WhenFalse", "NeedNotMet"}, stage
        if not stage.get("attempt"):
            continue
        for other, tie in before(wiring, name):
            assert tie is not Tie.SUCCESS or stages[other]["state"] == "Succeeded", (stage, stages[other])
            assert stage["startTime"] >= stages[other].get("completionTime", ""), (stage, stages[other])


def before(wiring: Wiring, name: str) -> list[tuple[str, Tie]]:
    """Give what a stage waits for, and how."""
    main = [(other, Tie.END) for other in wiring.main if name in wiring.final]
    return [*wiring.ties[name].items(), *main]


def made_jobs(space: Space, *codes: int) -> Counter[str]:
    """Count how often the API server has answered the operator so when asked to make a Job of each name.

    It says 504 where the operator was killed before the answer, whether the Job was made or not.
    """
    asked = asked_for_jobs(space)
    return Counter(str(event["objectRef"]["name"]) for event in asked if event["responseStatus"]["code"] in codes)


def asked_for_jobs(space: Space) -> list[Body]:
    """Give the operator's requests to make a Job, oldest first; one that broke off may have no name."""
    found = [
        event
        for event in space.plane.audited(space.namespace)
        if (event["verb"], event["objectRef"]["resource"]) == ("create", "jobs") and event["objectRef"].get("name")
    ]
    return sorted(found, key=lambda event: str(event["requestReceivedTimestamp"]))


def first_asked(space: Space) -> dict[str, str]:
    """Give the time at which the operator first asked for a Job of each name, as the API server tells it."""
    asked = reversed(asked_for_jobs(space))
    return {event["objectRef"]["name"]: whole_seconds(event["requestReceivedTimestamp"]) for event in asked}


def whole_seconds(time: str) -> str:
    """Write a time of the audit log as in status."""
    return f"{time[:19]}Z"


def check_begun(run: Body, begun: Mapping[str, str]) -> None:
    """See that no Job was made before what its stage waits for had ended: by the API server's word, not by ours."""
    wiring = wire(PipelineSpec.model_validate(run["spec"]["pipeline"]["spec"]))
    stages = {stage["name"]: stage for stage in run["status"]["stages"]}
    for name, jobs in attempts_of(run).items():
        times = [begun[job] for job in jobs if job in begun]
        ends = [stages[other].get("completionTime", "") for other, _ in before(wiring, name)]
        assert not times or not ends or min(times) >= max(ends), (run["metadata"]["name"], stages[name], times, ends)


def check_attempts(run: Body, made: Mapping[str, int]) -> None:
    """See that each attempt had a Job; the last of a stage that did not succeed may have been stopped before that."""
    states = {stage["name"]: stage for stage in run["status"]["stages"]}
    for stage, jobs in attempts_of(run).items():
        needed = jobs if states[stage]["state"] == "Succeeded" else jobs[:-1]
        assert set(needed) <= set(made), (run["metadata"]["name"], states[stage])
