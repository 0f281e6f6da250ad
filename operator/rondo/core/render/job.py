"""From an attempt of a job stage to its Job.

The user's container `main` is the only regular container, so the pod is Running while it runs and nothing wraps its
entrypoint. `fetch`, only where inputs are declared, is an init container before it; `push`, only where outputs are
declared, is a native sidecar that waits until `main` has ended. One Job is one attempt: it never retries by itself, and
it is created once and never changed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from dataclasses import replace as replace_fields
from typing import Any, Final, assert_never

from rondo.api.base import Json
from rondo.api.pipeline import AccessMode, Job, Retry, Stage, Workspace
from rondo.artifacts.config import PRE_STOP, Config
from rondo.artifacts.config import Input as ArtifactInput
from rondo.artifacts.config import Output as ArtifactOutput
from rondo.core import names
from rondo.core.artifacts import (
    AnyStore,
    ArtifactStore,
    BucketPath,
    ClaimPath,
    Place,
    attempt_place,
    build_claim,
    parse_uri,
    secret_of,
    store_of,
    together,
)
from rondo.core.durations import parse_duration
from rondo.core.items import Item
from rondo.core.pipeline.wiring import Wiring
from rondo.core.plan import Object
from rondo.core.references import Lookup, replace, text_of
from rondo.core.render import container
from rondo.core.render.helper import build_helper
from rondo.core.render.memory import raise_memory
from rondo.core.settings import PlannerSettings

RESULTS_FILE: Final = "/dev/termination-log"
"""The container's termination message: the kubelet makes it writable for any user, also with a read-only root."""

PUSH_TIMEOUT: Final = 3600
"""Seconds that `push` may take after `main` has ended; part of the pod's grace period."""

GRACE: Final = 30
"""Seconds that `main` has to end after SIGTERM."""

ITEMS_LIMIT: Final = 1_000_000
"""Bytes of the items of an indexed Job: a ConfigMap holds 1 MiB."""

_INDEX: Final[dict[str, Any]] = {
    "name": "RONDO_INDEX",
    "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['batch.kubernetes.io/job-completion-index']"}},
}
_ITEM_FILE: Final = "/rondo/item.json"
_SCRIPT_FOLDER: Final = "/rondo/script"
_CLAIMS_FOLDER: Final = "/rondo/claims"
_DOWNLOADS: Final = "rondo-inputs"
_DOWNLOADS_FOLDER: Final = "/rondo/inputs"


@dataclass(frozen=True, slots=True)
class Indexed:
    """One Job for many items, each of which is an index of it.

    Attributes:
        count: Number of items that this Job works on.
        items: The ConfigMap that holds them, index by index.
        parallelism: Items at a time.
        max_failed: Items that may fail.
    """

    count: int
    items: str
    parallelism: int
    max_failed: int


@dataclass(frozen=True, slots=True)
class AttemptContext:
    """What an attempt of a stage is rendered from.

    Attributes:
        run: The PipelineRun.
        pipeline: Name of its Pipeline, empty for a pipeline written in place.
        wiring: The frozen pipeline.
        stage: The job stage.
        number: Number of the attempt, from 1.
        lookup: Values of the references of the stage.
        digests: Digests of the run's artifacts, by URI.
        settings: The installation's settings.
        oom_kills: Earlier attempts that were killed for memory.
        item: The item of the fan-out, if each has a Job.
        indexed: What one Job for all items needs to know, if there is one.
    """

    run: Object
    pipeline: str
    wiring: Wiring
    stage: Stage
    number: int
    lookup: Lookup
    digests: Mapping[str, str]
    settings: PlannerSettings
    oom_kills: int = 0
    item: Item | None = None
    indexed: Indexed | None = None

    @property
    def job_name(self) -> str:
        """Name of the attempt's Job."""
        metadata = self.run["metadata"]
        item = () if self.item is None else (f"item-{self.item.index}",)
        return names.child_name(metadata["name"], self.stage.name, metadata["uid"], *item, self.number)

    @property
    def store(self) -> AnyStore:
        """Where the pipeline stores its artifacts."""
        return store_of(self.wiring.spec.artifacts, self.settings.store)

    @property
    def secret(self) -> str | None:
        """Name of the Secret with the credentials of buckets."""
        return secret_of(self.wiring.spec.artifacts, self.settings.store)

    @property
    def place(self) -> Place:
        """Folder that the attempt stores its outputs in."""
        return attempt_place(
            self.store,
            pipeline=self.pipeline,
            run_uid=self.run["metadata"]["uid"],
            stage=self.stage.name if self.item is None else f"{self.stage.name}/{self.item.index}",
            attempt=self.number,
        )


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
        _add_item(pod, context.indexed)
    _add_workspace(pod, metadata, context)
    _add_inputs(pod, context)
    _add_outputs(pod, context)
    _keep_together(pod, metadata, context)
    return container.apply_overlay({"metadata": metadata, "spec": pod}, job)


