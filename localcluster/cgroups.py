"""The control groups of a full node's pods, in the old hierarchies (v1) and the unified one (v2)."""

import os
import signal
import time
from contextlib import suppress
from pathlib import Path

from localcluster import addresses
from localcluster.errors import LocalClusterError

_ROOT = Path("/sys/fs/cgroup")


def prepare(name: str) -> None:
    """Make the group below which the kubelet puts all pods, in every hierarchy."""
    for hierarchy in _hierarchies():
        (hierarchy / addresses.cgroup(name)).mkdir(exist_ok=True)


def kill(name: str) -> bool:
    """Kill every process in the cluster's groups; return whether there was any."""
    pids = {pid for group in _groups(name) for pid in _processes(group)}
    for pid in pids:
        # The kernel lists a process here only while it is a member; a pid is not used again within that moment.
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    return bool(pids)


def remove(name: str) -> None:
    """Remove the cluster's groups.

    Raises:
        LocalClusterError: Processes are left in them.
    """
    deadline = time.monotonic() + 20
    while groups := _groups(name):
        for group in groups:
            with suppress(OSError):
                group.rmdir()
        if time.monotonic() > deadline:
            raise LocalClusterError(f"control groups cannot be removed: {', '.join(map(str, groups[:3]))}")
        kill(name)


def _hierarchies() -> list[Path]:
    if (_ROOT / "cgroup.controllers").exists():
        return [_ROOT]
    # Links such as cpu -> cpu,cpuacct lead to a hierarchy that is listed itself.
    return [path for path in _ROOT.iterdir() if path.is_dir() and not path.is_symlink()] if _ROOT.exists() else []


def _groups(name: str) -> list[Path]:
    """Return every group of the cluster, the innermost first."""
    tops = [hierarchy / addresses.cgroup(name) for hierarchy in _hierarchies()]
    found = [Path(folder) for top in tops if top.exists() for folder, _, _ in os.walk(top, topdown=False)]
    return sorted(found, key=lambda path: -len(path.parts))


def _processes(group: Path) -> list[int]:
    try:
        return [int(line) for line in (group / "cgroup.procs").read_text().split()]
    except OSError:
        return []
