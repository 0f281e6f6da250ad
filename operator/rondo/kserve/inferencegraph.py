"""An InferenceGraph (serving.kserve.io/v1alpha1) as it is written: routers of four types, and their steps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from rondo.kserve.fields import Fields, ShapeError
from rondo.kserve.findings import Report

ROOT = "root"
"""The router that answers requests."""


class RouterType(StrEnum):
    """What a router does with its steps."""

    SEQUENCE = "Sequence"
    SWITCH = "Switch"
    SPLITTER = "Splitter"
    ENSEMBLE = "Ensemble"


@dataclass(frozen=True, slots=True)
class Step:
    """A step.

    Attributes:
        path: Its field path.
        name: Its own name; empty if it has none.
        node: The router that it asks, or
        service: the InferenceService, or
        url: the address.
        data: What it is asked: `$response` is the last answer, all else what the router was asked.
        weight: Its part of a Splitter's traffic, in per cent.
        condition: When it is taken; a path of gjson.
        hard: Whether the router fails with it.
        maps: Whether predictions become instances on the way to it.
    """

    path: str
    name: str
    node: str
    service: str
    url: str
    data: str
    weight: int | None
    condition: str
    hard: bool
    maps: bool

    @property
    def label(self) -> str:
        """What to call it."""
        return self.name or self.node or self.service or "url"


@dataclass(frozen=True, slots=True)
class Router:
    """A router.

    Attributes:
        path: Its field path.
        type: What it does.
        steps: Its steps.
    """

    path: str
    type: RouterType
    steps: tuple[Step, ...]


def read_routers(spec: Fields, report: Report) -> Mapping[str, Router]:
    """Read the routers of a graph; those that make no sense are problems."""
    nodes = spec.part("nodes")
    if nodes is None or not nodes.has(ROOT):
        report.problem(spec.at("nodes"), f"there is no node {ROOT}, which answers requests")
    found = {name: nodes.part(name) for name in nodes.names()} if nodes is not None else {}
    read = {name: _router(fields, report) for name, fields in found.items() if fields is not None}
    routers = {name: router for name, router in read.items() if router is not None}
    for router in routers.values():
        for step in router.steps:
            if step.node and step.node not in read:
                report.problem(f"{step.path}.nodeName", f"there is no node {step.node}")
    return routers


def _router(fields: Fields, report: Report) -> Router | None:
    given = fields.text("routerType")
    if given not in set(RouterType):
        report.problem(fields.at("routerType"), f"{given!r} is none of {', '.join(RouterType)}")
        return None
    steps = []
    for part in fields.parts("steps"):
        try:
            steps.append(_step(part))
        except ShapeError as error:
            report.problems.append(error.problem)
    if not fields.has("steps"):
        report.problem(fields.at("steps"), "there is no step")
    for step in steps:
        if [step.node, step.service, step.url].count("") != 2:
            report.problem(step.path, "give exactly one of nodeName, serviceName and serviceUrl")
    return Router(fields.path, RouterType(given), tuple(steps))


def _step(fields: Fields) -> Step:
    return Step(
        path=fields.path,
        name=fields.text("name"),
        node=fields.text("nodeName"),
        service=fields.text("serviceName"),
        url=fields.text("serviceUrl"),
        data=fields.text("data"),
        weight=fields.number("weight"),
        condition=fields.text("condition"),
        hard=fields.text("dependency") == "Hard",
        maps=fields.flag("mapPredictionsToInstances"),
    )
