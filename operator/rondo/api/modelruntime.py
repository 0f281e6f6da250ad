"""The ModelRuntime kind: how a model server is run, written once by the platform team."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from rondo.api.base import SET, Model, StatusModel, named_list, rule, rules
from rondo.api.container import ServingContainer
from rondo.api.status import ConditionStatus


class Protocol(StrEnum):
    """What a model server speaks."""

    OPEN_INFERENCE = "OpenInference"
    OPENAI = "OpenAI"
    KSERVE_V1 = "KServeV1"
    JSON = "JSON"


class Allowed(StrEnum):
    """What a ModelDeployment may change of its runtime."""

    ARGS = "args"
    ENV = "env"
    RESOURCES = "resources"
    NODE_SELECTOR = "nodeSelector"
    TOLERATIONS = "tolerations"


class ModelFormat(Model):
    """A format of model files."""

    name: Annotated[str, Field(min_length=1, max_length=63, description="Such as sklearn or safetensors.")]


class ModelRuntimeSpec(Model):
    """A model server's container, in which `$(model.path)` and `$(model.name)` are replaced."""

    model_config = {
        "json_schema_extra": rules(
            rule("has(self.server.image)", "give the image of the server", path=".server"),
            rule(
                "has(self.server.ports) && self.server.ports.exists(p, p.name == 'http')",
                "give the port that answers requests, named http",
                path=".server",
            ),
        )
    }

    protocol: Annotated[Protocol, Field(description="What the server speaks.")]
    formats: Annotated[
        list[ModelFormat],
        Field(max_length=32, json_schema_extra=named_list(), description="Formats of models that it loads."),
    ] = []
    server: Annotated[ServingContainer, Field(description="Its container; the port named `http` answers.")]
    allow: Annotated[
        list[Allowed],
        Field(max_length=8, json_schema_extra=SET, description="What a ModelDeployment may change."),
    ] = [Allowed.ARGS, Allowed.ENV, Allowed.RESOURCES, Allowed.NODE_SELECTOR, Allowed.TOLERATIONS]


class ModelRuntimeStatus(StatusModel):
    """How the runtime is."""

    observed_generation: Annotated[int, Field(description="The generation that this status speaks of.")] = -1
    conditions: Annotated[
        list[ConditionStatus], Field(json_schema_extra=named_list("type"), description="Accepted, Ready.")
    ] = []
