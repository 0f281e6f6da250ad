"""What is run: the same work as a pipeline for Rondo and as plain Jobs for the script."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rondo.api.base import API_VERSION
from rondo.api.pipeline import MAX_NEEDS
from rondo.api.pipelinerun import PerItem


@dataclass(frozen=True)
class Shape:
    """One piece of work.

    Attributes:
        name: What it is called.
        needs: The stages of the pipeline and what each needs.
        items: Number of items where its only stage is a fan-out, else 0.
        per_item: What the fan-out makes of an item.
    """

    name: str
    needs: Mapping[str, tuple[str, ...]]
    items: int = 0
    per_item: PerItem = PerItem.JOB

    @property
    def jobs(self) -> Mapping[str, tuple[str, ...]]:
        """The Jobs that the work comes to, and what each needs."""
        if self.items and self.per_item is PerItem.JOB:
            return {f"item{index}": () for index in range(self.items)}
        return self.needs

    @property
    def completions(self) -> int:
        """Pods of a Job."""
        return self.items if self.per_item is PerItem.INDEX else 1

    def pipeline(self, name: str) -> dict[str, Any]:
        """Give a Pipeline of this work that nothing starts by itself."""
        spec = {**self._spec(), "run": {"trigger": "Manual"}}
        return {"apiVersion": API_VERSION, "kind": "Pipeline", "metadata": {"name": name}, "spec": spec}

    def run(self, name: str, *, pipeline: str = "", state: str = "Running") -> dict[str, Any]:
        """Give a PipelineRun of a Pipeline, or with this work written into it."""
        what = {"name": pipeline} if pipeline else {"spec": self._spec()}
        spec = {"pipeline": what, "state": state}
        return {"apiVersion": API_VERSION, "kind": "PipelineRun", "metadata": {"name": name}, "spec": spec}

    def _spec(self) -> dict[str, Any]:
        return {"stages": [self._stage(stage, needs) for stage, needs in self.needs.items()]}

    def _stage(self, name: str, needs: tuple[str, ...]) -> dict[str, Any]:
        named = ["$(item.value)"] if self.items and self.per_item is PerItem.JOB else []
        stage = {"name": name, "needs": list(needs), "job": {"image": "x", "command": ["work", *named]}}
        return {**stage, "forEach": {"items": [f"item-{n}" for n in range(self.items)]}} if self.items else stage


def chain(length: int) -> Shape:
    """Stages one after the other."""
    return Shape(f"chain of {length}", {f"s{n}": (f"s{n - 1}",) if n else () for n in range(length)})


def wide(stages: int) -> Shape:
    """One stage, then nearly all others at once, then a join, in two steps because needs of a stage are limited."""
    knots = math.ceil((stages - 2) / (MAX_NEEDS + 1))
    middle = [f"m{n}" for n in range(stages - 2 - knots)]
    groups = {f"k{n}": tuple(middle[n::knots]) for n in range(knots)}
    return Shape(f"wide {stages}", {"root": (), **dict.fromkeys(middle, ("root",)), **groups, "join": tuple(groups)})


def fan_out(items: int, per_item: PerItem) -> Shape:
    """One stage with that many items."""
    way = "a Job each" if per_item is PerItem.JOB else "one indexed Job"
    return Shape(f"{items} items, {way}", {"all": ()}, items, per_item)
