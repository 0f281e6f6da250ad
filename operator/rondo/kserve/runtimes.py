"""Which ModelRuntime serves a model of KServe's, and what it may be told."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from rondo.api.modelruntime import Protocol
from rondo.kserve.fields import Fields
from rondo.kserve.findings import Report
from rondo.kserve.inferenceservice import MAIN, Model


@dataclass(frozen=True, slots=True)
class Preset:
    """A ModelRuntime that comes with Rondo.

    Attributes:
        protocol: What it speaks.
        args: Whether a ModelDeployment may add arguments.
    """

    protocol: Protocol
    args: bool


PRESETS: Final = {"sklearn": Preset(Protocol.OPEN_INFERENCE, args=False)}
"""The runtimes of the chart, by name."""

_OF_KSERVE: Final = "kserve-"
_CONTAINER: Final = (
    "name", "image", "command", "ports", "volumeMounts", "volumeDevices", "envFrom", "imagePullPolicy", "lifecycle",
    "livenessProbe", "readinessProbe", "startupProbe", "securityContext", "workingDir", "stdin", "tty",
    "terminationMessagePath", "terminationMessagePolicy", "resizePolicy", "restartPolicy",
)  # fmt: skip
"""Fields of a container that only a ModelRuntime has."""


def write_runtime(model: Model, report: Report, *, document: int) -> dict[str, Any]:
    """Write what of a ModelDeployment's spec concerns its runtime.

    Args:
        model: The model.
        report: Takes what differs.
        document: Index of the manifest that is written.
    """
    fields = model.fields
    name = _runtime_of(model, report, document)
    preset = PRESETS.get(name)
    spec: dict[str, Any] = {"runtime": name}
    args = fields.listing("args")
    if args and (preset is None or preset.args):
        spec["args"] = args
    elif args:
        words = f"they are those of KServe's server; ModelRuntime {name} takes none: left out"
        report.note(fields.at("args"), words, place="spec.runtime", document=document)
    for field in ("env", "resources"):
        value = fields.take(field)
        spec |= {field: value} if value else {}
    _tell_left(fields, name, report, document)
    _tell_protocol(model, name, report, document)
    return spec


def _runtime_of(model: Model, report: Report, document: int) -> str:
    """Choose the runtime: by its name in KServe, without KServe's prefix, else by the format."""
    given = model.runtime
    name = model.format if not given or given in _servers_of(model.format) else given
    if given and given != name:
        words = f"{given} is KServe's; here ModelRuntime {name} serves this format"
        report.note(model.fields.at("runtime"), words, place="spec.runtime", document=document)
    if name not in PRESETS:
        words = f"no ModelRuntime {name} comes with Rondo: the platform team has to write one for {model.format}"
        report.note(
            model.fields.at("runtime" if given else "modelFormat"), words, place="spec.runtime", document=document
        )
    return name


def _servers_of(format_: str) -> frozenset[str]:
    """Give KServe's own runtimes that serve one format, as far as a preset takes their place."""
    return frozenset({f"{_OF_KSERVE}{format_}server", f"{_OF_KSERVE}mlserver"}) if format_ in PRESETS else frozenset()


def _tell_left(fields: Fields, runtime: str, report: Report, document: int) -> None:
    for field in _CONTAINER:
        # KServe itself writes the name of the container.
        if fields.has(field) and (field, fields.take(field)) != ("name", MAIN):
            words = f"is ModelRuntime {runtime}'s, and a ModelDeployment cannot change it: left out"
            report.note(fields.at(field), words, place="spec.runtime", document=document)
    if fields.has("runtimeVersion"):
        fields.take("runtimeVersion")
        words = f"the image of ModelRuntime {runtime} says the version: left out"
        report.note(fields.at("runtimeVersion"), words, place="spec.runtime", document=document)
    if fields.has("storage"):
        fields.take("storage")
        words = "storage of KServe's own configuration is not read: give spec.model.uri and spec.model.credentials"
        report.note(fields.at("storage"), words, place="spec", document=document)


def _tell_protocol(model: Model, runtime: str, report: Report, document: int) -> None:
    preset = PRESETS.get(runtime)
    if preset is not None and model.protocol not in {None, preset.protocol}:
        words = (
            f"clients speak {model.protocol}, ModelRuntime {runtime} {preset.protocol}: let them ask a ModelGraph of "
            f"protocol {model.protocol} with this as its target"
        )
        report.note(model.fields.at("protocolVersion"), words, place="spec.runtime", document=document)
