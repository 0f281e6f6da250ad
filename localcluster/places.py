"""Where things are on the machine: the state of each cluster and the cache of built programs."""

import os
import re
from dataclasses import dataclass
from pathlib import Path

from localcluster.errors import LocalClusterError

STATE_VARIABLE = "RONDO_LOCALCLUSTER_STATE"
SOURCE = Path(__file__).resolve().parent / "kube"

_NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
_NAME_LIMIT = 40


def state_root() -> Path:
    """Return the folder that holds one folder a cluster; the environment variable of `STATE_VARIABLE` overrides it."""
    if chosen := os.environ.get(STATE_VARIABLE):
        return Path(chosen).absolute()
    base = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(base) / "rondo" / "localcluster"


def cache_root() -> Path:
    """Return the folder that holds one folder of built programs for each version of their source."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "rondo" / "localcluster"


def check_name(name: str) -> str:
    """Return the name if it can name a cluster.

    Raises:
        LocalClusterError: It is not a DNS label of at most 40 characters, which the node's name must be.
    """
    if len(name) > _NAME_LIMIT or not _NAME.fullmatch(name):
        raise LocalClusterError(
            f"cluster name {name!r}: must be lower case letters, digits and '-', at most {_NAME_LIMIT} characters",
        )
    return name


@dataclass(frozen=True)
class Places:
    """The files of one cluster, all below its own folder."""

    folder: Path

    @property
    def record(self) -> Path:
        """What the cluster was asked to be and which ports it took."""
        return self.folder / "cluster.json"

    @property
    def certificates(self) -> Path:
        """Keys and certificates."""
        return self.folder / "certificates"

    @property
    def configuration(self) -> Path:
        """Configuration files of the components."""
        return self.folder / "configuration"

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig."""
        return self.folder / "kubeconfig"

    @property
    def logs(self) -> Path:
        """One log file a component."""
        return self.folder / "logs"

    @property
    def audit(self) -> Path:
        """The API server's audit log, one JSON object a line."""
        return self.logs / "audit.log"

    @property
    def etcd(self) -> Path:
        """Data of etcd."""
        return self.folder / "etcd"

    @property
    def kubelet(self) -> Path:
        """The kubelet's root: volumes of pods are mounted below it."""
        return self.folder / "kubelet"

    @property
    def containerd(self) -> Path:
        """Images and snapshots of containerd."""
        return self.folder / "containerd"

    @property
    def runtime(self) -> Path:
        """Sockets and running state of containerd: root filesystems of containers are mounted below it."""
        return self.folder / "run"

    @property
    def socket(self) -> Path:
        """The socket of containerd."""
        return self.runtime / "containerd.sock"

    @property
    def volumes(self) -> Path:
        """The directories behind PersistentVolumes."""
        return self.folder / "volumes"

    def log(self, component: str) -> Path:
        """Return the log file of a component."""
        return self.logs / f"{component}.log"


def places(name: str) -> Places:
    """Return the files of the cluster of that name."""
    return Places(state_root() / check_name(name))
