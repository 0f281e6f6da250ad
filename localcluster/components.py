"""The components of a cluster as data: which run, with which flags, and how each one tells that it is ready. Pure."""

from dataclasses import dataclass
from pathlib import Path

from localcluster import addresses
from localcluster.places import Places
from localcluster.spec import ClusterSpec, Ports, Record

PROVISIONER = "rondo.dev/localcluster"
FAKE_NODE = "kwok.x-k8s.io/node"

# As managed services tune theirs: with the defaults (5 syncs, 20 requests a second) the Job controller and the
# scheduler are what every test and benchmark would measure.
CONTROLLER_RATE = ("--kube-api-qps=1000", "--kube-api-burst=2000")
JOB_SYNCS = "--concurrent-job-syncs=50"


@dataclass(frozen=True)
class Probe:
    """An address that answers 200 once a component is ready.

    Attributes:
        url: The address; for https the cluster's authority and the administrator's certificate are used.
    """

    url: str


@dataclass(frozen=True)
class Component:
    """One process of a cluster.

    Attributes:
        name: Its name, also of its log file.
        command: The program and its arguments.
        probe: How it tells that it is ready, or None where running is all it can show.
    """

    name: str
    command: tuple[str, ...]
    probe: Probe | None = None


@dataclass(frozen=True)
class Layout:
    """Everything a component's flags depend on."""

    record: Record
    places: Places

    @property
    def spec(self) -> ClusterSpec:
        """What was asked for."""
        return self.record.spec

    @property
    def ports(self) -> Ports:
        """What it listens on."""
        return self.record.ports

    @property
    def host(self) -> str:
        """The address of the host within the cluster."""
        return addresses.GATEWAY if self.spec.full_node else addresses.LOOPBACK

    @property
    def server(self) -> str:
        """The API server's URL."""
        return f"https://{addresses.LOOPBACK}:{self.ports.apiserver}"

    def program(self, name: str) -> str:
        """Return the path of a built program."""
        return str(self.record.programs / name)

    def certificate(self, file: str) -> str:
        """Return the path of a certificate or key."""
        return str(self.places.certificates / file)

    def document(self, file: str) -> str:
        """Return the path of a configuration file."""
        return str(self.places.configuration / file)


def store(layout: Layout) -> list[Component]:
    """Return what must run before anything else can: etcd and the API server."""
    return [_finished(layout, each) for each in (_etcd(layout), _apiserver(layout))]


def controllers(layout: Layout) -> list[Component]:
    """Return the controllers and the scheduler, or nothing if they are left out."""
    if not layout.spec.controllers:
        return []
    return [_finished(layout, each) for each in (_controller_manager(layout), _scheduler(layout))]


def nodes(layout: Layout) -> list[Component]:
    """Return what makes nodes and their volumes: the real one's programs, kwok, the storage provisioner."""
    real = [_containerd(layout), _kubelet(layout), _proxy(layout), _dns(layout)] if layout.spec.full_node else []
    fake = [_kwok(layout)] if layout.spec.fake_nodes else []
    storage = [_storage(layout)] if (real or fake) and layout.spec.controllers else []
    return [_finished(layout, each) for each in (*real, *fake, *storage)]


def all_components(layout: Layout) -> list[Component]:
    """Return every component in the order of their start."""
    return [*store(layout), *controllers(layout), *nodes(layout)]


def _finished(layout: Layout, component: Component) -> Component:
    """Return the component with the flags that the spec adds."""
    further = layout.spec.flags.get(component.name, ())
    return Component(component.name, (*component.command, *further), component.probe)


def _https(port: int, path: str) -> Probe:
    return Probe(f"https://{addresses.LOOPBACK}:{port}{path}")


