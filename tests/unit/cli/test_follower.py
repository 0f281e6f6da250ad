"""Which run is meant, and what it deployed: the decisions of `rondo watch` that need no cluster."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from rondo.api.pipeline import LastRun
from rondo.cli.cluster import DEPLOYMENTS, GRAPHS, PIPELINES, RUNS, RefusedError
from rondo.cli.errors import FAILED, UNKNOWN, CommandError
from rondo.cli.follower import DEPLOYED_BY, deployed_by, find, newest_run, parse_target, watch
from rondo.cli.progress import Object
from rondo.cli.screen import Lines
from rondo.core.run import deploy_stage
from tests.unit.cli.builders import NOW, deployment, ended, pipeline, run, said


@pytest.mark.parametrize(
    ("target", "want"),
    [
        ("digits", (None, "digits")),
        ("pipeline/digits", (PIPELINES, "digits")),
        ("pl/digits", (PIPELINES, "digits")),
        ("pipelines.rondo.dev/digits", (PIPELINES, "digits")),
        ("PipelineRun/digits-1", (RUNS, "digits-1")),
        ("run/digits-1", (RUNS, "digits-1")),
        ("graph/vote", (GRAPHS, "vote")),
        ("mg/vote", (GRAPHS, "vote")),
        ("modeldeployments.rondo.dev/digits", (DEPLOYMENTS, "digits")),
    ],
)
def test_target(target: str, want: tuple[str | None, str]) -> None:
    assert parse_target(target) == want


def test_other_kinds_are_refused() -> None:
    words = "pod/x: pod cannot be watched, only pipeline/NAME, run/NAME, graph/NAME or model/NAME"
    with pytest.raises(CommandError, match=words):
        parse_target("pod/x")


RECONCILING = [said("Ready", "False", "RunBlocked", "quota"), said("Reconciling", "True", "RunBlocked", "quota")]
LAST = LastRun(name="digits-1")

FOUND: dict[str, tuple[dict[str, Any], str | None]] = {
    "the newest run": (pipeline(said("Ready", "True"), last_run=LAST), "digits-1"),
    "not of an older spec": (pipeline(said("Ready", "True"), last_run=LAST, generation=2), None),
    "a run that is about to be made": (pipeline(*RECONCILING), None),
    "a failed run is a run": (
        pipeline(said("Ready", "False", "UserError"), said("Stalled", "True", "UserError"), last_run=LAST),
        "digits-1",
    ),
}


@pytest.mark.parametrize(("given", "want"), FOUND.values(), ids=FOUND.keys())
def test_newest_run(given: dict[str, Any], want: str | None) -> None:
    assert newest_run(given) == want


INVALID = said("Accepted", "False", "Invalid", "spec.stages: cycle")
MISSING = said("Ready", "False", "MissingParams", "no value for a")

NONE = {
    "invalid, whatever ran before": (
        pipeline(INVALID, said("Ready", "False", "Invalid", "spec.stages: cycle"), last_run=LAST),
        FAILED,
        "cannot run: spec.stages: cycle",
    ),
    "a parameter has no value": (pipeline(MISSING, said("Stalled", "True")), FAILED, "cannot run: no value for a"),
    "nothing starts one": (pipeline(said("Ready", "True", "Accepted")), UNKNOWN, "has no run yet"),
}


@pytest.mark.parametrize(("given", "code", "words"), NONE.values(), ids=NONE.keys())
def test_no_run_will_come(given: dict[str, Any], code: int, words: str) -> None:
    with pytest.raises(CommandError, match=words) as caught:
        newest_run(given)
    assert caught.value.code == code


def test_deployed_by_this_run_and_not_by_one_of_its_name() -> None:
    ours = deployment(deployed_by="digits-1/release/uid-of-digits-1")
    older = deployment(deployed_by="digits-1/release/another-uid")
    assert deployed_by(run(), [ours, older, deployment()]) == ["digits"]


class Here:
    """A cluster with some objects, which refuses to list graphs."""

    namespace = "team"

    def __init__(self, refusal: int, **objects: list[Object]) -> None:
        self.refusal = refusal
        self.objects = objects

    def list(self, plural: str) -> list[Object]:
        if plural == GRAPHS:
            raise RefusedError(f"no {plural}", self.refusal)
        return self.objects.get(plural, [])

    def get(self, plural: str, name: str) -> Object | None:
        return next((each for each in self.list(plural) if each["metadata"]["name"] == name), None)

    def follow(self, plural: str, name: str, **_: Any) -> Iterator[Object | None]:
        yield self.get(plural, name)


READY = deployment(said("Ready", "True", "Ready", "1/1 pods serve"), deployed_by="digits-1/release/uid-of-digits-1")


@pytest.mark.parametrize(("refusal", "notes"), [(404, []), (403, ["no modelgraphs; graphs are not followed"])])
def test_a_run_is_followed_where_graphs_cannot_be_listed(refusal: int, notes: list[str]) -> None:
    here = Here(refusal, pipelineruns=[ended("True", "1/1 stages succeeded")], modeldeployments=[READY])
    told: list[str] = []
    assert watch(here, "run/digits-1", Lines(told.append, lambda: NOW)) == 0  # type: ignore[arg-type]
    assert told == [
        "digits-1 Succeeded after 1m00s: 1/1 stages succeeded",
        *notes,
        "ModelDeployment digits Ready: 1/1 pods serve",
    ]


@pytest.mark.parametrize(("refusal", "words"), [(404, "there is no Pipeline, "), (403, "no modelgraphs")])
def test_a_bare_name_is_found_where_graphs_cannot_be_listed(refusal: int, words: str) -> None:
    here: Any = Here(refusal, modeldeployments=[READY])
    assert find(here, "digits") == (DEPLOYMENTS, "digits")
    with pytest.raises(CommandError, match=words):
        find(here, "else")
    with pytest.raises(CommandError, match="no modelgraphs"):
        find(here, "graph/digits")


def test_annotation_is_the_one_that_the_operator_writes() -> None:
    assert DEPLOYED_BY == deploy_stage.DEPLOYED_BY
