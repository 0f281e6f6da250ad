"""The ModelGraph kind: models that answer together. It points at models and deploys none.

Nodes are flat and joined by name, because a structural schema cannot recurse. Which lists have an order: `sequence`,
`switch` and `fallback` are tried in the order written, and are therefore replaced as a whole by a patch.

The router knows the same fields by the same names (its plan); lengths of time are milliseconds there, and quantities
bytes. `rondo.core.modelgraph.plan` writes the one as the other.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, TypeAlias

from pydantic import Field

from rondo.api.base import (
    SET,
    AnyObject,
    Duration,
    IntOrString,
    Model,
    ObjectName,
    StageName,
    StatusModel,
    named_list,
    rule,
    rules,
)
from rondo.api.modelruntime import Protocol
from rondo.api.release import Release, ReleaseStatus
from rondo.api.status import ConditionStatus

MAX_NODES = 100
MAX_BRANCHES = 32

HEADER_PATTERN = r"^[A-Za-z0-9_-]+$"
URL_PATTERN = (
    r"^https?://([A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?(/[A-Za-z0-9._~%/-]*)?$"
)
PATH_PATTERN = r"^/[A-Za-z0-9._~%!$&'()*+,;=:@/-]*$"

Expression: TypeAlias = Annotated[str, Field(min_length=1, max_length=2048)]
"""CEL."""

Header: TypeAlias = Annotated[str, Field(min_length=1, max_length=64, pattern=HEADER_PATTERN)]
"""The name of an HTTP header; case means nothing."""

Place: TypeAlias = Annotated[str, Field(min_length=1, max_length=256)]
"""A path within JSON: `inputs[0].data`, with `['a.b']` for names that are no words."""


class TargetKind(StrEnum):
    """What a node can send requests to."""

    MODEL_DEPLOYMENT = "ModelDeployment"
    MODEL_GRAPH = "ModelGraph"
    SERVICE = "Service"


class Transport(StrEnum):
    """Over what a target is asked."""

    HTTP = "HTTP"
    GRPC = "GRPC"


Key = Annotated[str, Field(min_length=1, max_length=253, pattern=r"^[-._a-zA-Z0-9]+$")]


class SecretValue(Model):
    """A key of a Secret of the same namespace."""

    name: Annotated[ObjectName, Field(description="Name of the Secret.")]
    key: Annotated[Key, Field(description="Key within it.")]


class Bearer(Model):
    """A token, sent as `Authorization: Bearer TOKEN`."""

    secret_key_ref: Annotated[SecretValue, Field(description="Where the token is. A new one is taken without restart.")]


class AuthHeader(Model):
    """A header with a secret value."""

    name: Annotated[Header, Field(description="Name of the header, such as x-api-key.")]
    secret_key_ref: Annotated[SecretValue, Field(description="Where its value is. A new one is taken without restart.")]


class Auth(Model):
    """How the router shows who it is."""

    model_config = {
        "json_schema_extra": rules(
            rule("has(self.bearer) != has(self.header)", "give exactly one of bearer and header")
        )
    }

    bearer: Annotated[Bearer | None, Field(description="A token.")] = None
    header: Annotated[AuthHeader | None, Field(description="A header of another name.")] = None


class ConfigMapValue(Model):
    """A key of a ConfigMap of the same namespace."""

    name: Annotated[ObjectName, Field(description="Name of the ConfigMap.")]
    key: Annotated[Key, Field(description="Key within it.")]


class Authorities(Model):
    """Certificates, in PEM, of the only ones that may vouch for a server."""

    model_config = {
        "json_schema_extra": rules(
            rule(
                "has(self.configMapKeyRef) != has(self.secretKeyRef)",
                "give exactly one of configMapKeyRef and secretKeyRef",
            )
        )
    }

    config_map_key_ref: Annotated[
        ConfigMapValue | None, Field(description="Where they are. New ones are taken without restart.")
    ] = None
    secret_key_ref: Annotated[
        SecretValue | None, Field(description="Where they are. New ones are taken without restart.")
    ] = None


class Target(Model):
    """Where a request goes: an object of this namespace, or an address."""

    model_config = {
        "json_schema_extra": rules(
            rule("has(self.name) != has(self.url)", "give exactly one of name and url"),
            rule("!has(self.url) || self.kind == 'ModelDeployment'", "a url has no kind: leave kind out", path=".kind"),
            rule(
                "(self.kind == 'Service') == has(self.port)",
                "give the port of a Service; a ModelDeployment and a ModelGraph know theirs",
                path=".port",
            ),
            rule(
                "self.kind == 'Service' || has(self.url) || !(has(self.path) || has(self.protocol))",
                "path and protocol belong to a Service or a url; a ModelDeployment and a ModelGraph know theirs",
            ),
            rule(
                "self.transport == 'HTTP' || self.kind == 'Service' || has(self.url)",
                "gRPC is for a Service or a url; a ModelDeployment and a ModelGraph are asked by HTTP",
                path=".transport",
            ),
            rule(
                "self.transport == 'HTTP' || !has(self.path)", "gRPC has paths of its own: leave path out", path=".path"
            ),
            rule(
                "self.kind != 'ModelGraph' || !(has(self.model) || has(self.auth) || has(self.forward))",
                "model, auth and forward belong to a server; a ModelGraph has them in its own nodes",
            ),
            rule(
                "!has(self.ca) || (has(self.url) && self.url.startsWith('https://'))",
                "ca is for a url that begins with https://",
                path=".ca",
            ),
        )
    }

    kind: Annotated[TargetKind, Field(description="Kind of the object.")] = TargetKind.MODEL_DEPLOYMENT
    name: Annotated[ObjectName | None, Field(description="Its name.")] = None
    port: Annotated[int | None, Field(ge=1, le=65535, description="Port of a Service.")] = None
    url: Annotated[
        str | None,
        Field(
            max_length=512,
            pattern=URL_PATTERN,
            description="Instead of an object: scheme, host, port and what stands before the protocol's own path, such "
            "as `https://api.example.com/v1`.",
        ),
    ] = None
    path: Annotated[
        str | None,
        Field(max_length=512, pattern=PATH_PATTERN, description="Path of every request, instead of the protocol's."),
    ] = None
    protocol: Annotated[
        Protocol | None, Field(description="What a Service or url speaks. Default: what the graph speaks.")
    ] = None
    transport: Annotated[
        Transport,
        Field(
            description="Over what a Service or url is asked. GRPC, of OpenInference only, is HTTP/2, without TLS "
            "where a url begins with http."
        ),
    ] = Transport.HTTP
    model: Annotated[
        str | None,
        Field(min_length=1, max_length=253, description="The model's name there. Default: the ModelDeployment's own."),
    ] = None
    auth: Annotated[Auth | None, Field(description="How the router shows who it is.")] = None
    ca: Annotated[
        Authorities | None,
        Field(description="Who may vouch for a url of https. Default: the authorities that browsers trust."),
    ] = None
    forward: Annotated[
        list[Header],
        Field(
            max_length=16,
            json_schema_extra=SET,
            description="Headers of the client that go there besides the graph's; only so authorization or cookie do.",
        ),
    ] = []


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
        Field(description="CEL over request: requests for which it gives the same value go the same way."),
    ] = None


class Choice(Model):
    """A node that a fallback tries."""

    node: Annotated[StageName, Field(description="The node.")]
    accept: Annotated[
        Expression | None,
        Field(description="CEL over request and response: an answer for which it is false is not taken."),
    ] = None
    cooldown: Annotated[
        Duration | None,
        Field(description="For so long a node that failed is tried last; Retry-After of its answer counts as well."),
    ] = None


class CombineMethod(StrEnum):
    """How several answers become one."""

    MAP = "Map"
    VOTE = "Vote"
    MEAN = "Mean"
    WEIGHTED = "Weighted"
    FIRST = "First"
    CONCAT = "Concat"


class Ties(StrEnum):
    """What a vote without a winner gives."""

    FIRST = "First"
    LOWEST = "Lowest"
    FAIL = "Fail"


class Combine(Model):
    """How several answers become one."""

    model_config = {
        "json_schema_extra": rules(
            rule(
                "self.method == 'Weighted' || !has(self.weights)",
                "weights belong to the method Weighted",
                path=".weights",
            ),
            rule("self.method == 'Vote' || !has(self.ties)", "ties belong to the method Vote", path=".ties"),
        )
    }

    method: Annotated[
        CombineMethod,
        Field(
            description="Map: all answers by node. Vote, Mean, Weighted: element by element. First: the first that "
            "comes. Concat: one after the other."
        ),
    ] = CombineMethod.MAP
    output: Annotated[
        Place | None, Field(description="The output that is combined, by its name; in JSON a path. Default: the first.")
    ] = None
    ties: Annotated[
        Ties | None,
        Field(description="A vote without a winner: First in the order of nodes (default), Lowest value, or Fail."),
    ] = None
    weights: Annotated[
        dict[str, Annotated[int, Field(ge=0, le=1_000_000)]],
        Field(max_length=MAX_BRANCHES, description="Weights by node, relative to each other. Default: 1 each."),
    ] = {}


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
    combine: Annotated[Combine, Field(description="How their answers become one.")] = Combine()
    quorum: Annotated[
        int | None,
        Field(ge=1, description="How many have to answer in time. Default: all without onError Skip; with First one."),
    ] = None


class Mirror(Model):
    """Answers by one node, and shows requests to others as well; those never slow or change the answer."""

    model_config = {
        "json_schema_extra": rules(
            rule("!(self.node in self.to)", "the node that answers is not shown its requests twice", path=".to")
        )
    }

    node: Annotated[StageName, Field(description="The node that answers.")]
    to: Annotated[
        list[StageName],
        Field(min_length=1, max_length=8, json_schema_extra=SET, description="The nodes that see the requests too."),
    ]
    percent: Annotated[int, Field(ge=0, le=100, description="Part of the requests that they see.")] = 100
    compare: Annotated[
        Expression | None,
        Field(description="CEL over request, primary and shadow: whether they agree. Counted in metrics."),
    ] = None


class NodeCache(Model):
    """Remembers answers."""

    node: Annotated[StageName, Field(description="The node that answers what is not remembered.")]
    key: Annotated[
        Expression | None,
        Field(
            description="CEL over request: the same value, with the same forwarded headers, gets the same answer. "
            "Default: the whole body, the headers that are passed on, and what expressions below read."
        ),
    ] = None
    ttl: Annotated[Duration, Field(description="How long an answer is remembered.")]
    max_bytes: Annotated[
        IntOrString, Field(description="Bytes of all answers that are remembered, by each router.")
    ] = "64Mi"


class NodeBatch(Model):
    """Gathers requests of the Open Inference Protocol into one."""

    node: Annotated[StageName, Field(description="The node that is asked.")]
    max_size: Annotated[int, Field(ge=2, le=4096, description="Rows of a batch.")]
    max_wait: Annotated[Duration, Field(description="For so long the first request of a batch waits for others.")]


class OnError(StrEnum):
    """What happens when a node fails."""

    FAIL = "Fail"
    SKIP = "Skip"


class RetryFailure(StrEnum):
    """Failures without a status."""

    CONNECT = "Connect"
    TIMEOUT = "Timeout"
    RESET = "Reset"


class NodeRetry(Model):
    """How often a node is tried again, and when."""

    limit: Annotated[int, Field(ge=0, le=10, description="Tries after the first.")]
    statuses: Annotated[
        list[Annotated[int, Field(ge=400, le=599)]],
        Field(max_length=32, json_schema_extra=SET, description="Statuses that are tried again."),
    ] = [429, 502, 503, 504]
    failures: Annotated[
        list[RetryFailure],
        Field(max_length=3, json_schema_extra=SET, description="What is tried again though there is no status."),
    ] = [RetryFailure.CONNECT, RetryFailure.RESET]
    backoff: Annotated[Duration, Field(description="First pause; each further one is twice as long, with jitter.")] = (
        "25ms"
    )
    max_backoff: Annotated[Duration, Field(description="The longest pause.")] = "1s"
    budget: Annotated[
        int,
        Field(
            ge=0,
            le=1000,
            description="In per cent of first tries of the last ten seconds, and five a second besides; 0 for none.",
        ),
    ] = 20


class Hedge(Model):
    """A second request before the first has answered; the first good answer counts."""

    after: Annotated[
        Duration | None, Field(description="After so long. Default: what 95 % of the last answers took at most.")
    ] = None
    budget: Annotated[
        int, Field(ge=0, le=100, description="In per cent of all requests, and five a second besides; 0 for none.")
    ] = 10


class CircuitBreaker(Model):
    """When a node is left alone."""

    failures: Annotated[int, Field(ge=1, le=10_000, description="So many within the window open the circuit.")]
    window: Annotated[Duration, Field(description="The window.")] = "30s"
    cooldown: Annotated[Duration, Field(description="For so long nothing is sent; then one request probes.")] = "30s"


class NodeConcurrency(Model):
    """How many requests a node has at once, in each router."""

    limit: Annotated[int, Field(ge=1, le=100_000, description="At once.")]
    queue: Annotated[int, Field(ge=0, le=100_000, description="Wait for a place; more get status 429.")] = 0


class Mapping(Model):
    """How a body is made of others; the fields are applied in this order."""

    model_config = {
        "json_schema_extra": rules(
            rule(
                "has(self.body) || has(self.copy) || has(self.set) || has(self.remove)",
                "give body, copy, set or remove",
            )
        )
    }

    body: Annotated[
        Expression | None,
        Field(description="CEL over request and nodes, in a response over response too: gives the whole body."),
    ] = None
    copy_: Annotated[
        dict[str, Place],
        Field(
            alias="copy",
            max_length=32,
            description="Paths in the new body, and whose value goes there, such as `nodes.clean.body.outputs`.",
        ),
    ] = {}
    set_: Annotated[AnyObject, Field(alias="set", description="Paths in the new body and their values.")] = {}
    remove: Annotated[
        list[Place], Field(max_length=32, json_schema_extra=SET, description="Paths that are taken out.")
    ] = []


NODE_KINDS = (
    "target", "sequence", "parallel", "switch", "split", "fallback", "mirror", "cache", "batch",
)  # fmt: skip
"""The fields of a node of which exactly one is given."""

_ONE_KIND = f"[{', '.join(f'has(self.{kind})' for kind in NODE_KINDS)}].filter(x, x).size() == 1"


class Node(Model):
    """A step of the graph."""

    model_config = {
        "json_schema_extra": rules(
            rule(_ONE_KIND, f"a node has exactly one of {', '.join(NODE_KINDS)}"),
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
    parallel: Annotated[Parallel | None, Field(description="Asks several nodes at once.")] = None
    switch: Annotated[
        list[Case] | None,
        Field(min_length=1, max_length=MAX_BRANCHES, description="The first case that holds answers."),
    ] = None
    split: Annotated[Split | None, Field(description="Divides the traffic.")] = None
    fallback: Annotated[
        list[Choice] | None,
        Field(
            min_length=1,
            max_length=MAX_BRANCHES,
            description="The first answer that comes and is accepted; the next is asked on 429, 5xx, timeout, no "
            "connection, or an answer that is not accepted.",
        ),
    ] = None
    mirror: Annotated[Mirror | None, Field(description="Shows requests to other nodes as well.")] = None
    cache: Annotated[NodeCache | None, Field(description="Remembers answers.")] = None
    batch: Annotated[NodeBatch | None, Field(description="Gathers requests into one; in OpenInference only.")] = None
    timeout: Annotated[Duration | None, Field(description="Limit of one try, within that of the graph.")] = None
    retry: Annotated[NodeRetry | None, Field(description="How often it is tried again.")] = None
    hedge: Annotated[Hedge | None, Field(description="A second request before the first has answered.")] = None
    circuit_breaker: Annotated[CircuitBreaker | None, Field(description="When it is left alone.")] = None
    concurrency: Annotated[NodeConcurrency | None, Field(description="How many requests it has at once.")] = None
    on_error: Annotated[
        OnError, Field(description="Skip: a sequence goes on with the last answer, a parallel node leaves it out.")
    ] = OnError.FAIL
    request: Annotated[Mapping | None, Field(description="How what it is asked is made.")] = None
    response: Annotated[Mapping | None, Field(description="How what it answers is made.")] = None


class Limits(Model):
    """What a graph takes at most."""

    body: Annotated[
        IntOrString, Field(description="Bytes of a request, and of an answer that has to be read as a whole.")
    ] = "4Mi"
    in_flight: Annotated[
        int, Field(ge=1, le=100_000, description="Requests at once, in each router; more get status 429.")
    ] = 256


class Router(Model):
    """Where the graph is served."""

    model_config = {
        "json_schema_extra": rules(
            rule(
                "!has(self.replicas) || has(self.own) && self.own",
                "replicas belong to a router of its own",
                path=".replicas",
            )
        )
    }

    own: Annotated[bool, Field(description="Serve it by a router of its own instead of the namespace's.")] = False
    replicas: Annotated[
        int | None, Field(ge=1, le=100, description="Pods of its own router. Default: the operator's setting.")
    ] = None


class ModelGraphSpec(Model):
    """Nodes that are joined by name into one answer."""

    model_config = {
        "json_schema_extra": rules(
            rule("self.nodes.exists(n, n.name == self.entry)", "entry names one of the nodes", path=".entry"),
        )
    }

    protocol: Annotated[Protocol, Field(description="What clients speak; members that speak another are adapted.")]
    entry: Annotated[StageName, Field(description="The node that answers requests.")]
    timeout: Annotated[Duration, Field(description="Limit of a whole request.")] = "60s"
    limits: Annotated[Limits, Field(description="What it takes at most.")] = Limits()
    headers: Annotated[
        list[Header],
        Field(
            max_length=32,
            json_schema_extra=SET,
            description="Headers of the client that go to every target, such as x-request-id.",
        ),
    ] = []
    router: Annotated[Router, Field(description="Where it is served.")] = Router()
    release: Annotated[
        Release | None,
        Field(description="How another version takes over. Default: what is accepted is served at once."),
    ] = None
    nodes: Annotated[
        list[Node],
        Field(min_length=1, max_length=MAX_NODES, json_schema_extra=named_list(), description="The steps."),
    ]


class Streaming(StrEnum):
    """Whether an answer can go to the client as it comes."""

    PASSTHROUGH = "Passthrough"
    BUFFERED = "Buffered"


class NodeStatus(StatusModel):
    """How a node is."""

    name: Annotated[str, Field(description="Name of the node.")]
    kind: Annotated[str, Field(description="What it is: Target, Sequence, Parallel, …")] = ""
    ready: Annotated[bool, Field(description="Whether it can answer, as far as known.")] = False
    reason: Annotated[str, Field(description="Why, in one word.")] = ""
    message: Annotated[str, Field(description="Why not, in words.")] = ""
    url: Annotated[str | None, Field(description="Where a target is.")] = None
    streaming: Annotated[
        Streaming | None, Field(description="Whether its answer goes to the client as it comes, or is read first.")
    ] = None


class ModelGraphStatus(StatusModel):
    """How the graph is."""

    observed_generation: Annotated[int, Field(description="The generation that this status speaks of.")] = -1
    conditions: Annotated[
        list[ConditionStatus],
        Field(
            json_schema_extra=named_list("type"),
            description="Accepted, MembersReady, RouterReady, Released, Degraded, Ready, Reconciling, Stalled.",
        ),
    ] = []
    url: Annotated[str | None, Field(description="Where it answers within the cluster.")] = None
    served_revision: Annotated[
        str | None, Field(description="Hash of what all routers serve; none while they differ.")
    ] = None
    ready_nodes: Annotated[str, Field(description="Nodes that can answer, such as 3/3.")] = ""
    nodes: Annotated[list[NodeStatus], Field(json_schema_extra=named_list(), description="Every node.")] = []
    release: Annotated[
        ReleaseStatus | None, Field(description="The newest release, where the spec says how releases are made.")
    ] = None
    message: Annotated[str, Field(description="The same as the message of Ready, for printing.")] = ""
