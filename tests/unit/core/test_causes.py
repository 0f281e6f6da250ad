"""Root causes of what a real cluster left behind, recorded by `python -m tests.recorded`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from rondo.core import causes
from rondo.core.causes import Cause, Reason
from rondo.core.remedies import with_remedy
from rondo.core.run.trims import trim_pod

RECORDED = Path(__file__).parent / "recorded"

TOLD: dict[str, dict[str, str]] = yaml.safe_load((RECORDED.parent / "told.yaml").read_text())
"""What each record has to be told as: the reason, and the end of the message, remedy and all."""


def recorded(name: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    record = yaml.safe_load((RECORDED / f"{name}.yaml").read_text())
    return record["pod"], record["events"]


def cause_of(name: str) -> Cause | None:
    """Ask as the planners do: the pod first, and the Events where it does not tell."""
    pod, events = recorded(name)
    if not pod:
        return causes.creation_failure(events)
    if pod["status"]["phase"] == "Failed":
        return causes.why_failed(pod)
    cause = causes.disruption(pod) or causes.why_waiting(pod)
    if cause is not None and cause.reason is Reason.STARTING:
        return causes.from_events(pod, events) or cause
    return cause


def test_every_record_is_in_the_table() -> None:
    assert {path.stem for path in RECORDED.glob("*.yaml")} == set(TOLD)


@pytest.mark.parametrize("name", TOLD)
def test_cause_is_told_with_object_and_remedy(name: str) -> None:
    cause = cause_of(name)
    assert cause is not None
    assert cause.reason == TOLD[name]["reason"]
    assert cause.message.endswith(TOLD[name]["message"])
    assert name in cause.message  # the pod's name, which a Job's pod begins with


@pytest.mark.parametrize("name", TOLD)
def test_message_is_short_enough_for_a_condition(name: str) -> None:
    cause = cause_of(name)
    assert cause is not None
    assert len(cause.message) < 1024


@pytest.mark.parametrize("name", ["evicted-api", "preempted", "node-tainted", "node-deleted"])
def test_disruption_is_free_for_the_retry_budget(name: str) -> None:
    cause = cause_of(name)
    assert cause is not None
    assert cause.reason in causes.DISRUPTIONS


def test_only_an_image_name_that_cannot_be_right_is_not_waited_for() -> None:
    for name, fatal in {"image-name": True, "image-unreachable": False, "image-back-off": False}.items():
        pod, _ = recorded(name)
        cause = causes.why_waiting(pod)
        assert cause is not None
        assert causes.fatal_wait(cause, pod) is fatal


def test_pod_whose_own_readiness_gate_is_open_is_not_taken_for_one_on_a_lost_node() -> None:
    pod, _ = recorded("node-silent")
    ready = next(c for c in pod["status"]["conditions"] if c["type"] == "Ready")
    ready["reason"] = "ReadinessGatesNotReady"
    assert causes.silent_node(pod) is None


@pytest.mark.parametrize(
    ("reason", "message", "remedy"),
    [
        ("ImagePull", "pull access denied, repository does not exist", "check imagePullSecrets"),
        ("ImagePull", 'failed to resolve reference "a.example.com/b:9": b:9: not found', "no such name or tag"),
        ("ConfigError", 'exec: "/run.sh": permission denied', "/run.sh is not executable"),
        ("Evicted", "Pod ephemeral local storage usage exceeds the total limit", "raise resources.limits"),
    ],
)  # fmt: skip
def test_remedy_of_words_that_no_cluster_of_the_tests_says(reason: str, message: str, remedy: str) -> None:
    assert remedy in with_remedy(reason, message)


def test_cause_without_a_sure_remedy_stands_alone() -> None:
    assert with_remedy("UserError", "exit code 3: secret not found") == "exit code 3: secret not found"


@pytest.mark.parametrize("reason", Reason)
def test_every_reason_is_explained_in_the_docs(reason: Reason) -> None:
    page = Path(__file__).parents[3] / "docs" / "how-to" / "troubles.md"
    assert f"`{reason.value}`" in page.read_text()


def test_a_silent_node_is_told_of_the_pods_that_are_kept_in_memory() -> None:
    pod, _ = recorded("node-silent")
    kept = trim_pod({**pod, "spec": {**pod["spec"], "nodeName": "node-1"}})
    cause = causes.silent_node(kept)
    assert cause is not None
    assert cause.message == "pod node-silent: its node node-1 does not answer"
