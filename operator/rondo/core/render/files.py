"""The files of an attempt: what its pod reads, from claims, buckets and items, and what of it is stored.

`fetch`, an init container, provides inputs before `main` starts; `push`, a native sidecar, stores outputs after it has
ended. Neither is there where nothing is declared for it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace as replace_fields
from typing import Any, Final, assert_never

from rondo.api.pipeline import AccessMode
from rondo.artifacts.config import PRE_STOP, Config, Gathered
from rondo.artifacts.config import Input as ArtifactInput
from rondo.artifacts.config import Item as ArtifactItem
from rondo.artifacts.config import Output as ArtifactOutput
from rondo.core import names
from rondo.core.artifacts import ArtifactStore, BucketPath, BucketStore, ClaimPath, Place, parse_uri, together
from rondo.core.references import replace
from rondo.core.render import container
from rondo.core.render.context import AttemptContext, Gathering, Lines
from rondo.core.render.helper import build_helper

PUSH_TIMEOUT: Final = 3600
"""Seconds that `push` may take after `main` has ended; part of the pod's grace period."""

GRACE: Final = 30
"""Seconds that `main` has to end after SIGTERM."""

INDEX: Final[dict[str, Any]] = {
    "name": "RONDO_INDEX",
    "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['batch.kubernetes.io/job-completion-index']"}},
}
"""The environment variable with the pod's place among the items of its Job."""

ITEM_FILE: Final = "/rondo/item.json"
_ITEM: Final = "rondo-item"
_ITEM_FOLDER: Final = "/rondo/item"
_CLAIMS_FOLDER: Final = "/rondo/claims"
_DOWNLOADS: Final = "rondo-inputs"
_DOWNLOADS_FOLDER: Final = "/rondo/inputs"
_GATHERED: Final = "rondo-gathered"
_GATHERED_FOLDER: Final = "/rondo/gathered"
_RECORDS_FOLDER: Final = "/rondo/records"


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


def _inputs(context: AttemptContext) -> list[tuple[str, Place]]:
    """Each input's path in the container with its place."""
    single = (item for item in context.stage.inputs if item.path not in context.gathered)
    return [(item.path, parse_uri(str(replace(item.from_, context.lookup)))) for item in single]


def add_inputs(pod: dict[str, Any], context: AttemptContext) -> None:
    """Mount inputs read-only, after `fetch` has checked, downloaded or gathered them; and the item, if it is a line.

    Raises:
        references.UnresolvedError: A reference has no value.
        ValueError: An input's URI is not one.
    """
    inputs = _inputs(context)
    lines = _lines(context)
    if not inputs and not context.gathered and lines is None:
        return
    wanted = tuple(_add_input(pod, context, index, path, place) for index, (path, place) in enumerate(inputs))
    places = [place for _, place in inputs] + ([lines.place] if lines is not None else [])
    claims = {place.claim for place in places if isinstance(place, ClaimPath)}
    store = context.store
    if context.gathered and isinstance(store, ArtifactStore):
        claims.add(store.claim)
        container.add_volume(
            pod, _volume(store.claim), claim_source(store.claim), _folder_of(store.claim), readOnly=True
        )
    for claim in sorted(claims):
        _add_claim(pod, claim)
    mounts = _claim_mounts(claims, read_only=True)
    if any(isinstance(place, BucketPath) for _, place in inputs):
        mounts.append({"name": _DOWNLOADS, "mountPath": _DOWNLOADS_FOLDER})
    config = Config(
        claims=_claim_folders(mounts),
        inputs=wanted,
        item=None if lines is None else _add_line(pod, mounts, lines),
        gathered=tuple(_add_gathered(pod, mounts, index, path, each) for index, (path, each) in _numbered(context)),
    )
    in_bucket = any(isinstance(place, BucketPath) for place in places)
    in_bucket = in_bucket or bool(context.gathered and isinstance(store, BucketStore))
    secret = context.secret if in_bucket else None
    fetch = build_helper("fetch", context.settings, config, mounts, secret=secret)
    if lines is not None:
        fetch["env"] = [INDEX, *fetch["env"]]
    pod.setdefault("initContainers", []).append(fetch)


def _numbered(context: AttemptContext) -> Iterator[tuple[int, tuple[str, Gathering]]]:
    yield from enumerate(sorted(context.gathered.items()))


def _lines(context: AttemptContext) -> Lines | None:
    """Give the file that has the item, if it is one."""
    if context.indexed is None or isinstance(context.indexed.items, str):
        return None
    return context.indexed.items


def _add_input(pod: dict[str, Any], context: AttemptContext, index: int, path: str, place: Place) -> ArtifactInput:
    """Mount an input straight from its claim, or from where `fetch` downloads it to."""
    wanted = ArtifactInput(uri=place.uri, what=f"input {path}", digest=context.digests.get(place.uri))
    match place:
        case ClaimPath(claim, folder):
            container.add_volume(pod, _volume(claim), claim_source(claim), path, subPath=folder, readOnly=True)
            return wanted
        case BucketPath():
            container.add_volume(pod, _DOWNLOADS, {"emptyDir": {}}, path, subPath=str(index), readOnly=True)
            return replace_fields(wanted, path=f"{_DOWNLOADS_FOLDER}/{index}")
        case _:
            assert_never(place)


