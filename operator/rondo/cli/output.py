"""As what a command writes what it has found: for people, or for programs."""

from __future__ import annotations

import json
from enum import StrEnum
from typing import Any, Final, assert_never

LONGEST_REFUSAL: Final = 300
"""Characters of a refusal that are shown; what stands between here and who was asked may answer with a whole page."""


class Output(StrEnum):
    """The value of `-o`."""

    TABLE = "table"
    JSON = "json"
    YAML = "yaml"


def shorten(text: str, limit: int) -> str:
    """Cut a text that is too long to be looked at."""
    return text if len(text) <= limit else f"{text[:limit]}... ({len(text)} characters)"


def written(value: Any, output: Output, encoding: str = "utf-8") -> str:
    """Write a value of JSON; for people as JSON too, but text as it is.

    Args:
        value: The value.
        output: As what.
        encoding: What the text will be encoded in; what it does not have is escaped.
    """
    match output:
        case Output.TABLE if isinstance(value, str):
            return value
        case Output.TABLE | Output.JSON:
            text = json.dumps(value, indent=2, ensure_ascii=False)
            return text if _has(encoding, text) else json.dumps(value, indent=2)
        case Output.YAML:
            import yaml  # noqa: PLC0415 (the command starts without it)

            text = yaml.safe_dump(value, sort_keys=False, allow_unicode=True)
            return (text if _has(encoding, text) else str(yaml.safe_dump(value, sort_keys=False))).rstrip()
        case _:
            assert_never(output)


def _has(encoding: str, text: str) -> bool:
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        return False
    return True
