"""What is written for people and for programs."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml

from rondo.cli.output import Output, shorten, written


def test_shorten() -> None:
    assert shorten("short", 5) == "short"
    assert shorten("longer", 5) == "longe... (6 characters)"


TEXTS: dict[str, tuple[Any, str, bool]] = {
    "as it is": ({"a": "ü中"}, "utf-8", False),
    "not in the encoding": ({"a": "ü中"}, "latin-1", True),
    "in a smaller encoding": ({"a": "ü"}, "latin-1", False),
    "half a character": ({"a": "x\ud83d"}, "utf-8", True),
}


@pytest.mark.parametrize(("value", "encoding", "escaped"), TEXTS.values(), ids=TEXTS.keys())
def test_programs_get_all_of_it_whatever_the_encoding(value: Any, encoding: str, escaped: bool) -> None:  # noqa: FBT001
    told = written(value, Output.JSON, encoding)
    assert json.loads(told.encode(encoding).decode(encoding)) == value
    assert told.isascii() is escaped
    assert written(value, Output.YAML, encoding).encode(encoding)


def test_yaml() -> None:
    assert yaml.safe_load(written({"b": "ü", "a": [1]}, Output.YAML, "ascii")) == {"b": "ü", "a": [1]}
