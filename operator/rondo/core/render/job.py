"""From an attempt of a job stage to its Job.

The user's container `main` is the only regular container, so the pod is Running while it runs and nothing wraps its
entrypoint. `fetch`, only where inputs are declared, is an init container before it; `push`, only where outputs are
declared, is a native sidecar that waits until `main` has ended. One Job is one attempt: it never retries by itself, and
it is created once and never changed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from rondo.api.base import Json
from rondo.api.pipeline import AccessMode, Job, Retry, Workspace
from rondo.core import names
from rondo.core.artifacts import ArtifactStore, build_claim, together
from rondo.core.durations import parse_duration
from rondo.core.plan import Object
from rondo.core.references import text_of
from rondo.core.render import container, files
from rondo.core.render.context import AttemptContext, Indexed
from rondo.core.render.files import GRACE, INDEX, ITEM_FILE, claim_source
from rondo.core.render.memory import raise_memory

RESULTS_FILE: Final = "/dev/termination-log"
"""The container's termination message: the kubelet makes it writable for any user, also with a read-only root."""

ITEMS_LIMIT: Final = 1_000_000
"""Bytes of the items of an indexed Job: a ConfigMap holds 1 MiB."""

_SCRIPT_FOLDER: Final = "/rondo/script"


def build_job(context: AttemptContext, job: Job) -> dict[str, Any]:
    """Build the Job of an attempt.

    Raises:
        references.UnresolvedError: A reference has no value.
        ValueError: An input's URI is not one.
    """
    labels = _labels(context)
    template = build_template(context, job, labels)
    spec: dict[str, Any] = {"podReplacementPolicy": "Failed", "template": template}
    timeout = context.stage.timeout or context.wiring.spec.defaults.timeout
    deadline = {"activeDeadlineSeconds": max(1, int(parse_duration(timeout).total_seconds()))} if timeout else {}
    if context.indexed is None:
        spec |= {"backoffLimit": 0, **deadline}
    else:
        spec |= _of_all_items(context.indexed, context.stage.retry or context.wiring.spec.defaults.retry or Retry())
        template["spec"] |= deadline
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": context.job_name,
            "namespace": context.run["metadata"]["namespace"],
            "labels": labels,
            "ownerReferences": [names.owner_reference(context.run)],
        },
        "spec": spec,
    }


def _of_all_items(indexed: Indexed, retry: Retry) -> dict[str, Any]:
    """Give what makes a Job run an index for each item. Each index is tried again by itself; disruptions are free."""
    rules: list[dict[str, Any]] = [{"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget"}]}]
    if retry.exit_codes:
        named = {"containerName": "main", "operator": "NotIn", "values": sorted(retry.exit_codes)}
        rules.append({"action": "FailIndex", "onExitCodes": named})
    return {
        "completionMode": "Indexed",
        "completions": indexed.count,
        "parallelism": min(indexed.parallelism, indexed.count),
        "backoffLimitPerIndex": retry.limit,
        "maxFailedIndexes": indexed.max_failed,
        "podFailurePolicy": {"rules": rules},
    }


def build_items(context: AttemptContext, name: str, values: Sequence[Json]) -> dict[str, Any]:
    """Build the immutable ConfigMap that holds the items of an indexed Job, index by index.

    Raises:
        ValueError: They take more than a ConfigMap holds.
    """
    data = {str(index): text_of(value) for index, value in enumerate(values)}
    size = sum(len(text.encode()) + 8 for text in data.values())
    if size > ITEMS_LIMIT:
        raise ValueError(f"forEach: the items take {size} bytes of JSON; {ITEMS_LIMIT} are allowed")
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": name,
            "namespace": context.run["metadata"]["namespace"],
            "labels": _labels(context),
            "ownerReferences": [names.owner_reference(context.run)],
        },
        "immutable": True,
        "data": data,
    }


