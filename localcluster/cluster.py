"""Bringing clusters up, taking them down and reaching into them: what the command line and the tests call.

`up` makes sure of one step after another and each step is a no-op where it is done, so that running it again after a
crash or a reboot completes the cluster. `down` needs nothing from `up` but the cluster's name.
"""

import base64
import shutil
import subprocess
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from localcluster import host, locks, network, packages, processes, startup, toolchain
from localcluster.api import Client
from localcluster.components import Component, Layout, all_components
from localcluster.errors import LocalClusterError
from localcluster.places import Places, check_name, places, state_root
from localcluster.ports import choose_ports
from localcluster.spec import ClusterSpec, Record, check_spec, differences, dump_record, read_record, write_atomically

Report = Callable[[str], None]


@dataclass(frozen=True)
class Cluster:
    """A cluster that is up.

    Attributes:
        layout: What it was asked to be, its ports and its files.
    """

    layout: Layout

    @property
    def name(self) -> str:
        """Its name."""
        return self.layout.spec.name

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig."""
        return self.layout.places.kubeconfig

    @property
    def server(self) -> str:
        """The API server's URL."""
        return self.layout.server

    @property
    def audit_log(self) -> Path:
        """The API server's audit log, one JSON object a line, where the spec asked for one."""
        return self.layout.places.audit

    @property
    def programs(self) -> Path:
        """The folder with kubectl and helm."""
        return self.layout.record.programs

    def kubectl(self, *arguments: str, stdin: str | None = None) -> str:
        """Run kubectl as the administrator and return what it prints.

        Raises:
            LocalClusterError: It ended with another code than 0; the text holds what it said.
        """
        command = [str(self.programs / "kubectl"), f"--kubeconfig={self.kubeconfig}", *arguments]
        result = subprocess.run(command, check=False, capture_output=True, text=True, input=stdin)
        if result.returncode != 0:
            raise LocalClusterError(f"kubectl {' '.join(arguments)}: {result.stderr.strip()}")
        return result.stdout

    def stop_component(self, name: str) -> None:
        """Kill a component (SIGKILL) and leave it down.

        Raises:
            LocalClusterError: The cluster has no such component.
        """
        folder = self.layout.places.folder
        running = processes.find_components(folder).get(self._component(name).name)
        processes.kill(folder, [running] if running else [])

    def start_component(self, name: str) -> None:
        """Start a component that is down and wait until it is ready."""
        startup.start(self.layout, [self._component(name)])

    def restart_component(self, name: str) -> None:
        """Kill a component (SIGKILL), start it again and wait until it is ready."""
        self.stop_component(name)
        self.start_component(name)

    def compact_etcd(self) -> int:
        """Drop every revision of etcd's history but the newest and return that revision.

        The API server keeps recent events in memory; restart it too for a watch from an older version to get 410.
        """
        url = f"https://127.0.0.1:{self.layout.ports.etcd}/v3/kv"
        client = Client(self.layout.places.certificates)
        answer = client.post(f"{url}/range", {"key": base64.b64encode(b"/").decode()})
        revision = int(answer["header"]["revision"])
        client.post(f"{url}/compaction", {"revision": revision, "physical": True})
        return revision

    def _component(self, name: str) -> Component:
        known = {component.name: component for component in all_components(self.layout)}
        if name not in known:
            raise LocalClusterError(f"cluster {self.name!r}: no component {name!r}; it has {', '.join(known)}")
        return known[name]


def _silent(_: str) -> None:
    """Report to nobody."""


def up(spec: ClusterSpec, report: Report = _silent) -> Cluster:
    """Make the cluster, or make sure of it if it is there.

    Args:
        spec: What to make.
        report: Is told in words how far it is.

    Raises:
        LocalClusterError: The machine lacks something, the cluster exists with another spec, another full node stands
            on this machine, or a component does not start; the text says which and what to do.
    """
    check_name(check_spec(spec).name)
    packages.check(spec)
    programs = toolchain.programs(report)
    own = places(spec.name)
    with locks.held(_lock(spec.name)):
        layout = Layout(_settle(spec, programs, own, report), own)
        if startup.is_up(layout):
            report(f"cluster {spec.name!r} is already running")
            return Cluster(layout)
        startup.bring_up(layout, report)
    return Cluster(layout)


def down(name: str, report: Report = _silent) -> None:
    """End the cluster and remove everything of it from the machine; no error if there is none.

    Raises:
        LocalClusterError: Something of it could not be removed.
    """
    own = places(name)
    with locks.held(_lock(name)):
        processes.kill_all(own.folder)
        if not own.folder.exists():
            report(f"no cluster {name!r}")
            return
        host.clean(name, own, report)
        shutil.rmtree(own.folder)
    report(f"cluster {name!r} is gone")


def find(name: str) -> Cluster | None:
    """Return the cluster of that name, running or not, or None if there is none."""
    own = places(name)
    record = read_record(own.record)
    return None if record is None else Cluster(Layout(record, own))


def get(name: str) -> Cluster:
    """Return the cluster of that name.

    Raises:
        LocalClusterError: There is none.
    """
    cluster = find(name)
    if cluster is None:
        raise LocalClusterError(f"no cluster {name!r}; `localcluster up --name {name}` makes it")
    return cluster


def names() -> list[str]:
    """Return the names of the clusters whose state is on this machine, running or not."""
    root = state_root()
    return sorted(path.parent.name for path in root.glob("*/cluster.json")) if root.exists() else []


@contextmanager
def control_plane(spec: ClusterSpec | None = None, report: Report = _silent) -> Iterator[Cluster]:
    """Give a control plane of its own to the block, and take it down afterwards whatever happened.

    Args:
        spec: What to make; its name is made unique and the real node is left out. The default is no nodes at all.
        report: Is told in words how far it is.
    """
    wanted = spec or ClusterSpec()
    unique = replace(wanted, name=f"{wanted.name[:30]}-{uuid.uuid4().hex[:8]}", control_plane_only=True)
    try:
        yield up(unique, report)
    finally:
        down(unique.name, report)


def _lock(name: str) -> Path:
    return state_root() / f"{check_name(name)}.lock"


def _settle(spec: ClusterSpec, programs: Path, own: Places, report: Report) -> Record:
    """Return the cluster's record, made before anything else so that `down` always has it."""
    record = read_record(own.record)
    if record is not None:
        if unlike := differences(record.spec, spec):
            raise LocalClusterError(f"cluster {spec.name!r} exists and its {'; '.join(unlike)}; take it down first")
        return record
    with locks.held(state_root() / ".ports.lock"):
        others = [other.layout for name in names() if (other := find(name)) is not None]
        host.make_vacant(spec, own, others, report)
        ports = choose_ports(spec.name, {other.ports.base for other in others})
        record = Record(spec, ports, programs, network.read_ip_forward() if spec.full_node else None)
        _check_flags(Layout(record, own))
        own.folder.mkdir(parents=True, exist_ok=True, mode=0o711)
        write_atomically(own.record, dump_record(record))
    return record


def _check_flags(layout: Layout) -> None:
    known = [component.name for component in all_components(layout)]
    if unknown := sorted(layout.spec.flags.keys() - set(known)):
        raise LocalClusterError(f"flags for {', '.join(unknown)}: the cluster's components are {', '.join(known)}")
