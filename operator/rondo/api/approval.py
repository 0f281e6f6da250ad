"""The Approval kind: a question that a run asks a person. Its controller comes later; see `kinds.PLANNED`.

The operator writes the question, a person the decision. Who may decide is a matter of admission policy, which knows
who asks; the rules here keep the question as it was asked and a decision as it was made.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from rondo.api.base import SET, Model, ObjectName, StageName, StatusModel, named_list, rule, rules
from rondo.api.status import ConditionStatus

PersonName = Annotated[str, Field(min_length=1, max_length=253)]


class Approvers(Model):
    """Who may decide: any of them."""

    model_config = {
        "json_schema_extra": rules(
            rule("has(self.users) || has(self.groups)", "name users or groups that may decide"),
        )
    }

    users: Annotated[
        list[PersonName] | None,
        Field(min_length=1, max_length=64, json_schema_extra=SET, description="Users, as the API server knows them."),
    ] = None
    groups: Annotated[
        list[PersonName] | None,
        Field(min_length=1, max_length=64, json_schema_extra=SET, description="Groups, as the API server knows them."),
    ] = None


class Decision(StrEnum):
    """What was decided."""

    APPROVED = "Approved"
    REJECTED = "Rejected"


_QUESTION = ("run", "stage", "message", "approvers", "expiresAt")


class ApprovalSpec(Model):
    """A question and, once somebody has decided, the answer."""

    model_config = {
        "json_schema_extra": rules(
            rule("has(self.decision) || !has(self.decidedBy)", "decidedBy comes with a decision", path=".decidedBy"),
            rule("!has(oldSelf.decision) || self == oldSelf", "a decision is final"),
            rule(
                " && ".join(
                    f"has(self.{name}) == has(oldSelf.{name}) && (!has(self.{name}) || self.{name} == oldSelf.{name})"
                    for name in _QUESTION
                ),
                f"{', '.join(_QUESTION)} cannot be changed: they are what is decided on",
            ),
        )
    }

    run: Annotated[ObjectName, Field(description="The PipelineRun that waits.")]
    stage: Annotated[StageName, Field(description="Its stage.")]
    message: Annotated[str, Field(max_length=4096, description="What is to be decided.")] = ""
    approvers: Annotated[Approvers, Field(description="Who may decide.")]
    expires_at: Annotated[
        str | None,
        Field(
            max_length=40,
            json_schema_extra={"format": "date-time"},
            description="Without a decision until then the stage fails.",
        ),
    ] = None
    decision: Annotated[Decision | None, Field(description="The decision; final.")] = None
    reason: Annotated[str | None, Field(max_length=4096, description="Why it was decided so.")] = None
    decided_by: Annotated[str | None, Field(max_length=253, description="Who decided.")] = None


class ApprovalStatus(StatusModel):
    """What came of it."""

    observed_generation: Annotated[int, Field(description="The generation that this status speaks of.")] = -1
    conditions: Annotated[
        list[ConditionStatus],
        Field(json_schema_extra=named_list("type"), description="Ready, Reconciling, Stalled."),
    ] = []
    message: Annotated[str, Field(description="The same as the message of Ready, for printing.")] = ""