def build_template(context: AttemptContext, job: Job, labels: Mapping[str, str]) -> dict[str, Any]:
    """Build the pod template of an attempt, with the stage's overlay merged in.

    Raises:
        references.UnresolvedError: A reference has no value.
        ValueError: An input's URI is not one.
    """
    block = job if job.image else job.model_copy(update={"image": context.wiring.spec.defaults.image})
    pod = container.render_pod(block, context.lookup)
    pod["restartPolicy"] = "Never"
    pod["terminationGracePeriodSeconds"] = GRACE
    metadata: dict[str, Any] = {"labels": dict(labels)}
    main = pod["containers"][0]
    main["env"] = [*_environment(context), *main.get("env", [])]
    retry = context.stage.retry or context.wiring.spec.defaults.retry
    if retry is not None and retry.on_oom is not None and "resources" in main:
        main["resources"] = raise_memory(main["resources"], retry.on_oom, context.oom_kills)
    if job.script is not None:
        _add_script(pod, metadata, job.script)
    if context.indexed is not None:
        main["env"] = [INDEX, {"name": "RONDO_ITEM", "value": ITEM_FILE}, *main["env"]]
        if isinstance(context.indexed.items, str):
            _add_item(pod, context.indexed.items)
    _add_workspace(pod, metadata, context)
    files.add_inputs(pod, context)
    files.add_outputs(pod, context)
    files.keep_together(pod, metadata, context)
    return container.apply_overlay({"metadata": metadata, "spec": pod}, job)


def workspace_name(run: Object) -> str:
    """Name the claim of a run's workspace."""
    return names.child_name(run["metadata"]["name"], "workspace", run["metadata"]["uid"])


def _labels(context: AttemptContext) -> dict[str, str]:
    metadata = context.run["metadata"]
    labels = {
        names.MANAGED_BY: names.MANAGER,
        names.RUN: metadata["name"],
        names.RUN_UID: metadata["uid"],
        names.STAGE: context.stage.name,
        names.ATTEMPT: str(context.number),
    }
    if context.item is not None:
        labels[names.ITEM] = str(context.item.index)
    return {**labels, names.PIPELINE: context.pipeline} if context.pipeline else labels


def _environment(context: AttemptContext) -> list[dict[str, str]]:
    values = {
        "RONDO_RUN": context.run["metadata"]["name"],
        "RONDO_STAGE": context.stage.name,
        "RONDO_ATTEMPT": str(context.number),
        "RONDO_RESULTS": RESULTS_FILE,
    }
    if context.wiring.spec.workspace is not None:
        values["RONDO_WORKSPACE"] = "/workspace"
    return [{"name": name, "value": value} for name, value in values.items()]


def _add_script(pod: dict[str, Any], metadata: dict[str, Any], script: str) -> None:
    """Put the program text into an annotation and mount that: no ConfigMap a stage."""
    text = script if script.startswith("#!") else f"#!/bin/sh\nset -e\n{script}"
    metadata.setdefault("annotations", {})[names.SCRIPT] = text
    item = {
        "path": "main",
        "mode": 0o555,
        "fieldRef": {"fieldPath": f"metadata.annotations['{names.SCRIPT}']"},
    }
    container.add_volume(pod, "rondo-script", {"downwardAPI": {"items": [item]}}, _SCRIPT_FOLDER, readOnly=True)
    pod["containers"][0]["command"] = [f"{_SCRIPT_FOLDER}/main"]


def _add_item(pod: dict[str, Any], items: str) -> None:
    """Mount the item of the pod's index as a file: the kubelet picks it by the label that the Job controller sets."""
    volume = {"configMap": {"name": items}}
    container.add_volume(pod, "rondo-items", volume, ITEM_FILE, subPathExpr=f"$({INDEX['name']})", readOnly=True)


def _add_workspace(pod: dict[str, Any], metadata: dict[str, Any], context: AttemptContext) -> None:
    workspace = context.wiring.spec.workspace
    if workspace is None:
        return
    container.add_volume(pod, "rondo-workspace", claim_source(workspace_name(context.run)), "/workspace")
    if workspace.access_mode is AccessMode.READ_WRITE_ONCE:
        label = {names.WORKSPACE: context.run["metadata"]["uid"]}
        metadata["labels"] |= label
        together(pod, label)


def workspace_claim(run: Object, workspace: Workspace) -> dict[str, Any]:
    """Build the claim of a run's workspace; it goes with the run."""
    metadata = run["metadata"]
    store = ArtifactStore(
        size=str(workspace.size), access_mode=workspace.access_mode, storage_class=workspace.storage_class_name
    )
    body = build_claim(workspace_name(run), metadata["namespace"], store)
    body["metadata"]["ownerReferences"] = [names.owner_reference(run)]
    body["metadata"]["labels"] |= {
        names.RUN: metadata["name"],
        names.RUN_UID: metadata["uid"],
        names.RECLAIM: workspace.reclaim.value,
    }
    return body
