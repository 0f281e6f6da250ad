"""More memory for the attempt after one that was killed for memory (`retry.onOOM`)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rondo.api.pipeline import OnOOM
from rondo.core.quantities import format_memory, parse_quantity


def raise_memory(resources: Mapping[str, Any], policy: OnOOM, kills: int) -> dict[str, Any]:
    """Give a container's resources for the attempt after so many OOM kills.

    The memory of requests and limits is multiplied once for each kill, up to the policy's `max`; what is more than that
    already stays as it is.

    Args:
        resources: `requests` and `limits` with references replaced.
        policy: The stage's policy.
        kills: OOM kills of earlier attempts.

    Raises:
        ValueError: A memory is not a quantity.
    """
    raised = {key: dict(values) for key, values in resources.items()}
    for values in raised.values():
        if kills and "memory" in values:
            values["memory"] = _raise(str(values["memory"]), policy, kills)
    return raised


def _raise(memory: str, policy: OnOOM, kills: int) -> str:
    before, most = parse_quantity(memory), parse_quantity(str(policy.max))
    if before >= most:
        return memory
    wanted = before * parse_quantity(str(policy.factor)) ** kills
    return str(policy.max) if wanted >= most else format_memory(wanted)
