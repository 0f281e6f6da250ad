"""What the planner of runs sees: one run, its children, and the frozen pipeline that it executes."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from rondo.api.base import Json
from rondo.api.pipelinerun import PipelineRunStatus, RunState, StageState, StageStatus
from rondo.core import names
from rondo.core.expressions import SMALL, ExpressionError, as_bool, cel_name, cost_of, evaluate_bool, paths_in
from rondo.core.items import Item
from rondo.core.pipeline.wiring import Wiring
from rondo.core.plan import PENDING, Evaluate, GetLive, Memory, Object, Read, ReadResult, Ref
from rondo.core.references import Lookup, Path, UnresolvedError
from rondo.core.resources import CONTROLLER_REVISION, PIPELINE
from rondo.core.settings import PlannerSettings


@dataclass(frozen=True)
class RunSnapshot:
    """One look at a run.

    Attributes:
        run: The PipelineRun.
        status: Its status, parsed.
        jobs: Jobs controlled by it, by name, and Jobs of others that have a name of ours.
        pods: Pods that carry its uid as a label.
        targets: ModelDeployments and ModelGraphs of the namespace.
        claims: Names of the claims that are known to exist.
        workspace: The claim of its workspace, if it is to be deleted at its end.
        revision: The ControllerRevision with the frozen pipeline, if it was seen.
        memory: What this process remembers.
        settings: The installation's settings.
    """

    run: Object
    status: PipelineRunStatus
    jobs: Mapping[str, Object]
    pods: tuple[Object, ...]
    targets: Mapping[Ref, Object]
    claims: frozenset[str]
    workspace: Object | None
    revision: Object | None
    memory: Memory
    settings: PlannerSettings

    @cached_property
    def pods_by_job(self) -> Mapping[str, tuple[Object, ...]]:
        """The pods of each Job, by its uid."""
        found: dict[str, list[Object]] = {}
        for pod in self.pods:
            found.setdefault(names.controller_uid(pod) or "", []).append(pod)
        return {uid: tuple(pods) for uid, pods in found.items()}

    def pods_of(self, job: Object) -> tuple[Object, ...]:
        """Give the pods of a Job."""
        return self.pods_by_job.get(job["metadata"]["uid"], ())

    @property
    def live(self) -> Mapping[Read, ReadResult]:
        """Results of the live reads made so far."""
        return self.memory.reads

    @property
    def name(self) -> str:
        """Name of the run."""
        name: str = self.run["metadata"]["name"]
        return name

    @property
    def namespace(self) -> str:
        """Namespace of the run."""
        namespace: str = self.run["metadata"]["namespace"]
        return namespace

    @property
    def uid(self) -> str:
        """Uid of the run."""
        uid: str = self.run["metadata"]["uid"]
        return uid

    @property
    def pipeline(self) -> str:
        """Name of the Pipeline, empty for one written in place."""
        name: str = self.run["spec"]["pipeline"].get("name", "")
        return name

    @property
    def retry_of(self) -> str:
        """Name of the run that this one is a retry of, empty if it is none."""
        name: str = self.run["spec"].get("retryOf", "")
        return name

    @property
    def is_frozen_apart(self) -> bool:
        """Whether what it executes is a copy outside of the run: the spec of a run that can change is none."""
        return bool(self.pipeline or self.retry_of or self.run["spec"].get("params"))

    @property
    def wanted(self) -> RunState:
        """What the user wants of the run."""
        return RunState(self.run["spec"].get("state", RunState.RUNNING))

    @property
    def revision_ref(self) -> Ref:
        """Where the frozen pipeline is kept."""
        return Ref(CONTROLLER_REVISION, self.namespace, names.child_name(self.name, "spec", self.uid))

    @property
    def pipeline_read(self) -> GetLive:
        """The read that gives the live Pipeline when it has to be frozen."""
        return GetLive(Ref(PIPELINE, self.namespace, self.pipeline))


@dataclass(frozen=True)
class Values:
    """The values behind references and expressions at one moment of a plan.

    Attributes:
        snapshot: The run.
        wiring: The frozen pipeline.
        params: Values of the parameters.
        stages: Statuses of the stages as planned so far, by name.
        state: How the run has ended, for stages of `finally`; empty before.
    """

    snapshot: RunSnapshot
    wiring: Wiring
    params: Mapping[str, Json]
    stages: Mapping[str, StageStatus]
    state: str = ""

    def look(self, path: Path) -> Json:
        """Give the value of a reference.

        Raises:
            UnresolvedError: There is none.
        """
        match path:
            case ("params", name) if name in self.params:
                return self.params[name]
            case ("run", key) if key in self.run:
                return self.run[key]
            case ("stages", name, *rest) if name in self.stages:
                return self._of_stage(self.stages[name], rest, path)
            case _:
                raise UnresolvedError(path, "there is no such value")

    @property
    def lookup(self) -> Lookup:
        """`look` as a function."""
        return self.look

    @property
    def digests(self) -> dict[str, str]:
        """Digests of the artifacts that the run has made, by URI."""
        known = {output.uri: output.digest for stage in self.stages.values() for output in stage.outputs.values()}
        fans = (stage.fan_out for stage in self.stages.values() if stage.fan_out is not None)
        best = (fan.best for fan in fans if fan.best is not None)
        return known | {output.uri: output.digest for item in best for output in item.outputs.values()}

    @property
    def run(self) -> dict[str, Json]:
        """What `run.…` gives."""
        fields = {key: self.snapshot.run["metadata"][key] for key in ("name", "namespace", "uid")}
        return {**fields, "state": self.state} if self.state else fields

    def decide(self, text: str) -> bool | Evaluate | None:
        """Give the value of an expression, the read that gives it if it may take long, or None while that goes on.

        Raises:
            ExpressionError: It has no value, or is no bool.
        """
        variables = self.for_expression(text)
        if cost_of(text, variables) <= SMALL:
            return evaluate_bool(text, variables)
        read = Evaluate(text, json.dumps(variables, separators=(",", ":")))
        found = self.snapshot.memory.reads.get(read)
        if found is None:
            return read
        if found.error is None:
            return as_bool(found.value)
        if found.error.reason == PENDING:
            return None
        raise ExpressionError(found.error.message)

    def for_expression(self, text: str) -> dict[str, Any]:
        """Give the variables of a CEL expression: `params`, `run`, and of `stages` those that it refers to."""
        paths = paths_in(text)
        params = {path[1] for path in paths if path[0] == "params"}
        wanted = {path[1] for path in paths if path[0] == "stages"}
        stages = {cel_name(name): name for name in self.stages}
        return {
            "params": {name: value for name, value in self.params.items() if name in params},
            "stages": {word: self._variables(self.stages[stages[word]]) for word in wanted if word in stages},
            "run": self.run,
        }

    def _of_stage(self, stage: StageStatus, rest: list[str], path: Path) -> Json:
        match rest:
            case ["results", key] if key in (results := self._results(stage)):
                return results[key]
            case ["outputs", key] if key in stage.outputs:
                return stage.outputs[key].uri
            case ["outputs", key, "lines"] if key in stage.outputs:
                return stage.outputs[key].lines
            case ["state"]:
                return stage.state.value
            case [("best" | "stats" | "total" | "succeeded" | "failed" | "failedRatio"), *_]:
                return _within(_of_items(stage), rest, path)
            case ["url"] if "url" in stage.results:
                return stage.results["url"]
            case _:
                raise UnresolvedError(path, f"stage {stage.name} is {stage.state.value} and gave no such value")

    def _variables(self, stage: StageStatus) -> dict[str, Any]:
        return {
            "state": stage.state.value,
            "results": self._results(stage),
            "outputs": {name: output.uri for name, output in stage.outputs.items()},
            **({"url": stage.results["url"]} if "url" in stage.results else {}),
            **_of_items(stage),
        }

    def _results(self, stage: StageStatus) -> dict[str, Json]:
        """Give what a stage gave, and the declared defaults once it has ended without giving them."""
        if not stage.state.terminal or stage.state is StageState.SUCCEEDED:
            return dict(stage.results)
        declared = self.wiring.stages[stage.name].results
        return {result.name: result.default for result in declared if result.default is not None} | stage.results


def _of_items(stage: StageStatus) -> dict[str, Any]:
    """Give what a fan-out tells besides its results; nothing for other stages."""
    fan = stage.fan_out
    if fan is None:
        return {}
    counts = {"total": fan.total, "succeeded": fan.succeeded, "failed": fan.failed}
    said: dict[str, Any] = {
        **counts,
        "failedRatio": fan.failed / fan.total if fan.total else 0.0,
        "stats": {name: each.model_dump() for name, each in fan.statistics.items()},
    }
    if fan.best is not None:
        outputs = {name: output.uri for name, output in fan.best.outputs.items()}
        said["best"] = {"item": fan.best.item, "index": fan.best.index, "results": fan.best.results, "outputs": outputs}
    return said


def _within(values: Mapping[str, Any], parts: Sequence[str], path: Path) -> Json:
    """Give the value at a path within values.

    Raises:
        UnresolvedError: There is none.
    """
    value: Any = values
    for part in parts:
        if not isinstance(value, Mapping) or part not in value:
            raise UnresolvedError(path, "no item gave such a value")
        value = value[part]
    return value


@dataclass(frozen=True)
class StageView:
    """One stage in the middle of a plan.

    Attributes:
        snapshot: The run.
        wiring: The frozen pipeline.
        status: How the stage is.
        values: Values of the other stages as planned so far.
        item: The item of the fan-out that is planned, if it is one.
    """

    snapshot: RunSnapshot
    wiring: Wiring
    status: StageStatus
    values: Values
    item: Item | None = None

    def with_status(self, status: StageStatus) -> StageView:
        """Give the same stage with another status."""
        return replace(self, status=status)

    @property
    def lookup(self) -> Lookup:
        """The values behind the references of the stage."""
        return self.values.lookup if self.item is None else self.item.lookup(self.values.lookup)

    @property
    def name(self) -> str:
        """Name of the stage."""
        return self.status.name

    @property
    def started(self) -> bool:
        """Whether its needs were met and it has begun."""
        return self.status.state is not StageState.PENDING
