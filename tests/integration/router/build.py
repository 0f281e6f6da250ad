"""Builds the router with cargo, in a folder that all checkouts share."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]


def router() -> Path:
    """Build the router and give its binary.

    Raises:
        RuntimeError: There is no cargo.
        subprocess.CalledProcessError: It cannot be built.
    """
    given = os.environ.get("RONDO_ROUTER")
    if given:
        return Path(given)
    cargo = shutil.which("cargo")
    if cargo is None:
        raise RuntimeError("the router needs cargo to be built: install Rust")
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "rondo" / "router"
    manifest = ROOT / "router" / "Cargo.toml"
    command = [cargo, "build", "--locked", "--release", f"--target-dir={cache}", f"--manifest-path={manifest}"]
    subprocess.run(command, check=True)
    return cache / "release" / "rondo-router"
