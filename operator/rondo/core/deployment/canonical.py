"""Digests of JSON values, by which revisions and runtimes are told apart."""

from __future__ import annotations

import json
from typing import Any

from rondo.core import names


def digest(value: Any) -> str:
    """Give 8 hex digits that differ if the JSON value differs; the order of keys does not matter."""
    return names.short_hash(json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":")))
