"""An InferenceService becomes a ModelDeployment; with a transformer also what stands before it.

A transformer of KServe asks its predictor itself, at `--predictor_host`, and answers what it makes of the answer. So it
keeps the service's name, and the predictor gets a ModelGraph of one node as that host: it speaks what the transformer
does, whatever the runtime speaks, and takes any model's name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

import pydantic

from rondo.api.base import API_VERSION, Json
from rondo.api.kinds import KINDS
from rondo.api.modelgraph import TargetKind
from rondo.api.modelruntime import Protocol
from rondo.core.problems import Problem, from_validation_error
from rondo.kserve.fields import Fields
from rondo.kserve.findings import Imported, Report
from rondo.kserve.graph import LIMITS
from rondo.kserve.inferenceservice import FRAMEWORKS, MAIN, Custom, Model, read_custom, read_model, read_protocol
from rondo.kserve.metadata import read_object
from rondo.kserve.names import why_no_service
from rondo.kserve.runtimes import write_runtime
from rondo.kserve.server import write_server
from rondo.kserve.services import Service
from rondo.kserve.storage import write_model
from rondo.kserve.workload import build_workload

SUFFIX: Final = "-predictor"
"""Of the name under which a transformer asks its predictor."""

_AUTOSCALE: Final = "scale by a HorizontalPodAutoscaler of your own, which can name the ModelDeployment"
_LEFT: Final = {
    "maxReplicas": _AUTOSCALE,
    "scaleTarget": _AUTOSCALE,
    "scaleMetric": _AUTOSCALE,
    "scaleMetricType": _AUTOSCALE,
    "autoScaling": _AUTOSCALE,
    "canaryTrafficPercent": "pods are replaced one by one; there are no shares of revisions",
    "containerConcurrency": "a ModelGraph's concurrency limits what a node is asked at once",
    "timeout": "the timeout of a ModelGraph limits requests",
    "logger": "payloads are not logged",
    "batcher": "a ModelGraph's batch gathers requests",
    "deploymentStrategy": "pods are replaced one by one",
    "workerSpec": "a model is served by pods of one node each",
    "storageUris": "a ModelDeployment has one model",
}
"""Fields of a component that have no counterpart, and what to do instead."""

EXPOSED: Final = (
    "addresses: what is deployed is reached within the cluster at http://NAME.NAMESPACE.svc, not by ingress"
)


@dataclass
class _Made:
    """What is being made of a service: its parts write into it one after the other."""

    metadata: dict[str, Any]
    report: Report
    documents: list[dict[str, Json]]
    transformer: int = 0
    """Index of the manifest that the transformer becomes."""

    def named(self, name: str) -> dict[str, Any]:
        """Give the metadata under another name."""
        return {**self.metadata, "name": name}

    @property
    def next(self) -> int:
        """Index of the manifest that is written next."""
        return len(self.documents)


def import_service(content: Json) -> Imported:
    """Translate an InferenceService.

    Raises:
        ShapeError: A field is not of its type.
    """
    report = Report()
    fields = Fields(content, "")
    made = _Made(read_object(fields, report), report, [])
    spec = fields.part("spec") or Fields({}, "spec")
    predictor, transformer = spec.part("predictor"), spec.part("transformer")
    if predictor is None:
        report.problem("spec.predictor", "there is no predictor")
    else:
        _write(made, predictor, transformer)
    if spec.has("explainer"):
        spec.take("explainer")
        report.problem("spec.explainer", "there are no explainers; what is written serves predictions alone")
    _tell_left(made, fields)
    _check(made)
    return Imported(tuple(made.documents), tuple(report.notes), tuple(report.problems), (EXPOSED,))


def describe_service(content: Json) -> Service:
    """Tell what a graph has to know of an InferenceService.

    Raises:
        ShapeError: A field is not of its type.
    """
    report = Report()
    fields = Fields(content, "")
    name = read_object(fields, report)["name"]
    spec = fields.part("spec") or Fields({}, "spec")
    predictor, transformer = spec.part("predictor") or Fields({}, ""), spec.part("transformer")
    model = read_model(predictor, report)
    custom = None if model is not None else read_custom(predictor, report)
    first = custom if transformer is None else read_custom(transformer, report)
    if first is None or first.uri:
        protocol = model.protocol if model is not None else first.protocol if first is not None else None
        return Service(name, protocol=protocol)
    return Service(name, TargetKind.SERVICE, first.protocol, first.model_name)


def _write(made: _Made, predictor: Fields, transformer: Fields | None) -> None:
    name = made.metadata["name"]
    if transformer is None:
        _write_predictor(made, predictor, name)
        return
    behind = f"{name}{SUFFIX}"
    model = read_model(predictor, made.report)
    if model is None:
        _write_component(made, predictor, read_custom(predictor, made.report), behind)
    else:
        deployed = f"{name}-model"
        _write_model(made, predictor, model, deployed)
        spoken = _spoken_by(read_custom(transformer, made.report), model, transformer.at("containers"), made.report)
        made.report.note(transformer.path, f"asks its predictor by this graph: {LIMITS}", document=made.next)
        made.documents.append(_graph(made, behind, deployed, spoken, predictor))
    _write_transformer(made, transformer, name, behind)


def _write_predictor(made: _Made, predictor: Fields, name: str) -> None:
    model = read_model(predictor, made.report)
    if model is None:
        _write_component(made, predictor, read_custom(predictor, made.report), name)
    else:
        _write_model(made, predictor, model, name)


def _write_model(made: _Made, predictor: Fields, model: Model, name: str) -> None:
    """Write a model and its runtime as a ModelDeployment."""
    spec = write_runtime(model, made.report, document=made.next)
    where = write_model(model.uri, model.fields.at("storageUri"), made.report, document=made.next)
    if where:
        spec = {"model": where, **spec}
    for field in ("nodeSelector", "tolerations"):
        value = predictor.take(field)
        spec |= {field: value} if value else {}
    if predictor.has("containers"):
        predictor.take("containers")
        words = "containers beside the model's server belong into the ModelRuntime; a transformer there is lost"
        made.report.problem(predictor.at("containers"), words)
    spec |= _replicas(made, predictor)
    made.documents.append(_object("ModelDeployment", made.named(name), spec))


def _write_component(made: _Made, component: Fields, custom: Custom | None, name: str) -> None:
    """Write containers of the user's own: with a model a ModelDeployment, without one a Deployment and a Service."""
    if custom is None:
        known = ", ".join(("model", *FRAMEWORKS))
        made.report.problem(component.path, f"there is neither a model ({known}) nor a container")
        return
    if custom.uri:
        place = f"{component.at('containers')}[{custom.index}].env[STORAGE_URI]"
        where = write_model(custom.uri, place, made.report, document=made.next)
        server = write_server(component, custom, made.report, document=made.next)
        spec = {**({"model": where} if where else {}), "server": server, **_replicas(made, component)}
        made.documents.append(_object("ModelDeployment", made.named(name), spec))
        return
    words = "has no model that KServe fetches: a ModelDeployment would wait for one, so it is an ordinary Deployment"
    made.report.note(component.at("containers"), words, document=made.next)
    template = {key: value for key in ("labels", "annotations") if (value := component.mapping(key))}
    strategy = component.mapping("deploymentStrategy")
    spec = {**_replicas(made, component), **({"strategy": strategy} if strategy else {})}
    made.documents += build_workload(made.named(name), custom, _pod(component), spec, template)


