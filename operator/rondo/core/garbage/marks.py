"""What stays when a claim is swept: from everything in the namespace that may refer to an artifact.

All text of all these objects is searched for URIs on the claim, whatever field they stand in: a mark too many costs
space, one too few a model.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from datetime import datetime

from rondo.artifacts.config import Sweep
from rondo.core.artifacts import SCHEME
from rondo.core.plan import Object


class UnsettledError(Exception):
    """It cannot be told yet what stays; the message says why."""


def take_marks(
    claim: str,
    age: float,
    now: datetime,
    *,
    runs: Iterable[Object],
    pipelines: Iterable[Object],
    revisions: Iterable[Object],
    others: Iterable[Object],
) -> Sweep:
    """Say what stays on a claim.

    Args:
        claim: The claim.
        age: Seconds that garbage has to be old.
        now: When the objects were listed.
        runs: All PipelineRuns of the namespace: all that they have stored stays.
        pipelines: All Pipelines: some keep whatever their runs have stored.
        revisions: All ControllerRevisions of ours: frozen copies, with what a retry has taken over, and earlier specs
            of ModelDeployments.
        others: Everything else that may name an artifact.

    Raises:
        UnsettledError: A retry is about to take over what another run has stored.
    """
    runs, pipelines, revisions = list(runs), list(pipelines), list(revisions)
    for run in runs:
        if run["spec"].get("retryOf") and not run.get("status", {}).get("stages"):
            raise UnsettledError(f"run {run['metadata']['name']} has not taken over yet what run it is a retry of")
    live = {run["metadata"]["uid"] for run in runs}
    origins = {uid for revision in revisions for uid in (revision.get("data") or {}).get("origins", ())}
    kept = {item["metadata"]["name"] for item in pipelines if _keeps(item)}
    pattern = re.compile(re.escape(f"{SCHEME}{claim}/") + r"([^\s\"'\\,;)]+)")
    texts = (json.dumps(thing, ensure_ascii=False) for thing in (*runs, *pipelines, *revisions, *others))
    paths = {found.strip("/") for text in texts for found in pattern.findall(text)}
    return Sweep(
        claim=claim,
        at=now.timestamp(),
        age=age,
        runs=frozenset(live | origins),
        pipelines=frozenset(kept),
        paths=frozenset(path for path in paths if path.split("/")[1:2] and path.split("/")[1] not in live),
    )


def _keeps(pipeline: Object) -> bool:
    return bool((pipeline["spec"].get("artifacts") or {}).get("retention") == "Keep")
