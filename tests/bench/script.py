"""The bare script: it only chains Jobs, moving on when a pod has succeeded. No engine can do less."""

from __future__ import annotations

import asyncio
from typing import Any

from rondo.core.plan import Ref
from rondo.core.resources import JOB, POD
from tests.bench.bed import NAMESPACE, Bed, Watcher


async def run_chains(bed: Bed, runs: int, stages: int) -> None:
    """Run chains of Jobs, all at once.

    Args:
        bed: Where.
        runs: How many chains.
        stages: How many Jobs each.
    """
    async with Watcher(bed.client, POD).watching() as pods:
        await asyncio.gather(*(_create(bed, run, 0) for run in range(runs)))
        done: set[str] = set()
        while len(done) < runs * stages:
            await pods.changed()
            ended = [name for name in _succeeded(pods) if name not in done]
            done.update(ended)
            following = [(int(run), int(stage) + 1) for _, run, stage in (name.split("-") for name in ended)]
            await asyncio.gather(*(_create(bed, run, stage) for run, stage in following if stage < stages))


def _succeeded(pods: Watcher) -> list[str]:
    return [
        pod["metadata"]["labels"]["job-name"]
        for pod in pods.seen.values()
        if pod["status"].get("phase") == "Succeeded" and "job-name" in pod["metadata"].get("labels", {})
    ]


async def _create(bed: Bed, run: int, stage: int) -> None:
    name = f"script-{run}-{stage}"
    container = {"name": "main", "image": "x", "command": ["work"]}
    template = {"spec": {"restartPolicy": "Never", "containers": [container]}}
    body: dict[str, Any] = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name},
        "spec": {"backoffLimit": 0, "template": template},
    }
    await bed.client.create(Ref(JOB, NAMESPACE, name), body)
