"""The machine's side of a full node: what it needs of the host, and removing all of it again, also after a crash.

Taking down has one way only, which assumes nothing of what ran before: kill the processes that carry the cluster's mark
and those in its control groups, unmount, remove interfaces and tables, delete what lies outside the folder. So a crash
of anything at any moment needs no case of its own.
"""

import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

from localcluster import addresses, cgroups, mounts, network, processes
from localcluster.components import Layout
from localcluster.errors import LocalClusterError
from localcluster.places import STATE_VARIABLE, Places
from localcluster.spec import ClusterSpec, read_record

Report = Callable[[str], None]

# Paths that the kubelet, containerd's shim and libcni have compiled in.
_POD_LOG_LINKS = Path("/var/log/containers")
_DEVICE_PLUGINS = Path("/var/lib/kubelet/device-plugins")
_CNI_RESULTS = Path("/var/lib/cni/results")
_SHIM_SOCKETS = Path("/run/containerd/s")


def make_vacant(spec: ClusterSpec, own: Places, others: Iterable[Layout], report: Report) -> None:
    """Make sure that a new full node has the host to itself.

    What is left of a cluster that died with its state elsewhere, as that of a test run that was killed, is taken out of
    the way; its files stay for a `down` of its own.

    Raises:
        LocalClusterError: Another one has it; the text says who or what. Or its folder's path is too long for sockets.
    """
    if not spec.full_node:
        return
    # containerd adds `.ttrpc` to its socket's path, and Linux takes 107 bytes.
    if len(os.fsencode(own.socket)) > 101:
        raise LocalClusterError(f"{own.folder}: too long for a socket in it; choose another folder by {STATE_VARIABLE}")
    for other in others:
        if other.spec.full_node:
            raise LocalClusterError(
                f"cluster {spec.name!r}: {other.spec.name!r} is this machine's full node and has the pod network "
                f"{addresses.PODS}; take it down first (`localcluster down --name {other.spec.name}`), "
                "or add --control-plane-only",
            )
    remove_wrecks(report)
    if found := network.occupied():
        raise LocalClusterError(
            f"cluster {spec.name!r}: taken by somebody else on this machine: {'; '.join(found)}; remove it first",
        )


def prepare(layout: Layout) -> None:
    """Make the interface, the table and the control groups of the cluster, and the folders that must be there."""
    network.prepare(layout.spec.name)
    cgroups.prepare(layout.spec.name)
    for folder in (layout.places.runtime, layout.places.containerd, layout.places.kubelet):
        folder.mkdir(exist_ok=True, mode=0o711)
    layout.places.volumes.mkdir(exist_ok=True, mode=0o711)


def clean(name: str, own: Places, report: Report) -> None:
    """Remove everything of a cluster from the host but its folder.

    A control plane alone has processes only, which are gone already, and needs no root here.

    Raises:
        LocalClusterError: Something could not be removed.
    """
    try:
        record = read_record(own.record)
    except LocalClusterError as error:
        report(f"{error}; removing what its name tells")
        record = None
    if os.geteuid() != 0 or (record is not None and record.spec.control_plane_only):
        return
    while processes.find_all(own.folder) or cgroups.kill(name):
        processes.kill_all(own.folder)
    mounts.unmount_all(own.folder)
    cgroups.remove(name)
    network.clean(name, record.ip_forward if record else None)
    _remove_strays(own)


def remove_wrecks(report: Report) -> None:
    """Take what is left of clusters that have no process any more out of the way.

    Their mounts tell where they were; a network namespace that is mounted keeps its interface on the host.
    """
    alive = processes.find_folders()
    for folder in mounts.folders(Places(Path()).record.name) - alive:
        report(f"taking down what is left of the cluster in {folder}")
        clean(folder.name, Places(folder), report)
    for name in set(network.clusters()) - {folder.name for folder in alive}:
        network.clean(name, ip_forward=None)


def _remove_strays(own: Places) -> None:
    """Delete the files that the components keep outside the cluster's folder."""
    for address in own.runtime.glob("io.containerd.runtime.v2.task/*/*/address"):
        Path(address.read_text().removeprefix("unix://")).unlink(missing_ok=True)
    for link in _POD_LOG_LINKS.glob("*.log"):
        if link.is_symlink() and link.readlink().is_relative_to(own.folder):
            link.unlink()
    for sandbox in own.containerd.glob("io.containerd.grpc.v1.cri/sandboxes/*"):
        for result in _CNI_RESULTS.glob(f"*-{sandbox.name}-*"):
            result.unlink()
    for file in ("kubelet.sock", "kubelet_internal_checkpoint"):
        (_DEVICE_PLUGINS / file).unlink(missing_ok=True)
    for folder in (_POD_LOG_LINKS, _DEVICE_PLUGINS, _CNI_RESULTS, _SHIM_SOCKETS):
        for emptied in (folder, folder.parent):
            with suppress(OSError):
                emptied.rmdir()
