"""`rondo lint`: everything that is wrong with manifests, found without a cluster.

The same checks as the API server's (shape, CEL rules, unique names) and the operator's (names, references, cycles,
releases without a guard), in one go and without the limits that a condition's message has.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, Final

import pydantic

from rondo.api.base import API_VERSION, GROUP
from rondo.api.crds import build_crd
from rondo.api.kinds import KINDS, Kind
from rondo.api.modelgraph import ModelGraphSpec
from rondo.api.pipeline import PipelineSpec
from rondo.cli import manifests, schema
from rondo.cli.manifests import Manifest
from rondo.core.graph import nearest
from rondo.core.modelgraph import validation as graph_validation
from rondo.core.pipeline import validation
from rondo.core.problems import Problem, from_validation_error

_KINDS: Final = {kind.name: kind for kind in KINDS}
_SPECS: Final = {"Pipeline": ("spec",), "PipelineRun": ("spec", "pipeline", "spec")}
"""Where the spec of a pipeline stands in a kind."""


@dataclass(frozen=True)
class Finding:
    """A problem and where it stands."""

    file: str
    line: int
    title: str
    problem: Problem

    def __str__(self) -> str:
        """Give it in one line, in the form that editors and CI read: FILE:LINE: ..."""
        said = str(self.problem) if self.problem.path else self.problem.message
        return f"{self.file}:{self.line}: {self.title}: {said}"


@dataclass(frozen=True)
class Report:
    """What was found.

    Attributes:
        findings: All problems, in the files' order.
        checked: Objects of Rondo's kinds.
        skipped: Documents of other kinds.
    """

    findings: tuple[Finding, ...]
    checked: int
    skipped: int

    @property
    def summary(self) -> str:
        """The report in one line."""
        skipped = f", {_count(self.skipped, 'document')} of other kinds passed over" if self.skipped else ""
        if not self.checked and not self.findings:
            return f"nothing to check: no object of {GROUP}{skipped}"
        found = _count(len(self.findings), "problem") if self.findings else "no problem"
        return f"{_count(self.checked, 'object')} checked{skipped}: {found}"


def lint(places: Iterable[Path]) -> Report:
    """Check files.

    Args:
        places: Files, folders, or `-` for standard input.

    Raises:
        CommandError: One cannot be read.
    """
    return check(manifests.read(places))


def check(found: Iterable[Manifest]) -> Report:
    """Check objects."""
    findings: list[Finding] = []
    checked = skipped = 0
    for manifest in found:
        findings += (
            Finding(manifest.file, flaw.line, manifest.title, Problem("", flaw.message)) for flaw in manifest.flaws
        )
        if manifest.api_version.partition("/")[0] != GROUP:
            skipped += manifest.content is not None
            continue
        checked += 1
        ordered = sorted(((manifest.line(each.path), each) for each in _problems(manifest)), key=lambda pair: pair[0])
        findings += (Finding(manifest.file, line, manifest.title, problem) for line, problem in ordered)
    return Report(tuple(findings), checked, skipped)


def _problems(manifest: Manifest) -> list[Problem]:
    kind = _KINDS.get(manifest.kind)
    if kind is None:
        return [Problem("kind", f"there is no kind {manifest.kind}{nearest(manifest.kind, _KINDS)}")]
    if manifest.api_version != API_VERSION:
        return [Problem("apiVersion", f"it is {manifest.api_version}, must be {API_VERSION}")]
    found = [*_frame(manifest), *_shape(kind, manifest.content)]
    found += schema.problems(_schema(kind.name), manifest.content)
    # What the stages mean can only be said of a spec that has its shape.
    if not found:
        found += _pipeline(manifest)
        found += _graph(manifest)
    return list(dict.fromkeys(found))


def _frame(manifest: Manifest) -> Iterator[Problem]:
    content: dict[str, Any] = manifest.content
    for unknown in content.keys() - {"apiVersion", "kind", "metadata", "spec", "status"}:
        yield Problem(unknown, "there is no such field")
    metadata = content.get("metadata")
    if not isinstance(metadata, dict) or not (metadata.get("name") or metadata.get("generateName")):
        yield Problem("metadata.name", "give a name")


def _shape(kind: Kind, content: dict[str, Any]) -> list[Problem]:
    try:
        kind.spec.model_validate(content.get("spec"))
    except pydantic.ValidationError as error:
        return from_validation_error(error, "spec")
    return []


def _pipeline(manifest: Manifest) -> Iterator[Problem]:
    """Check the pipeline that an object holds, if it holds one."""
    path = _SPECS.get(manifest.kind, ())
    raw: Any = manifest.content
    for part in path:
        raw = raw.get(part) if isinstance(raw, dict) else None
    if path and raw is not None:
        for problem in validation.validate(PipelineSpec.model_validate(raw)):
            yield replace(problem, path=problem.path.replace("spec", ".".join(path), 1))


def _graph(manifest: Manifest) -> list[Problem]:
    """Check what an object says as a graph, if it is one; whether its targets are there only a cluster can tell."""
    if manifest.kind != "ModelGraph":
        return []
    return graph_validation.validate(ModelGraphSpec.model_validate(manifest.content["spec"]))


@cache
def _schema(kind: str) -> schema.Schema:
    found: schema.Schema = build_crd(_KINDS[kind])["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    return found


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
