"""Random pipelines under random trouble: what holds whatever happens.

No stage starts before what it waits for; none runs twice for one attempt; what has ended stays as it is; nothing is
written when nothing has changed; every run ends, and its `finally` with it. How many runs are tried says
`RONDO_TEST_EXAMPLES`.
"""

from __future__ import annotations

import contextlib
import json
import os
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from rondo.api.pipeline import PipelineSpec
from rondo.core import names
from rondo.core.pipeline.validation import validate
from rondo.core.pipeline.wiring import Tie, Wiring, wire
from rondo.core.plan import Resource
from rondo.core.resources import JOB, PIPELINE_RUN, POD
from tests.unit.core.builders import inline_run, job
from tests.unit.core.cluster import Cluster, CrashError, Operator

TERMINAL = {"Succeeded", "Failed", "Skipped", "Cancelled"}
ENDED = {"Succeeded", "Failed"}
PARAMS = [{"name": "deep", "type": "boolean", "default": False}]
RESULT = [{"name": "n", "type": "integer"}, {"name": "m", "type": "integer", "default": 1}]
STAGES = ["a", "b", "c", "d", "e"]
FINAL = ["y", "z"]


@st.composite
def stage_specs(draw: st.DrawFn, name: str, earlier: list[str]) -> dict[str, Any]:
    """Draw a stage that may wait for earlier ones in any way."""
    others = st.lists(st.sampled_from(earlier), unique=True, max_size=2) if earlier else st.just([])
    needs, after = draw(others), draw(others)
    after = [other for other in after if other not in needs]
    fields: dict[str, Any] = {**({"needs": needs} if needs else {}), **({"after": after} if after else {})}
    seen = draw(st.sampled_from(earlier)) if earlier else ""
    conditions = ["params.deep", "!params.deep", *([f"stages.{seen}.state != 'Succeeded'"] if seen else [])]
    if when := draw(st.sampled_from([None, None, None, *conditions])):
        fields["when"] = when
    if draw(st.integers(0, 5)) == 0:
        return {"name": name, "wait": "30s", **fields}
    if draw(st.integers(0, 4)) == 0:
        fields["continueOnFailure"] = True
    if draw(st.booleans()):
        fields["retry"] = {"limit": draw(st.integers(1, 2)), "backoff": "5s", "maxDisruptions": 3}
    args = []
    if draw(st.integers(0, 3)) == 0:
        fields["forEach"] = {
            "items": [1, 2, 3],
            "maxFailed": draw(st.integers(0, 1)),
            "parallelism": draw(st.integers(1, 3)),
        }
        args = ["$(item.value)"]
    elif draw(st.booleans()):
        fields["results"] = RESULT
    return job(name, job={"args": args} if args else {}, **fields)


@st.composite
def pipelines(draw: st.DrawFn) -> dict[str, Any]:
    """Draw the spec of a pipeline that validation accepts."""
    count = draw(st.integers(1, len(STAGES)))
    stages = [draw(stage_specs(name, STAGES[:index])) for index, name in enumerate(STAGES[:count])]
    final = FINAL[: draw(st.integers(0, 2))]
    cleanup = [draw(stage_specs(name, final[:index])) for index, name in enumerate(final)]
    policy = draw(st.sampled_from(["Finish", "Cancel", "Continue"]))
    limit = {"timeout": "10m"} if draw(st.integers(0, 3)) == 0 else {}
    return {"stages": stages, "finally_": cleanup, "onStageFailure": policy, "params": PARAMS, **limit}


