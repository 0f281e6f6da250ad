"""Deployment and Service of a model are kept as declared, whoever edits or deletes them; others' are left alone."""

from __future__ import annotations

from typing import Any

import pytest

from tests.integration.system.objects import claim, foreign_deployment, foreign_service, model_deployment
from tests.integration.system.space import Body, Space, always, condition, eventually

QUIET = 3.0
"""Seconds in which the operator would have touched what is not its own."""

EDITS: dict[str, tuple[str, Body]] = {
    "replicas": ("Deployment", {"spec": {"replicas": 3}}),
    "paused": ("Deployment", {"spec": {"paused": True}}),
    "strategy": ("Deployment", {"spec": {"strategy": {"type": "Recreate", "rollingUpdate": None}}}),
    "label of ours": ("Deployment", {"metadata": {"labels": {"rondo.dev/modeldeployment": "other"}}}),
    "label of ours removed": ("Deployment", {"metadata": {"labels": {"app.kubernetes.io/managed-by": None}}}),
    "origin of the revision": ("Deployment", {"metadata": {"annotations": {"rondo.dev/revision-origin": "{}"}}}),
    "selector of the Service": ("Service", {"spec": {"selector": {"rondo.dev/modeldeployment": "other"}}}),
    "port of the Service": ("Service", {"spec": {"ports": [{"name": "http", "port": 81, "targetPort": 99}]}}),
    "label of the Service": ("Service", {"metadata": {"labels": {"app.kubernetes.io/instance": "other"}}}),
}


@pytest.fixture
def served(space: Space) -> Space:
    """A namespace in which model `m` is served."""
    space.create(claim(), model_deployment("m"))
    space.until_condition("ModelDeployment", "m", "Ready", status="True")
    return space


@pytest.mark.parametrize("kind", ["Deployment", "Service"])
def test_what_is_deleted_by_hand_comes_back(served: Space, kind: str) -> None:
    before = _get(served, kind)
    served.delete(kind, "m")
    eventually(lambda: _uid(served, kind) not in {None, before["metadata"]["uid"]}, f"a new {kind}")
    _until_as(served, before)
    served.until_condition("ModelDeployment", "m", "Ready", status="True")


@pytest.mark.parametrize(("kind", "edit"), EDITS.values(), ids=EDITS)
def test_what_is_edited_by_hand_is_put_back(served: Space, kind: str, edit: Body) -> None:
    before = _get(served, kind)
    served.patch(kind, "m", edit)
    _until_as(served, before)
    assert _uid(served, kind) == before["metadata"]["uid"]
    served.until_condition("ModelDeployment", "m", "Ready", status="True")


def test_another_image_is_put_back_and_so_are_the_pods(served: Space) -> None:
    before = _get(served, "Deployment")
    containers = [{**before["spec"]["template"]["spec"]["containers"][0], "image": "other"}]
    served.patch("Deployment", "m", {"spec": {"template": {"spec": {"containers": containers}}}})
    _until_as(served, before)
    eventually(lambda: _images(served) == ["serves"], "the pods to have the image that is declared")
    served.until_condition("ModelDeployment", "m", "Ready", status="True")


def test_what_others_add_stays(served: Space) -> None:
    """An injector's or a person's own labels and annotations are none of ours."""
    for kind in ("Deployment", "Service"):
        served.patch(kind, "m", {"metadata": {"labels": {"team": "x"}, "annotations": {"note": "y"}}})
        served.patch(kind, "m", {"metadata": {"labels": {"app.kubernetes.io/instance": "other"}}})
        _until_labelled(served, kind)
        assert _label(served, kind, "team") == "x"
        assert _get(served, kind)["metadata"]["annotations"]["note"] == "y"


@pytest.mark.parametrize("foreign", [foreign_deployment("m"), foreign_service("m")], ids=lambda body: str(body["kind"]))
def test_what_belongs_to_somebody_else_is_left_alone(space: Space, foreign: Body) -> None:
    space.create(claim(), foreign)
    before = _own(_get(space, foreign["kind"]))
    space.create(model_deployment("m"))
    said = space.until_condition("ModelDeployment", "m", "Stalled", status="True", reason="NameConflict")
    assert f"{foreign['kind']} {space.namespace}/m exists and belongs to somebody else" in said["message"]
    always(lambda: _own(_get(space, foreign["kind"])) == before, "it is as it was", during=QUIET)
    thing = space.get("ModelDeployment", "m") or {}
    assert condition(thing, "Ready")["status"] == "False"
    assert condition(thing, "Available")["status"] == "False"
    space.delete(foreign["kind"], "m")
    space.patch(
        "ModelDeployment", "m", {"metadata": {"annotations": {"look": "again"}}}
    )  # else it does in half a minute
    space.until_condition("ModelDeployment", "m", "Ready", status="True")


def test_scale_sets_the_number_of_pods(served: Space) -> None:
    for replicas in (3, 0, 1):
        served.scale("ModelDeployment", "m", replicas)
        served.until_condition("ModelDeployment", "m", "Ready", status="True")
        _until_scaled(served, replicas)
    assert _get(served, "Deployment")["spec"]["replicas"] == 1


def _get(space: Space, kind: str) -> Body:
    found = space.get(kind, "m")
    assert found is not None
    return found


def _uid(space: Space, kind: str) -> str | None:
    uid: str | None = (space.get(kind, "m") or {}).get("metadata", {}).get("uid")
    return uid


def _label(space: Space, kind: str, key: str) -> str | None:
    label: str | None = _get(space, kind)["metadata"].get("labels", {}).get(key)
    return label


def _images(space: Space) -> list[str]:
    return [pod["spec"]["containers"][0]["image"] for pod in space.items("Pod")]


def _until_labelled(space: Space, kind: str) -> None:
    eventually(lambda: _label(space, kind, "app.kubernetes.io/instance") == "m", "our label to be put back")


def _until_scaled(space: Space, replicas: int) -> None:
    """Wait until there are so many pods, and `scale` tells it."""
    eventually(lambda: len(space.items("Pod")) == replicas, f"{replicas} pods")
    eventually(lambda: space.scaled("ModelDeployment", "m") == (replicas, replicas), "scale to tell them")


def _until_as(space: Space, before: Body) -> None:
    """Wait until an object is declared as it was."""
    kind = before["kind"]
    eventually(lambda: _declared(space.get(kind, "m")) == _declared(before), f"{kind} m to be as it was")


def _declared(thing: Body | None) -> Any:
    """Give what is declared of an object, without what the API server or the operator writes anew."""
    if thing is None:
        return None
    metadata = thing["metadata"]
    labels = {key: value for key, value in metadata["labels"].items() if key != "rondo.dev/applied"}
    annotations = {k: v for k, v in metadata.get("annotations", {}).items() if k.startswith("rondo.dev/")}
    spec = {key: value for key, value in thing["spec"].items() if not key.startswith("clusterIP")}
    return labels, annotations, [owner["uid"] for owner in metadata["ownerReferences"]], spec


def _own(thing: Body) -> Any:
    """Give what nobody but its owner may change."""
    metadata = {key: thing["metadata"].get(key) for key in ("uid", "generation", "labels", "ownerReferences")}
    return metadata, thing["spec"]
