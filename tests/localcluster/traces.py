"""What a cluster could leave on a machine, gathered so that before and after can be compared."""

import json
from dataclasses import dataclass
from pathlib import Path

from localcluster import addresses, mounts, network, places, processes
from localcluster.commands import run

OUTSIDE = ("/run/containerd", "/var/lib/cni", "/var/lib/kubelet", "/var/log/containers", "/run/netns")


@dataclass(frozen=True)
class Traces:
    """Everything of a cluster that can be seen from outside."""

    interfaces: tuple[str, ...]
    tables: tuple[tuple[str, str], ...]
    mounts: tuple[Path, ...]
    cgroups: tuple[Path, ...]
    processes: tuple[processes.Process, ...]
    files: tuple[Path, ...]
    ip_forward: str


def gather(name: str) -> Traces:
    """Return what is there now of the cluster of that name, and of the host's network as a whole."""
    own = places.places(name)
    links = json.loads(run("ip", "-json", "address"))
    outside = [path for folder in OUTSIDE for path in Path(folder).rglob("*")]
    return Traces(
        interfaces=tuple(f"{link['ifname']} {entry['local']}" for link in links for entry in link["addr_info"]),
        tables=tuple(network._tables()),
        mounts=tuple(mounts.parse(Path("/proc/self/mountinfo").read_text(), own.folder)),
        cgroups=tuple(Path("/sys/fs/cgroup").glob(f"*/{addresses.cgroup(name)}")),
        processes=tuple(processes.find_all(own.folder)),
        files=(*sorted(outside), *own.folder.rglob("*")),
        ip_forward=network.read_ip_forward(),
    )
