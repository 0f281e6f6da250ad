"""The Pipeline kind: a desired state that is trained, checked and deployed whenever it changes."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from rondo.api.base import (
    SET,
    AnyJson,
    AnyObject,
    Duration,
    Identifier,
    IntOrString,
    Model,
    ObjectName,
    StageName,
    StatusModel,
    named_list,
    rule,
    rules,
)
from rondo.api.container import Container, Credentials
from rondo.api.status import ConditionStatus

MAX_STAGES = 200
MAX_NEEDS = 32
MAX_FINALLY = 20
MAX_ITEMS = 10_000


class ParamType(StrEnum):
    """The JSON types that a parameter or a result can have."""

    STRING = "string"
    INTEGER = "integer"
    NUMBER = "number"
    BOOLEAN = "boolean"
    ARRAY = "array"
    OBJECT = "object"


class Param(Model):
    """A typed input of the pipeline, checked before anything starts."""

    name: Annotated[Identifier, Field(description="Referred to as `$(params.NAME)`, in CEL as `params.NAME`.")]
    type: Annotated[ParamType, Field(description="JSON type of its value.")] = ParamType.STRING
    description: Annotated[str, Field(max_length=1024, description="What it is for.")] = ""
    default: Annotated[AnyJson, Field(description="Value where a run gives none; without it a value is required.")] = (
        None
    )
    enum: Annotated[list[AnyJson], Field(max_length=64, description="The only values allowed.")] = []
    minimum: Annotated[float | None, Field(description="Smallest number allowed.")] = None
    maximum: Annotated[float | None, Field(description="Largest number allowed.")] = None
    pattern: Annotated[
        str | None, Field(max_length=512, description="Regular expression that a string must match in full.")
    ] = None


class Trigger(StrEnum):
    """What starts runs."""

    CHANGE = "Change"
    MANUAL = "Manual"


class Readiness(StrEnum):
    """What `Ready` of a Pipeline speaks of."""

    RUN = "Run"
    ACCEPTED = "Accepted"


class RunPolicy(Model):
    """When runs start and with what."""

    trigger: Annotated[
        Trigger,
        Field(description="Change: a changed spec starts a run named PIPELINE-GENERATION. Manual: PipelineRuns only."),
    ] = Trigger.CHANGE
    readiness: Annotated[
        Readiness,
        Field(description="Run: Ready follows the newest run of a change. Accepted: Ready once the spec is valid."),
    ] = Readiness.RUN
    token: Annotated[str, Field(max_length=253, description="Any text; change it to run again.")] = ""
    params: Annotated[
        dict[str, AnyJson],
        Field(max_length=64, description="Values of params, for overlays and Helm to set."),
    ] = {}


class History(Model):
    """How many finished runs that the operator created are kept; others are never deleted."""

    successful: Annotated[int, Field(ge=0, le=1000, description="Succeeded runs kept.")] = 3
    failed: Annotated[int, Field(ge=0, le=1000, description="Failed runs kept.")] = 3


class AccessMode(StrEnum):
    """How a volume can be mounted."""

    READ_WRITE_ONCE = "ReadWriteOnce"
    READ_WRITE_MANY = "ReadWriteMany"


class Reclaim(StrEnum):
    """When a workspace is deleted."""

    RUN_END = "RunEnd"
    RUN_DELETION = "RunDeletion"


class Workspace(Model):
    """A volume shared by all job stages of one run, at `/workspace`."""

    size: Annotated[IntOrString, Field(description="Its size, such as `5Gi`.")]
    storage_class_name: Annotated[str | None, Field(max_length=253, description="Default: the cluster's.")] = None
    access_mode: Annotated[AccessMode, Field(description="ReadWriteOnce keeps the run's pods on one node.")] = (
        AccessMode.READ_WRITE_ONCE
    )
    reclaim: Annotated[
        Reclaim,
        Field(
            description="When it is deleted: with the run; or at its end, and with it the run's Jobs and pods, which "
            "would hold it."
        ),
    ] = Reclaim.RUN_DELETION


class OnOOM(Model):
    """More memory for the attempt after one that was killed for memory."""

    factor: Annotated[float, Field(gt=1, le=10, description="Memory of the next attempt, as a multiple.")] = 2
    max: Annotated[IntOrString, Field(description="The most that an attempt gets, such as `128Gi`.")]


class Retention(StrEnum):
    """What stays of the artifacts of runs that are gone."""

    REFERENCED = "Referenced"
    KEEP = "Keep"


class Artifacts(Model):
    """Where outputs are stored, and as whom buckets are spoken to."""

    model_config = {
        "json_schema_extra": rules(
            rule(
                "has(self.uri) || has(self.credentials) || has(self.retention)",
                "give uri, credentials or retention",
            ),
            rule(
                "!has(self.uri) || !has(self.retention)",
                "from a bucket nothing is ever removed",
                path=".retention",
            ),
        )
    }

    uri: Annotated[
        str | None,
        Field(
            max_length=512,
            pattern=r"^s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/[^/$]+)*/?$",
            description="A bucket of an S3-compatible store: `s3://BUCKET/PREFIX`. Default: the operator's store.",
        ),
    ] = None
    credentials: Annotated[
        Credentials | None, Field(description="For this bucket, and for inputs whose URI is `s3://BUCKET/PATH`.")
    ] = None
    retention: Annotated[
        Retention | None,
        Field(description="What stays on the claim of what runs stored that are gone. Default: Referenced."),
    ] = None


class Retry(Model):
    """When a failed attempt of a stage is followed by another. Disruptions are not charged to `limit`."""

    limit: Annotated[
        int,
        Field(ge=0, le=100, description="Attempts after the first that the stage's own failures may cost."),
    ] = 0
    backoff: Annotated[Duration, Field(description="Wait before the first retry; doubles each time.")] = "10s"
    max_backoff: Annotated[Duration, Field(description="The longest wait.")] = "10m"
    exit_codes: Annotated[
        list[Annotated[int, Field(ge=1, le=255)]],
        Field(max_length=64, json_schema_extra=SET, description="Retry only these exit codes. Default: any."),
    ] = []
    reasons: Annotated[
        list[Annotated[str, Field(max_length=63)]],
        Field(
            max_length=32,
            json_schema_extra=SET,
            description="Retry also these reasons, such as OOMKilled. With exitCodes or reasons, nothing else is.",
        ),
    ] = []
    on_oom: Annotated[
        OnOOM | None,
        Field(
            alias="onOOM",
            description="After an OOM kill the next attempt gets more memory (requests and limits); "
            "such an attempt is retried whatever exitCodes and reasons say, within `limit`.",
        ),
    ] = None
    max_disruptions: Annotated[
        int, Field(ge=0, le=1000, description="Evictions, preemptions, lost nodes and deleted Jobs survived.")
    ] = 20


class Defaults(Model):
    """What job stages use where they say nothing themselves."""

    image: Annotated[str | None, Field(max_length=1024, description="Image of the main container.")] = None
    retry: Annotated[Retry | None, Field(description="Retry policy.")] = None
    timeout: Annotated[Duration | None, Field(description="Limit of one attempt.")] = None
    pending_timeout: Annotated[Duration | None, Field(description="How long an attempt may wait before it starts.")] = (
        None
    )


class Job(Container):
    """A container that runs to its end."""

    model_config = {
        "json_schema_extra": rules(
            rule(
                "!(has(self.script) && (has(self.command) || has(self.args)))",
                "give either script, or command and args",
            )
        )
    }

    script: Annotated[
        str | None,
        Field(
            max_length=65536,
            description="Program text with a `#!` line (default /bin/sh). References are refused in it: use env.",
        ),
    ] = None


class Input(Model):
    """An artifact put into the container before it starts, read-only."""

    from_: Annotated[
        str,
        Field(
            alias="from",
            max_length=1024,
            description="An output, as `$(stages.STAGE.outputs.NAME)`, or `pvc://CLAIM/PATH` or `s3://BUCKET/PATH`.",
        ),
    ]
    path: Annotated[str, Field(max_length=1024, pattern=r"^/", description="Absolute path in the container.")]


class Result(Model):
    """A small value that the container writes into the JSON object in the file `$RONDO_RESULTS`."""

    name: Annotated[Identifier, Field(description="Key in the JSON object.")]
    type: Annotated[ParamType, Field(description="JSON type of its value.")] = ParamType.STRING
    description: Annotated[str, Field(max_length=1024, description="What it tells.")] = ""
    default: Annotated[
        AnyJson, Field(description="Value where the stage is skipped or writes none; without it a value is required.")
    ] = None


class Output(Model):
    """A file or directory that is stored as an artifact when the stage succeeds."""

    name: Annotated[Identifier, Field(description="Referred to as `$(stages.STAGE.outputs.NAME)`.")]
    path: Annotated[
        str,
        Field(
            max_length=1024,
            pattern=r"^/",
            description="Absolute path; it or its folder is a volume, so choose a folder of its own, such as /out.",
        ),
    ]


class Check(Model):
    """A CEL expression that has to be true."""

    expression: Annotated[
        str,
        Field(min_length=1, max_length=2048, description="CEL over params, stages and run, giving a bool."),
    ]
    message: Annotated[str, Field(max_length=1024, description="What it means when it is false.")] = ""


class Gate(Model):
    """Checks that must hold before what needs this stage may start."""

    checks: Annotated[list[Check], Field(min_length=1, max_length=32, description="All of them must be true.")]


class DeployState(StrEnum):
    """Whether the target shall be there."""

    PRESENT = "Present"
    ABSENT = "Absent"


class DeployFailure(StrEnum):
    """What becomes of the target when it does not get Ready."""

    ROLLBACK = "Rollback"
    KEEP = "Keep"


class DeployKind(StrEnum):
    """What a stage can deploy."""

    MODEL_DEPLOYMENT = "ModelDeployment"
    MODEL_GRAPH = "ModelGraph"


class Deploy(Model):
    """Creates or updates a ModelDeployment or ModelGraph of this namespace and waits for it, or removes it."""

    model_config = {
        "json_schema_extra": rules(
            rule(
                "(self.state == 'Absent') != has(self.spec)",
                "give spec; only with state: Absent, which removes the target, leave it out",
            )
        )
    }

    kind: Annotated[DeployKind, Field(description="Kind of the target.")] = DeployKind.MODEL_DEPLOYMENT
    name: Annotated[ObjectName, Field(description="Name of the target; it has no owner and outlives the run.")]
    state: Annotated[DeployState, Field(description="Absent removes the target, if this pipeline created it.")] = (
        DeployState.PRESENT
    )
    spec: Annotated[
        AnyObject | None,
        Field(description="Fields of its spec; references are replaced. Only these are set, and never by force."),
    ] = None
    on_failure: Annotated[
        DeployFailure,
        Field(description="Rollback sets the fields to what they were before, if the target does not get Ready."),
    ] = DeployFailure.ROLLBACK


_ONE_KIND = "[has(self.job), has(self.gate), has(self.deploy), has(self.wait)].filter(x, x).size() == 1"


class Stage(Model):
    """One step. It starts when every stage that it needs or refers to has succeeded."""

    model_config = {
        "json_schema_extra": rules(
            rule(_ONE_KIND, "a stage has exactly one of job, gate, deploy, wait"),
            rule(
                "has(self.job) || !(has(self.inputs) || has(self.results) || has(self.outputs) || has(self.retry))",
                "inputs, results, outputs and retry belong to a job",
            ),
            rule("!has(self.forEach) || has(self.job)", "forEach belongs to a job", path=".forEach"),
            rule(
                "!(has(self.gate) || has(self.wait)) || !(has(self.timeout) || has(self.pendingTimeout))",
                "a gate is decided at once and a wait ends by itself: neither takes a timeout",
            ),
            rule("!has(self.needs) || !(self.name in self.needs)", "a stage cannot need itself", path=".needs"),
            rule("!has(self.after) || !(self.name in self.after)", "a stage cannot be after itself", path=".after"),
        )
    }

    name: Annotated[StageName, Field(description="Unique within the pipeline; in CEL a hyphen is written `_`.")]
    needs: Annotated[
        list[StageName],
        Field(
            max_length=MAX_NEEDS,
            json_schema_extra=SET,
            description="Stages that must have succeeded; those that are referred to need not be listed.",
        ),
    ] = []
    after: Annotated[
        list[StageName],
        Field(
            max_length=MAX_NEEDS,
            json_schema_extra=SET,
            description="Stages that must have ended, whatever their outcome; it starts also when one has failed.",
        ),
    ] = []
    when: Annotated[
        str | None,
        Field(
            min_length=1,
            max_length=2048,
            description="CEL over params, stages and run; false skips the stage and what needs it.",
        ),
    ] = None
    continue_on_failure: Annotated[
        bool, Field(description="Its failure fails neither the run nor what is only after it.")
    ] = False
    for_each: Annotated[ForEach | None, Field(description="Runs the job once for each item.")] = None
    job: Annotated[Job | None, Field(description="Runs a container.")] = None
    gate: Annotated[Gate | None, Field(description="Checks params and results.")] = None
    deploy: Annotated[Deploy | None, Field(description="Deploys a model.")] = None
    wait: Annotated[Duration | None, Field(description="Does nothing for so long.")] = None
    inputs: Annotated[
        list[Input],
        Field(max_length=32, json_schema_extra=named_list("path"), description="Artifacts to read."),
    ] = []
    results: Annotated[
        list[Result],
        Field(max_length=32, json_schema_extra=named_list(), description="Small values; 2,048 bytes in all."),
    ] = []
    outputs: Annotated[
        list[Output], Field(max_length=16, json_schema_extra=named_list(), description="Artifacts to store.")
    ] = []
    retry: Annotated[Retry | None, Field(description="What happens after a failed attempt.")] = None
    timeout: Annotated[
        Duration | None,
        Field(description="Limit of one attempt, from its start, waiting for a node included."),
    ] = None
    pending_timeout: Annotated[
        Duration | None,
        Field(description="How long an attempt may wait for a node, its image or its volumes before it fails."),
    ] = None


class PipelineResult(Model):
    """A value of the whole run, in its `status.results`."""

    name: Annotated[Identifier, Field(description="Key in `status.results`.")]
    value: Annotated[str, Field(max_length=1024, description="A reference, such as `$(stages.STAGE.results.NAME)`.")]


class Goal(StrEnum):
    """Which value of a result is the best."""

    MAXIMIZE = "Maximize"
    MINIMIZE = "Minimize"


class Best(Model):
    """Picks one item; `stages.STAGE.best.{item,results,outputs}` gives it."""

    result: Annotated[Identifier, Field(description="A number among the stage's results.")]
    goal: Annotated[Goal, Field(description="Whether the largest or the smallest is the best.")] = Goal.MAXIMIZE


class ForEach(Model):
    """Runs the job once for each item: of exactly one of items, itemsFrom and matrix.

    CEL sees no field whose values have no type, so the operator checks that.
    """

    items: Annotated[
        list[AnyJson] | None,
        Field(max_length=MAX_ITEMS, description="The items: objects (`$(item.KEY)`) or scalars (`$(item.value)`)."),
    ] = None
    items_from: Annotated[
        str | None,
        Field(
            max_length=1024,
            description="A reference to a list, a param or a result of another stage; or to an output of another stage "
            "that is a file of JSON lines.",
        ),
    ] = None
    matrix: Annotated[
        dict[str, AnyJson] | None,
        Field(
            max_length=16,
            description="Lists by name, or references to lists; an item for each combination, its keys the names.",
        ),
    ] = None
    exclude: Annotated[
        list[AnyObject],
        Field(max_length=256, description="Combinations that are left out: those that agree in all keys given."),
    ] = []
    parallelism: Annotated[int | None, Field(ge=1, le=MAX_ITEMS, description="Items at a time. Default: all.")] = None
    max_failed: Annotated[
        IntOrString,
        Field(description="Items that may fail, as a number or a share such as `5%`; one more fails the stage."),
    ] = 0
    best: Annotated[Best | None, Field(description="Picks one item by a result.")] = None


class OnStageFailure(StrEnum):
    """What happens to the other stages when one has failed."""

    FINISH = "Finish"
    CANCEL = "Cancel"
    CONTINUE = "Continue"


class PipelineSpec(Model):
    """Stages from data to production, and when they run."""

    params: Annotated[
        list[Param], Field(max_length=64, json_schema_extra=named_list(), description="Typed inputs.")
    ] = []
    run: Annotated[RunPolicy, Field(description="When runs start and with what.")] = RunPolicy()
    timeout: Annotated[Duration | None, Field(description="Limit of a whole run.")] = None
    history: Annotated[History, Field(description="How many finished runs are kept.")] = History()
    on_stage_failure: Annotated[
        OnStageFailure,
        Field(
            description="Finish: what runs goes on to its end, nothing else starts. Cancel: what runs is stopped. "
            "Continue: all that does not need the failed stage goes on."
        ),
    ] = OnStageFailure.FINISH
    artifacts: Annotated[Artifacts | None, Field(description="Where outputs of stages are stored.")] = None
    workspace: Annotated[Workspace | None, Field(description="A volume shared by the stages of a run.")] = None
    defaults: Annotated[Defaults, Field(description="For stages that say nothing themselves.")] = Defaults()
    stages: Annotated[
        list[Stage],
        Field(
            min_length=1,
            max_length=MAX_STAGES,
            json_schema_extra=named_list(),
            description="The steps; their order in the list means nothing.",
        ),
    ]
    finally_: Annotated[
        list[Stage],
        Field(
            alias="finally",
            max_length=MAX_FINALLY,
            json_schema_extra=named_list(),
            description="Stages that run when all others have ended, also after failure, cancel and timeout.",
        ),
    ] = []
    results: Annotated[
        list[PipelineResult],
        Field(max_length=32, json_schema_extra=named_list(), description="Values of the whole run."),
    ] = []


class LastRun(StatusModel):
    """The newest run."""

    name: Annotated[str, Field(description="Name of the PipelineRun.")]
    reason: Annotated[str, Field(description="Reason of its Succeeded condition.")] = ""
    progress: Annotated[str, Field(description="Stages done, of all.")] = ""


class PipelineStatus(StatusModel):
    """How the pipeline is."""

    observed_generation: Annotated[int, Field(description="The generation that this status speaks of.")] = -1
    conditions: Annotated[
        list[ConditionStatus],
        Field(
            json_schema_extra=named_list("type"),
            description="Accepted, Ready, Reconciling, Stalled, LastRunSucceeded.",
        ),
    ] = []
    last_run: Annotated[LastRun | None, Field(description="The newest run.")] = None
    message: Annotated[str, Field(description="The same as the message of Ready, for printing.")] = ""
