"""As what a command writes what it has found: for people, or for programs."""

from __future__ import annotations

import json
from enum import StrEnum
from typing import Any, assert_never


class Output(StrEnum):
    """The value of `-o`."""

    TABLE = "table"
    JSON = "json"
    YAML = "yaml"


def shorten(text: str, limit: int) -> str:
    """Cut a text that is too long to be looked at."""
    return text if len(text) <= limit else f"{text[:limit]}... ({len(text)} characters)"


def written(value: Any, output: Output) -> str:
    """Write a value of JSON; for people as JSON too, but text as it is."""
    match output:
        case Output.TABLE if isinstance(value, str):
            return value
        case Output.TABLE | Output.JSON:
            return json.dumps(value, indent=2, ensure_ascii=False)
        case Output.YAML:
            import yaml  # noqa: PLC0415 (the command starts without it)

            return str(yaml.safe_dump(value, sort_keys=False, allow_unicode=True)).rstrip()
        case _:
            assert_never(output)