class Runs(RuleBasedStateMachine):
    """One run, its pods, its operator, and everything that can happen to them."""

    @initialize(fields=pipelines(), lingering=st.booleans())
    def begin(self, fields: dict[str, Any], lingering: bool) -> None:  # noqa: FBT001
        self.cluster = Cluster(lingering=lingering)
        body = inline_run(*fields.pop("stages"), **fields)
        spec = PipelineSpec.model_validate(body["spec"]["pipeline"]["spec"])
        assert validate(spec) == []
        self.wiring: Wiring = wire(spec)
        self.cluster.create(body)
        self.operator = Operator(self.cluster)
        self.known: dict[str, dict[str, Any]] = {}
        self.jobs: dict[str, str] = {}

    # What happens -------------------------------------------------------------------------------------------

    @rule()
    def look(self) -> None:
        self.operator.reconcile_run("r")

    @rule(effects=st.integers(0, 4))
    def look_and_die(self, effects: int) -> None:
        self.operator.restart()
        self.operator.crash_after = effects
        with contextlib.suppress(CrashError):
            self.operator.reconcile_run("r")
        self.operator.restart()

    @rule()
    def forget(self) -> None:
        self.operator.restart()

    @rule()
    def start_pods(self) -> None:
        self.cluster.start_pods()
        self.cluster.run_pods()

    @rule(
        data=st.data(),
        code=st.sampled_from([0, 0, 0, 1, 137]),
        killed=st.booleans(),
        text=st.sampled_from(['{"n": 1}', "?"]),
    )
    def end_pod(self, data: st.DataObject, code: int, killed: bool, text: str) -> None:  # noqa: FBT001
        alive = self.alive()
        if not alive:
            return
        pod = data.draw(st.sampled_from(alive))
        self.end(pod, code=code, reason="OOMKilled" if code == 137 and killed else "", text=text)

    @rule(data=st.data())
    def evict_pod(self, data: st.DataObject) -> None:
        alive = self.alive()
        if not alive:
            return
        pod = data.draw(st.sampled_from(alive))
        target = {"type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI"}
        self.cluster.change(pod, status={**pod["status"], "phase": "Failed", "conditions": [target]})
        self.fail_job(pod)

    @rule(data=st.data())
    def delete_pod(self, data: st.DataObject) -> None:
        pods = self.cluster.of_kind(POD)
        if pods:
            pod = data.draw(st.sampled_from(pods))
            self.fail_job(pod)
            self.cluster.delete(pod)

    @rule(data=st.data())
    def delete_job(self, data: st.DataObject) -> None:
        """Delete a Job that status knows of.

        One that is deleted before, with the operator killed before it could write it down, nobody can tell from one
        that was never created; it is made again under its name.
        """
        if jobs := [made for made in self.cluster.of_kind(JOB) if self.is_known(made)]:
            self.cluster.delete(data.draw(st.sampled_from(jobs)))

    @rule(resource=st.sampled_from([JOB, POD]))
    def fall_behind(self, resource: Resource) -> None:
        """A watch is late; the other is not."""
        self.operator.fall_behind(resource)

    @rule()
    def catch_up(self) -> None:
        self.operator.late.clear()

    @rule(seconds=st.sampled_from([1, 5, 40, 700, -20, -20_000]))
    def pass_time(self, seconds: int) -> None:
        """Let time pass; a clock may also jump back."""
        self.cluster.pass_time(seconds=seconds)

    @precondition(lambda self: self.run["spec"].get("state") != "Cancelled")
    @rule(state=st.sampled_from(["Paused", "Running", "Running", "Cancelled"]))
    def want(self, state: str) -> None:
        self.cluster.change(self.run, spec={**self.run["spec"], "state": state})

    # What holds ---------------------------------------------------------------------------------------------

    @invariant()
    def what_has_ended_stays(self) -> None:
        for stage in self.stages():
            before = self.known.get(stage["name"], {})
            if before.get("state") in TERMINAL:
                assert stage == before
            assert stage.get("attempt", 0) >= before.get("attempt", 0)
            self.known[stage["name"]] = stage

    @invariant()
    def no_job_is_made_twice(self) -> None:
        for made in self.cluster.of_kind(JOB):
            name, uid = made["metadata"]["name"], made["metadata"]["uid"]
            assert self.jobs.setdefault(name, uid) == uid, f"{name} was made again"

    @invariant()
    def no_pod_is_started_twice_for_a_job(self) -> None:
        assert len(set(self.cluster.starts)) == len(self.cluster.starts)

    @invariant()
    def what_starts_had_its_needs_met(self) -> None:
        states = {stage["name"]: stage.get("state", "Pending") for stage in self.stages()}
        for made in self.cluster.of_kind(JOB):
            name = made["metadata"]["labels"][names.STAGE]
            for other, tie in self.wiring.ties[name].items():
                met = states.get(other) == "Succeeded" if tie is Tie.SUCCESS else states.get(other) in TERMINAL
                assert met, f"{name} runs while {other} is {states.get(other)}"
            if name in self.wiring.final:
                assert all(states.get(main) in TERMINAL for main in self.wiring.main)

    @invariant()
    def one_pod_of_a_stage_at_a_time(self) -> None:
        alive = [pod["metadata"]["labels"] for pod in self.alive()]
        keys = [(labels[names.STAGE], labels.get(names.ITEM)) for labels in alive]
        assert len(set(keys)) == len(keys)

    @invariant()
    def status_is_small(self) -> None:
        assert len(json.dumps(self.run.get("status", {}))) < 20_000

    def teardown(self) -> None:
        """Let everything go well from here: the run ends, `finally` with it, and then nothing is written any more."""
        if not hasattr(self, "cluster"):
            return
        if self.run["spec"].get("state") == "Paused":
            self.want("Running")
        self.operator.restart()
        cancelled = self.run["spec"].get("state") == "Cancelled"
        for _ in range(60):
            self.operator.settle()
            if cancelled and self.stages():
                ended = {stage["name"] for stage in self.stages() if stage.get("state") in TERMINAL}
                assert ended >= set(self.wiring.main)
            self.start_pods()
            for pod in self.alive():
                self.end(pod, code=0, text='{"n": 1}')
            self.cluster.pass_time(seconds=60)
            self.what_has_ended_stays()
            self.what_starts_had_its_needs_met()
            if "completionTime" in self.run.get("status", {}):
                break
        status = self.run["status"]
        assert "completionTime" in status, status
        assert {stage["state"] for stage in status["stages"]} <= TERMINAL
        self.finally_ran(status["stages"])
        self.operator.settle()
        written = len(self.cluster.writes)
        self.cluster.pass_time(hours=1)
        self.operator.restart()
        self.operator.settle()
        assert len(self.cluster.writes) == written

    def finally_ran(self, stages: list[dict[str, Any]]) -> None:
        for stage in stages:
            if stage["name"] in self.wiring.final and stage["state"] == "Skipped":
                assert stage["reason"] in {"WhenFalse", "NeedNotMet"}

    # Helpers ------------------------------------------------------------------------------------------------

    @property
    def run(self) -> dict[str, Any]:
        return self.cluster.find(PIPELINE_RUN, "r")

    def stages(self) -> list[dict[str, Any]]:
        stages: list[dict[str, Any]] = self.run.get("status", {}).get("stages", [])
        return stages

    def is_known(self, made: dict[str, Any]) -> bool:
        labels = made["metadata"]["labels"]
        stage = next((s for s in self.stages() if s["name"] == labels[names.STAGE]), {})
        if names.ITEM in labels:
            return bool(stage["fanOut"]["states"][int(labels[names.ITEM])] != "c")
        return bool(stage.get("state") in TERMINAL or stage.get("jobUid") == made["metadata"]["uid"])

    def alive(self) -> list[dict[str, Any]]:
        return [pod for pod in self.cluster.of_kind(POD) if pod["status"]["phase"] not in ENDED]

    def end(self, pod: dict[str, Any], *, code: int, text: str, reason: str = "") -> None:
        ended = {"exitCode": code, "message": text, "reason": reason or ("Error" if code else "Completed")}
        main = {"name": "main", "image": "x", "state": {"terminated": ended}}
        self.cluster.change(pod, status={"phase": "Failed" if code else "Succeeded", "containerStatuses": [main]})
        self.fail_job(pod) if code else None

    def fail_job(self, pod: dict[str, Any]) -> None:
        """Be the Job controller: a Job of one attempt fails with its pod, unless that had succeeded."""
        owner = names.controller_uid(pod)
        for made in self.cluster.of_kind(JOB):
            if made["metadata"]["uid"] == owner:
                type_ = "Complete" if pod["status"]["phase"] == "Succeeded" else "Failed"
                over = {"type": type_, "status": "True", "reason": "BackoffLimitExceeded"}
                if not made.get("status", {}).get("conditions"):
                    self.cluster.change(made, status={**made.get("status", {}), "conditions": [over]})


TestRuns = Runs.TestCase
TestRuns.settings = settings(
    max_examples=int(os.environ.get("RONDO_TEST_EXAMPLES", "150")), stateful_step_count=40, deadline=None
)
