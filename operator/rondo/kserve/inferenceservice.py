"""An InferenceService (serving.kserve.io/v1beta1) as it is written: components, and in each what serves.

A predictor is a model of some format with what its runtime is to do otherwise, or containers of the user's own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from rondo.api.base import Json
from rondo.api.modelruntime import Protocol
from rondo.kserve.fields import Fields, ShapeError
from rondo.kserve.findings import Report

FRAMEWORKS: Final = (
    "sklearn", "xgboost", "tensorflow", "pytorch", "triton", "onnx", "huggingface", "pmml", "lightgbm", "paddle",
    "catboost",
)  # fmt: skip
"""Fields of a predictor that name the format of the model, from before there was `model`."""

MAIN: Final = "kserve-container"
"""The container that serves."""

_BESIDE: Final = "transformer-container"
"""A transformer in the same pod: requests come to it first."""

_PORT: Final = 8080
"""Where KServe expects a container to listen that names no port."""

_PROTOCOLS: Final = {"": Protocol.KSERVE_V1, "v1": Protocol.KSERVE_V1, "v2": Protocol.OPEN_INFERENCE}
_GRPC_PORTS: Final = ("h2c", "grpc")
"""What ports of gRPC are called, by themselves or before a `-`: `h2c` for Knative, `grpc-port` for Istio."""

_NO_GRPC: Final = (
    "a ModelDeployment is asked by HTTP, v1 and v2; gRPC is for ModelGraphs, which ask a Service by it with "
    "transport: GRPC"
)
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
        return self.argument("--model_name")

    @property
    def port(self) -> int:
        """Where it answers."""
        for port in self.main.get("ports") or ():
            number = port.get("containerPort") if isinstance(port, dict) else None
            if isinstance(number, int):
                return number
        told = self.argument("--http_port")
        return int(told) if told.isdecimal() else _PORT

    def argument(self, name: str) -> str:
        """Give the value of an argument, `--name value` or `--name=value`; empty if it is not there."""
        args = [str(argument) for argument in self.main.get("args") or ()]
        for index, argument in enumerate(args):
            given, _, value = argument.partition("=")
            if given == name:
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
    written = fields.part("modelFormat") if name == "model" else Fields({"name": name}, fields.path)
    called = "" if written is None else written.text("name")
    if not called:
        report.problem(f"{fields.at('modelFormat')}.name", "there is no format of the model")
    grpc = read_grpc(fields.listing("ports"), fields.at("ports"), report)
    spoken = read_protocol(fields.text("protocolVersion"), fields.at("protocolVersion"), report)
    return Model(
        fields=fields,
        format=called,
        runtime=fields.text("runtime"),
        uri=fields.text("storageUri"),
        protocol=None if grpc else spoken,
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
    names = [each.get("name") for each in containers]
    index = next((names.index(name) for name in (_BESIDE, MAIN) if name in names), 0)
    main = containers[index]
    given = {each.get("name"): each.get("value") for each in main.get("env") or () if isinstance(each, dict)}
    env = [each for each in main.get("env") or () if not isinstance(each, dict) or each.get("name") != _STORAGE]
    grpc = read_grpc(main.get("ports"), f"{path}[{index}].ports", report)
    spoken = read_protocol(str(given.get(_PROTOCOL) or ""), f"{path}[{index}].env[{_PROTOCOL}]", report)
    return Custom(
        path=component.path,
        main={**{key: value for key, value in main.items() if key != "env"}, **({"env": env} if env else {})},
        index=index,
        others=tuple(each for each in containers if each is not main),
        uri=str(given.get(_STORAGE) or ""),
        protocol=None if grpc else spoken,
    )


def read_grpc(ports: Json, path: str, report: Report) -> bool:
    """Find ports of gRPC by their names, each a problem; tells whether the first, where requests come to, is one."""
    names = [str(port.get("name") or "") if isinstance(port, dict) else "" for port in ports or ()]
    found = [name.partition("-")[0] in _GRPC_PORTS for name in names]
    for index, name in enumerate(names):
        if found[index]:
            report.problem(f"{path}[{index}].name", f"{name} means gRPC: {_NO_GRPC}")
    return found[:1] == [True]


def read_protocol(version: str, path: str, report: Report) -> Protocol | None:
    """Read a version of the protocol; None for gRPC, which is a problem. Without one it is v1."""
    if version not in _PROTOCOLS:
        report.problem(path, f"{version}: {_NO_GRPC}")
    return _PROTOCOLS.get(version)
