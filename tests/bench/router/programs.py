"""The programs of the benchmark: nginx and wrk from Debian, KServe's router as a Go package, Rondo's own."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.integration.router import build

KSERVE: Final = "v0.16.0"
PACKAGE: Final = "github.com/kserve/kserve"
CACHE: Final = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "rondo" / "bench"


@dataclass(frozen=True)
class Programs:
    """Where the programs are.

    Attributes:
        nginx: Answers as a model would, and is a reverse proxy.
        wrk: Makes the load.
        rondo: Rondo's router.
        kserve: KServe's router.
    """

    nginx: Path
    wrk: Path
    rondo: Path
    kserve: Path


def find() -> Programs:
    """Find the programs, and build or install those that are not there."""
    return Programs(debian("nginx", "nginx-light"), debian("wrk", "wrk"), build.router(), kserve_router())


def debian(program: str, package: str) -> Path:
    """Give a program, from its package if it is not there.

    Raises:
        FileNotFoundError: It is not there even then.
    """
    path = f"{os.environ['PATH']}:/usr/sbin"
    if shutil.which(program, path=path) is None:
        subprocess.run(["apt-get", "install", "--yes", "--no-install-recommends", package], check=True)
    found = shutil.which(program, path=path)
    if found is None:
        raise FileNotFoundError(f"{program}: install the package {package}")
    return Path(found)


def kserve_router() -> Path:
    """Build the router that KServe's InferenceGraphs run in.

    It is built in a module of its own, for `go install` refuses packages of modules that replace others.
    """
    built = CACHE / f"kserve-router-{KSERVE}"
    if built.exists():
        return built
    CACHE.mkdir(parents=True, exist_ok=True)
    environment = {**os.environ, "CGO_ENABLED": "0"}
    with tempfile.TemporaryDirectory() as folder:
        for command in (
            ["go", "mod", "init", "bench"],
            ["go", "get", f"{PACKAGE}/cmd/router@{KSERVE}"],
            ["go", "build", "-trimpath", "-ldflags=-s -w", "-o", str(built), f"{PACKAGE}/cmd/router"],
        ):
            subprocess.run(command, cwd=folder, env=environment, check=True)
    return built
