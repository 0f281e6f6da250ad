"""Whether an object is as it was declared, field by field, for the fields that were declared.

The API server fills in defaults, leaves out what is empty and writes quantities its own way, so a declared object is
compared with what it found as server-side apply does: maps by key, lists by their merge key, other lists as a whole.
A Deployment's overlay may hold values that the API server writes in yet another way. Then applying it changes nothing:
the Deployment still has the generation at which this same object was applied, which a label tells. Such a
difference is none.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final

from rondo.api.base import GROUP
from rondo.core.deployment.canonical import digest
from rondo.core.plan import Object
from rondo.core.render.overlay import MERGE_KEYS

APPLIED: Final = f"{GROUP}/applied"
"""Label of the Deployment: its generation when it was last applied, and a digest of what was.

It is a label because a changed annotation counts as a new generation of a Deployment.
"""

_KEYS: Final[Mapping[str, tuple[str, ...]]] = {
    **{name: (key,) for name, key in MERGE_KEYS.items() if name != "topologySpreadConstraints"},
    "ports": ("containerPort", "port"),
    "ownerReferences": ("uid",),
}
_HEAD: Final = frozenset({"apiVersion", "kind", "metadata"})
_METADATA: Final = ("labels", "annotations", "ownerReferences")
_QUANTITIES: Final = re.compile(r"\.(requests|limits)\.[^\[\]]+$|\.(sizeLimit|divisor)$")
_QUANTITY: Final = re.compile(r"^([+-]?[0-9.]+)(?:([eE][+-]?[0-9]+)|([numkMGTPE]|[KMGTPE]i)?)$")
_SUFFIXES: Final = {
    **{suffix: Decimal(1000) ** power for power, suffix in enumerate(("n", "u", "m", ""), -3)},
    **{suffix: Decimal(1000) ** power for power, suffix in enumerate("kMGTPE", 1)},
    **{f"{suffix}i": Decimal(1024) ** power for power, suffix in enumerate("KMGTPE", 1)},
}


def needs_apply(declared: Object, found: Object) -> str | None:
    """Give the path of the first declared field that is not as declared and that applying would change, or None.

    Args:
        declared: What would be applied.
        found: The object as the API server has it.
    """
    metadata = _first({key: declared["metadata"].get(key) for key in _METADATA}, found["metadata"], "metadata")
    if metadata is not None:
        return metadata
    parts = (_first(declared[part], found.get(part), part) for part in declared.keys() - _HEAD)
    path = next((part for part in parts if part is not None), None)
    return None if path is None or _applied_in_vain(declared, found) else path


def mark(declared: Mapping[str, Any], found: Object | None) -> dict[str, Any]:
    """Give what is to be applied, labelled with what it is and the generation that it is applied at."""
    metadata = declared["metadata"]
    labels = {**metadata.get("labels", {}), APPLIED: _mark(declared, found)}
    return {**declared, "metadata": {**metadata, "labels": labels}}


def _mark(declared: Object, found: Object | None) -> str:
    generation = 0 if found is None else found["metadata"].get("generation", 0)
    return f"{generation}-{digest(declared)}"


def _applied_in_vain(declared: Object, found: Object) -> bool:
    applied = found["metadata"].get("labels", {}).get(APPLIED)
    return applied is not None and applied == _mark(declared, found)


def _first(declared: Any, found: Any, path: str) -> str | None:
    """Give the path of the first difference."""
    match declared, found:
        case dict(), dict():
            parts = (_first(value, found.get(key), f"{path}.{key}") for key, value in declared.items())
            return next((part for part in parts if part is not None), None)
        case list(), list():
            return _first_in_list(declared, found, path)
        case _:
            same = declared == found or (found is None and not declared) or _same_quantity(declared, found, path)
            return None if same else path


def _first_in_list(declared: list[Any], found: list[Any], path: str) -> str | None:
    key = _merge_key(declared, path)
    if key is None:
        if len(declared) != len(found):
            return path
        pairs = [(f"{path}[{index}]", a, b) for index, (a, b) in enumerate(zip(declared, found, strict=True))]
    else:
        known = {item.get(key): item for item in found if isinstance(item, Mapping)}
        pairs = [(f"{path}[{item[key]}]", item, known.get(item[key])) for item in declared]
    return next((part for where, a, b in pairs if (part := _first(a, b, where)) is not None), None)


def _merge_key(items: list[Any], path: str) -> str | None:
    keys = _KEYS.get(path.rsplit(".", 1)[-1], ())
    return next((key for key in keys if all(isinstance(item, Mapping) and key in item for item in items)), None)


def _same_quantity(declared: Any, found: Any, path: str) -> bool:
    if found is None or _QUANTITIES.search(path) is None:
        return False
    one, other = _amount(declared), _amount(found)
    return one is not None and one == other


def _amount(quantity: Any) -> Decimal | None:
    """Read a quantity, such as `500m` or `2Gi`; None if it is not one."""
    match = _QUANTITY.match(str(quantity))
    if match is None:
        return None
    number, exponent, suffix = match.groups()
    return Decimal(f"{number}{exponent or ''}") * _SUFFIXES[suffix or ""]
