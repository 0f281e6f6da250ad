"""Which headers a graph may pass on, and set."""

from __future__ import annotations

from typing import Final

OF_ONE_CONNECTION: Final = frozenset({
    "connection", "content-length", "expect", "host", "keep-alive", "proxy-authenticate", "proxy-authorization",
    "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade", "x-rondo-hops",
})  # fmt: skip
"""They speak of one connection or one message on it (RFC 9110, 7.6.1), or the router writes them itself."""

PERSONAL: Final = frozenset({"authorization", "cookie"})
"""They go to a target only if that lists them."""


def why_not(name: str, *, to_all: bool = False) -> str:
    """Say why a header cannot be passed on or set; empty if it can.

    Args:
        name: Its name; case means nothing.
        to_all: Whether it would go to every target.
    """
    if name.lower() in OF_ONE_CONNECTION:
        return f"the header {name} belongs to one connection and is never passed on"
    if to_all and name.lower() in PERSONAL:
        return f"the header {name} does not go to every target: list it in target.forward of those that may see it"
    return ""
