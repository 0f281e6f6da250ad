"""The bare script: it only chains Jobs, moving on when a pod has succeeded. No engine can do less."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from rondo.api.base import API_VERSION
from rondo.core.names import RUN, STAGE
from rondo.core.plan import Object, Ref
from rondo.core.resources import JOB, POD
from tests.bench.bed import Bed, watching
from tests.bench.shapes import Shape, chain
from tests.unit.core.cluster import Cluster, Operator


async def run_script(bed: Bed, namespace: str, shape: Shape, runs: int) -> None:
    """Run a piece of work as plain Jobs, some times at once, until all pods have succeeded."""
    script = _Script(bed, namespace, shape)
    async with watching(bed.client, POD, namespace, script.see):
        for run in range(runs):
            for stage, needs in shape.jobs.items():
                script.left[run, stage] = len(needs)
                if not needs:
                    script.start(run, stage)
        await script.done.wait()
    for task in script.tasks:
        task.result()


@dataclass
class _Script:
    """What is left to do.

    Attributes:
        bed: Where.
        namespace: In which namespace.
        shape: The work.
        left: For each Job the number of those that it still waits for.
        done: Set when every pod of every Job has succeeded.
        tasks: The creations.
    """

    bed: Bed
    namespace: str
    shape: Shape
    left: dict[tuple[int, str], int] = field(default_factory=dict)
    done: asyncio.Event = field(default_factory=asyncio.Event)
    tasks: list[asyncio.Task[None]] = field(default_factory=list)
    _pods: set[str] = field(default_factory=set)
    _ended: Counter[tuple[int, str]] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self._followers: dict[str, list[str]] = {}
        for stage, needs in self.shape.jobs.items():
            for need in needs:
                self._followers.setdefault(need, []).append(stage)

    def see(self, pod: Object) -> None:
        """Start what a pod that has succeeded was waited for by."""
        metadata = pod["metadata"]
        if pod["status"].get("phase") != "Succeeded" or metadata["uid"] in self._pods:
            return
        self._pods.add(metadata["uid"])
        run, stage = int(metadata["labels"][RUN]), metadata["labels"][STAGE]
        self._ended[run, stage] += 1
        if self._ended[run, stage] < self.shape.completions:
            return
        for follower in self._followers.get(stage, ()):
            self.left[run, follower] -= 1
            if self.left[run, follower] == 0:
                self.start(run, follower)
        if len(self._pods) == len(self.left) * self.shape.completions:
            self.done.set()

    def start(self, run: int, stage: str) -> None:
        """Create a Job, beside all others; the client's pool bounds how many at a time."""
        body = _job(self.shape, run, stage)
        ref = Ref(JOB, self.namespace, body["metadata"]["name"])
        self.tasks.append(asyncio.create_task(self._create(ref, body)))

    async def _create(self, ref: Ref, body: dict[str, Any]) -> None:
        await self.bed.client.create(ref, body)


def _job(shape: Shape, run: int, stage: str) -> dict[str, Any]:
    """Give a Job with the same pod as Rondo's: what is compared is who drives it, not what a pod may do."""
    labels = {RUN: str(run), STAGE: stage}
    job = rendered_job()
    spec = job["spec"]
    template = {**spec["template"], "metadata": {"labels": {**spec["template"]["metadata"]["labels"], **labels}}}
    many = {"completions": shape.completions, "parallelism": shape.completions, "completionMode": "Indexed"}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": f"script-{run}-{stage}", "labels": {**job["metadata"]["labels"], **labels}},
        "spec": {**spec, "template": template, **(many if shape.completions > 1 else {})},
    }


@lru_cache
def rendered_job() -> dict[str, Any]:
    """Give the Job that Rondo makes of a stage."""
    cluster = Cluster()
    cluster.create({**chain(1).run("run"), "apiVersion": API_VERSION})
    Operator(cluster).settle()
    return cluster.of_kind(JOB)[0]
