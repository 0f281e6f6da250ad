"""The health check of docs/how-to/gitops.md says of what the operator writes what Argo CD is to know."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from lupa.lua51 import LuaRuntime  # type: ignore[import-untyped]  # it comes without types; Argo CD's Lua is of 5.1

from rondo.api.kinds import KINDS
from rondo.core import conditions
from rondo.core.conditions import Condition, Status

PAGE = Path(__file__).parents[3] / "docs/how-to/gitops.md"
KEY = "resource.customizations.health.rondo.dev_"

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def checks() -> dict[str, str]:
    """Give the health checks of the page, by kind."""
    blocks = re.findall(r"^```yaml\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    documents = [yaml.safe_load(block) for block in blocks]
    (data,) = [document["data"] for document in documents if document.get("kind") == "ConfigMap"]
    return {key.removeprefix(KEY): check for key, check in data.items()}


def health(status: Any, *, generation: int = 2) -> tuple[str, str]:
    """Give the health and its message of an object with a status."""
    thing = {"metadata": {"generation": generation}, **({} if status is None else {"status": status})}
    lua = LuaRuntime()
    check = lua.eval(f"function(obj)\n{checks()['ModelGraph']}\nend")
    found = check(lua.table_from(thing, recursive=True))
    return found.status, found.message


def status_of(*said: Condition, observed: int = 2) -> Any:
    return {
        "observedGeneration": observed,
        "conditions": conditions.merge((), said, generation=observed, at=NOW),
    }


def test_every_kind_has_the_same_check() -> None:
    found = checks()
    assert set(found) == {kind.name for kind in KINDS}
    assert len(set(found.values())) == 1


SUCCEEDED = Condition("Succeeded", Status.TRUE, "Succeeded")
FAILED = Condition("Succeeded", Status.FALSE, "ExitCode")
RUNNING = Condition("Succeeded", Status.UNKNOWN, "Running")
STATUSES = {
    "ready": (conditions.ready(reason="Ready", message="2 routers serve"), "Healthy", "2 routers serve"),
    "ready without words": (conditions.ready(reason="Idle"), "Healthy", "Idle"),
    "ready in part": (
        (Condition("Degraded", Status.TRUE, "ImagePull"), *conditions.ready(reason="Degraded", message="it answers")),
        "Healthy",
        "it answers",
    ),
    "reconciling": (conditions.reconciling(reason="ImagePull", message="not found"), "Progressing", "not found"),
    "of use meanwhile, and reconciling": (
        conditions.reconciling(reason="RollingOut", message="1/2", ready_now=Status.UNKNOWN),
        "Progressing",
        "1/2",
    ),
    "stalled": (conditions.stalled(reason="Invalid", message="no stage x"), "Degraded", "no stage x"),
    "a run that goes on": ((RUNNING, *conditions.reconciling(reason="Running", message="1/6")), "Progressing", "1/6"),
    "a run that succeeded": ((SUCCEEDED, *conditions.ready(reason="Succeeded")), "Healthy", "Succeeded"),
    "a run that failed": ((FAILED, *conditions.stalled(reason="ExitCode", message="1")), "Degraded", "1"),
}


@pytest.mark.parametrize(("said", "want", "message"), STATUSES.values(), ids=STATUSES.keys())
def test_health(said: Sequence[Condition], want: str, message: str) -> None:
    assert health(status_of(*said)) == (want, message)


@pytest.mark.parametrize(
    "status",
    [None, {"observedGeneration": -1}, status_of(*conditions.ready(reason="Ready"), observed=1), {"conditions": []}],
    ids=["none", "fresh", "of an older spec", "without a generation"],
)
def test_a_spec_that_nobody_has_looked_at_is_progressing(status: Any) -> None:
    assert health(status) == ("Progressing", "the operator has not looked at this spec yet")


def test_a_status_that_says_nothing_is_progressing() -> None:
    assert health({"observedGeneration": 2}) == ("Progressing", "")
