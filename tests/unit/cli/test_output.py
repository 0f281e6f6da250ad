"""What is written for people and for programs."""

from __future__ import annotations

from rondo.cli.output import shorten


def test_shorten() -> None:
    assert shorten("short", 5) == "short"
    assert shorten("longer", 5) == "longe... (6 characters)"
