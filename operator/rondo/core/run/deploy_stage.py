"""Deploy stages: set fields of a ModelDeployment or ModelGraph and wait until it is Ready with them, or remove it.

The target has no owner, so neither the end of a run nor deleting the Pipeline takes production down. It is applied
under the manager `rondo-deploy.PIPELINE`, only the fields that the stage names, never by force. An annotation says
which run applied it; it is set in the same request as the fields, so seeing it proves that the fields were set.

What the fields were before is recorded with the start of the stage, before anything is applied. A rollback applies
that under the same manager, so a field that was not set before is not set after; and says so in the same annotation.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from rondo.api.base import API_VERSION, GROUP, Json
from rondo.api.pipeline import Deploy, DeployFailure
from rondo.api.pipelinerun import StageState
from rondo.core import conditions
from rondo.core.causes import Reason
from rondo.core.conditions import timestamp
from rondo.core.durations import parse_duration, parse_time
from rondo.core.plan import Apply, Delete, Failure, GetLive, Object, Ref
from rondo.core.references import UnresolvedError, replace
from rondo.core.resources import BY_KIND
from rondo.core.run.snapshot import StageView
from rondo.core.run.step import Step, Stop, end, update

DEPLOYED_BY: Final = f"{GROUP}/deployed-by"
"""Annotation of the target: RUN/STAGE/uid of the run, with `/rolled-back` after a rollback."""

PIPELINE: Final = f"{GROUP}/deployed-by-pipeline"
"""Annotation of the target: the Pipeline that deploys it; a second one is refused."""

CREATED_BY: Final = f"{GROUP}/created-by-pipeline"
"""Annotation of the target: the Pipeline that created it, which alone may remove it."""

ROLLING_BACK: Final = "RollingBack"
ROLLED_BACK: Final = "rolled-back"

PREVIOUS_LIMIT: Final = 8192
"""Bytes of what is recorded of the fields' former values; more would not fit into the status of a run."""

_CONFLICT: Final = re.compile(r'conflict with "([^"]+)"[^:]*: ?\.?(\S+)')


@dataclass(frozen=True, slots=True)
class _Deploying:
    """One look at a deploy stage.

    Attributes:
        view: The stage.
        deploy: What it says.
        spec: The fields to set, with references replaced.
        now: The time of this look.
    """

    view: StageView
    deploy: Deploy
    spec: Mapping[str, Json]
    now: datetime

    @property
    def ref(self) -> Ref:
        """The target."""
        return target_ref(self.view, self.deploy)

    @property
    def title(self) -> str:
        """What the target is called in messages."""
        return f"{self.deploy.kind} {self.deploy.name}"

    @property
    def target(self) -> Object | None:
        """The target as last seen."""
        return self.view.snapshot.targets.get(self.ref)

    @property
    def marker(self) -> str:
        """What stands in `DEPLOYED_BY` once the fields are set."""
        return f"{self.view.snapshot.name}/{self.view.name}/{self.view.snapshot.uid}"

    @property
    def previous(self) -> Mapping[str, Any]:
        """What was recorded at the start."""
        previous: Mapping[str, Any] = self.view.status.previous or {}
        return previous

    def apply(self, spec: Mapping[str, Json], marker: str) -> Apply:
        """Give the action that sets fields; the first that does so on a new target is its creator."""
        annotations = {DEPLOYED_BY: marker}
        if self.view.snapshot.pipeline:
            annotations[PIPELINE] = self.view.snapshot.pipeline
        if self.previous.get("created"):
            annotations[CREATED_BY] = _creator(self.view)
        body = {
            "apiVersion": API_VERSION,
            "kind": self.ref.resource.kind,
            "metadata": {"name": self.ref.name, "namespace": self.ref.namespace, "annotations": annotations},
            "spec": spec,
        }
        return Apply(self.ref, body, manager(self.view.snapshot.pipeline), owned=False)

    def fail(self, reason: str, words: str, *, state: StageState = StageState.FAILED) -> Step:
        """End the stage, at once or after a rollback of what it has set."""
        before, large = self.previous.get("spec"), self.previous.get("notRecorded")
        if large is not None and self.deploy.on_failure is not DeployFailure.KEEP:
            limit = f"what the fields were has {large} bytes, of which at most {PREVIOUS_LIMIT} are recorded"
            return self.end(reason, f"{words}; not rolled back: {limit}", state=state)
        if self.deploy.on_failure is DeployFailure.KEEP or before is None or before == self.spec:
            return self.end(reason, words, state=state)
        why = {"state": state.value, "reason": reason, "message": words}
        status = update(
            self.view.status,
            reason=ROLLING_BACK,
            message=f"{words}; rolling back",
            previous={**self.previous, "failure": why},
        )
        return Step(status, look_again=0.0)

    def end(self, reason: str, words: str, *, state: StageState = StageState.FAILED) -> Step:
        """End the stage."""
        return Step(end(self.view.status, state, reason, words, at=self.now, previous=None))


