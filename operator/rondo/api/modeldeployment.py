"""The ModelDeployment kind: a model that answers requests."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from rondo.api.base import SET, Duration, Model, ObjectName, StatusModel, named_list, rule, rules
from rondo.api.container import Argument, Credentials, EnvVar, Resources, ServingContainer, Toleration
from rondo.api.modelruntime import Protocol
from rondo.api.status import ConditionStatus


class ModelSource(Model):
    """Which model is served."""

    model_config = {
        "json_schema_extra": rules(
            rule("!has(self.credentials) || self.uri.startsWith('s3://')", "credentials belong to a uri of s3://")
        )
    }

    uri: Annotated[
        str,
        Field(
            max_length=1024,
            pattern=r"^(pvc://[^/]+/.+|s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]/.+)$",
            description="Where it is: `pvc://CLAIM/PATH`, a file or directory on a claim of this namespace, or "
            "`s3://BUCKET/PATH`, which each pod downloads before its server starts.",
        ),
    ]
    version: Annotated[
        str, Field(max_length=253, description="What to call this version; a new one makes a new revision.")
    ] = ""
    credentials: Annotated[
        Credentials | None, Field(description="For the bucket. Default: those of the operator's store, if it is there.")
    ] = None


class Server(ServingContainer):
    """A container written in place, instead of a runtime."""

    model_config = {
        "json_schema_extra": rules(
            rule("has(self.image)", "give the image of the server"),
            rule(
                "has(self.ports) && self.ports.exists(p, p.name == 'http')",
                "give the port that answers requests, named http",
            ),
        )
    }

    protocol: Annotated[Protocol, Field(description="What the server speaks.")] = Protocol.JSON


class Rollout(Model):
    """How a new revision takes over: pods are replaced one by one, and the old serve until the new are ready."""

    timeout: Annotated[Duration, Field(description="A revision that makes no progress for so long is Stalled.")] = "10m"


class ModelDeploymentSpec(Model):
    """A model, what serves it, and how often."""

    model_config = {
        "json_schema_extra": rules(
            rule("has(self.runtime) != has(self.server)", "give exactly one of runtime and server"),
        )
    }

    model: Annotated[
        ModelSource | None,
        Field(description="Which model; may be left to a pipeline, until then the deployment waits for it."),
    ] = None
    runtime: Annotated[ObjectName | None, Field(description="Name of a ModelRuntime.")] = None
    server: Annotated[Server | None, Field(description="A server written in place.")] = None
    args: Annotated[list[Argument], Field(max_length=256, description="Appended to the runtime's args.")] = []
    env: Annotated[
        list[EnvVar], Field(max_length=256, json_schema_extra=named_list(), description="Added to the runtime's env.")
    ] = []
    resources: Annotated[Resources | None, Field(description="Instead of the runtime's.")] = None
    node_selector: Annotated[
        dict[str, Annotated[str, Field(max_length=63)]], Field(max_length=32, description="Added to the runtime's.")
    ] = {}
    tolerations: Annotated[list[Toleration], Field(max_length=32, description="Added to the runtime's.")] = []
    replicas: Annotated[int, Field(ge=0, le=1000, description="How many pods serve it.")] = 1
    rollout: Annotated[Rollout, Field(description="How a new revision takes over.")] = Rollout()


class ModelStatus(StatusModel):
    """A model that is served."""

    uri: Annotated[str, Field(description="Where it is.")]
    version: Annotated[str, Field(description="What its version is called.")] = ""


class RevisionStatus(StatusModel):
    """A revision: the pod template that was rendered for one state of the spec, and is kept as it was."""

    name: Annotated[str, Field(description="Name of the ControllerRevision that keeps it.")]
    hash: Annotated[str, Field(description="What its pods are labelled with.")]
    image: Annotated[str, Field(description="Image of its server.")] = ""
    model: Annotated[ModelStatus, Field(description="Its model.")]
    ready: Annotated[int, Field(description="Pods that answer.")] = 0


class KeptRevision(StatusModel):
    """A revision that graphs ask by a Service of its own, NAME-HASH, whatever is rolled out meanwhile."""

    hash: Annotated[str, Field(description="The revision.")]
    graphs: Annotated[list[str], Field(json_schema_extra=SET, description="The ModelGraphs that ask it.")] = []
    ready: Annotated[int, Field(description="Pods of it that answer.")] = 0
    reason: Annotated[str, Field(description="Why none of them does, in one word.")] = ""
    message: Annotated[str, Field(description="Why none of them does, or what else is in the way.")] = ""


class ModelDeploymentStatus(StatusModel):
    """How the deployment is."""

    observed_generation: Annotated[int, Field(description="The generation that this status speaks of.")] = -1
    conditions: Annotated[
        list[ConditionStatus],
        Field(
            json_schema_extra=named_list("type"),
            description="Accepted, Available, Progressing, ModelLoaded, RuntimeOutdated, Ready, Reconciling, Stalled.",
        ),
    ] = []
    url: Annotated[str | None, Field(description="Where it answers within the cluster.")] = None
    protocol: Annotated[str | None, Field(description="What it speaks.")] = None
    runtime: Annotated[str | None, Field(description="What serves it.")] = None
    replicas: Annotated[int, Field(description="Pods that exist.")] = 0
    ready_replicas: Annotated[int, Field(description="Pods that answer.")] = 0
    selector: Annotated[str | None, Field(description="Label selector of its pods, for autoscalers.")] = None
    model: Annotated[ModelStatus | None, Field(description="The model of the revision that is rolled out.")] = None
    revision: Annotated[
        str | None, Field(description="Hash of the revision that is rolled out: of the newest spec that was accepted.")
    ] = None
    revisions: Annotated[
        list[RevisionStatus], Field(json_schema_extra=named_list(), description="Revisions, newest first.")
    ] = []
    kept: Annotated[
        list[KeptRevision],
        Field(
            json_schema_extra=named_list("hash"), description="Revisions that are kept for ModelGraphs with a release."
        ),
    ] = []
    message: Annotated[str, Field(description="The same as the message of Ready, for printing.")] = ""
