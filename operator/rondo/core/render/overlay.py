"""The `podTemplate` overlay: merged into a rendered template as a strategic merge patch is.

Source of the rules: the patch merge keys of core/v1 (Kubernetes API reference). Maps are merged, null removes a field,
lists with a merge key are merged by it, other lists are replaced.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

MERGE_KEYS: Final[Mapping[str, str]] = {
    "containers": "name",
    "initContainers": "name",
    "ephemeralContainers": "name",
    "volumes": "name",
    "env": "name",
    "volumeMounts": "mountPath",
    "volumeDevices": "devicePath",
    "ports": "containerPort",
    "imagePullSecrets": "name",
    "hostAliases": "ip",
    "topologySpreadConstraints": "topologyKey",
    "resourceClaims": "name",
}
"""Lists of a pod template that are merged, with the field that tells their items apart."""


def overlay(base: Mapping[str, Any], patch: Mapping[str, Any]) -> dict[str, Any]:
    """Merge a patch into an object; neither is changed.

    Args:
        base: A part of a pod template.
        patch: The overlay on it.
    """
    merged = dict(base)
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = _merge_value(key, base.get(key), value)
    return merged


def _merge_value(key: str, base: Any, patch: Any) -> Any:
    if isinstance(base, Mapping) and isinstance(patch, Mapping):
        return overlay(base, patch)
    if key in MERGE_KEYS and isinstance(base, list) and isinstance(patch, list):
        return _merge_list(base, patch, MERGE_KEYS[key])
    return patch


def _merge_list(base: list[Any], patch: list[Any], key: str) -> list[Any]:
    patches = {item.get(key): item for item in patch}
    kept = [overlay(item, patches.pop(item.get(key), {})) for item in base]
    return [*kept, *patches.values()]
