"""Builds the router as its image does; the same sources are built once."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]


def router() -> Path:
    """Build the router, unless the variable RONDO_ROUTER names one, and give its binary.

    Raises:
        Exception: There is no cargo, or it fails.
    """
    given = os.environ.get("RONDO_ROUTER")
    if given:
        return Path(given)
    spec = importlib.util.spec_from_file_location("images_build", ROOT / "images" / "build.py")
    assert spec is not None
    assert spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = script
    spec.loader.exec_module(script)
    binary: Path = script.compile_program("rondo-router", "router")
    return binary
