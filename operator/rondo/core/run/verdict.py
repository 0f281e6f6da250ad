"""How a run has ended, by what its stages say."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from rondo.api.pipelinerun import StageState, StageStatus
from rondo.core.pipeline.wiring import Wiring

CANCELLED: Final = "Cancelled"
FAILED: Final = "Failed"
SUCCEEDED: Final = "Succeeded"

RUN_TIMEOUT: Final = "RunTimeout"
"""Reason of a stage that was stopped or never started because the run took too long."""


def fails_run(stage: StageStatus, wiring: Wiring) -> bool:
    """Tell whether a stage has failed and takes the run with it."""
    return stage.state is StageState.FAILED and not wiring.stages[stage.name].continue_on_failure


def outcome_of(stages: Mapping[str, StageStatus], wiring: Wiring) -> str:
    """Give what the stages come to: Failed, Cancelled or Succeeded.

    A failure tells more than the cancel that followed it.
    """
    if any(fails_run(stage, wiring) or stage.reason == RUN_TIMEOUT for stage in stages.values()):
        return FAILED
    return CANCELLED if any(stage.reason == CANCELLED for stage in stages.values()) else SUCCEEDED
