"""What a cluster needs from the operating system, checked before anything is made and installed on request."""

import os
import platform
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from localcluster.errors import LocalClusterError
from localcluster.spec import ClusterSpec

_SYSTEM_PATH = ("/usr/sbin", "/sbin", "/usr/lib/cni")


@dataclass(frozen=True)
class Requirement:
    """A program and the Debian package that has it.

    Attributes:
        program: The file's name.
        package: The package's name.
        node: Whether only a full node needs it.
    """

    program: str
    package: str
    node: bool = True


REQUIREMENTS = (
    Requirement("openssl", "openssl", node=False),
    Requirement("setsid", "util-linux", node=False),
    Requirement("containerd", "containerd"),
    Requirement("ctr", "containerd"),
    Requirement("runc", "runc"),
    Requirement("ptp", "containernetworking-plugins"),
    Requirement("host-local", "containernetworking-plugins"),
    Requirement("loopback", "containernetworking-plugins"),
    Requirement("nft", "nftables"),
    Requirement("conntrack", "conntrack"),
    Requirement("ip", "iproute2"),
    Requirement("mount", "mount"),
)

# Not needed by the cluster itself: what makes images for it where no registry and no container engine is.
IMAGE_TOOLS = (Requirement("buildah", "buildah"), Requirement("mmdebstrap", "mmdebstrap"))


def search_path() -> str:
    """Return the PATH, with the folders that only root's PATH or none has: system programs, CNI plugins."""
    return os.pathsep.join([os.environ.get("PATH", os.defpath), *_SYSTEM_PATH])


def find_program(name: str) -> str | None:
    """Return the path of a program that this machine has, or None."""
    return shutil.which(name, path=search_path())


def missing(requirements: tuple[Requirement, ...]) -> list[str]:
    """Return the packages of the programs that are not there, each once."""
    return list(dict.fromkeys(each.package for each in requirements if find_program(each.program) is None))


def check(spec: ClusterSpec) -> None:
    """Check that this machine can run the cluster.

    Raises:
        LocalClusterError: It is not Linux, the user is not root but must be, or packages are missing.
    """
    if platform.system() != "Linux":
        raise LocalClusterError(f"localcluster runs on Linux only, not on {platform.system()}; use kind there")
    if spec.full_node and os.geteuid() != 0:
        raise LocalClusterError(
            "a full node needs root (network, mounts, control groups); as another user add --control-plane-only",
        )
    needed = REQUIREMENTS if spec.full_node else tuple(each for each in REQUIREMENTS if not each.node)
    if lacking := missing(needed):
        raise LocalClusterError(
            f"missing packages: {' '.join(lacking)}; install them with `localcluster install-deps` "
            f"or `apt-get install --no-install-recommends {' '.join(lacking)}`",
        )


def install(report: Callable[[str], None]) -> None:
    """Install every missing package, those that make images included.

    Raises:
        LocalClusterError: This is not Debian or its like, the user is not root, or apt-get fails.
    """
    lacking = missing((*REQUIREMENTS, *IMAGE_TOOLS))
    if not lacking:
        report("every package is there")
        return
    if shutil.which("apt-get") is None or not Path("/etc/debian_version").exists():
        raise LocalClusterError(
            f"install-deps knows Debian's apt-get only; install these yourself: {' '.join(lacking)}"
        )
    if os.geteuid() != 0:
        raise LocalClusterError(f"install-deps needs root, to install {' '.join(lacking)}")
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    for command in (["apt-get", "update"], ["apt-get", "install", "--yes", "--no-install-recommends", *lacking]):
        report(" ".join(command))
        if code := subprocess.run(command, check=False, env=environment).returncode:
            raise LocalClusterError(f"{' '.join(command)}: exit code {code}")
