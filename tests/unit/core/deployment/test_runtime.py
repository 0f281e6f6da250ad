"""What is said of a ModelRuntime."""

from __future__ import annotations

from typing import Any

import pytest

from rondo.core.conditions import find
from rondo.core.deployment.runtime import observe_runtime, plan_runtime
from rondo.core.plan import Plan
from rondo.core.resources import MODEL_RUNTIME
from rondo.core.view import Key
from tests.unit.core.deployment.builders import runtime
from tests.unit.core.deployment.world import START, World

KEY = Key(MODEL_RUNTIME, "", "sklearn")

CASES: dict[str, tuple[dict[str, Any], str]] = {
    "sound": ({}, ""),
    "unknown reference": ({"server": {"args": ["$(model.uri)"]}}, "spec.server: $(model.uri): there is no uri"),
    "no image": ({"server": {"image": None}}, "spec.server.image: give the image"),
    "no port": ({"server": {"ports": []}}, "spec.server.ports: give the port"),
    "unknown field": ({"gpu": 1}, "spec.gpu: there is no such field"),
    "unknown protocol": ({"protocol": "gRPC"}, "spec.protocol"),
}


@pytest.mark.parametrize(("spec", "want"), CASES.values(), ids=CASES.keys())
def test_a_mistake_shows_on_the_runtime_itself(spec: dict[str, Any], want: str) -> None:
    world = World()
    thing = world.put(runtime(**spec))
    snapshot = observe_runtime(world, KEY)
    assert snapshot is not None
    plan = plan_runtime(snapshot, START)
    assert plan.status is not None
    accepted = find(plan.status["conditions"], "Accepted") or {}
    ready = find(plan.status["conditions"], "Ready") or {}
    assert accepted["status"] == ready["status"] == ("False" if want else "True")
    assert want in accepted["message"]
    assert (find(plan.status["conditions"], "Stalled") is not None) == bool(want)
    thing["status"] = plan.status
    again = observe_runtime(world, KEY)
    assert again is not None
    assert plan_runtime(again, START) == Plan()
