"""The PipelineRun kind: one execution of a frozen copy of a Pipeline."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from rondo.api.base import (
    ATOMIC_LIST,
    ATOMIC_MAP,
    SET,
    AnyJson,
    Model,
    ObjectName,
    StageName,
    StatusModel,
    named_list,
    rule,
    rules,
)
from rondo.api.pipeline import MAX_STAGES, PipelineSpec
from rondo.api.status import ConditionStatus


class PipelineRef(Model):
    """What is run; exactly one."""

    model_config = {
        "json_schema_extra": rules(
            rule("has(self.name) != has(self.spec)", "give exactly one of name and spec"),
        )
    }

    name: Annotated[
        ObjectName | None, Field(description="A Pipeline of this namespace, as it is when the run starts.")
    ] = None
    spec: Annotated[PipelineSpec | None, Field(description="A pipeline written in place.")] = None


class RunState(StrEnum):
    """What the user wants of a run."""

    RUNNING = "Running"
    PAUSED = "Paused"
    CANCELLED = "Cancelled"


def _frozen(field: str) -> dict[str, str | bool]:
    """Write the rule that an optional field cannot be set, changed or removed."""
    return rule(
        f"has(self.{field}) == has(oldSelf.{field}) && (!has(self.{field}) || self.{field} == oldSelf.{field})",
        f"{field} of a run cannot be changed: create another PipelineRun",
        path=f".{field}",
    )


class PipelineRunSpec(Model):
    """What is run, with which values. Only `state` can be changed."""

    model_config = {
        "json_schema_extra": rules(
            # Every write of the status evaluates these rules too, and to compare a large pipeline takes the API server
            # tens of milliseconds, so only one of them does so while the state stays as it is.
            rule(
                "self.state == oldSelf.state || self.pipeline == oldSelf.pipeline",
                "pipeline of a run cannot be changed: create another PipelineRun",
                path=".pipeline",
            ),
            *(_frozen(field) for field in ("targets", "retryOf", "rerunFrom")),
            # CEL sees no field whose values have no type, so params are compared as a part of the whole. What changes
            # together with the state is not executed (the frozen copy has the values), and status says so.
            rule(
                "self == oldSelf || self.state != oldSelf.state",
                "only state of a run can be changed: create another PipelineRun",
            ),
            rule(
                "oldSelf.state != 'Cancelled' || self.state == 'Cancelled'",
                "a cancelled run does not go on: create another with retryOf",
                path=".state",
            ),
            rule("!has(self.rerunFrom) || has(self.retryOf)", "rerunFrom belongs to retryOf", path=".rerunFrom"),
        )
    }

    pipeline: Annotated[PipelineRef, Field(json_schema_extra=ATOMIC_MAP, description="What is run.")]
    params: Annotated[
        dict[str, AnyJson], Field(max_length=64, description="Values of params; unknown ones are refused.")
    ] = {}
    state: Annotated[
        RunState,
        Field(
            description="Paused: nothing new starts. Cancelled: what runs is stopped, then `finally` runs; "
            "there is no way back."
        ),
    ] = RunState.RUNNING
    targets: Annotated[
        list[StageName],
        Field(
            max_length=MAX_STAGES,
            json_schema_extra=SET,
            description="Only these stages and what they wait for; the others are skipped.",
        ),
    ] = []
    retry_of: Annotated[
        ObjectName | None,
        Field(
            description="A finished run of the same pipeline: its frozen copy runs again with its params, "
            "and what has succeeded there is taken over."
        ),
    ] = None
    rerun_from: Annotated[
        list[StageName],
        Field(
            max_length=MAX_STAGES,
            json_schema_extra=SET,
            description="With retryOf: these stages and all that follow run again, even if they succeeded.",
        ),
    ] = []


class StageState(StrEnum):
    """How far a stage is."""

    PENDING = "Pending"
    WAITING = "Waiting"
    RUNNING = "Running"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    SKIPPED = "Skipped"
    CANCELLED = "Cancelled"

    @property
    def terminal(self) -> bool:
        """Whether nothing can change it any more."""
        return self in _TERMINAL


_TERMINAL = frozenset({StageState.SUCCEEDED, StageState.FAILED, StageState.SKIPPED, StageState.CANCELLED})


class Attempt(StatusModel):
    """An attempt of a stage that has ended without success."""

    number: Annotated[int, Field(description="Counted from 1.")]
    job: Annotated[str, Field(description="Name of its Job.")]
    reason: Annotated[str, Field(description="Why it ended.")]
    message: Annotated[str, Field(description="Why, in words.")] = ""
    exit_code: Annotated[int | None, Field(description="Exit code of the main container, where it had one.")] = None
    disruption: Annotated[bool, Field(description="Not the stage's own fault; not charged to `retry.limit`.")] = False
    completion_time: Annotated[str, Field(json_schema_extra={"format": "date-time"}, description="When it ended.")]


class StoredOutput(StatusModel):
    """An artifact that a stage made."""

    uri: Annotated[str, Field(description="Where it is.")]
    digest: Annotated[str, Field(description="`sha256:…` over its files.")]
    size: Annotated[int, Field(description="Bytes.")] = 0
    lines: Annotated[int | None, Field(description="Lines of JSON, where a fan-out takes its items from them.")] = None


class PerItem(StrEnum):
    """What a fan-out makes."""

    JOB = "Job"
    INDEX = "Index"


class ItemNote(StatusModel):
    """What is to be remembered of an item besides its letter."""

    attempt: Annotated[int, Field(description="Number of its current or last attempt.")] = 1
    failures: Annotated[int, Field(description="Attempts that failed by their own fault.")] = 0
    disruptions: Annotated[int, Field(description="Attempts that were disrupted.")] = 0
    oom_kills: Annotated[int, Field(alias="oomKills", description="Attempts that were killed for memory.")] = 0
    retry_time: Annotated[
        str | None, Field(json_schema_extra={"format": "date-time"}, description="When its next attempt is due.")
    ] = None
    reason: Annotated[str, Field(description="The disruption that is about to end its attempt.")] = ""


class ItemFailure(StatusModel):
    """An item that has failed."""

    index: Annotated[int, Field(description="Its place in the list, from 0.")]
    item: Annotated[str, Field(description="The item as JSON, shortened.")] = ""
    reason: Annotated[str, Field(description="Why, in one CamelCase word.")]
    message: Annotated[str, Field(description="Why, in words.")] = ""


class ItemRecord(StatusModel):
    """What an item that succeeded gave."""

    results: Annotated[dict[str, AnyJson], Field(description="Its results.")] = {}
    outputs: Annotated[dict[str, StoredOutput], Field(description="Its artifacts.")] = {}


class BestItem(StatusModel):
    """The best item so far."""

    index: Annotated[int, Field(description="Its place in the list, from 0.")]
    item: Annotated[AnyJson, Field(description="The item.")] = None
    results: Annotated[dict[str, AnyJson], Field(description="Its results.")] = {}
    outputs: Annotated[dict[str, StoredOutput], Field(description="Its artifacts.")] = {}


class Statistics(StatusModel):
    """Of a numeric result over the items that succeeded."""

    count: Annotated[int, Field(description="How many.")]
    min: Annotated[float, Field(description="The smallest.")]
    max: Annotated[float, Field(description="The largest.")]
    sum: Annotated[float, Field(description="All together.")]
    mean: Annotated[float, Field(description="Their mean.")]


class FanOut(StatusModel):
    """How far a stage with forEach is. Its size is bounded, whatever the number of items."""

    per_item: Annotated[PerItem, Field(description="Whether each item has a Job of its own or an index of one Job.")]
    total: Annotated[int, Field(description="Number of items.")]
    succeeded: Annotated[int, Field(description="Items that succeeded.")] = 0
    failed: Annotated[int, Field(description="Items that failed.")] = 0
    running: Annotated[int, Field(description="Items that have begun and not ended.")] = 0
    states: Annotated[
        str,
        Field(
            description="A letter for each item with a Job of its own: `.` not begun, `c` its Job is to be created, "
            "`r` its Job was seen, `w` waits for its next attempt, `S` succeeded, `F` failed."
        ),
    ] = ""
    notes: Annotated[dict[str, ItemNote], Field(description="By index, only where there is something to note.")] = {}
    indexes: Annotated[
        str, Field(description="Items that the current Job works on, one an index, such as `0-17,20`.")
    ] = ""
    done: Annotated[str, Field(description="Items of earlier and of this Job that succeeded, such as `0-17,20`.")] = ""
    lost: Annotated[str, Field(description="Items that failed, such as `18-19`.")] = ""
    failures: Annotated[list[ItemFailure], Field(description="The first items that failed.")] = []
    statistics: Annotated[dict[str, Statistics], Field(description="Of each result that is a number.")] = {}
    best: Annotated[BestItem | None, Field(description="The best item, as `forEach.best` says.")] = None
    records: Annotated[
        dict[str, ItemRecord], Field(description="What items gave, by index, until it is stored or the stage ends.")
    ] = {}
    sealed: Annotated[bool, Field(description="The records are about to be stored in a ConfigMap.")] = False
    stored: Annotated[int, Field(description="ConfigMaps that hold records.")] = 0
    stored_in: Annotated[str, Field(description="Their names, but for the number at the end.")] = ""


class StageStatus(StatusModel):
    """How far a stage is, and why."""

    name: Annotated[StageName, Field(description="Name of the stage.")]
    state: Annotated[StageState, Field(description="How far it is.")] = StageState.PENDING
    reason: Annotated[str, Field(description="Why, in one CamelCase word.")] = ""
    message: Annotated[str, Field(description="Why, in words.")] = ""
    start_time: Annotated[
        str | None,
        Field(json_schema_extra={"format": "date-time"}, description="When its first attempt was made."),
    ] = None
    completion_time: Annotated[
        str | None, Field(json_schema_extra={"format": "date-time"}, description="When it ended.")
    ] = None
    attempt: Annotated[int, Field(description="Number of the current or last attempt; 0 before the first.")] = 0
    job: Annotated[str | None, Field(description="Name of the Job of that attempt.")] = None
    job_uid: Annotated[str | None, Field(description="Its uid, once it was seen.")] = None
    retry_time: Annotated[
        str | None,
        Field(json_schema_extra={"format": "date-time"}, description="When the next attempt is due."),
    ] = None
    failures: Annotated[int, Field(description="Attempts that failed by their own fault.")] = 0
    disruptions: Annotated[int, Field(description="Attempts that were disrupted.")] = 0
    oom_kills: Annotated[int, Field(alias="oomKills", description="Attempts that were killed for memory.")] = 0
    attempts: Annotated[list[Attempt], Field(description="The last attempts that ended without success.")] = []
    results: Annotated[dict[str, AnyJson], Field(description="Values that it gave.")] = {}
    outputs: Annotated[dict[str, StoredOutput], Field(description="Artifacts that it made.")] = {}
    fan_out: Annotated[FanOut | None, Field(description="How far the items of forEach are.")] = None
    previous: Annotated[
        AnyJson, Field(description="What a deploy stage found in the fields that it sets, for its rollback.")
    ] = None


class PipelineRunStatus(StatusModel):
    """How far the run is, and why."""

    observed_generation: Annotated[int, Field(description="The generation that this status speaks of.")] = -1
    conditions: Annotated[
        list[ConditionStatus],
        Field(
            json_schema_extra=named_list("type"),
            description="Accepted, Succeeded, Ready, Reconciling, Stalled.",
        ),
    ] = []
    start_time: Annotated[
        str | None, Field(json_schema_extra={"format": "date-time"}, description="When it was accepted.")
    ] = None
    completion_time: Annotated[
        str | None, Field(json_schema_extra={"format": "date-time"}, description="When its last stage ended.")
    ] = None
    revision: Annotated[
        str | None, Field(description="The ControllerRevision that holds the frozen copy of the pipeline.")
    ] = None
    pipeline_generation: Annotated[int | None, Field(description="The Pipeline's generation that was frozen.")] = None
    progress: Annotated[str, Field(description="Stages done, of all, such as `3/6`.")] = ""
    message: Annotated[str, Field(description="The same as the message of Succeeded, for printing.")] = ""
    stages: Annotated[list[StageStatus], Field(json_schema_extra=ATOMIC_LIST, description="Every stage.")] = []
    results: Annotated[dict[str, AnyJson], Field(description="Values of the whole run.")] = {}
