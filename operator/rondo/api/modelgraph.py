"""The ModelGraph kind: models that answer together. Its controller comes later; see `kinds.PLANNED`.

Nodes are flat and joined by name, because a structural schema cannot recurse. Which lists have an order: `sequence`,
`switch` and `fallback` are tried in the order written, and are therefore replaced as a whole by a patch.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from rondo.api.base import SET, Duration, Model, ObjectName, StageName, StatusModel, named_list, rule, rules
from rondo.api.modelruntime import Protocol
from rondo.api.status import ConditionStatus

MAX_NODES = 100
MAX_BRANCHES = 32

Expression = Annotated[str, Field(min_length=1, max_length=2048)]


class TargetKind(StrEnum):
    """What a node can send requests to."""

    MODEL_DEPLOYMENT = "ModelDeployment"
    MODEL_GRAPH = "ModelGraph"
    SERVICE = "Service"


class Target(Model):
    """Where a request goes: an object of this namespace."""

    model_config = {
        "json_schema_extra": rules(
            rule(
                "(self.kind == 'Service') == has(self.port)",
                "give the port of a Service; a ModelDeployment and a ModelGraph know theirs",
                path=".port",
            ),
            rule(
                "self.kind == 'Service' || !has(self.path)",
                "a path belongs to a Service; a ModelDeployment and a ModelGraph know theirs",
                path=".path",
            ),
        )
    }

    kind: Annotated[TargetKind, Field(description="Kind of the object.")] = TargetKind.MODEL_DEPLOYMENT
    name: Annotated[ObjectName, Field(description="Its name.")]
    port: Annotated[int | None, Field(ge=1, le=65535, description="Port of a Service.")] = None
    path: Annotated[
        str | None, Field(max_length=1024, pattern=r"^/", description="Path of the requests to a Service.")
    ] = None


class Case(Model):
    """A way that a switch can take."""

    when: Annotated[Expression | None, Field(description="CEL over request; without it: always. Only the last.")] = None
    node: Annotated[StageName, Field(description="The node that answers then.")]


class Share(Model):
    """A part of the traffic."""

    node: Annotated[StageName, Field(description="The node that answers it.")]
    weight: Annotated[int, Field(ge=0, le=100, description="How much, in per cent.")]


class Split(Model):
    """Divides the traffic."""

    model_config = {
        "json_schema_extra": rules(
            rule("self.to.map(share, share.weight).sum() == 100", "the weights add up to 100", path=".to"),
        )
    }

    to: Annotated[
        list[Share],
        Field(
            min_length=1,
            max_length=MAX_BRANCHES,
            json_schema_extra=named_list("node"),
            description="Nodes and weights.",
        ),
    ]
    sticky: Annotated[
        Expression | None,
        Field(description="CEL over request: requests for which it gives the same text go the same way."),
    ] = None


class Choice(Model):
    """A node that a fallback tries."""

    node: Annotated[StageName, Field(description="The node.")]
    accept: Annotated[
        Expression | None, Field(description="CEL over response: an answer for which it is false is not taken.")
    ] = None


class CombineMethod(StrEnum):
    """How several answers become one."""

    MAP = "Map"
    VOTE = "Vote"
    MEAN = "Mean"
    FIRST = "First"
    CONCAT = "Concat"


class Parallel(Model):
    """Asks several nodes at once and makes one answer of theirs."""

    model_config = {
        "json_schema_extra": rules(
            rule(
                "!has(self.quorum) || self.quorum <= self.nodes.size()", "a quorum is at most all nodes", path=".quorum"
            )
        )
    }

    nodes: Annotated[
        list[StageName],
        Field(min_length=1, max_length=MAX_BRANCHES, json_schema_extra=SET, description="The nodes that are asked."),
    ]
    combine: Annotated[CombineMethod, Field(description="Map gives each node's answer by its name.")] = (
        CombineMethod.MAP
    )
    quorum: Annotated[int | None, Field(ge=1, description="How many have to answer. Default: all.")] = None


_NODE_KINDS = ("target", "sequence", "switch", "split", "fallback", "parallel")
_ONE_KIND = f"[{', '.join(f'has(self.{kind})' for kind in _NODE_KINDS)}].filter(x, x).size() == 1"


class Node(Model):
    """A step of the graph."""

    model_config = {
        "json_schema_extra": rules(
            rule(_ONE_KIND, f"a node has exactly one of {', '.join(_NODE_KINDS)}"),
            rule(
                "!has(self.switch) || self.switch.filter(c, !has(c.when)).size() <= 1"
                " && self.switch.all(c, has(c.when) || c == self.switch[self.switch.size() - 1])",
                "only the last case of a switch may be without when: what follows it is never reached",
                path=".switch",
            ),
        )
    }

    name: Annotated[StageName, Field(description="Unique within the graph; in CEL a hyphen is written `_`.")]
    target: Annotated[Target | None, Field(description="Sends the request to a model.")] = None
    sequence: Annotated[
        list[StageName] | None,
        Field(
            min_length=1, max_length=MAX_BRANCHES, description="Nodes one after the other; each gets the last answer."
        ),
    ] = None
    switch: Annotated[
        list[Case] | None,
        Field(min_length=1, max_length=MAX_BRANCHES, description="The first case that holds answers."),
    ] = None
    split: Annotated[Split | None, Field(description="Divides the traffic.")] = None
    fallback: Annotated[
        list[Choice] | None,
        Field(min_length=1, max_length=MAX_BRANCHES, description="The first answer that comes and is accepted."),
    ] = None
    parallel: Annotated[Parallel | None, Field(description="Asks several nodes at once.")] = None
    timeout: Annotated[Duration | None, Field(description="Limit of this node, within that of the graph.")] = None


class ModelGraphSpec(Model):
    """Nodes that are joined by name into one answer."""

    model_config = {
        "json_schema_extra": rules(
            rule("self.nodes.exists(n, n.name == self.entry)", "entry names one of the nodes", path=".entry"),
        )
    }

    protocol: Annotated[Protocol, Field(description="What clients speak.")]
    entry: Annotated[StageName, Field(description="The node that answers requests.")]
    timeout: Annotated[Duration, Field(description="Limit of a whole request.")] = "60s"
    nodes: Annotated[
        list[Node],
        Field(min_length=1, max_length=MAX_NODES, json_schema_extra=named_list(), description="The steps."),
    ]


class NodeStatus(StatusModel):
    """How a node is."""

    name: Annotated[str, Field(description="Name of the node.")]
    ready: Annotated[bool, Field(description="Whether it can answer.")] = False
    message: Annotated[str, Field(description="Why not, in words.")] = ""


class ModelGraphStatus(StatusModel):
    """How the graph is."""

    observed_generation: Annotated[int, Field(description="The generation that this status speaks of.")] = -1
    conditions: Annotated[
        list[ConditionStatus],
        Field(
            json_schema_extra=named_list("type"),
            description="Accepted, MembersReady, RouterReady, Ready, Reconciling, Stalled.",
        ),
    ] = []
    url: Annotated[str | None, Field(description="Where it answers within the cluster.")] = None
    nodes: Annotated[list[NodeStatus], Field(json_schema_extra=named_list(), description="Every node.")] = []
    message: Annotated[str, Field(description="The same as the message of Ready, for printing.")] = ""
