"""What a stage's pod left behind: results in the termination message of `main`, outputs in that of `push`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from rondo.api.base import Json
from rondo.api.pipeline import Stage
from rondo.api.pipelinerun import StoredOutput
from rondo.core import causes
from rondo.core.causes import Cause, Reason
from rondo.core.pipeline.params import has_type, type_error
from rondo.core.plan import Object

LIMIT: Final = 2048
"""Bytes of all results of a stage. The kubelet shares 12 KiB among a pod's containers and cuts without a word."""


def read_results(stage: Stage, pod: Object) -> dict[str, Json] | Cause:
    """Give the declared results of a pod that succeeded, or what is wrong with them."""
    if not stage.results:
        return {}
    message = _terminated(pod, "main").get("message", "")
    where = f"{causes.describe(pod)}, stage {stage.name}"
    size = len(message.encode())
    if size > LIMIT:
        words = f"{where} wrote {size} bytes of results; {LIMIT} are allowed, more goes into an output"
        return Cause(Reason.RESULT_TOO_LARGE, words)
    if not message.strip() and any(result.default is None for result in stage.results):
        return Cause(Reason.RESULT_MISSING, f"{where} wrote nothing to $RONDO_RESULTS; {_expected(stage)}")
    values = _parse(message.strip() or "{}", stage, where)
    return values if isinstance(values, Cause) else _declared(stage, values, where)


def _parse(message: str, stage: Stage, where: str) -> dict[str, Json] | Cause:
    try:
        values = json.loads(message, parse_constant=_refuse_constant)
    except ValueError as error:
        return Cause(Reason.RESULT_INVALID, f"{where}: $RONDO_RESULTS is not JSON ({error}); {_expected(stage)}")
    if not isinstance(values, dict):
        return Cause(Reason.RESULT_INVALID, f"{where}: $RONDO_RESULTS is not a JSON object; {_expected(stage)}")
    return values


def read_outputs(stage: Stage, pod: Object, place: str) -> dict[str, StoredOutput] | Cause:
    """Give the stored outputs of a pod that succeeded, or why they are not there.

    Args:
        stage: The stage.
        pod: Its pod, of phase Succeeded.
        place: URI of the attempt's folder.
    """
    if not stage.outputs:
        return {}
    ended = _terminated(pod, "push")
    message = ended.get("message", "")
    where = f"{causes.describe(pod)}, container push"
    if ended.get("exitCode") != 0:
        words = message.strip() or f"exit code {ended.get('exitCode', 'unknown')}"
        return Cause(Reason.ARTIFACT_PUSH_FAILED, f"{where}: {words}", ended.get("exitCode"))
    try:
        stored = json.loads(message)["outputs"]
        return {output.name: _stored(f"{place}/{output.name}", stored[output.name]) for output in stage.outputs}
    except (ValueError, KeyError, TypeError):
        return Cause(Reason.ARTIFACT_PUSH_FAILED, f"{where} did not say what it stored: {message[:200]!r}")


def _stored(uri: str, said: Mapping[str, Any]) -> StoredOutput:
    """Take in what push says of one output; where names are long it leaves the size out."""
    return StoredOutput(uri=uri, digest=said["digest"], size=said.get("size", 0), lines=said.get("lines"))


def _declared(stage: Stage, values: Mapping[str, Json], where: str) -> dict[str, Json] | Cause:
    found: dict[str, Json] = {}
    for result in stage.results:
        if result.name not in values and result.default is not None:
            found[result.name] = result.default
            continue
        if result.name not in values:
            written = ", ".join(sorted(values)) or "nothing"
            return Cause(Reason.RESULT_MISSING, f"{where} did not write result {result.name}; it wrote {written}")
        value = values[result.name]
        if not has_type(value, result.type):
            return Cause(Reason.RESULT_INVALID, f"{where}, result {result.name}: {type_error(value, result.type)}")
        found[result.name] = value
    return found


def _expected(stage: Stage) -> str:
    example = ", ".join(f'"{result.name}": …' for result in stage.results)
    return f"expected {{{example}}}"


def _terminated(pod: Object, container: str) -> Mapping[str, Any]:
    status = pod.get("status", {})
    statuses = [*status.get("initContainerStatuses", ()), *status.get("containerStatuses", ())]
    found: Mapping[str, Any] = next((s for s in statuses if s["name"] == container), {})
    ended: Mapping[str, Any] = found.get("state", {}).get("terminated", {})
    return ended


def _refuse_constant(word: str) -> None:
    raise ValueError(f"{word} is not JSON")
