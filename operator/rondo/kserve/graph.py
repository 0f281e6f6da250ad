"""An InferenceGraph becomes a ModelGraph.

Each step becomes a node of its own: a router that two steps name is written twice, because what it is asked, and thus
what its expressions look at, differs. `rondo.kserve.steps` writes the nodes; here stands what concerns the whole.
"""

from __future__ import annotations

from typing import Any, Final

import pydantic

from rondo.api.base import API_VERSION, Json
from rondo.api.modelgraph import MAX_NODES, Limits, ModelGraphSpec
from rondo.api.modelruntime import Protocol
from rondo.core.modelgraph import validation
from rondo.core.problems import Problem, from_validation_error
from rondo.kserve.fields import Fields
from rondo.kserve.findings import Imported, Report
from rondo.kserve.inferencegraph import ROOT, read_routers
from rondo.kserve.metadata import read_object
from rondo.kserve.names import why_no_service
from rondo.kserve.services import Services, protocol_of_url
from rondo.kserve.steps import Routers, TooLargeError, Writer

_ITS_ROUTER: Final = "the router is the platform's, which sets this for all graphs (the chart's router.*)"
_LEFT: Final = {
    "resources": _ITS_ROUTER,
    "affinity": _ITS_ROUTER,
    "nodeSelector": _ITS_ROUTER,
    "nodeName": _ITS_ROUTER,
    "tolerations": _ITS_ROUTER,
    "serviceAccountName": _ITS_ROUTER,
    "scaleTarget": _ITS_ROUTER,
    "scaleMetric": _ITS_ROUTER,
}
"""Fields of the spec that a ModelGraph does not have, and why."""

HEADERS: Final = (
    "headers: no header of the client is passed on unless spec.headers names it; KServe passes on those that its "
    "router.headers.propagate matches. Response headers of members are not passed on by either."
)
FAILURES: Final = (
    "failures: a step that does not answer gives 502 or 504, in KServe 500; errors of the router itself have another "
    "body"
)
LIMITS: Final = (
    f"a body of more than {Limits().body} that has to be read gets 413, and what exceeds {Limits().in_flight} requests "
    "at once in each router gets 429; KServe has no such limits: spec.limits raises them"
)
"""What holds for every ModelGraph that does not say otherwise."""

NO_PATH: Final = "paths: any path is answered, by POST only; KServe takes any method"
_PATHS: Final = {
    Protocol.KSERVE_V1: "POST /v1/models/NAME:predict with any NAME",
    Protocol.OPEN_INFERENCE: "POST /v2/models/NAME/infer with any NAME",
    Protocol.OPENAI: "the paths of OpenAI's API below /v1",
}


def import_graph(content: Json, services: Services) -> Imported:
    """Translate an InferenceGraph.

    Args:
        content: The manifest.
        services: InferenceServices that are translated beside it, by name.

    Raises:
        ShapeError: A field is not of its type.
    """
    report = Report()
    fields = Fields(content, "")
    metadata = read_object(fields, report)
    spec = fields.part("spec") or Fields({}, "spec")
    why = why_no_service(metadata["name"])
    if why:
        report.problem("metadata.name", why)
    routers = read_routers(spec, report)
    protocol = choose_protocol(routers, services, report)
    settings = _settings(spec, report)
    writer = Writer(
        routers,
        protocol,
        services,
        report,
        namespace=metadata.get("namespace", ""),
        timeout=settings.pop("step", None),
    )
    nodes = [] if report.problems else _write(routers, writer, report)
    for path in fields.left():
        field = path.removeprefix("spec.")
        report.note(path, f"has no counterpart and is left out{_because(field)}", place="spec")
    written = {"protocol": protocol.value, "entry": nodes[0]["name"] if nodes else ROOT, **settings, "nodes": nodes}
    report.problems += [] if report.problems else _refused(written)
    if report.problems:
        return Imported(notes=tuple(report.notes), problems=tuple(report.problems))
    document = {"apiVersion": API_VERSION, "kind": "ModelGraph", "metadata": metadata, "spec": written}
    return Imported((document,), tuple(report.notes), (), _remarks(protocol))