def plan_deploy(view: StageView, deploy: Deploy, now: datetime, stop: Stop | None = None) -> Step:
    """Plan a deploy stage whose needs are met and that has not ended.

    Args:
        view: The stage.
        deploy: What it says.
        now: The time of this look.
        stop: Why it shall not go on, if so: what it has set is rolled back.
    """
    try:
        spec: dict[str, Json] = replace(deploy.spec or {}, view.values.lookup)
    except UnresolvedError as error:
        return Step(end(view.status, StageState.FAILED, Reason.CONFIG_ERROR.value, str(error), at=now))
    look = _Deploying(view, deploy, spec, now)
    if view.status.reason == ROLLING_BACK:
        return _roll_back(look)
    if stop is not None:
        return look.fail(stop.reason, stop.message, state=stop.state)
    if not view.started:
        return _begin(look)
    target = look.target
    if target is not None and _annotation(target, DEPLOYED_BY) == look.marker:
        return _follow(look, target)
    return _await_apply(look, target)


def plan_removal(view: StageView, deploy: Deploy, now: datetime) -> Step:
    """Plan a deploy stage with `state: Absent`, whose needs are met and that has not ended."""
    ref = target_ref(view, deploy)
    found = view.snapshot.memory.reads.get(GetLive(ref))
    if found is None:
        return Step(view.status, reads=(GetLive(ref),))
    begun = update(view.status, state=StageState.RUNNING, start_time=view.status.start_time or timestamp(now))
    if found.error is not None:
        return Step(update(begun, message=f"{ref} cannot be read: {found.error.message}"), look_again=1.0)
    target: Object | None = found.value
    if target is None:
        return Step(end(begun, StageState.SUCCEEDED, "Succeeded", f"{ref} is not there", at=now))
    if _annotation(target, CREATED_BY) != _creator(view):
        words = f"{ref} was not created by {_who(view)}, so it is left alone; delete it yourself or leave the stage out"
        return Step(end(begun, StageState.FAILED, "NotCreatedByPipeline", words, at=now))
    words = f"removes {ref}"
    waiting = update(begun, reason="Removing", message=words)
    return Step(waiting, actions=(Delete(ref, target["metadata"]["uid"]),), look_again=1.0)


def target_ref(view: StageView, deploy: Deploy) -> Ref:
    """Name the target of a stage."""
    return Ref(BY_KIND[deploy.kind], view.snapshot.namespace, deploy.name)


def manager(pipeline: str) -> str:
    """Give the field manager of a pipeline's deploys."""
    return f"rondo-deploy.{pipeline or 'inline'}"


def _begin(look: _Deploying) -> Step:
    """Record what the target is like before anything is set."""
    view, read = look.view, GetLive(look.ref)
    found = view.snapshot.memory.reads.get(read)
    if found is None:
        return Step(view.status, reads=(read,))
    if found.error is not None:
        return Step(view.status, look_again=1.0)
    other = _annotation(found.value, PIPELINE) if found.value is not None else None
    if other not in {None, view.snapshot.pipeline}:
        return _in_use(look, str(other))
    begun = update(
        view.status,
        state=StageState.RUNNING,
        reason="Deploying",
        start_time=timestamp(look.now),
        previous=_record(look, found.value),
    )
    started = StageView(view.snapshot, view.wiring, begun, view.values)
    again = _Deploying(started, look.deploy, look.spec, look.now)
    return Step(begun, actions=(again.apply(look.spec, look.marker),))


def _record(look: _Deploying, target: Object | None) -> dict[str, Any]:
    """Give what a rollback needs: the former values of the fields, and whether the target is this pipeline's own."""
    if target is None:
        return {"created": True}
    created = {"created": True} if _annotation(target, CREATED_BY) == _creator(look.view) else {}
    before = _part(look.spec, target.get("spec", {}))
    size = len(json.dumps(before).encode())
    if size > PREVIOUS_LIMIT:
        return {**created, "notRecorded": size}
    return {**created, "spec": before}


def _await_apply(look: _Deploying, target: Object | None) -> Step:
    """Set the fields, or say why that is not possible."""
    view = look.view
    other = _annotation(target, PIPELINE) if target is not None else None
    if other not in {None, view.snapshot.pipeline}:
        return _in_use(look, str(other))
    failure = view.snapshot.memory.failures.get(look.ref)
    if failure is not None and _is_refusal(failure):
        return look.end(*_refusal(failure, look.deploy))
    message = f"{look.title} cannot be applied yet: {failure.message}" if failure else ""
    return Step(update(view.status, message=message), actions=(look.apply(look.spec, look.marker),))


