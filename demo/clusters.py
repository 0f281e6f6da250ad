"""Where the demo runs: kind, localcluster in kind's shape, or whatever cluster the kubeconfig names.

Each gives the same: a kubeconfig of the demo's own, programs, and a way to bring images in.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from demo.commands import CommandError, follow, output, succeeds

ROOT: Final = Path(__file__).resolve().parent.parent
KUBECONFIG: Final = ROOT / "build" / "demo" / "kubeconfig"
"""The demo's own: the person's is not touched."""

NAME: Final = "rondo-demo"
"""Of the cluster, and of the namespace that is worked in."""

_SHIM: Final = ROOT / "localcluster" / "bin" / "kind"
_WHERE: Final = {
    "kind": "https://kind.sigs.k8s.io",
    "kubectl": "https://kubernetes.io/docs/tasks/tools",
    "helm": "https://helm.sh/docs/intro/install",
}

Said = Callable[[str], None]


@dataclass(frozen=True)
class Built:
    """An image that was built: its tags, and its archive where the builder writes one."""

    tags: tuple[str, str]
    archive: str | None

    @property
    def name(self) -> str:
        """Its name without a tag."""
        return self.tags[0].partition(":")[0]


@dataclass(frozen=True)
class Cluster:
    """A cluster for the demo.

    Attributes:
        title: What to call it.
        own: Whether the demo makes it and may remove it.
        kind: The command of kind's shape that made it, or None if none did.
        name: Its name for that command.
        programs: Folder of kubectl and helm, or None for those of PATH.
    """

    title: str
    own: bool
    kind: str | None
    name: str
    programs: Path | None

    @property
    def environment(self) -> Mapping[str, str]:
        """What programs need to find it."""
        return {"KUBECONFIG": str(KUBECONFIG)}

    def program(self, name: str) -> str:
        """Give the path of kubectl or helm.

        Raises:
            CommandError: It is not there.
        """
        return str(self.programs / name) if self.programs is not None else require(name)

    def kubectl(self, *arguments: str, stdin: str | None = None) -> str:
        """Run kubectl and give what it writes.

        Raises:
            CommandError: It failed.
        """
        return output([self.program("kubectl"), *arguments], self.environment, stdin=stdin)

    def exists(self) -> bool:
        """Tell whether it is there."""
        return self.kind is None or self.name in output([self.kind, "get", "clusters"]).split()

    def make(self, said: Said) -> None:
        """Make it, and write the demo's kubeconfig.

        Raises:
            CommandError: It cannot be made.
        """
        KUBECONFIG.parent.mkdir(parents=True, exist_ok=True)
        if not self.own:
            flat = ["config", "view", "--flatten", "--minify", "--raw"]
            KUBECONFIG.touch(mode=0o600)
            KUBECONFIG.write_text(output([self.program("kubectl"), *flat]))
        elif self.kind is not None:
            self._make_own(self.kind, said)
        self.kubectl("config", "set-context", "--current", f"--namespace={NAME}")

    def _make_own(self, kind: str, said: Said) -> None:
        where = [f"--name={self.name}", f"--kubeconfig={KUBECONFIG}"]
        if not self.exists():
            follow([kind, "create", "cluster", *where, "--wait=120s"], said)
            return
        if self.programs is not None:
            # What has died since, as with a restart of the machine, is started again.
            output([sys.executable, "-m", "localcluster", "up", f"--name={self.name}"], {"PYTHONPATH": str(ROOT)})
        output([kind, "export", "kubeconfig", *where])

    def has(self, image: Built) -> bool:
        """Tell whether every node has an image, under both its names."""
        nodes = json.loads(self.kubectl("get", "nodes", "-o", "json"))["items"]
        return bool(nodes) and all(_on_node(node, image) for node in nodes)

    def load(self, image: Built) -> None:
        """Bring an image to every node.

        Raises:
            CommandError: It cannot be brought.
        """
        if self.kind is None:
            raise CommandError(
                f"the cluster has no image {image.tags[0]}, and only kind's and localcluster's are loaded from here: "
                f"bring {' and '.join(image.tags)} to its nodes and run this again"
            )
        what = ["image-archive", image.archive] if image.archive else ["docker-image", *image.tags]
        output([self.kind, "load", *what, f"--name={self.name}"])

    def remove(self, said: Said) -> None:
        """Remove it, if it is the demo's own, and the demo's kubeconfig."""
        if self.own and self.kind is not None and self.exists():
            follow([self.kind, "delete", "cluster", f"--name={self.name}", f"--kubeconfig={KUBECONFIG}"], said)
        shutil.rmtree(KUBECONFIG.parent, ignore_errors=True)


def choose(wanted: str) -> Cluster:
    """Choose where to run.

    Args:
        wanted: `current` for the kubeconfig's cluster; `auto` for one of the demo's own.

    Raises:
        CommandError: A program is missing.
    """
    docker = docker_answers()
    if wanted == "current":
        return _current(docker=docker)
    if docker:
        return Cluster("kind", own=True, kind=require("kind"), name=NAME, programs=None)
    return Cluster("localcluster", own=True, kind=str(_SHIM), name=NAME, programs=_built_programs())


def docker_answers() -> bool:
    """Tell whether there is a Docker engine, without which kind cannot work."""
    return shutil.which("docker") is not None and succeeds(["docker", "version", "--format", "{{.Server.Version}}"])


def require(name: str) -> str:
    """Give the path of a program.

    Raises:
        CommandError: It is not on PATH.
    """
    found = shutil.which(name)
    if found is None:
        raise CommandError(f"{name} is not on PATH; it is at {_WHERE[name]}")
    return found


def _current(*, docker: bool) -> Cluster:
    context = output([require("kubectl"), "config", "current-context"]).strip()
    name = context.removeprefix("kind-").removeprefix("localcluster-")
    shape = shutil.which("kind") if docker else str(_SHIM)
    known = shape is not None and name in output([shape, "get", "clusters"]).split()
    return Cluster(f"context {context}", own=False, kind=shape if known else None, name=name, programs=None)


def _built_programs() -> Path:
    built: Sequence[str] = output([sys.executable, "-m", "localcluster", "build"], {"PYTHONPATH": str(ROOT)}).split()
    return Path(built[-1])


def _on_node(node: Mapping[str, object], image: Built) -> bool:
    """Both names must be of one image, or NAME:dev is of an older build."""
    status = node["status"]
    listed = status.get("images", ()) if isinstance(status, dict) else ()
    names = ({name.removeprefix("docker.io/library/") for name in each.get("names", ())} for each in listed)
    return any(set(image.tags) <= each for each in names)