def _pod(component: Fields) -> dict[str, Any]:
    """Take what of a component belongs to the pod: what is not KServe's own."""
    own = {*_LEFT, "minReplicas", "labels", "annotations", "containers", "model", *FRAMEWORKS}
    names = [name for name in component.names() if name not in own and component.has(name)]
    return {name: component.take(name) for name in names}


def _write_transformer(made: _Made, transformer: Fields, name: str, behind: str) -> None:
    custom = read_custom(transformer, made.report)
    if custom is None:
        made.report.problem(transformer.path, "there is no container")
        return
    args = list(custom.main.get("args") or ())
    given = {str(argument).partition("=")[0] for argument in args}
    for argument, value in (("--model_name", name), ("--predictor_host", behind), ("--http_port", str(custom.port))):
        args += [] if argument in given else [argument, value]
    main = {"name": MAIN, **custom.main, "args": args}
    words = (
        f"asks its predictor itself, at {behind}, and no sequence of a graph does it for it; KServe's arguments "
        "--model_name, --predictor_host and --http_port are written out"
    )
    made.transformer = made.next
    made.report.note(transformer.path, words, document=made.transformer)
    told = Custom(custom.path, main, custom.index, custom.others, custom.uri, custom.protocol)
    _write_component(made, transformer, told, name)