def _follow(look: _Deploying, target: Object) -> Step:
    """Go by what the target says about the generation that holds our fields."""
    changed = _difference(look.spec, target.get("spec", {}), "spec")
    if changed:
        words = f"{look.title} was changed by somebody else while it was deployed: {changed}"
        return look.end("Superseded", words)
    status: Mapping[str, Any] = target.get("status", {})
    current = status.get("observedGeneration") == target["metadata"].get("generation")
    ready = conditions.find(status.get("conditions", ()), "Ready") or {}
    stalled = conditions.find(status.get("conditions", ()), "Stalled") or {}
    words = f"{look.title}: {ready.get('message') or ready.get('reason', 'not observed yet')}"
    if current and ready.get("status") == "True":
        results = {"url": status["url"]} if "url" in status else {}
        done = update(look.view.status, results=results, previous=None)
        return Step(end(done, StageState.SUCCEEDED, "Succeeded", words, at=look.now))
    if current and stalled.get("status") == "True":
        words = f"{look.title}: {stalled.get('message', '')}"
        return look.fail(str(stalled.get("reason", "Stalled")), words)
    return _wait(look, words)


def _wait(look: _Deploying, words: str) -> Step:
    view = look.view
    timeout = view.wiring.stages[view.name].timeout
    if timeout is None:
        return Step(update(view.status, message=words))
    left = parse_duration(timeout) - (look.now - parse_time(view.status.start_time or timestamp(look.now)))
    if left.total_seconds() <= 0:
        return look.fail(Reason.DEADLINE_EXCEEDED.value, f"not Ready within {timeout}: {words}")
    return Step(update(view.status, message=words), look_again=left.total_seconds())


def _roll_back(look: _Deploying) -> Step:
    """Set the fields to what they were, then end the stage as it was decided before."""
    why = look.previous["failure"]
    state, marker = StageState(why["state"]), f"{look.marker}/{ROLLED_BACK}"
    target = look.target
    if target is None:
        return look.end(why["reason"], f"{why['message']}; it is gone, so nothing was rolled back", state=state)
    found = _annotation(target, DEPLOYED_BY)
    if found == marker:
        return look.end(why["reason"], f"{why['message']}; rolled back to what it was before", state=state)
    if found != look.marker:
        return look.end(why["reason"], f"{why['message']}; not rolled back: somebody else deployed it", state=state)
    failure = look.view.snapshot.memory.failures.get(look.ref)
    if failure is not None and _is_refusal(failure):
        words = f"{why['message']}; it could not be rolled back: {_refusal(failure, look.deploy)[1]}"
        return look.end(why["reason"], words, state=state)
    return Step(look.view.status, actions=(look.apply(look.previous["spec"], marker),), look_again=1.0)


def _in_use(look: _Deploying, other: str) -> Step:
    words = f"{look.title} is deployed by pipeline {other}; deploy to another name"
    return look.end("TargetInUse", words)


def _is_refusal(failure: Failure) -> bool:
    return 400 <= failure.code < 500 and failure.code != 429


def _refusal(failure: Failure, deploy: Deploy) -> tuple[str, str]:
    """Put the API server's refusal into words with the remedy."""
    if failure.code == 409:
        owners = [f"{field} is managed by {who}" for who, field in _CONFLICT.findall(failure.message)]
        said = ", ".join(owners) or failure.message
        return "Conflict", f"{deploy.kind} {deploy.name}: {said}; leave what the pipeline sets out of Git"
    return Reason.INVALID_OBJECT.value, f"{deploy.kind} {deploy.name} was refused: {failure.message}"


def _difference(wanted: Json, found: Json, path: str) -> str:
    """Name the first field that is not as wanted, or nothing; fields that were not named do not matter.

    The API server fills in defaults within the items of a list, and other managers may have items of their own in one
    whose items have names.
    """
    parts: Iterable[str] = ()
    if isinstance(wanted, dict) and isinstance(found, dict):
        parts = (_difference(value, found.get(key), f"{path}.{key}") for key, value in wanted.items())
        return next((part for part in parts if part), "")
    if isinstance(wanted, list) and isinstance(found, list) and all(isinstance(item, dict) for item in wanted):
        pairs = _pairs(wanted, found)
        if pairs is not None:
            parts = (_difference(item, other, f"{path}[{place}]") for place, item, other in pairs)
            return next((part for part in parts if part), "")
    return "" if wanted == found else f"{path} is {found!r} and not {wanted!r}"


def _pairs(wanted: list[Json], found: list[Json]) -> list[tuple[object, Json, Json]] | None:
    """Give the items of two lists that belong together, by name or else by place; None if they do not match."""
    if all("name" in item for item in wanted):
        known = {item.get("name"): item for item in found if isinstance(item, dict)}
        return [(item["name"], item, known.get(item["name"])) for item in wanted]
    if len(wanted) != len(found):
        return None
    return [(place, item, other) for place, (item, other) in enumerate(zip(wanted, found, strict=True))]


def _part(wanted: Json, found: Json) -> Json:
    """Give the values that the wanted fields have now; a field that is not set is left out."""
    if isinstance(wanted, dict) and isinstance(found, dict):
        return {key: _part(value, found[key]) for key, value in wanted.items() if key in found}
    return found


def _creator(view: StageView) -> str:
    return view.snapshot.pipeline or view.snapshot.uid


def _who(view: StageView) -> str:
    return f"pipeline {view.snapshot.pipeline}" if view.snapshot.pipeline else "this run"


def _annotation(target: Object, key: str) -> str | None:
    value: str | None = target["metadata"].get("annotations", {}).get(key)
    return value
