"""What InferenceServices become, as graphs need to know it to ask them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from rondo.api.modelgraph import TargetKind
from rondo.api.modelruntime import Protocol

HTTP: Final = 80
"""The port of every Service that is written."""

_URL: Final = re.compile(r"(https?)://([^/?#@]+)(/[^?#]*)?")
_NEAR: Final = re.compile(
    r"http://([a-z0-9][-a-z0-9]*)\.([-a-z0-9]+)\.svc(?:\.cluster\.local)?(?::([0-9]{1,5}))?(/[^?#]*)?"
)
"""Address of a Service: name, namespace, port and path."""


@dataclass(frozen=True, slots=True)
class Service:
    """An InferenceService.

    Attributes:
        name: Its name.
        kind: What answers under that name: a ModelDeployment, or a plain Service.
        protocol: What its clients speak; None if that is not known.
        model: What the model is called in requests, if not as the service.
    """

    name: str
    kind: TargetKind = TargetKind.MODEL_DEPLOYMENT
    protocol: Protocol | None = Protocol.KSERVE_V1
    model: str = ""

    def target(self) -> dict[str, Any]:
        """Write it as a node's target."""
        if self.kind is TargetKind.MODEL_DEPLOYMENT:
            return {"name": self.name}
        named = {"model": self.model} if self.model else {}
        return {"kind": self.kind.value, "name": self.name, "port": HTTP, **named}


Services = Mapping[str, Service]


def target_of_url(url: str, namespace: str) -> dict[str, Any]:
    """Write an address as a node's target: host and path apart, since KServe asks for exactly that path.

    A Service of the graph's namespace is named as such, so that it is watched.

    Args:
        url: The address.
        namespace: The graph's; empty if that is not known.

    Raises:
        ValueError: It cannot be asked.
    """
    near = _NEAR.fullmatch(url)
    if near is not None and near[2] == namespace:
        port, path = int(near[3] or HTTP), near[4] or "/"
        return {"kind": TargetKind.SERVICE.value, "name": near[1], "port": port, "path": path}
    found = _URL.fullmatch(url)
    if found is None:
        raise ValueError(f"{url!r} is no address that can be asked: http:// or https://, host, port, path and no query")
    return {"url": f"{found[1]}://{found[2]}", "path": found[3] or "/"}


def protocol_of_url(url: str) -> Protocol:
    """Tell by its path what an address speaks."""
    path = url.split("?", maxsplit=1)[0].rstrip("/")
    if path.endswith(":predict"):
        return Protocol.KSERVE_V1
    if path.endswith("/infer"):
        return Protocol.OPEN_INFERENCE
    if re.search(r"/v1/(chat/completions|completions|embeddings|responses|rerank)$", path):
        return Protocol.OPENAI
    return Protocol.JSON
