"""Whether what was declared is what is there."""

from __future__ import annotations

from typing import Any

import pytest

from rondo.core.deployment.drift import needs_apply

CASES: dict[str, tuple[dict[str, Any], dict[str, Any], str | None]] = {
    "equal": ({"a": 1}, {"a": 1}, None),
    "others' fields": ({"a": 1}, {"a": 1, "b": 2}, None),
    "other value": ({"a": {"b": 1}}, {"a": {"b": 2}}, "spec.a.b"),
    "absent": ({"a": {"b": 1}}, {}, "spec.a"),
    "false that is left out": ({"paused": False}, {}, None),
    "empty that is left out": ({"a": {"env": [], "x": "", "y": {}}}, {"a": {}}, None),
    "zero is not absent": ({"replicas": 0}, {"replicas": 1}, "spec.replicas"),
    "quantity": ({"resources": {"requests": {"cpu": "1000m"}}}, {"resources": {"requests": {"cpu": "1"}}}, None),
    "quantity as a number": ({"limits": {"cpu": 2}}, {"limits": {"cpu": "2"}}, None),
    "devices": ({"limits": {"nvidia.com/gpu": 1}}, {"limits": {"nvidia.com/gpu": "1"}}, None),
    "quantity with an exponent": ({"limits": {"memory": "1e3"}}, {"limits": {"memory": "1k"}}, None),
    "quantity in other units": ({"limits": {"memory": "1Gi"}}, {"limits": {"memory": "1024Mi"}}, None),
    "nearly the same quantity": ({"limits": {"memory": "1G"}}, {"limits": {"memory": "1Gi"}}, "spec.limits.memory"),
    "no quantity": ({"limits": {"memory": "x"}}, {"limits": {"memory": "y"}}, "spec.limits.memory"),
    "like a quantity": ({"env": [{"name": "A", "value": "1000m"}]}, {"env": [{"name": "A", "value": "1"}]},
                        "spec.env[A].value"),
    "size": ({"emptyDir": {"sizeLimit": "1024Mi"}}, {"emptyDir": {"sizeLimit": "1Gi"}}, None),
    "list by name in another order": (
        {"env": [{"name": "A", "value": "1"}]}, {"env": [{"name": "B"}, {"name": "A", "value": "1"}]}, None,
    ),
    "item that is gone": ({"env": [{"name": "A", "value": "1"}]}, {"env": [{"name": "B"}]}, "spec.env[A]"),
    "list as a whole": ({"args": ["a"]}, {"args": ["a", "b"]}, "spec.args"),
    "item of a list as a whole": ({"args": ["a", "b"]}, {"args": ["a", "c"]}, "spec.args[1]"),
    "ports of a container": (
        {"ports": [{"containerPort": 1, "name": "http"}]},
        {"ports": [{"containerPort": 1, "name": "http", "protocol": "TCP"}]}, None,
    ),
    "ports of a service": ({"ports": [{"port": 80, "targetPort": "http"}]},
                           {"ports": [{"port": 80, "targetPort": "x"}]}, "spec.ports[80].targetPort"),
    "another type": ({"a": {"b": 1}}, {"a": "b"}, "spec.a"),
}  # fmt: skip


@pytest.mark.parametrize(("declared", "found", "want"), CASES.values(), ids=CASES.keys())
def test_the_first_difference_is_named(declared: dict[str, Any], found: dict[str, Any], want: str | None) -> None:
    assert needs_apply({"metadata": {}, "spec": declared}, {"metadata": {}, "spec": found}) == want


def test_labels_annotations_and_owners_are_compared_too() -> None:
    owner = {"uid": "1", "kind": "ModelDeployment"}
    metadata = {"labels": {"a": "1"}, "annotations": {"b": "2"}, "ownerReferences": [owner]}
    assert needs_apply({"metadata": metadata, "spec": {}}, {"metadata": metadata, "spec": {}}) is None
    for key in metadata:
        found = {name: value for name, value in metadata.items() if name != key}
        where = needs_apply({"metadata": metadata, "spec": {}}, {"metadata": found, "spec": {}})
        assert where == f"metadata.{key}"
