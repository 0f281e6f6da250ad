"""Does the operator's work grow with the stages of a run, or faster?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tests.bench.bed import Bed, Operator
from tests.bench.compare import define, run_pipelines
from tests.bench.shapes import Shape


@dataclass(frozen=True)
class Growth:
    """What one run of a shape cost.

    Attributes:
        work: The shape.
        stages: Its stages.
        cpu: Seconds of the operator's CPU time.
        reconciles: Looks at the run.
        bytes: Size of the run at its largest.
    """

    work: str
    stages: int
    cpu: float
    reconciles: int
    bytes: int

    @property
    def each(self) -> float:
        """Milliseconds of the operator's CPU time a stage."""
        return self.cpu / self.stages * 1000


async def measure_growth(here: Bed, operator: Operator, shapes: Sequence[Shape]) -> list[Growth]:
    """Run one of each shape, one after the other."""
    await here.namespace("growth")
    found = []
    for number, shape in enumerate(shapes):
        pipeline = await define(here, "growth", shape, f"work-{number}")
        before = await operator.cost()
        size = await run_pipelines(here, "growth", [shape.run(f"run-{number}", pipeline=pipeline)])
        after = await operator.cost()
        spent = after.cpu - before.cpu, after.reconciles - before.reconciles
        found.append(Growth(shape.name, len(shape.needs), *spent, size))
        await here.settled("growth")
    return found
