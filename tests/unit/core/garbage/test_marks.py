"""Nothing that is referred to is ever garbage, whatever happens while a sweep is under way."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from rondo.artifacts.config import Sweep
from rondo.artifacts.sweep import Artifact, is_garbage
from rondo.core.garbage.marks import UnsettledError, take_marks

BEGIN = datetime(2026, 11, 1, tzinfo=UTC)
AGE = timedelta(hours=24)
CLAIM = "rondo-artifacts"


def uri(path: str) -> str:
    return f"pvc://{CLAIM}/{path}"


def marks_of(**fields: Any) -> Sweep:
    empty: dict[str, Any] = {"runs": (), "pipelines": (), "revisions": (), "others": ()}
    return take_marks(CLAIM, AGE.total_seconds(), BEGIN, **{**empty, **fields})


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("pvc://rondo-artifacts/digits/u/train-1/model", "digits/u/train-1/model"),
        ("a pvc://rondo-artifacts/digits/u/train-1/model, b", "digits/u/train-1/model"),
        ('{"uri":"pvc://rondo-artifacts/digits/u/train-1/model/part/"}', "digits/u/train-1/model/part"),
        ("pvc://rondo-artifacts-2/digits/u/train-1/model", None),
        ("pvc://other/digits/u/train-1/model", None),
    ],
)
def test_a_uri_marks_wherever_it_stands(text: str, path: str | None) -> None:
    others = [{"spec": {"anything": [{"x": text}]}}]
    assert marks_of(others=others).paths == (frozenset() if path is None else {path})


def test_a_pipeline_that_keeps_is_marked_by_name() -> None:
    kept = {"metadata": {"name": "digits"}, "spec": {"artifacts": {"retention": "Keep"}}}
    other = {"metadata": {"name": "other"}, "spec": {"artifacts": {"retention": "Referenced"}}}
    assert marks_of(pipelines=[kept, other]).pipelines == {"digits"}


def test_nothing_can_be_said_while_a_retry_is_about_to_take_over() -> None:
    retry = {"metadata": {"name": "again", "uid": "u"}, "spec": {"retryOf": "r"}}
    with pytest.raises(UnsettledError, match="run again has not taken over yet"):
        marks_of(runs=[retry])
    begun = {**retry, "status": {"stages": [{"name": "a"}]}}
    revision = {"data": {"origins": ["o1", "o2"]}}
    assert marks_of(runs=[begun], revisions=[revision]).runs == {"u", "o1", "o2"}


class World(RuleBasedStateMachine):
    """Runs store, end and are deleted, models are deployed and rolled back, retries take over, and a sweep goes on."""

    @initialize()
    def begin(self) -> None:
        self.now = BEGIN
        self.numbers = itertools.count()
        self.stored: dict[str, datetime] = {}
        self.runs: dict[str, dict[str, Any]] = {}
        self.models: dict[str, list[str]] = {}
        self.marks: Sweep | None = None

    # What happens -------------------------------------------------------------------------------------------

    @rule()
    def start_run(self) -> None:
        self.runs[self.new_uid()] = {"taken": [], "origins": []}

    @precondition(lambda self: self.runs)
    @rule(data=st.data(), stage=st.sampled_from(["a", "b"]))
    def store(self, data: st.DataObject, stage: str) -> None:
        uid = data.draw(st.sampled_from(sorted(self.runs)))
        self.stored[f"digits/{uid}/{stage}-1/model"] = self.now

    @precondition(lambda self: self.runs)
    @rule(data=st.data())
    def delete_run(self, data: st.DataObject) -> None:
        del self.runs[data.draw(st.sampled_from(sorted(self.runs)))]

    @precondition(lambda self: self.runs)
    @rule(data=st.data())
    def retry_run(self, data: st.DataObject) -> None:
        old = data.draw(st.sampled_from(sorted(self.runs)))
        taken = [*self.runs[old]["taken"], *(path for path in self.stored if f"/{old}/" in path)]
        self.runs[self.new_uid()] = {"taken": taken, "origins": [*self.runs[old]["origins"], old]}

    @precondition(lambda self: self.referable())
    @rule(data=st.data(), model=st.sampled_from(["m", "n"]))
    def deploy(self, data: st.DataObject, model: str) -> None:
        self.models.setdefault(model, []).append(data.draw(st.sampled_from(self.referable())))

    @precondition(lambda self: self.models)
    @rule(data=st.data())
    def roll_back(self, data: st.DataObject) -> None:
        history = self.models[data.draw(st.sampled_from(sorted(self.models)))]
        history.append(data.draw(st.sampled_from(history)))
        del history[:-3]

    @rule(hours=st.sampled_from([1, 11, 30]))
    def pass_time(self, hours: int) -> None:
        self.now += timedelta(hours=hours)

    @rule()
    def take_marks(self) -> None:
        runs = [{"metadata": {"name": uid, "uid": uid}, "spec": {}} for uid in self.runs]
        revisions = [{"data": {"origins": run["origins"]}} for run in self.runs.values()]
        revisions += [{"data": {"uri": uri(path)}} for history in self.models.values() for path in history]
        self.marks = take_marks(
            CLAIM, AGE.total_seconds(), self.now, runs=runs, pipelines=(), revisions=revisions, others=()
        )

    @precondition(lambda self: self.marks is not None)
    @rule()
    def sweep(self) -> None:
        assert self.marks is not None
        if (self.now - BEGIN).total_seconds() - (self.marks.at - BEGIN.timestamp()) > self.marks.age / 2:
            return  # the sweep refuses them
        for path, written in list(self.stored.items()):
            if is_garbage(Artifact(path, (self.now - written).total_seconds()), self.marks):
                del self.stored[path]

    # What holds ---------------------------------------------------------------------------------------------

    @invariant()
    def all_that_is_referred_to_is_there(self) -> None:
        if not hasattr(self, "models"):
            return
        served = {path for history in self.models.values() for path in history}
        taken = {path for run in self.runs.values() for path in run["taken"]}
        assert served | taken <= set(self.stored)

    def teardown(self) -> None:
        """All that nobody refers to goes in the end."""
        if not hasattr(self, "models"):
            return
        self.now += timedelta(hours=48)
        self.take_marks()
        self.sweep()
        uids = {*self.runs, *(uid for run in self.runs.values() for uid in run["origins"])}
        served = {path for history in self.models.values() for path in history}
        assert all(path in served or path.split("/")[1] in uids for path in self.stored)

    def new_uid(self) -> str:
        return f"00000000-0000-4000-8000-{next(self.numbers):012}"

    def referable(self) -> list[str]:
        """What a person or a run can deploy: what a live run has stored, or what already serves somewhere."""
        served = {path for history in self.models.values() for path in history}
        return sorted(path for path in self.stored if path.split("/")[1] in self.runs or path in served)


TestWorld = World.TestCase
TestWorld.settings = settings(max_examples=200, stateful_step_count=40, deadline=None)
