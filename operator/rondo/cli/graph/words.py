"""A node of a graph in a few words: what it does, what holds around it, and what each node is that it asks.

Pure; it reads the spec as the API server keeps it, and passes over what it does not know.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

Spec = Mapping[str, Any]

KINDS: Final = ("target", "sequence", "parallel", "switch", "split", "fallback", "mirror", "cache", "batch")
"""Fields of a node of which one says its kind."""


@dataclass(frozen=True, slots=True)
class Ask:
    """That a node may ask another.

    Attributes:
        node: The other.
        role: When, or what for, in a few words.
    """

    node: str
    role: str


def kind_of(node: Spec) -> str:
    """Give the kind of a node as its field is called; empty if it is one of a newer version."""
    return next((kind for kind in KINDS if kind in node), "")


def does(node: Spec) -> str:
    """Say what a node does."""
    match kind_of(node):
        case "target":
            return _target(node["target"])
        case "parallel":
            return _parallel(node["parallel"])
        case "split":
            sticky = node["split"].get("sticky")
            return f"split, the same for the same {sticky}" if sticky else "split"
        case "cache":
            key = node["cache"].get("key")
            return f"cache for {node['cache'].get('ttl', '')}" + (f" by {key}" if key else "")
        case "batch":
            batch = node["batch"]
            return f"batches of up to {batch.get('maxSize')} rows within {batch.get('maxWait')}"
        case kind:
            return kind


def policies(node: Spec) -> Iterator[str]:
    """Say what holds around a node, whatever it does."""
    if "timeout" in node:
        yield f"timeout {node['timeout']}"
    if "retry" in node:
        yield f"retry {node['retry'].get('limit', 0)}"
    if "hedge" in node:
        yield f"hedge after {node['hedge'].get('after', 'p95')}"
    if "circuitBreaker" in node:
        breaker = node["circuitBreaker"]
        yield f"breaker {breaker.get('failures')} in {breaker.get('window', '30s')}"
    if "concurrency" in node:
        queue = node["concurrency"].get("queue", 0)
        yield f"{node['concurrency'].get('limit')} at once" + (f", {queue} wait" if queue else "")
    if node.get("onError") == "Skip":
        yield "left out on error"
    mapped = [side for side in ("request", "response") if side in node]
    if mapped:
        yield f"maps {' and '.join(mapped)}"


def asks_of(node: Spec) -> Iterator[Ask]:
    """Give the nodes that a node may ask, in the order written."""
    match kind_of(node):
        case "sequence":
            yield from (Ask(each, f"step {number}") for number, each in enumerate(node["sequence"], 1))
        case "parallel":
            weights = node["parallel"].get("combine", {}).get("weights", {})
            for each in node["parallel"].get("nodes", ()):
                yield Ask(each, f"weight {weights[each]}" if each in weights else "")
        case "switch":
            yield from (Ask(each["node"], _case(each.get("when"))) for each in node["switch"])
        case "split":
            yield from (Ask(each["node"], f"{each.get('weight', 0)} %") for each in node["split"].get("to", ()))
        case "fallback":
            yield from (_choice(number, each) for number, each in enumerate(node["fallback"]))
        case "mirror":
            yield from _mirror(node["mirror"])
        case "cache":
            yield Ask(node["cache"]["node"], "if it is not in the cache")
        case "batch":
            yield Ask(node["batch"]["node"], "")
        case _:
            return


def _target(target: Spec) -> str:
    kind, name = target.get("kind", "ModelDeployment"), target.get("name")
    words = "url" if name is None else f"{kind} {name}" + (f":{target['port']}" if "port" in target else "")
    more = [f"speaks {target['protocol']}"] if "protocol" in target else []
    more += [f"model {target['model']}"] if "model" in target else []
    return ", ".join([words, *more])


def _parallel(parallel: Spec) -> str:
    combine = parallel.get("combine", {})
    words = f"parallel, {combine.get('method', 'Map')}" + (f" of {combine['output']}" if "output" in combine else "")
    quorum = parallel.get("quorum")
    return words if quorum is None else f"{words}, {quorum} of {len(parallel.get('nodes', ()))} are enough"


def _case(when: str | None) -> str:
    return "otherwise" if when is None else f"when {when}"


def _choice(number: int, choice: Spec) -> Ask:
    words = ["first" if number == 0 else "then"]
    words += [f"accepted if {choice['accept']}"] if "accept" in choice else []
    words += [f"rests {choice['cooldown']} after a failure"] if "cooldown" in choice else []
    return Ask(choice["node"], ", ".join(words))


def _mirror(mirror: Spec) -> Iterator[Ask]:
    yield Ask(mirror["node"], "answers")
    percent = mirror.get("percent", 100)
    role = "sees the requests too" if percent == 100 else f"sees {percent} % of the requests too"
    yield from (Ask(each, role) for each in mirror.get("to", ()))