def workspace_name(run: Object) -> str:
    """Name the claim of a run's workspace."""
    return names.child_name(run["metadata"]["name"], "workspace", run["metadata"]["uid"])


def output_folders(paths: Iterable[str]) -> list[str]:
    """Give the folders that have to be volumes so that these outputs can be shared with `push`.

    A path's folder is the volume, so the path may be a file or a directory; a path directly below / is itself the
    volume and so a directory. Folders within others are left out.
    """
    folders = {_folder(path) for path in paths}
    return sorted(folder for folder in folders if not any(folder.startswith(f"{other}/") for other in folders))


def _folder(path: str) -> str:
    parts = [part for part in path.split("/") if part]
    return "/" + "/".join(parts[:-1] if len(parts) > 1 else parts)


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


def _add_item(pod: dict[str, Any], indexed: Indexed) -> None:
    """Mount the item of the pod's index as a file: the kubelet picks it by the label that the Job controller sets."""
    main = pod["containers"][0]
    main["env"] = [_INDEX, {"name": "RONDO_ITEM", "value": _ITEM_FILE}, *main["env"]]
    items = {"configMap": {"name": indexed.items}}
    container.add_volume(pod, "rondo-items", items, _ITEM_FILE, subPathExpr=f"$({_INDEX['name']})", readOnly=True)


def _add_workspace(pod: dict[str, Any], metadata: dict[str, Any], context: AttemptContext) -> None:
    workspace = context.wiring.spec.workspace
    if workspace is None:
        return
    container.add_volume(pod, "rondo-workspace", _claim(workspace_name(context.run)), "/workspace")
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
    body["metadata"]["labels"] |= {names.RUN: metadata["name"], names.RUN_UID: metadata["uid"]}
    return body


def _inputs(context: AttemptContext) -> list[tuple[str, Place]]:
    """Each input's path in the container with its place."""
    return [(item.path, parse_uri(str(replace(item.from_, context.lookup)))) for item in context.stage.inputs]


def _add_inputs(pod: dict[str, Any], context: AttemptContext) -> None:
    """Mount inputs read-only, after `fetch` has checked or downloaded them."""
    inputs = _inputs(context)
    if not inputs:
        return
    wanted = tuple(_add_input(pod, context, index, path, place) for index, (path, place) in enumerate(inputs))
    mounts = _claim_mounts({place.claim for _, place in inputs if isinstance(place, ClaimPath)}, read_only=True)
    config = Config(claims=_claim_folders(mounts), inputs=wanted)
    secret = None
    if any(isinstance(place, BucketPath) for _, place in inputs):
        mounts.append({"name": _DOWNLOADS, "mountPath": _DOWNLOADS_FOLDER})
        secret = context.secret
    pod.setdefault("initContainers", []).append(build_helper("fetch", context.settings, config, mounts, secret=secret))


