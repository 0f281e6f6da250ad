"""Deploy stages: set fields of a ModelDeployment and wait until it is Ready with them.

The target has no owner, so neither the end of a run nor deleting the Pipeline takes production down. It is applied
under the manager `rondo-deploy.PIPELINE`, only the fields that the stage names, never by force. An annotation says
which run applied it; it is set in the same request as the fields, so seeing it proves that the fields were set.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from rondo.api.base import API_VERSION, GROUP, Json
from rondo.api.pipeline import Deploy
from rondo.api.pipelinerun import StageState
from rondo.core import conditions
from rondo.core.causes import Reason
from rondo.core.conditions import timestamp
from rondo.core.durations import parse_duration, parse_time
from rondo.core.plan import Apply, Failure, Object, Ref
from rondo.core.references import UnresolvedError, replace
from rondo.core.resources import MODEL_DEPLOYMENT
from rondo.core.run.snapshot import StageView
from rondo.core.run.step import Step, end, update

DEPLOYED_BY: Final = f"{GROUP}/deployed-by"
"""Annotation of the target: RUN/STAGE/uid of the run."""

PIPELINE: Final = f"{GROUP}/deployed-by-pipeline"
"""Annotation of the target: the Pipeline that deploys it; a second one is refused."""

_CONFLICT: Final = re.compile(r'conflict with "([^"]+)"[^:]*: ?\.?(\S+)')


def plan_deploy(view: StageView, deploy: Deploy, now: datetime) -> Step:
    """Plan a deploy stage whose needs are met and that has not ended."""
    try:
        spec: dict[str, Json] = replace(deploy.spec, view.values.lookup)
    except UnresolvedError as error:
        return Step(end(view.status, StageState.FAILED, Reason.CONFIG_ERROR.value, str(error), at=now))
    if not view.started:
        begun = update(view.status, state=StageState.RUNNING, reason="Deploying", start_time=timestamp(now))
        return Step(begun, actions=(_apply(view, deploy, spec),))
    target = view.snapshot.targets.get(deploy.name)
    if target is not None and _annotation(target, DEPLOYED_BY) == _marker(view):
        return _follow(view, deploy, spec, target, now)
    return _await_apply(view, deploy, spec, target, now)


def manager(pipeline: str) -> str:
    """Give the field manager of a pipeline's deploys."""
    return f"rondo-deploy.{pipeline or 'inline'}"


def _await_apply(
    view: StageView, deploy: Deploy, spec: Mapping[str, Json], target: Object | None, now: datetime
) -> Step:
    """Set the fields, or say why that is not possible."""
    other = _annotation(target, PIPELINE) if target is not None else None
    if other not in {None, view.snapshot.pipeline}:
        words = f"ModelDeployment {deploy.name} is deployed by pipeline {other}; deploy to another name"
        return Step(end(view.status, StageState.FAILED, "TargetInUse", words, at=now))
    failure = view.snapshot.memory.failures.get(_ref(view, deploy))
    if failure is not None and (400 <= failure.code < 500 and failure.code != 429):
        reason, words = _refusal(failure, deploy)
        return Step(end(view.status, StageState.FAILED, reason, words, at=now))
    message = f"ModelDeployment {deploy.name} cannot be applied yet: {failure.message}" if failure else ""
    return Step(update(view.status, message=message), actions=(_apply(view, deploy, spec),))


def _follow(view: StageView, deploy: Deploy, spec: Mapping[str, Json], target: Object, now: datetime) -> Step:
    """Go by what the target says about the generation that holds our fields."""
    changed = _difference(spec, target.get("spec", {}), "spec")
    if changed:
        words = f"ModelDeployment {deploy.name} was changed by somebody else while it was deployed: {changed}"
        return Step(end(view.status, StageState.FAILED, "Superseded", words, at=now))
    status: Mapping[str, Any] = target.get("status", {})
    current = status.get("observedGeneration") == target["metadata"].get("generation")
    ready = conditions.find(status.get("conditions", ()), "Ready") or {}
    stalled = conditions.find(status.get("conditions", ()), "Stalled") or {}
    words = f"ModelDeployment {deploy.name}: {ready.get('message') or ready.get('reason', 'not observed yet')}"
    if current and ready.get("status") == "True":
        results = {"url": status["url"]} if "url" in status else {}
        return Step(end(view.status, StageState.SUCCEEDED, "Succeeded", words, at=now, results=results))
    if current and stalled.get("status") == "True":
        words = f"ModelDeployment {deploy.name}: {stalled.get('message', '')}"
        return Step(end(view.status, StageState.FAILED, str(stalled.get("reason", "Stalled")), words, at=now))
    return _wait(view, words, now)


def _wait(view: StageView, words: str, now: datetime) -> Step:
    timeout = view.wiring.stages[view.name].timeout
    if timeout is None:
        return Step(update(view.status, message=words))
    left = parse_duration(timeout) - (now - parse_time(view.status.start_time or timestamp(now)))
    if left.total_seconds() <= 0:
        late = f"not Ready within {timeout}: {words}"
        return Step(end(view.status, StageState.FAILED, Reason.DEADLINE_EXCEEDED.value, late, at=now))
    return Step(update(view.status, message=words), look_again=left.total_seconds())


def _apply(view: StageView, deploy: Deploy, spec: Mapping[str, Json]) -> Apply:
    annotations = {DEPLOYED_BY: _marker(view)}
    if view.snapshot.pipeline:
        annotations[PIPELINE] = view.snapshot.pipeline
    body = {
        "apiVersion": API_VERSION,
        "kind": MODEL_DEPLOYMENT.kind,
        "metadata": {"name": deploy.name, "namespace": view.snapshot.namespace, "annotations": annotations},
        "spec": spec,
    }
    return Apply(_ref(view, deploy), body, manager(view.snapshot.pipeline), owned=False)


def _refusal(failure: Failure, deploy: Deploy) -> tuple[str, str]:
    """Put the API server's refusal into words with the remedy."""
    if failure.code == 409:
        owners = [f"{field} is managed by {who}" for who, field in _CONFLICT.findall(failure.message)]
        said = ", ".join(owners) or failure.message
        return "Conflict", f"ModelDeployment {deploy.name}: {said}; leave what the pipeline sets out of Git"
    return Reason.INVALID_OBJECT.value, f"ModelDeployment {deploy.name} was refused: {failure.message}"


def _difference(wanted: Json, found: Json, path: str) -> str:
    """Name the first field that is not as wanted, or nothing; fields that were not named do not matter."""
    if isinstance(wanted, dict) and isinstance(found, dict):
        parts = (_difference(value, found.get(key), f"{path}.{key}") for key, value in wanted.items())
        return next((part for part in parts if part), "")
    return "" if wanted == found else f"{path} is {found!r} and not {wanted!r}"


def _marker(view: StageView) -> str:
    return f"{view.snapshot.name}/{view.name}/{view.snapshot.uid}"


def _annotation(target: Object, key: str) -> str | None:
    value: str | None = target["metadata"].get("annotations", {}).get(key)
    return value


def _ref(view: StageView, deploy: Deploy) -> Ref:
    return Ref(MODEL_DEPLOYMENT, view.snapshot.namespace, deploy.name)
