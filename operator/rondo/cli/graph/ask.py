"""`rondo graph test`: send one request to a graph and show what each node did with it.

The graph is reached through the API server's service proxy, as the routers are for their metrics, or directly by an
address. The answer goes to standard output and everything else to standard error, so that it can be piped.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import urllib3
from rich.console import Console

from rondo.cli.cluster import Cluster, Reply, root_cause, send
from rondo.cli.errors import FAILED, CommandError
from rondo.cli.graph.show import get
from rondo.cli.graph.topology import Member, members, why_not_ready
from rondo.cli.graph.trail import steps_node
from rondo.cli.output import LONGEST_REFUSAL, Output, shorten, written
from rondo.cli.progress import Object
from rondo.cli.screen import can_draw, draw
from rondo.core.durations import parse_duration

DEBUG: Final = "x-rondo-debug"
"""Header that asks the router for all steps, and marks the answer that has them."""

PATHS: Final = {
    "OpenInference": "/v2/models/{name}/infer",
    "KServeV1": "/v1/models/{name}:predict",
    "OpenAI": "/v1/chat/completions",
    "JSON": "/",
}
"""Where a graph is asked, by its protocol."""

_PORT: Final = 80
_LONGEST: Final = 3600.0
"""Seconds that a graph may take of which the timeout is not known; who does not want to wait has Ctrl-C."""
_MARGIN: Final = 5.0
_TAKEN: Final = frozenset({"authorization", "host", "content-length", "transfer-encoding", "connection"})
"""Headers that do not come through the API server, or would break the request."""

_HEADER: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+:[\t\x20-\x7e\x80-\xff]*")
"""What HTTP can have as a header (RFC 9110, 5.1 and 5.5)."""


@dataclass(frozen=True, slots=True)
class Request:
    """What is sent.

    Attributes:
        body: JSON, as it is.
        path: Its path; that of the graph's protocol if it is None.
        headers: Headers besides those that every request has, in lower case.
    """

    body: bytes
    path: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def all_headers(self) -> dict[str, str]:
        """The headers that are sent."""
        every = {"content-type": "application/json", "accept": "application/json"}
        return {**every, **self.headers, DEBUG: "true"}


@dataclass(frozen=True, slots=True)
class Told:
    """What came of a request.

    Attributes:
        status: The status of the answer.
        answer: The answer as JSON, or as text if it is none.
        steps: What each node did; none if the request did not get that far.
        revision: Which revision of the graph answered; empty if that is not known.
        known: The nodes of the graph by name; none if it was asked without its cluster.
    """

    status: int
    answer: Any
    steps: tuple[Mapping[str, Any], ...] = ()
    revision: str = ""
    known: Mapping[str, Member] = field(default_factory=dict)

    @property
    def is_good(self) -> bool:
        """Whether the graph gave an answer."""
        return 200 <= self.status < 300


def read_request(file: Path) -> bytes:
    """Read what is to be sent.

    Args:
        file: A file of JSON, `-` for standard input.

    Raises:
        CommandError: It cannot be read, or is no JSON.
    """
    try:
        body = sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()
        json.loads(body)
    except (OSError, ValueError) as error:
        raise CommandError(f"{file}: is no request: {error}") from error
    return body


def parse_headers(given: Sequence[str]) -> dict[str, str]:
    """Read headers as people give them, `NAME: VALUE`.

    Raises:
        CommandError: One is none.
    """
    found = {}
    for text in given:
        name, _, value = text.partition(":")
        if not _HEADER.fullmatch(text):
            raise CommandError(f"-H {text!r} is no header; write NAME:VALUE in one line and in Latin-1")
        found[name.lower()] = value.strip()
    return found


def ask_cluster(cluster: Cluster, name: str, request: Request, console: Console) -> Told:
    """Ask a graph of a cluster; say first why it is not ready, if it is not.

    Raises:
        CommandError: It is not there, or cannot be reached.
    """
    graph = get(cluster, name)
    why = why_not_ready(graph)
    if why:
        console.print(why, style="yellow", markup=False, highlight=False)
    return replace(ask_graph(cluster, graph, request), known=members(graph))


def ask_graph(cluster: Cluster, graph: Object, request: Request) -> Told:
    """Ask a graph through the API server.

    Raises:
        CommandError: It cannot be reached so.
    """
    name = graph["metadata"]["name"]
    taken = sorted(_TAKEN & request.headers.keys())
    if taken:
        words = f"kubectl port-forward service/{name} 8080:80, and --url http://127.0.0.1:8080"
        raise CommandError(f"-H {taken[0]}: the API server does not pass it on; use {words}")
    path = (request.path or default_path(graph)).removeprefix("/")
    proxy = f"/api/v1/namespaces/{cluster.namespace}/services/{name}:{_PORT}/proxy/{path}"
    reply = cluster.request("POST", proxy, headers=request.all_headers, body=request.body, patience=patience(graph))
    if _is_refusal(reply):
        raise CommandError(_refused(reply, name, cluster.namespace))
    return understand(reply)


def ask_url(url: str, request: Request) -> Told:
    """Ask a graph at an address, behind which the request's path is put if it has one.

    Raises:
        CommandError: There is no answer.
    """
    address = f"{url.rstrip('/')}/{request.path.removeprefix('/')}" if request.path else url
    try:
        with urllib3.PoolManager() as pool:
            return understand(
                send(pool, "POST", address, headers=request.all_headers, body=request.body, patience=_LONGEST)
            )
    except (urllib3.exceptions.HTTPError, ValueError) as error:
        raise CommandError(f"{address} does not answer: {root_cause(error)}") from error


def default_path(graph: Object) -> str:
    """Give the path at which a graph is asked."""
    return PATHS.get(graph["spec"].get("protocol", ""), "/").format(name=graph["metadata"]["name"])


def patience(graph: Object) -> float:
    """Give the seconds after which no answer will come."""
    try:
        return parse_duration(graph["spec"].get("timeout", "60s")).total_seconds() + _MARGIN
    except ValueError:
        return _LONGEST


def understand(reply: Reply) -> Told:
    """Read what a graph answered; an answer without steps did not get as far as to the first node."""
    try:
        body = reply.json()
    except ValueError:
        return Told(reply.status, reply.body.decode(errors="replace"))
    if DEBUG not in reply.headers or not isinstance(body, dict):
        return Told(reply.status, body)
    return Told(reply.status, body.get("answer"), tuple(body.get("steps", ())), str(body.get("revision", "")))


def show(told: Told, console: Console, *, answers: bool) -> None:
    """Show a person what came of a request, but for the answer.

    Args:
        told: What came.
        console: Where it is shown.
        answers: Show each step's answer too.
    """
    tree = steps_node(told.steps, told.known, answers=answers)
    revision = f" from revision {told.revision}" if told.revision else ""
    style = "green" if told.is_good else "bold red"
    console.print(f"status {told.status}{revision}", style=style, highlight=False)
    if tree is None:
        console.print("the answer has no steps: no node was asked, or no router answered", style="yellow")
        return
    console.print(draw([tree], fancy=can_draw(console), whole=True))


def written_out(told: Told, output: Output, encoding: str = "utf-8") -> str:
    """Write what goes to standard output: for people the answer, for programs the steps with it."""
    if output is Output.TABLE and isinstance(told.answer, str) and not (told.is_good or told.steps):
        # So answers what stands in between, such as a load balancer, and with a whole page.
        return shorten(" ".join(told.answer.split()), LONGEST_REFUSAL)
    if output is Output.TABLE:
        return written(told.answer, output, encoding)
    whole = {"status": told.status, "revision": told.revision or None, "answer": told.answer}
    return written({**whole, "steps": list(told.steps)}, output, encoding)


def code_of(told: Told) -> int:
    """Give the exit code: 0 for an answer of status 2xx."""
    return 0 if told.is_good else FAILED


def _is_refusal(reply: Reply) -> bool:
    """Tell whether the API server itself has answered, and not the graph."""
    if DEBUG in reply.headers:
        return False
    try:
        said = reply.json()
    except ValueError:
        return False
    return isinstance(said, dict) and said.get("kind") == "Status" and said.get("apiVersion") == "v1"


def _refused(reply: Reply, name: str, namespace: str) -> str:
    if reply.status == 403:
        return f"you may not create services/proxy in namespace {namespace}; the role edit allows it"
    return f"{name} cannot be asked through the API server ({reply.status}): {reply.why}"
