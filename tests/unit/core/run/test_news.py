"""Which views of Jobs and pods move a run on at once, and which can be gathered for a moment."""

from __future__ import annotations

from typing import Any

import pytest

from rondo.core import names
from rondo.core.run.item_index import INDEX_LABEL
from rondo.core.run.news import is_minor_job, is_minor_pod

RUN = {names.RUN: "r"}
ITEM = {**RUN, INDEX_LABEL: "3"}


def pod(
    phase: str | None, labels: dict[str, str], conditions: tuple[str, ...] = (), *, going: bool = False
) -> dict[str, Any]:
    status = {"conditions": [{"type": each, "status": "True"} for each in conditions]}
    return {
        "metadata": {"labels": labels, **_deletion(going=going)},
        "status": {**status, **({"phase": phase} if phase else {})},
    }


def job(
    *conditions: str, mode: str = "NonIndexed", going: bool = False, labels: dict[str, str] = RUN
) -> dict[str, Any]:
    status = {"conditions": [{"type": each, "status": "True"} for each in conditions]}
    return {
        "metadata": {"labels": labels, **_deletion(going=going)},
        "spec": {"completionMode": mode},
        "status": status,
    }


def _deletion(*, going: bool) -> dict[str, str]:
    return {"deletionTimestamp": "2030-01-01T00:00:00Z"} if going else {}


@pytest.mark.parametrize(
    ("thing", "minor"),
    [
        (pod(None, RUN), True),
        (pod("Pending", RUN, ("PodScheduled",)), True),
        (pod("Running", RUN), True),
        (pod("Succeeded", RUN), False),
        (pod("Failed", RUN), False),
        (pod("Unknown", RUN), False),
        (pod("Running", RUN, going=True), False),
        (pod("Running", RUN, ("DisruptionTarget",)), False),
        (pod("Succeeded", ITEM), True),
        (pod("Running", ITEM, going=True), False),
        (pod("Running", {names.MODEL_DEPLOYMENT: "m"}), False),
    ],
)
def test_pods(thing: dict[str, Any], *, minor: bool) -> None:
    assert is_minor_pod(thing) is minor


@pytest.mark.parametrize(
    ("thing", "minor"),
    [
        (job(), True),
        (job("Complete"), True),
        (job("Suspended"), True),
        (job("Failed"), False),
        (job(going=True), False),
        (job(labels={}), False),
        (job(mode="Indexed"), True),
        (job("Complete", mode="Indexed"), False),
        (job("Failed", mode="Indexed"), False),
    ],
)
def test_jobs(thing: dict[str, Any], *, minor: bool) -> None:
    assert is_minor_job(thing) is minor