def choose_protocol(routers: Routers, services: Services, report: Report) -> Protocol:
    """Choose what the graph's clients speak: what its members do; KServe itself looks at none of it."""
    steps = [step for router in routers.values() for step in router.steps]
    found: list[Protocol | None] = []
    unknown = sorted({step.service for step in steps if step.service and step.service not in services})
    found += [Protocol.KSERVE_V1 for _ in unknown]
    found += [services[step.service].protocol for step in steps if step.service in services]
    if unknown:
        words = (
            f"{', '.join(unknown)}: not among what is imported, taken for ModelDeployments of these names with clients "
            "of the v1 protocol"
        )
        report.note("spec.nodes", words, place="spec.nodes")
    found += [] if found else [protocol_of_url(step.url) for step in steps if step.url]
    spoken = {protocol for protocol in found if protocol is not None}
    if not spoken:
        return Protocol.JSON
    if len(spoken) > 1:
        words = f"its members speak {' and '.join(sorted(spoken))}; KServe translates nothing, here all is adapted"
        report.note("spec.nodes", words, place="spec.protocol")
    # Where v1 is among them, clients that reached all members can only have spoken v1.
    return Protocol.KSERVE_V1 if Protocol.KSERVE_V1 in spoken else min(spoken)


def _write(routers: Routers, writer: Writer, report: Report) -> list[dict[str, Any]]:
    try:
        writer.write_root()
    except TooLargeError:
        report.problem("spec.nodes", f"it becomes more than {MAX_NODES} nodes, since each step becomes one of its own")
    _unreached(routers, writer, report)
    return writer.nodes


def _unreached(routers: Routers, writer: Writer, report: Report) -> None:
    for name, router in routers.items():
        if name not in writer.reached:
            report.note(router.path, f"no step leads to node {name}: left out", place="spec.nodes")


def _settings(spec: Fields, report: Report) -> dict[str, Any]:
    """Read what concerns the whole graph; `step` is the limit of each step."""
    written: dict[str, Any] = {}
    timeout, limits = spec.number("timeout"), spec.part("routerTimeouts")
    if limits is not None:
        write, step = limits.number("serverWrite"), limits.number("serviceClient")
        if step:
            written["step"] = f"{step}s"
        if write and not timeout:
            timeout = write
            words = "in KServe the connection breaks off after it; here the client gets 504"
            report.note(limits.at("serverWrite"), words, place="spec.timeout")
        for name in ("serverRead", "serverIdle"):
            if limits.number(name):
                report.note(limits.at(name), "the router has a limit of its own for this: left out", place="spec")
    if timeout:
        written["timeout"] = f"{timeout}s"
    return written | _replicas(spec, report)


def _replicas(spec: Fields, report: Report) -> dict[str, Any]:
    low, high = spec.number("minReplicas"), spec.number("maxReplicas")
    if low == 0:
        report.note("spec.minReplicas", "routers do not scale to zero: left out", place="spec")
    own = {"router": {"own": True, "replicas": min(low, 100)}} if low and low > 1 else {}
    if low and low > 1:
        words = "makes a router of its own for this graph; without it the namespace's answers"
        report.note("spec.minReplicas", words, place="spec.router")
    if high and high > (low or 1):
        report.note("spec.maxReplicas", f"left out: {_ITS_ROUTER}", place="spec")
    return own


def _because(field: str) -> str:
    why = _LEFT.get(field.split(".", maxsplit=1)[0])
    return f": {why}" if why else ""


def _refused(spec: dict[str, Any]) -> list[Problem]:
    """See that what was written is a graph; what is wrong with it is told by the place in it."""
    try:
        found = validation.validate(ModelGraphSpec.model_validate(spec))
    except pydantic.ValidationError as error:
        found = from_validation_error(error, "spec")
    return [Problem("spec", f"the ModelGraph that it becomes is refused: {problem}") for problem in found]


def _remarks(protocol: Protocol) -> tuple[str, ...]:
    path = _PATHS.get(protocol)
    said = f"paths: clients ask {path}; KServe takes any path and method" if path else NO_PATH
    return (said, f"limits: {LIMITS}", HEADERS, FAILURES)
