"""Which cluster the tests run on: kind where a Docker engine answers, localcluster elsewhere, or the current one.

`python -m tests.cluster prepare` installs what that needs; `python -m tests.cluster options` prints pytest's options
for it.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from pathlib import Path

from localcluster import toolchain
from localcluster.cli import main as localcluster

KIND_SHIM = Path(__file__).resolve().parents[1] / "localcluster" / "bin" / "kind"


def docker_answers() -> bool:
    """Tell whether a Docker engine answers, so that kind can be used."""
    if shutil.which("docker") is None:
        return False
    return subprocess.run(["docker", "info"], capture_output=True, check=False).returncode == 0


def prepare() -> int:
    """Install packages and build Kubernetes where no Docker engine answers; quick when that was done before."""
    if docker_answers():
        return 0
    return localcluster(["install-deps"]) or localcluster(["build"])


def options(cluster: str) -> list[str]:
    """Give pytest's options for a kind of cluster: `auto` or `current`."""
    if cluster == "current":
        return ["--current-cluster"]
    if docker_answers():
        programs = [("--kind-bin", shutil.which("kind")), ("--kind-kubectl-bin", shutil.which("kubectl"))]
        return [f"{option}={path}" for option, path in programs if path]
    kubectl = toolchain.programs(lambda text: print(text, file=sys.stderr)) / "kubectl"
    return [f"--kind-bin={KIND_SHIM}", f"--kind-kubectl-bin={kubectl}", "--cluster-name=rondo-e2e"]


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("verb", choices=["prepare", "options"])
    parser.add_argument("--cluster", choices=["auto", "current"], default="auto")
    parsed = parser.parse_args(arguments)
    if parsed.verb == "prepare":
        return prepare()
    print(" ".join(options(parsed.cluster)))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