def _etcd(layout: Layout) -> Component:
    clients = f"https://{addresses.LOOPBACK}:{layout.ports.etcd}"
    peers = f"http://{addresses.LOOPBACK}:{layout.ports.etcd_peer}"
    command = (
        layout.program("etcd"),
        f"--name={layout.spec.name}",
        f"--data-dir={layout.places.etcd}",
        "--unsafe-no-fsync",
        "--log-level=warn",
        f"--listen-client-urls={clients}",
        f"--advertise-client-urls={clients}",
        f"--listen-peer-urls={peers}",
        f"--initial-advertise-peer-urls={peers}",
        f"--initial-cluster={layout.spec.name}={peers}",
        "--client-cert-auth",
        f"--trusted-ca-file={layout.certificate('ca.crt')}",
        f"--cert-file={layout.certificate('server.crt')}",
        f"--key-file={layout.certificate('server.key')}",
    )
    return Component("etcd", command, _https(layout.ports.etcd, "/health"))


def _apiserver(layout: Layout) -> Component:
    command = (
        layout.program("kube-apiserver"),
        f"--secure-port={layout.ports.apiserver}",
        *_reached_at(layout.spec),
        f"--etcd-servers=https://{addresses.LOOPBACK}:{layout.ports.etcd}",
        f"--etcd-cafile={layout.certificate('ca.crt')}",
        f"--etcd-certfile={layout.certificate('admin.crt')}",
        f"--etcd-keyfile={layout.certificate('admin.key')}",
        f"--tls-cert-file={layout.certificate('server.crt')}",
        f"--tls-private-key-file={layout.certificate('server.key')}",
        f"--client-ca-file={layout.certificate('ca.crt')}",
        "--authorization-mode=Node,RBAC",
        "--allow-privileged=true",
        f"--service-cluster-ip-range={addresses.SERVICES}",
        f"--service-account-issuer=https://kubernetes.default.svc.{addresses.DOMAIN}",
        f"--service-account-key-file={layout.certificate('service-account.key')}",
        f"--service-account-signing-key-file={layout.certificate('service-account.key')}",
        *_admission(layout.spec),
        *_audit(layout),
        *_kubelet_client(layout),
    )
    return Component("kube-apiserver", command, _https(layout.ports.apiserver, "/readyz"))


def _reached_at(spec: ClusterSpec) -> tuple[str, ...]:
    """Return where the API server listens and what the Service `kubernetes` points to.

    Without pods nobody asks for that Service, so nothing is written to its Endpoints.
    """
    if spec.full_node:
        return ("--bind-address=0.0.0.0", f"--advertise-address={addresses.GATEWAY}")
    return (
        f"--bind-address={addresses.LOOPBACK}",
        f"--advertise-address={addresses.UNREACHABLE}",
        "--endpoint-reconciler-type=none",
    )


def _admission(spec: ClusterSpec) -> tuple[str, ...]:
    """Return the one exception to the default admission: without controllers nobody makes the service accounts."""
    return () if spec.controllers else ("--disable-admission-plugins=ServiceAccount",)


def _audit(layout: Layout) -> tuple[str, ...]:
    if not layout.spec.audit:
        return ()
    policy = layout.document("audit-policy.json")
    return (
        f"--audit-policy-file={policy}",
        f"--audit-log-path={layout.places.audit}",
        "--audit-log-maxsize=1000000",  # megabytes; 0 means 100, and then the log begins anew in another file
    )


def _kubelet_client(layout: Layout) -> tuple[str, ...]:
    return (
        f"--kubelet-certificate-authority={layout.certificate('ca.crt')}",
        f"--kubelet-client-certificate={layout.certificate('admin.crt')}",
        f"--kubelet-client-key={layout.certificate('admin.key')}",
        "--kubelet-preferred-address-types=InternalIP",
    )


def _controller_manager(layout: Layout) -> Component:
    command = (
        layout.program("kube-controller-manager"),
        *_controller_flags(layout, "kube-controller-manager", layout.ports.controller_manager),
        "--use-service-account-credentials=true",
        f"--service-account-private-key-file={layout.certificate('service-account.key')}",
        f"--root-ca-file={layout.certificate('ca.crt')}",
        f"--cluster-signing-cert-file={layout.certificate('ca.crt')}",
        f"--cluster-signing-key-file={layout.certificate('ca.key')}",
        JOB_SYNCS,
    )
    return Component("kube-controller-manager", command, _https(layout.ports.controller_manager, "/healthz"))