def _add_input(pod: dict[str, Any], context: AttemptContext, index: int, path: str, place: Place) -> ArtifactInput:
    """Mount an input straight from its claim, or from where `fetch` downloads it to."""
    wanted = ArtifactInput(uri=place.uri, what=f"input {path}", digest=context.digests.get(place.uri))
    match place:
        case ClaimPath(claim, folder):
            container.add_volume(pod, _volume(claim), _claim(claim), path, subPath=folder, readOnly=True)
            return wanted
        case BucketPath():
            container.add_volume(pod, _DOWNLOADS, {"emptyDir": {}}, path, subPath=str(index), readOnly=True)
            return replace_fields(wanted, path=f"{_DOWNLOADS_FOLDER}/{index}")
        case _:
            assert_never(place)


def _add_outputs(pod: dict[str, Any], context: AttemptContext) -> None:
    """Share the folders of outputs with `push`, which stores them after `main` has ended."""
    outputs = context.stage.outputs
    if not outputs:
        return
    place = context.place if context.indexed is None else context.place.below(f"$({_INDEX['name']})")
    mounts = _store_mounts(pod, place)
    for index, folder in enumerate(output_folders(output.path for output in outputs)):
        container.add_volume(pod, f"rondo-out-{index}", {"emptyDir": {}}, folder)
        mounts.append({"name": f"rondo-out-{index}", "mountPath": folder, "readOnly": True})
    stored = tuple(ArtifactOutput(name=o.name, path=o.path, uri=f"{place.uri}/{o.name}") for o in outputs)
    config = Config(claims=_claim_folders(mounts), outputs=stored)
    secret = context.secret if isinstance(place, BucketPath) else None
    push = build_helper("push", context.settings, config, mounts, secret=secret)
    if context.indexed is not None:
        push["env"] = [_INDEX, *push["env"]]
    push |= {"restartPolicy": "Always", "lifecycle": {"preStop": {"exec": {"command": list(PRE_STOP)}}}}
    pod.setdefault("initContainers", []).append(push)
    pod["terminationGracePeriodSeconds"] = GRACE + PUSH_TIMEOUT


def _store_mounts(pod: dict[str, Any], place: Place) -> list[dict[str, Any]]:
    """Give the mounts of `push` for the store; a bucket needs none."""
    if isinstance(place, BucketPath):
        return []
    if all(volume["name"] != _volume(place.claim) for volume in pod.get("volumes", ())):
        pod.setdefault("volumes", []).append({"name": _volume(place.claim), **_claim(place.claim)})
    return _claim_mounts({place.claim}, read_only=False)


def _claim_mounts(claims: set[str], *, read_only: bool) -> list[dict[str, Any]]:
    return [
        {"name": _volume(claim), "mountPath": f"{_CLAIMS_FOLDER}/{claim}", "readOnly": read_only}
        for claim in sorted(claims)
    ]


def _claim_folders(mounts: list[dict[str, Any]]) -> dict[str, str]:
    folders = [mount["mountPath"] for mount in mounts if mount["mountPath"].startswith(f"{_CLAIMS_FOLDER}/")]
    return {folder.rsplit("/", 1)[1]: folder for folder in folders}


def _volume(claim: str) -> str:
    """Name the volume of a claim; claims may have longer names than volumes."""
    return f"rondo-claim-{names.short_hash(claim)}"


def _claim(claim: str) -> dict[str, Any]:
    return {"persistentVolumeClaim": {"claimName": claim}}


def _keep_together(pod: dict[str, Any], metadata: dict[str, Any], context: AttemptContext) -> None:
    """Keep pods that mount the artifact claim on one node, if only one node can mount it."""
    store = context.settings.store
    if not isinstance(store, ArtifactStore) or store.access_mode is not AccessMode.READ_WRITE_ONCE:
        return
    places = [place for _, place in _inputs(context)] + ([context.place] if context.stage.outputs else [])
    if any(isinstance(place, ClaimPath) and place.claim == store.claim for place in places):
        label = {names.ARTIFACTS: store.claim}
        metadata["labels"] |= label
        together(pod, label)
