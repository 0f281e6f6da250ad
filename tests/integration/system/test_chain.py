"""A chain of stages runs under the rights of the chart, with no more writes than it needs and none when idle."""

from __future__ import annotations

import pytest

from tests.integration.system.objects import chain, claim, deploy, gate, job, pipeline
from tests.integration.system.space import Space, always

QUIET = 3.0
"""Seconds without any write; resyncs come every five minutes, progress once a second."""


@pytest.mark.parametrize("length", [1, 3, 10])
def test_a_run_of_n_chained_stages_costs_at_most_3n_plus_6_writes(space: Space, length: int) -> None:
    space.create(pipeline("p", *chain(length)))
    run = space.succeeded("p-1")
    space.until_condition("Pipeline", "p", "Ready", status="True")
    assert [stage["state"] for stage in run["status"]["stages"]] == ["Succeeded"] * length
    assert len(space.jobs("p-1")) == len(space.pods("p-1")) == length
    writes = written_when_quiet(space)
    assert len(writes) <= 3 * length + 6, "\n".join(writes)


def test_a_model_is_trained_checked_and_released(space: Space) -> None:
    stages = (job("train"), gate("check", "train"), deploy("release", "check", model="m"))
    space.create(claim(), pipeline("p", *stages))
    space.succeeded("p-1")
    space.until_condition("ModelDeployment", "m", "Ready", status="True")
    space.until_condition("Pipeline", "p", "Ready", status="True", reason="Idle")
    assert written_when_quiet(space)


def test_the_rights_of_the_chart_are_enough(space: Space) -> None:
    space.create(claim(), pipeline("p", job("train"), deploy("release", "train"), workspace={"size": "1Gi"}))
    space.succeeded("p-1")
    refused = [event for event in space.plane.audited(space.namespace) if event["responseStatus"]["code"] == 403]
    assert not refused


def written_when_quiet(space: Space) -> list[str]:
    """Give the operator's writes in a namespace, once it is sure that no more come."""
    writes = space.plane.writes(space.namespace)
    always(lambda: space.plane.writes(space.namespace) == writes, "no write though nothing changes", during=QUIET)
    return writes