def _scheduler(layout: Layout) -> Component:
    flags = _controller_flags(layout, "kube-scheduler", layout.ports.scheduler)
    return Component(
        "kube-scheduler", (layout.program("kube-scheduler"), *flags), _https(layout.ports.scheduler, "/healthz")
    )


def _controller_flags(layout: Layout, name: str, port: int) -> tuple[str, ...]:
    kubeconfig = layout.document(f"{name}.kubeconfig")
    return (
        f"--kubeconfig={kubeconfig}",
        f"--authentication-kubeconfig={kubeconfig}",
        f"--authorization-kubeconfig={kubeconfig}",
        f"--bind-address={addresses.LOOPBACK}",
        f"--secure-port={port}",
        f"--tls-cert-file={layout.certificate('server.crt')}",
        f"--tls-private-key-file={layout.certificate('server.key')}",
        "--leader-elect=false",
        *CONTROLLER_RATE,
    )


def _containerd(layout: Layout) -> Component:
    return Component("containerd", ("containerd", f"--config={layout.document('containerd.toml')}"))


def _kubelet(layout: Layout) -> Component:
    command = (
        layout.program("kubelet"),
        f"--config={layout.document('kubelet.json')}",
        f"--kubeconfig={layout.document('kubelet.kubeconfig')}",
        f"--root-dir={layout.places.kubelet}",
        f"--hostname-override={addresses.node(layout.spec.name)}",
        f"--node-ip={addresses.GATEWAY}",
    )
    return Component("kubelet", command, Probe(f"http://{addresses.LOOPBACK}:{layout.ports.kubelet_health}/healthz"))


def _proxy(layout: Layout) -> Component:
    command = (layout.program("kube-proxy"), f"--config={layout.document('kube-proxy.json')}")
    return Component("kube-proxy", command, Probe(f"http://{addresses.LOOPBACK}:{layout.ports.proxy_health}/healthz"))


def _dns(layout: Layout) -> Component:
    command = (layout.program("coredns"), f"-conf={layout.document('Corefile')}")
    return Component("coredns", command, Probe(f"http://{addresses.LOOPBACK}:{layout.ports.dns_ready}/ready"))


def _kwok(layout: Layout) -> Component:
    command = (
        layout.program("kwok"),
        f"--kubeconfig={layout.document('kwok.kubeconfig')}",
        *(f"--config={path}" for path in _stages(layout)),
        "--manage-all-nodes=false",
        f"--manage-nodes-with-annotation-selector={FAKE_NODE}=fake",
        f"--cidr={addresses.FAKE_PODS}",
        f"--node-ip={layout.host}",
        f"--node-port={layout.ports.kwok}",
        f"--server-address={layout.host}:{layout.ports.kwok}",
        f"--tls-cert-file={layout.certificate('server.crt')}",
        f"--tls-private-key-file={layout.certificate('server.key')}",
        "--node-lease-duration-seconds=40",
    )
    return Component("kwok", command, Probe(f"http://{layout.host}:{layout.ports.kwok}/healthz"))


def _stages(layout: Layout) -> list[Path]:
    """Return the files that say how nodes and pods go from state to state: the fast ones, or the caller's for pods."""
    shipped = layout.record.programs / "stages"
    chosen = layout.spec.fake_stages
    pods = [Path(chosen)] if chosen else [shipped / f"pod-{step}.yaml" for step in ("ready", "complete", "delete")]
    return [shipped / "node-initialize.yaml", shipped / "node-heartbeat-with-lease.yaml", *pods]


def _storage(layout: Layout) -> Component:
    command = (
        layout.program("storage"),
        f"-kubeconfig={layout.document('storage.kubeconfig')}",
        f"-provisioner={PROVISIONER}",
        f"-root={layout.places.volumes}",
    )
    return Component("storage", command)