def _spoken_by(transformer: Custom | None, model: Model, path: str, report: Report) -> Protocol:
    """Tell how a transformer asks its predictor: as an argument says, else as the predictor."""
    names = ("--predictor_protocol", "--protocol")
    told = next((value for name in names if transformer and (value := transformer.argument(name))), "")
    spoken = read_protocol(told, path, report) if told else model.protocol
    return spoken or Protocol.KSERVE_V1


def _graph(made: _Made, name: str, deployed: str, protocol: Protocol, predictor: Fields) -> dict[str, Json]:
    timeout = predictor.number("timeout")
    limit = {"timeout": f"{timeout}s"} if timeout else {}
    node = {"name": "model", "target": {"name": deployed}}
    return _object(
        "ModelGraph", made.named(name), {"protocol": protocol.value, "entry": "model", **limit, "nodes": [node]}
    )


def _replicas(made: _Made, component: Fields) -> dict[str, Any]:
    low, high = component.number("minReplicas"), component.number("maxReplicas")
    if low == 0:
        words = "nothing wakes a deployment that is scaled to zero: one pod is kept"
        made.report.note(component.at("minReplicas"), words, place="spec.replicas", document=made.next)
    replicas = low or 1
    if high and high > replicas:
        words = f"left out: {_AUTOSCALE}"
        made.report.note(component.at("maxReplicas"), words, place="spec.replicas", document=made.next)
    return {"replicas": replicas}


def _object(kind: str, metadata: Mapping[str, Json], spec: Mapping[str, Json]) -> dict[str, Json]:
    return {"apiVersion": API_VERSION, "kind": kind, "metadata": metadata, "spec": spec}


def _tell_left(made: _Made, fields: Fields) -> None:
    for path in fields.left():
        name = path.split(".")[2] if path.count(".") > 1 else path.split(".")[-1]
        why = f": {_LEFT[name]}" if name in _LEFT else ""
        document = made.transformer if path.startswith("spec.transformer.") else 0
        made.report.note(path, f"has no counterpart and is left out{why}", document=document)


def _check(made: _Made) -> None:
    """See that what was written are objects of their kinds; what is not becomes a problem and is not given out."""
    models = {kind.name: kind.spec for kind in KINDS}
    for document in list(made.documents):
        title = f"{document['kind']} {document['metadata']['name']}"
        why = why_no_service(document["metadata"]["name"])
        found = [Problem("metadata.name", why)] if why else []
        if document["kind"] in models:
            try:
                models[document["kind"]].model_validate(document["spec"])
            except pydantic.ValidationError as error:
                found += from_validation_error(error, "spec")
        if found:
            made.report.problems += [
                Problem("spec", f"the {title} that it becomes is refused: {each}") for each in found
            ]
            made.documents.clear()
            # There is no manifest any more that a note could concern.
            made.report.notes[:] = [replace(note, document=0, place="") for note in made.report.notes]
            return
