"""The operator from its image, installed by Helm, on a cluster with a real kubelet."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from localcluster import toolchain

ROOT = Path(__file__).resolve().parents[2]
SYSTEM = "rondo-system"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--current-cluster", action="store_true", help="use the cluster of KUBECONFIG; images are there")


@dataclass(frozen=True)
class Kubectl:
    """kubectl on one cluster and namespace."""

    program: str
    kubeconfig: Path
    namespace: str = "default"

    def __call__(self, *args: str, stdin: str | None = None, check: bool = True) -> str:
        command = [self.program, "--namespace", self.namespace, *args]
        environment = {**os.environ, "KUBECONFIG": str(self.kubeconfig)}
        done = subprocess.run(command, input=stdin, capture_output=True, text=True, env=environment, check=False)
        if check and done.returncode:
            raise AssertionError(f"kubectl {' '.join(args)}: {done.stderr.strip()}")
        return done.stdout if not done.returncode else done.stderr

    def within(self, namespace: str) -> Kubectl:
        return Kubectl(self.program, self.kubeconfig, namespace)

    def get(self, *args: str) -> dict[str, Any]:
        """Give an object, or an empty dictionary if it is not there."""
        found: dict[str, Any] = json.loads(self("get", *args, "--ignore-not-found", "-o", "json") or "{}")
        return found

    def items(self, *args: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.get(*args).get("items", [])
        return found

    def apply(self, *manifests: dict[str, Any] | Path) -> None:
        texts = [m.read_text() if isinstance(m, Path) else yaml.safe_dump(m) for m in manifests]
        self("apply", "-f", "-", stdin="\n---\n".join(texts))


def eventually(what: str, look: Callable[[], Any], *, within: float = 60, every: float = 0.25) -> Any:
    """Look until something is true, and give it.

    Raises:
        AssertionError: It was not true in time; with what was seen last.
    """
    deadline = time.monotonic() + within
    while True:
        seen = look()
        if seen:
            return seen
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {within} s: {what}; last seen {seen!r}")
        time.sleep(every)  # between two looks; the wait ends with the condition


@pytest.fixture(scope="session")
def kubectl(request: pytest.FixtureRequest) -> Kubectl:
    """kubectl on the cluster of the tests, with Rondo installed."""
    if request.config.getoption("--current-cluster"):
        kubeconfig = Path(os.environ.get("KUBECONFIG", Path.home() / ".kube" / "config"))
        return Kubectl(shutil.which("kubectl") or "kubectl", kubeconfig)
    kind = request.getfixturevalue("kind_cluster")
    installed = Kubectl(str(kind.kubectl_path), kind.kubeconfig_path.resolve())
    tags = load_images(kind)
    install(installed, tags)
    return installed


def load_images(kind: Any) -> dict[str, str]:
    """Build the images and load them; give their tags by name."""
    tags: dict[str, str] = {}
    for line in subprocess.check_output([ROOT / "images" / "build"], text=True).splitlines():
        tag, *archive = line.split()
        tags[tag.partition(":")[0]] = tag
        load = ["load", "image-archive", *archive] if archive else ["load", "docker-image", tag]
        subprocess.run([kind.kind_path, *load, "--name", kind.name], check=True, stdout=subprocess.DEVNULL)
    return tags


def install(kubectl: Kubectl, tags: dict[str, str]) -> None:
    """Install the chart and wait until the operator is ready."""
    values = [
        f"image.tag={tags['rondo-operator'].partition(':')[2]}",
        f"router.image.tag={tags['rondo-router'].partition(':')[2]}",
        "router.replicas=1",
        f"runtimes.sklearn.image={tags['rondo-sklearn']}",
        "artifacts.size=1Gi",
    ]
    chart = str(ROOT / "charts" / "rondo")
    command = [helm(), "upgrade", "--install", "rondo", chart, "-n", SYSTEM, "--create-namespace"]
    command += [part for value in values for part in ("--set", value)] + ["--wait", "--timeout", "120s"]
    subprocess.run(command, check=True, env={**os.environ, "KUBECONFIG": str(kubectl.kubeconfig)})


def helm() -> str:
    """Give the helm of PATH, or the one that localcluster has built."""
    return shutil.which("helm") or str(toolchain.programs(print) / "helm")


@pytest.fixture
def team(kubectl: Kubectl) -> Iterator[Kubectl]:
    """A namespace of the test's own."""
    with new_team(kubectl) as made:
        yield made


@pytest.fixture(scope="module")
def shared(kubectl: Kubectl) -> Iterator[Kubectl]:
    """A namespace of a module's tests, for what takes long to be there."""
    with new_team(kubectl) as made:
        yield made


@contextlib.contextmanager
def new_team(kubectl: Kubectl) -> Iterator[Kubectl]:
    """Make a namespace, and delete it afterwards."""
    name = f"team-{uuid.uuid4().hex[:6]}"
    kubectl("create", "namespace", name)
    yield kubectl.within(name)
    kubectl("delete", "namespace", name, "--wait=false")
