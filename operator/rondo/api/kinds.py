"""The kinds of the API: names, models, and what `kubectl get` prints of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from pydantic import BaseModel

from rondo.api.approval import ApprovalSpec, ApprovalStatus
from rondo.api.base import GROUP, rule
from rondo.api.modeldeployment import ModelDeploymentSpec, ModelDeploymentStatus
from rondo.api.modelgraph import ModelGraphSpec, ModelGraphStatus
from rondo.api.modelruntime import ModelRuntimeSpec, ModelRuntimeStatus
from rondo.api.pipeline import PipelineSpec, PipelineStatus
from rondo.api.pipelinerun import PipelineRunSpec, PipelineRunStatus


@dataclass(frozen=True, slots=True)
class Column:
    """A column of `kubectl get`.

    Attributes:
        name: Its heading.
        path: JSONPath of its value.
        type: OpenAPI type.
        wide: Only with `-o wide`.
    """

    name: str
    path: str
    type: str = "string"
    wide: bool = False


@dataclass(frozen=True)
class Kind:
    """One kind.

    Attributes:
        name: CamelCase kind.
        plural: Plural in URLs.
        short: Short names for kubectl.
        description: What `kubectl explain` says of it.
        spec: Model of its spec.
        status: Model of its status.
        columns: What `kubectl get` prints.
        namespaced: Whether it lives in namespaces.
        scale: Paths of the scale subresource, if it has one.
        rules: CEL rules over the whole object.
        selectable: JSONPaths that field selectors may name.
    """

    name: str
    plural: str
    short: tuple[str, ...]
    description: str
    spec: type[BaseModel]
    status: type[BaseModel]
    columns: tuple[Column, ...]
    namespaced: bool = True
    scale: Mapping[str, str] | None = None
    rules: tuple[Mapping[str, Any], ...] = ()
    selectable: tuple[str, ...] = field(default=())

    @property
    def crd_name(self) -> str:
        """Name of its CustomResourceDefinition."""
        return f"{self.plural}.{GROUP}"


def _condition(type_: str, part: str) -> str:
    return f'.status.conditions[?(@.type=="{type_}")].{part}'


_AGE: Final = Column("Age", ".metadata.creationTimestamp", "date")


def _label_rule(limit: int, why: str) -> dict[str, Any]:
    return rule(
        f"size(self.metadata.name) <= {limit} && self.metadata.name.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')",
        f"metadata.name: at most {limit} characters, only a-z, 0-9 and '-': {why}",
    )


_SERVICE_RULE: Final = rule(
    "size(self.metadata.name) <= 52 && self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')",
    "metadata.name: at most 52 characters, only a-z, 0-9 and '-', beginning with a letter: "
    "it is also the name of a Service",
)


KINDS: Final = (
    Kind(
        name="Pipeline",
        plural="pipelines",
        short=("pl",),
        description="From data to production: stages that run whenever what they execute changes.",
        spec=PipelineSpec,
        status=PipelineStatus,
        columns=(
            Column("Ready", _condition("Ready", "status")),
            Column("Reason", _condition("Ready", "reason")),
            Column("Last Run", ".status.lastRun.name"),
            Column("Message", ".status.message"),
            _AGE,
        ),
        rules=(_label_rule(45, "runs are named PIPELINE-GENERATION"),),
    ),
    Kind(
        name="PipelineRun",
        plural="pipelineruns",
        short=("plr",),
        description="One execution of a frozen copy of a Pipeline.",
        spec=PipelineRunSpec,
        status=PipelineRunStatus,
        columns=(
            Column("Succeeded", _condition("Succeeded", "status")),
            Column("Reason", _condition("Succeeded", "reason")),
            Column("Stages", ".status.progress"),
            Column("Message", ".status.message"),
            Column("Completed", ".status.completionTime", "date", wide=True),
            _AGE,
        ),
        rules=(_label_rule(52, "the names of its Jobs begin with it"),),
        selectable=(".spec.pipeline.name",),
    ),
    Kind(
        name="ModelDeployment",
        plural="modeldeployments",
        short=("md",),
        description="A model that answers requests.",
        spec=ModelDeploymentSpec,
        status=ModelDeploymentStatus,
        columns=(
            Column("Ready", _condition("Ready", "status")),
            Column("Reason", _condition("Ready", "reason")),
            Column("Replicas", ".status.readyReplicas", "integer"),
            Column("Runtime", ".status.runtime"),
            Column("URL", ".status.url"),
            Column("Model", ".status.model.version", wide=True),
            Column("Message", ".status.message", wide=True),
            _AGE,
        ),
        scale={
            "specReplicasPath": ".spec.replicas",
            "statusReplicasPath": ".status.replicas",
            "labelSelectorPath": ".status.selector",
        },
        rules=(_SERVICE_RULE,),
    ),
    Kind(
        name="ModelGraph",
        plural="modelgraphs",
        short=("mg",),
        description="Models that answer together.",
        spec=ModelGraphSpec,
        status=ModelGraphStatus,
        columns=(
            Column("Ready", _condition("Ready", "status")),
            Column("Reason", _condition("Ready", "reason")),
            Column("Nodes", ".status.readyNodes"),
            Column("URL", ".status.url"),
            Column("Protocol", ".spec.protocol", wide=True),
            Column("Message", ".status.message", wide=True),
            _AGE,
        ),
        rules=(_SERVICE_RULE,),
    ),
    Kind(
        name="ModelRuntime",
        plural="modelruntimes",
        short=("mrt",),
        description="How a model server is run, written once by the platform team.",
        spec=ModelRuntimeSpec,
        status=ModelRuntimeStatus,
        columns=(
            Column("Ready", _condition("Ready", "status")),
            Column("Protocol", ".spec.protocol"),
            Column("Image", ".spec.server.image"),
            _AGE,
        ),
        namespaced=False,
    ),
)
"""The kinds that the operator serves."""

PLANNED: Final = (
    Kind(
        name="Approval",
        plural="approvals",
        short=(),
        description="A question that a run asks a person.",
        spec=ApprovalSpec,
        status=ApprovalStatus,
        columns=(
            Column("Run", ".spec.run"),
            Column("Stage", ".spec.stage"),
            Column("Decision", ".spec.decision"),
            Column("By", ".spec.decidedBy"),
            Column("Expires", ".spec.expiresAt", "date"),
            Column("Question", ".spec.message", wide=True),
            _AGE,
        ),
        selectable=(".spec.run", ".spec.decision"),
    ),
)
"""Kinds whose controllers do not exist yet. Nothing of them is installed: it would be accepted and ignored.

The tests prove their schemas on the API server; a controller moves its kind to `KINDS`.
"""
