"""Names and labels of what Rondo creates.

Child names are never ambiguous and never reused by a later object of the same name, because a hash over the owner's uid
is part of them; readable names stand in labels. Labels are an allow-list: copying a parent's labels would make GitOps
tools prune the children.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache
from typing import Any, Final

from rondo.api.base import GROUP
from rondo.core.plan import Object

MANAGER: Final = "rondo"
"""Field manager of everything that the operator applies for itself."""

MANAGED_BY: Final = "app.kubernetes.io/managed-by"
PIPELINE: Final = f"{GROUP}/pipeline"
RUN: Final = f"{GROUP}/run"
RUN_UID: Final = f"{GROUP}/run-uid"
STAGE: Final = f"{GROUP}/stage"
ITEM: Final = f"{GROUP}/item"
ATTEMPT: Final = f"{GROUP}/attempt"
TRIGGER: Final = f"{GROUP}/trigger"
OUTCOME: Final = f"{GROUP}/outcome"
MODEL_DEPLOYMENT: Final = f"{GROUP}/modeldeployment"
KEPT: Final = f"{GROUP}/kept-of"
MODEL_GRAPH: Final = f"{GROUP}/modelgraph"
ROUTER: Final = f"{GROUP}/router"
ARTIFACTS: Final = f"{GROUP}/artifacts"
RECLAIM: Final = f"{GROUP}/reclaim"
SWEEP: Final = f"{GROUP}/sweep"
MARKS: Final = f"{GROUP}/marks"
WORKSPACE: Final = f"{GROUP}/workspace"
SCRIPT: Final = f"{GROUP}/script"

MANAGED_SELECTOR: Final = f"{MANAGED_BY}={MANAGER}"
"""Label selector of everything that the operator created."""


def child_name(run: str, stage: str, *parts: object) -> str:
    """Name a child of a run: at most 56 characters.

    Args:
        run: Name of the run.
        stage: Name of the stage, or what the child is.
        parts: What tells it apart: the run's uid, the stage, the item, the attempt.
    """
    return f"{run[:30].rstrip('-.')}-{stage[:16].rstrip('-')}-{short_hash(stage, *parts)}"


@lru_cache(maxsize=4096)
def short_hash(*parts: object) -> str:
    """Give 8 hex digits of SHA-256 over the parts."""
    text = "\0".join(str(part) for part in parts)
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def owner_reference(owner: Object) -> dict[str, Any]:
    """Give the controller ownerReference to an object."""
    return {
        "apiVersion": owner["apiVersion"],
        "kind": owner["kind"],
        "name": owner["metadata"]["name"],
        "uid": owner["metadata"]["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }


def controller_uid(child: Object) -> str | None:
    """Give the uid of an object's controller owner, if it has one."""
    owners = child["metadata"].get("ownerReferences", ())
    return next((owner["uid"] for owner in owners if owner.get("controller")), None)
