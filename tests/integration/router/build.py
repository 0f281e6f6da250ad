"""Builds the router with cargo, in a folder that all checkouts share; the same sources are built once."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
CRATE = ROOT / "router"
CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "rondo" / "router"


def router() -> Path:
    """Build the router and give its binary.

    Raises:
        RuntimeError: There is no cargo.
        subprocess.CalledProcessError: It cannot be built.
    """
    given = os.environ.get("RONDO_ROUTER")
    if given:
        return Path(given)
    built = CACHE / "built" / _digest() / "rondo-router"
    if built.exists():
        return built
    cargo = shutil.which("cargo")
    if cargo is None:
        raise RuntimeError("the router needs cargo to be built: install Rust")
    options = ["--locked", "--release", f"--target-dir={CACHE}", f"--manifest-path={CRATE / 'Cargo.toml'}"]
    subprocess.run([cargo, "build", *options], check=True)
    return _keep(CACHE / "release" / "rondo-router", built)


def _digest() -> str:
    """Name the sources by their content."""
    content = hashlib.sha256()
    for path in (CRATE / "Cargo.toml", CRATE / "Cargo.lock", *sorted((CRATE / "src").rglob("*.rs"))):
        content.update(f"\0{path.relative_to(CRATE)}\0".encode() + path.read_bytes())
    return content.hexdigest()[:16]


def _keep(binary: Path, place: Path) -> Path:
    """Keep a binary, whole from the first moment, in the place of those of other sources."""
    for old in place.parent.parent.glob("*"):
        shutil.rmtree(old, ignore_errors=True)
    place.parent.mkdir(parents=True, exist_ok=True)
    part = place.with_suffix(f".{os.getpid()}")
    shutil.copy2(binary, part)
    part.replace(place)
    return place
