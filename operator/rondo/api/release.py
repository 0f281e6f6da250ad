"""How a ModelGraph goes over to another version of itself: the field `release`, and what its status says of it."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from rondo.api.base import ATOMIC_LIST, SET, Duration, Model, StatusModel, named_list, rule, rules
from rondo.api.modelruntime import Protocol


class ReleaseStrategy(StrEnum):
    """What the new version gets while it is looked at."""

    CANARY = "Canary"
    SHADOW = "Shadow"


class ReleaseStep(Model):
    """A part of the requests for a while."""

    model_config = {
        "json_schema_extra": rules(
            rule("has(self.weight) != has(self.percent)", "give weight (Canary) or percent (Shadow)")
        )
    }

    weight: Annotated[
        int | None, Field(ge=1, le=99, description="Canary: so much the new version answers, in per cent.")
    ] = None
    percent: Annotated[
        int | None, Field(ge=1, le=100, description="Shadow: so much the new version is shown, in per cent.")
    ] = None
    hold: Annotated[Duration, Field(description="How long, from when all routers do so.")]


class ReleaseCheck(Model):
    """A CEL expression that has to be true."""

    expression: Annotated[
        str,
        Field(
            min_length=1,
            max_length=2048,
            description="CEL over `new` and `old`: requests, errorRate, p50, p95, p99 (seconds), new.agreement.",
        ),
    ]
    message: Annotated[str, Field(max_length=256, description="What it means when it is false.")] = ""


class ReleaseFailure(StrEnum):
    """What happens when a check fails."""

    ROLLBACK = "Rollback"
    PAUSE = "Pause"


class ReleaseAction(StrEnum):
    """What a person decides."""

    PROMOTE = "Promote"
    ABORT = "Abort"


class ReleaseDecision(Model):
    """What a person decides about one release; it means nothing for any other."""

    number: Annotated[int, Field(ge=1, description="Number of the release, as in status.release.number.")]
    action: Annotated[
        ReleaseAction, Field(description="Promote: the new, as soon as it answers. Abort: back to the old.")
    ]


class Release(Model):
    """How another version of the graph, or of a ModelDeployment among its targets, takes over."""

    model_config = {
        "json_schema_extra": rules(
            rule(
                "self.steps.all(s, has(s.percent) == (self.strategy == 'Shadow'))",
                "steps have weight in a Canary and percent in a Shadow",
                path=".steps",
            ),
            rule("self.strategy == 'Canary' || !has(self.sticky)", "sticky belongs to Canary", path=".sticky"),
            rule("self.strategy == 'Shadow' || !has(self.compare)", "compare belongs to Shadow", path=".compare"),
        )
    }

    strategy: Annotated[
        ReleaseStrategy,
        Field(description="Canary: the new version answers a part. Shadow: the old answers, the new is asked beside."),
    ] = ReleaseStrategy.CANARY
    steps: Annotated[
        list[ReleaseStep],
        Field(min_length=1, max_length=16, json_schema_extra=ATOMIC_LIST, description="One after the other, rising."),
    ]
    sticky: Annotated[
        str | None,
        Field(
            min_length=1,
            max_length=2048,
            description="CEL over request: requests for which it gives the same value go the same way; those for which "
            "it gives none go any way.",
        ),
    ] = None
    compare: Annotated[
        str | None,
        Field(
            min_length=1,
            max_length=2048,
            description="CEL over request, primary and shadow: whether they agree. Gives new.agreement.",
        ),
    ] = None
    checks: Annotated[
        list[ReleaseCheck],
        Field(max_length=32, json_schema_extra=ATOMIC_LIST, description="All of them must be true in each step."),
    ] = []
    min_requests: Annotated[
        int | None,
        Field(
            ge=0,
            le=1_000_000_000,
            description="Of the new in a step; fewer extend its hold until the timeout. Default: 1 with checks.",
        ),
    ] = None
    timeout: Annotated[
        Duration,
        Field(
            description="Limit of a whole release; half a minute after it the release fails and says what it lacked."
        ),
    ] = "2h"
    on_failure: Annotated[
        ReleaseFailure, Field(description="Rollback: the old answers all. Pause: all stays until somebody decides.")
    ] = ReleaseFailure.ROLLBACK
    decision: Annotated[
        ReleaseDecision | None, Field(description="Ends a release that goes on or is paused, whatever its checks say.")
    ] = None


class ReleaseState(StrEnum):
    """How far a release is."""

    PREPARING = "Preparing"
    PROGRESSING = "Progressing"
    PAUSED = "Paused"
    PROMOTED = "Promoted"
    REVERTED = "Reverted"
    ROLLED_BACK = "RolledBack"


class PinnedMember(StatusModel):
    """A revision of a ModelDeployment."""

    name: Annotated[str, Field(description="Name of the ModelDeployment.")]
    revision: Annotated[str, Field(description="Hash of its revision; NAME-HASH is the Service that is asked.")]
    protocol: Annotated[Protocol | None, Field(description="What the revision speaks.")] = None
    uid: Annotated[
        str, Field(description="Uid of the ModelDeployment: one that is made again has other revisions.")
    ] = ""


class ReleaseVersion(StatusModel):
    """A version of the graph: its spec and the revisions of its targets."""

    number: Annotated[int, Field(description="The release that brought it.")]
    hash: Annotated[str, Field(description="Of spec and revisions together.")]
    spec: Annotated[str, Field(description="Of the spec alone, without release and router.")]
    members: Annotated[
        list[PinnedMember], Field(json_schema_extra=named_list(), description="The revisions that it asks.")
    ] = []


class ReleaseStatus(StatusModel):
    """How far the newest release is. What is to be served follows from it alone."""

    number: Annotated[int, Field(description="Counts the releases of the graph.")]
    state: Annotated[ReleaseState, Field(description="How far it is.")]
    reason: Annotated[str, Field(description="Why it is in this state, in one word.")] = ""
    message: Annotated[str, Field(description="The same in words.")] = ""
    strategy: Annotated[ReleaseStrategy, Field(description="Of the step.")] = ReleaseStrategy.CANARY
    step: Annotated[int, Field(description="The step, from 1; 0 before the first.")] = 0
    weight: Annotated[int, Field(description="Per cent of the requests that the candidate answers, or is shown.")] = 0
    began: Annotated[str, Field(description="When the release began.", json_schema_extra={"format": "date-time"})]
    since: Annotated[
        str | None,
        Field(
            description="Since when all routers are at this step, or the candidate's revisions answer.",
            json_schema_extra={"format": "date-time"},
        ),
    ] = None
    seen: Annotated[
        str | None,
        Field(description="When the numbers in the message were read.", json_schema_extra={"format": "date-time"}),
    ] = None
    overdue: Annotated[
        str | None,
        Field(
            description="When it was first seen to have passed its timeout; it fails a moment later.",
            json_schema_extra={"format": "date-time"},
        ),
    ] = None
    served: Annotated[
        ReleaseVersion | None,
        Field(description="What answers, but for what the candidate does; none before the first."),
    ] = None
    candidate: Annotated[ReleaseVersion | None, Field(description="What is to replace it, while that is open.")] = None
    leaving: Annotated[
        list[str],
        Field(
            max_length=256,
            json_schema_extra=SET,
            description="Services of revisions that are no longer needed once all routers have left them.",
        ),
    ] = []
    rejected: Annotated[
        str | None, Field(description="Hash of what was rolled back; it is not tried again until something changes.")
    ] = None
