"""Parts of a status that several kinds share."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from rondo.api.base import StatusModel


class ConditionStatus(StatusModel):
    """One statement about the object, as in metav1.Condition."""

    type: Annotated[str, Field(max_length=316, description="What it speaks of.")]
    status: Annotated[str, Field(max_length=7, description="True, False or Unknown.")]
    reason: Annotated[str, Field(max_length=1024, description="Why, in one CamelCase word.")]
    message: Annotated[str, Field(max_length=32768, description="Why, in words.")] = ""
    observed_generation: Annotated[int, Field(description="The generation that it speaks of.")] = 0
    last_transition_time: Annotated[
        str,
        Field(json_schema_extra={"format": "date-time"}, description="Since when the status is what it is."),
    ]
