"""An InferenceService (serving.kserve.io/v1beta1) as it is written: components, and in each what serves.

A predictor is a model of some format with what its runtime is to do otherwise, or containers of the user's own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from rondo.api.modelruntime import Protocol
from rondo.core.problems import Problem
from rondo.kserve.fields import Fields, ShapeError
from rondo.kserve.findings import Report

FRAMEWORKS: Final = (
    "sklearn", "xgboost", "tensorflow", "pytorch", "triton", "onnx", "huggingface", "pmml", "lightgbm", "paddle",
    "catboost",
)  # fmt: skip
"""Fields of a predictor that name the format of the model, from before there was `model`."""

MAIN: Final = "kserve-container"
"""The container that serves."""

_PROTOCOLS: Final = {"": Protocol.KSERVE_V1, "v1": Protocol.KSERVE_V1, "v2": Protocol.OPEN_INFERENCE}
_STORAGE: Final = "STORAGE_URI"
_PROTOCOL: Final = "PROTOCOL"


@dataclass(frozen=True, slots=True)
class Model:
    """A model that a runtime serves.

    Attributes:
        fields: The block in which it is written, which has fields of a container too.
        format: Its format.
        runtime: The runtime; empty if the format chooses it.
        uri: Where it is; empty if that is not said.
        protocol: What its clients speak; None for gRPC.
    """

    fields: Fields
    format: str
    runtime: str
    uri: str
    protocol: Protocol | None


@dataclass(frozen=True, slots=True)
class Custom:
    """Containers of the user's own.

    Attributes:
        path: Field path of the component.
        main: The container that serves.
        index: Its place among the containers.
        others: The other containers.
        uri: Where its model is; empty if it has none that KServe would fetch.
        protocol: What its clients speak; None for gRPC.
    """

    path: str
    main: dict[str, Any]
    index: int
    others: tuple[dict[str, Any], ...]
    uri: str
    protocol: Protocol | None

    @property
    def model_name(self) -> str:
        """What the model is called in requests, if an argument says so."""
        args = [str(argument) for argument in self.main.get("args") or ()]
        for index, argument in enumerate(args):
            name, _, value = argument.partition("=")
            if name == "--model_name":
                return value or "".join(args[index + 1 : index + 2])
        return ""


def read_model(component: Fields, report: Report) -> Model | None:
    """Read the model of a predictor; None if it has containers of its own."""
    name = next((each for each in ("model", *FRAMEWORKS) if component.has(each)), None)
    if name is None:
        return None
    fields = component.part(name)
    if fields is None:
        return None
    format_ = fields.part("modelFormat") if name == "model" else None
    called = name if format_ is None else format_.text("name")
    if name == "model" and not called:
        report.problem(fields.at("modelFormat.name"), "there is no format of the model")
    return Model(
        fields=fields,
        format=called,
        runtime=fields.text("runtime"),
        uri=fields.text("storageUri"),
        protocol=_protocol(fields.text("protocolVersion"), fields.at("protocolVersion"), report),
    )


def read_custom(component: Fields, report: Report) -> Custom | None:
    """Read the containers of a component; None if it has none."""
    path = component.at("containers")
    containers = component.listing("containers")
    for index, each in enumerate(containers):
        if not isinstance(each, dict):
            raise ShapeError(f"{path}[{index}]", "an object", each)
        for field in ("args", "env", "ports"):
            if not isinstance(each.get(field) or [], list):
                raise ShapeError(f"{path}[{index}].{field}", "a list", each[field])
    if not containers:
        return None
    index = next((index for index, each in enumerate(containers) if each.get("name") == MAIN), 0)
    main = containers[index]
    given = {each.get("name"): each.get("value") for each in main.get("env") or () if isinstance(each, dict)}
    env = [each for each in main.get("env") or () if not isinstance(each, dict) or each.get("name") != _STORAGE]
    return Custom(
        path=component.path,
        main={**{key: value for key, value in main.items() if key != "env"}, **({"env": env} if env else {})},
        index=index,
        others=tuple(each for each in containers if each is not main),
        uri=str(given.get(_STORAGE) or ""),
        protocol=_protocol(str(given.get(_PROTOCOL) or ""), f"{path}[{index}].env[{_PROTOCOL}]", report),
    )


def _protocol(version: str, path: str, report: Report) -> Protocol | None:
    if version not in _PROTOCOLS:
        report.problems.append(Problem(path, f"{version}: Rondo speaks HTTP, v1 and v2, and no gRPC"))
    return _PROTOCOLS.get(version)
