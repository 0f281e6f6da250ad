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

from localcluster import cluster, startup, toolchain
from localcluster.cli import main as localcluster

NAME = "rondo-e2e"
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


def options(which: str) -> list[str]:
    """Give pytest's options for a cluster: `auto` or `current`."""
    if which == "current":
        return ["--current-cluster"]
    if docker_answers():
        programs = [("--kind-bin", shutil.which("kind")), ("--kind-kubectl-bin", shutil.which("kubectl"))]
        return [f"{option}={path}" for option, path in programs if path]
    _remove_wreck()
    kubectl = toolchain.programs(_tell) / "kubectl"
    return [f"--kind-bin={KIND_SHIM}", f"--kind-kubectl-bin={kubectl}", f"--cluster-name={NAME}"]


def _remove_wreck() -> None:
    """Take down what a killed test run left of its cluster: pytest-kind would take it for one that runs."""
    left = cluster.find(NAME)
    if left is not None and not startup.is_up(left.layout):
        cluster.down(NAME, _tell)


def _tell(text: str) -> None:
    print(text, file=sys.stderr)


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
