"""What a cluster is asked to be, and the record of it that `up` leaves for every later command."""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path

from localcluster.errors import LocalClusterError

DEFAULT_NAME = "rondo"


@dataclass(frozen=True)
class ClusterSpec:
    """What `up` makes.

    Attributes:
        name: The cluster's name; a DNS label of at most 40 characters.
        control_plane_only: etcd and the API server (and the controllers) on the loopback address, no kubelet. Needs
            no root, starts in seconds, and any number can stand side by side.
        controllers: Whether kube-controller-manager and kube-scheduler run.
        fake_nodes: How many nodes kwok plays; their pods run at once and those of Jobs succeed at once.
        fake_gpus: How many `nvidia.com/gpu` each fake node offers.
        fake_stages: A file of kwok Stages to use for pods instead of the fast ones, or None.
        audit: Whether the API server writes an audit log at level Metadata.
        flags: Further flags by component, after our own, so that they win.
    """

    name: str = DEFAULT_NAME
    control_plane_only: bool = False
    controllers: bool = True
    fake_nodes: int = 0
    fake_gpus: int = 0
    fake_stages: str | None = None
    audit: bool = False
    flags: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def full_node(self) -> bool:
        """Whether a real node belongs to the cluster."""
        return not self.control_plane_only


def check_spec(spec: ClusterSpec) -> ClusterSpec:
    """Return the spec if it can be honoured in every field.

    Raises:
        LocalClusterError: It cannot; the text names the field.
    """
    problems = {
        "controllers is False: a real node needs them; add control_plane_only": spec.full_node and not spec.controllers,
        f"fake_nodes is {spec.fake_nodes}: must be 0 or more": spec.fake_nodes < 0,
        f"fake_gpus is {spec.fake_gpus}: must be 0 or more": spec.fake_gpus < 0,
        f"fake_gpus is {spec.fake_gpus} but fake_nodes is 0": spec.fake_gpus > 0 and spec.fake_nodes == 0,
        "fake_stages is set but fake_nodes is 0": spec.fake_stages is not None and spec.fake_nodes == 0,
        f"fake_stages is {spec.fake_stages!r}: no such file": not Path(spec.fake_stages or __file__).is_file(),
    }
    if found := [problem for problem, present in problems.items() if present]:
        raise LocalClusterError(f"cluster {spec.name!r}: {'; '.join(found)}")
    return spec


@dataclass(frozen=True)
class Ports:
    """The ports of one cluster, all of one block."""

    base: int

    @property
    def etcd(self) -> int:
        """For etcd's clients."""
        return self.base

    @property
    def etcd_peer(self) -> int:
        """For etcd's peers, of which there are none."""
        return self.base + 1

    @property
    def apiserver(self) -> int:
        """The API server."""
        return self.base + 2

    @property
    def controller_manager(self) -> int:
        """kube-controller-manager's health and metrics."""
        return self.base + 3

    @property
    def scheduler(self) -> int:
        """kube-scheduler's health and metrics."""
        return self.base + 4

    @property
    def kwok(self) -> int:
        """Kubelet interface and health of kwok."""
        return self.base + 5

    @property
    def kubelet(self) -> int:
        """The kubelet, which serves logs, exec and port-forward to the API server."""
        return self.base + 6

    @property
    def kubelet_health(self) -> int:
        """The kubelet's health."""
        return self.base + 7

    @property
    def proxy_health(self) -> int:
        """kube-proxy's health."""
        return self.base + 8

    @property
    def proxy_metrics(self) -> int:
        """kube-proxy's metrics."""
        return self.base + 9

    @property
    def dns_ready(self) -> int:
        """CoreDNS' readiness."""
        return self.base + 10


@dataclass(frozen=True)
class Record:
    """A cluster as it was made.

    Attributes:
        spec: What was asked for.
        ports: What it listens on.
        programs: The folder of the built programs it runs.
        ip_forward: The host's `net.ipv4.ip_forward` before a full node changed it, or None where none was made.
    """

    spec: ClusterSpec
    ports: Ports
    programs: Path
    ip_forward: str | None = None


def differences(was: ClusterSpec, wanted: ClusterSpec) -> list[str]:
    """Return in words each field in which two specs differ."""
    return [
        f"{each.name} is {getattr(was, each.name)!r}, not {getattr(wanted, each.name)!r}"
        for each in fields(ClusterSpec)
        if getattr(was, each.name) != getattr(wanted, each.name)
    ]


def dump_record(record: Record) -> str:
    """Return the record as JSON."""
    return json.dumps(
        {
            "spec": asdict(record.spec),
            "ports": record.ports.base,
            "programs": str(record.programs),
            "ip_forward": record.ip_forward,
        },
        indent=2,
    )


def parse_record(text: str) -> Record:
    """Return the record written by `dump_record`."""
    data = json.loads(text)
    flags = {component: tuple(values) for component, values in data["spec"].pop("flags").items()}
    return Record(
        spec=ClusterSpec(**data["spec"], flags=flags),
        ports=Ports(data["ports"]),
        programs=Path(data["programs"]),
        ip_forward=data["ip_forward"],
    )


def read_record(path: Path) -> Record | None:
    """Return the record in that file, or None if there is none.

    Raises:
        LocalClusterError: The file is not a record of this version.
    """
    try:
        return parse_record(path.read_text())
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError) as error:
        raise LocalClusterError(f"{path}: not a cluster's record ({error}); remove the cluster with `down`") from error


def write_atomically(path: Path, text: str, *, mode: int = 0o600) -> None:
    """Write a file so that nobody ever sees half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.write_text(text)
    draft.chmod(mode)
    draft.replace(path)
