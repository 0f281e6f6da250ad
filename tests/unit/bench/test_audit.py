"""What the benchmark reads from an audit log."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.bench.audit import count_writes, hand_offs, read

NEEDS: dict[str, tuple[str, ...]] = {"a": (), "b": (), "c": ("a", "b")}
JOBS = {f"r-{stage}-1": ("r", stage) for stage in NEEDS}


def line(second: float, verb: str, resource: str, name: str, *, by: str = "rondo/1", **more: object) -> str:
    group, _, part = resource.partition("/")
    at = f"2030-01-01T00:00:{second:09.6f}Z"
    about = {"resource": group, "namespace": "n", "name": name, **({"subresource": part} if part else {})}
    event = {
        "verb": verb, "userAgent": by, "objectRef": about, "responseStatus": {"code": 200},
        "user": {"username": "localcluster:kwok" if by == "kwok" else "admin"},
        "requestReceivedTimestamp": at, "stageTimestamp": at, **more,
    }  # fmt: skip
    return json.dumps(event, separators=(",", ":")) + "\n"


@pytest.fixture
def log(tmp_path: Path) -> Path:
    refused = line(9, "create", "jobs", "x", responseStatus={"code": 409})
    elsewhere = line(9, "create", "jobs", "x", objectRef={"resource": "jobs", "namespace": "other", "name": "x"})
    log = tmp_path / "audit.log"
    log.write_text(
        line(1, "create", "jobs", "r-a-1")
        + line(1, "create", "jobs", "r-b-1")
        + line(2, "patch", "pods/status", "r-a-1-abcde", by="kwok")
        + line(3, "patch", "pods/status", "r-a-1-abcde", by="kwok")
        + line(4.25, "patch", "pods/status", "r-b-1-abcde", by="kwok")
        + line(4.3, "update", "pipelineruns/status", "r")
        + line(4.5, "create", "jobs", "r-c-1")
        + line(4.6, "get", "jobs", "r-c-1")
        + line(5, "create", "jobs", "foreign", by="kubectl/1")
        + refused
        + elsewhere
    )
    return log


def test_writes_of_one_client_in_one_namespace_are_counted_if_they_were_accepted(log: Path) -> None:
    assert count_writes(read(log, "n"), "rondo/") == {"create jobs": 3, "update pipelineruns/status": 1}


def test_a_hand_off_is_the_time_from_the_last_pod_that_a_job_waited_for_to_its_creation(log: Path) -> None:
    assert hand_offs(read(log, "n"), "rondo/", JOBS, NEEDS) == pytest.approx([0.25])


def test_jobs_of_others_are_no_hand_offs(log: Path) -> None:
    assert hand_offs(read(log, "n"), "bench", JOBS, NEEDS) == []