def _add_line(pod: dict[str, Any], mounts: list[dict[str, Any]], lines: Lines) -> ArtifactItem:
    """Mount the file that `fetch` writes the item into."""
    container.add_volume(pod, _ITEM, {"emptyDir": {}}, ITEM_FILE, subPath="item.json", readOnly=True)
    mounts.append({"name": _ITEM, "mountPath": _ITEM_FOLDER})
    return ArtifactItem(
        uri=lines.place.uri, digest=lines.digest, path=f"{_ITEM_FOLDER}/item.json", indexes=lines.indexes
    )


def _add_gathered(
    pod: dict[str, Any], mounts: list[dict[str, Any]], index: int, path: str, gathering: Gathering
) -> Gathered:
    """Mount the folder that `fetch` fills with links or downloads, and for `fetch` the records that it goes by."""
    container.add_volume(pod, _GATHERED, {"emptyDir": {}}, path, subPath=str(index), readOnly=True)
    if all(mount["name"] != _GATHERED for mount in mounts):
        mounts.append({"name": _GATHERED, "mountPath": _GATHERED_FOLDER})
    records = None
    if gathering.stored:
        sources = [{"configMap": {"name": f"{gathering.stored_in}{number}"}} for number in range(gathering.stored)]
        volume = f"rondo-records-{index}"
        pod.setdefault("volumes", []).append({"name": volume, "projected": {"sources": sources}})
        records = f"{_RECORDS_FOLDER}/{index}"
        mounts.append({"name": volume, "mountPath": records, "readOnly": True})
    return Gathered(
        what=f"input {path}",
        path=f"{_GATHERED_FOLDER}/{index}",
        output=gathering.output,
        name=gathering.name,
        total=gathering.total,
        records=records,
    )


def add_outputs(pod: dict[str, Any], context: AttemptContext) -> None:
    """Share the folders of outputs with `push`, which stores them after `main` has ended."""
    outputs = context.stage.outputs
    if not outputs:
        return
    place = context.place if context.indexed is None else context.place.below(f"$({INDEX['name']})")
    mounts = _store_mounts(pod, place)
    for index, folder in enumerate(output_folders(output.path for output in outputs)):
        container.add_volume(pod, f"rondo-out-{index}", {"emptyDir": {}}, folder)
        mounts.append({"name": f"rondo-out-{index}", "mountPath": folder, "readOnly": True})
    counted = context.wiring.counted
    stored = tuple(
        ArtifactOutput(o.name, o.path, f"{place.uri}/{o.name}", lines=(context.stage.name, o.name) in counted)
        for o in outputs
    )
    config = Config(claims=_claim_folders(mounts), outputs=stored)
    secret = context.secret if isinstance(place, BucketPath) else None
    push = build_helper("push", context.settings, config, mounts, secret=secret)
    if context.indexed is not None:
        push["env"] = [INDEX, *push["env"]]
    push |= {"restartPolicy": "Always", "lifecycle": {"preStop": {"exec": {"command": list(PRE_STOP)}}}}
    pod.setdefault("initContainers", []).append(push)
    pod["terminationGracePeriodSeconds"] = GRACE + PUSH_TIMEOUT


def _store_mounts(pod: dict[str, Any], place: Place) -> list[dict[str, Any]]:
    """Give the mounts of `push` for the store; a bucket needs none."""
    if isinstance(place, BucketPath):
        return []
    _add_claim(pod, place.claim)
    return _claim_mounts({place.claim}, read_only=False)


def _add_claim(pod: dict[str, Any], claim: str) -> None:
    """Give the pod the volume of a claim, if it has none."""
    volumes = pod.setdefault("volumes", [])
    if all(volume["name"] != _volume(claim) for volume in volumes):
        volumes.append({"name": _volume(claim), **claim_source(claim)})


def _claim_mounts(claims: set[str], *, read_only: bool) -> list[dict[str, Any]]:
    return [{"name": _volume(claim), "mountPath": _folder_of(claim), "readOnly": read_only} for claim in sorted(claims)]


def _claim_folders(mounts: list[dict[str, Any]]) -> dict[str, str]:
    folders = [mount["mountPath"] for mount in mounts if mount["mountPath"].startswith(f"{_CLAIMS_FOLDER}/")]
    return {folder.rsplit("/", 1)[1]: folder for folder in folders}


def _folder_of(claim: str) -> str:
    """Give where a whole claim is mounted."""
    return f"{_CLAIMS_FOLDER}/{claim}"


def _volume(claim: str) -> str:
    """Name the volume of a claim; claims may have longer names than volumes."""
    return f"rondo-claim-{names.short_hash(claim)}"


def claim_source(claim: str) -> dict[str, Any]:
    """Give the volume source of a claim."""
    return {"persistentVolumeClaim": {"claimName": claim}}


def keep_together(pod: dict[str, Any], metadata: dict[str, Any], context: AttemptContext) -> None:
    """Keep pods that mount the artifact claim on one node, if only one node can mount it."""
    store = context.settings.store
    if not isinstance(store, ArtifactStore) or store.access_mode is not AccessMode.READ_WRITE_ONCE:
        return
    places = [place for _, place in _inputs(context)] + ([context.place] if context.stage.outputs else [])
    lines = _lines(context)
    places += [] if lines is None else [lines.place]
    gathers = bool(context.gathered) and context.store == store
    if gathers or any(isinstance(place, ClaimPath) and place.claim == store.claim for place in places):
        label = {names.ARTIFACTS: store.claim}
        metadata["labels"] |= label
        together(pod, label)
