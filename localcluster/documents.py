"""The files a cluster's components read, rendered from its record: certificates' contents apart, all pure.

What can be JSON is JSON, which every reader of YAML takes: no YAML library is needed to write it.
"""

import base64
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from localcluster import addresses
from localcluster.certificates import Certificate
from localcluster.components import FAKE_NODE, PROVISIONER, Layout

PAUSE_IMAGE = "localhost/rondo-localcluster/pause:1"
_PLUGINS = "/usr/lib/cni"

# The users of host processes that serve the cluster; each by a name of its own so that an audit log tells them apart.
_ADMINISTRATORS = ("kwok", "storage", "coredns")


def certificates(layout: Layout) -> list[Certificate]:
    """Return every certificate of the cluster."""
    names = [f"IP:{addresses.LOOPBACK}", f"IP:{addresses.SERVICE_API}", f"IP:{addresses.GATEWAY}", "DNS:localhost"]
    names += [f"DNS:kubernetes{suffix}" for suffix in ("", ".default", ".default.svc")]
    names.append(f"DNS:kubernetes.default.svc.{addresses.DOMAIN}")
    node = addresses.node(layout.spec.name)
    return [
        Certificate("server", "localcluster", names=tuple(names)),
        Certificate("admin", "admin", group="system:masters"),
        Certificate("kube-controller-manager", "system:kube-controller-manager"),
        Certificate("kube-scheduler", "system:kube-scheduler"),
        Certificate("kubelet", f"system:node:{node}", group="system:nodes"),
        Certificate("kube-proxy", "system:kube-proxy"),
        *(Certificate(user, f"localcluster:{user}", group="system:masters") for user in _ADMINISTRATORS),
    ]


def render_kubeconfig(layout: Layout, user: str, *, context: str) -> str:
    """Return a kubeconfig with the certificate of that user inside, so that it can be copied anywhere."""

    def content(file: str) -> str:
        return base64.b64encode(Path(layout.certificate(file)).read_bytes()).decode()

    authority = {"server": layout.server, "certificate-authority-data": content("ca.crt")}
    login = {"client-certificate-data": content(f"{user}.crt"), "client-key-data": content(f"{user}.key")}
    return _json(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": context, "cluster": authority}],
            "users": [{"name": context, "user": login}],
            "contexts": [{"name": context, "context": {"cluster": context, "user": context}}],
            "current-context": context,
        },
    )


def configuration(layout: Layout) -> dict[str, str]:
    """Return the content of each configuration file by its name."""
    users = ("kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy", *_ADMINISTRATORS)
    files = {f"{user}.kubeconfig": render_kubeconfig(layout, user, context="localcluster") for user in users}
    files["audit-policy.json"] = _json(audit_policy())
    if layout.spec.full_node:
        files |= {
            "containerd.toml": render_containerd(layout),
            "cni/10-rondo.conflist": _json(pod_network(layout)),
            "kubelet.json": _json(kubelet(layout)),
            "kube-proxy.json": _json(proxy(layout)),
            "Corefile": render_corefile(layout, forward=has_upstream(Path("/etc/resolv.conf"))),
        }
    return files


def audit_policy() -> dict[str, Any]:
    """Return the audit policy: every finished request, without its body."""
    return {
        "apiVersion": "audit.k8s.io/v1",
        "kind": "Policy",
        "omitStages": ["RequestReceived"],
        "rules": [{"level": "Metadata"}],
    }


def render_containerd(layout: Layout) -> str:
    """Return containerd's configuration.

    Every path lies in the cluster's folder, mounts of network namespaces included, so that nothing is shared with
    another containerd of the host. The kernel may forbid to lower `oom_score_adj` (no CAP_SYS_RESOURCE): runc fails
    then unless it is restricted.
    """
    quoted = {
        "root": layout.places.containerd,
        "state": layout.places.runtime,
        "socket": layout.places.socket,
        "optional": layout.places.containerd / "opt",
        "network": layout.document("cni"),
        "runc": layout.places.runtime / "runc",
    }
    quotes = {name: json.dumps(str(value)) for name, value in quoted.items()}
    cri = 'plugins."io.containerd.grpc.v1.cri"'
    return f"""version = 2
root = {quotes["root"]}
state = {quotes["state"]}
disabled_plugins = [
  "io.containerd.snapshotter.v1.aufs",
  "io.containerd.snapshotter.v1.btrfs",
  "io.containerd.snapshotter.v1.devmapper",
  "io.containerd.snapshotter.v1.zfs",
]

[grpc]
address = {quotes["socket"]}

[plugins."io.containerd.internal.v1.opt"]
path = {quotes["optional"]}

[{cri}]
sandbox_image = {json.dumps(PAUSE_IMAGE)}
restrict_oom_score_adj = true
netns_mounts_under_state_dir = true
disable_apparmor = true

[{cri}.cni]
bin_dir = {json.dumps(_PLUGINS)}
conf_dir = {quotes["network"]}

[{cri}.containerd]
default_runtime_name = "runc"

[{cri}.containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"

[{cri}.containerd.runtimes.runc.options]
Root = {quotes["runc"]}
SystemdCgroup = false
"""


def pod_network(layout: Layout) -> dict[str, Any]:
    """Return the CNI configuration: a pair of interfaces a pod, every packet routed by the host.

    A bridge would pass packets between two pods at layer 2, where an answer from behind a Service finds its way back
    only on hosts with br_netfilter.
    """
    ranges = [[{"subnet": addresses.PODS, "gateway": addresses.GATEWAY, "rangeStart": "10.244.0.2"}]]
    ipam = {
        "type": "host-local",
        "dataDir": str(layout.places.runtime / "addresses"),
        "ranges": ranges,
        "routes": [{"dst": "0.0.0.0/0"}],
    }
    return {
        "cniVersion": "0.4.0",
        "name": addresses.network(layout.spec.name),
        "plugins": [{"type": "ptp", "ipMasq": False, "ipam": ipam}],
    }


def kubelet(layout: Layout) -> dict[str, Any]:
    """Return the kubelet's configuration.

    The disk is the machine's own: no pod is evicted and no image removed because of how full it is.
    """
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": addresses.GATEWAY,
        "port": layout.ports.kubelet,
        "healthzBindAddress": addresses.LOOPBACK,
        "healthzPort": layout.ports.kubelet_health,
        "tlsCertFile": layout.certificate("server.crt"),
        "tlsPrivateKeyFile": layout.certificate("server.key"),
        "authentication": {"x509": {"clientCAFile": layout.certificate("ca.crt")}},
        "containerRuntimeEndpoint": f"unix://{layout.places.socket}",
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{addresses.cgroup(layout.spec.name)}",
        "failCgroupV1": False,
        "failSwapOn": False,
        "oomScoreAdj": 0,
        "makeIPTablesUtilChains": False,
        "clusterDNS": [addresses.GATEWAY],
        "clusterDomain": addresses.DOMAIN,
        "evictionHard": {"memory.available": "100Mi", "nodefs.available": "0%", "imagefs.available": "0%"},
        "imageGCHighThresholdPercent": 100,
        "podLogsDir": str(layout.places.logs / "pods"),
        "volumePluginDir": str(layout.places.kubelet / "volume-plugins"),
    }


def proxy(layout: Layout) -> dict[str, Any]:
    """Return kube-proxy's configuration; the host's connection tracking is left as it is."""
    return {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "nftables",
        "clientConnection": {"kubeconfig": layout.document("kube-proxy.kubeconfig")},
        "hostnameOverride": addresses.node(layout.spec.name),
        "clusterCIDR": addresses.PODS,
        "healthzBindAddress": f"{addresses.LOOPBACK}:{layout.ports.proxy_health}",
        "metricsBindAddress": f"{addresses.LOOPBACK}:{layout.ports.proxy_metrics}",
        "oomScoreAdj": 0,
        "conntrack": {
            "maxPerCore": 0,
            "tcpEstablishedTimeout": "0s",
            "tcpCloseWaitTimeout": "0s",
        },
    }


def render_corefile(layout: Layout, *, forward: bool) -> str:
    """Return CoreDNS' configuration; names outside the cluster go to the host's resolvers where it has any."""
    upstream = "    forward . /etc/resolv.conf\n" if forward else ""
    return f""".:53 {{
    bind {addresses.GATEWAY}
    errors
    ready {addresses.LOOPBACK}:{layout.ports.dns_ready}
    kubernetes {addresses.DOMAIN} in-addr.arpa ip6.arpa {{
        kubeconfig {layout.document("coredns.kubeconfig")}
        pods insecure
        fallthrough in-addr.arpa ip6.arpa
        ttl 5
    }}
    cache 5
    loadbalance
{upstream}}}
"""


def has_upstream(resolver: Path) -> bool:
    """Return whether the host's resolver names a server that is not the host's own stub.

    Forwarding to a stub on the loopback address is safe too, since CoreDNS listens elsewhere.
    """
    try:
        return any(line.split()[:1] == ["nameserver"] for line in resolver.read_text().splitlines())
    except FileNotFoundError:
        return False


def fake_node(layout: Layout, index: int) -> dict[str, Any]:
    """Return a node for kwok to play.

    Beside a real node it is tainted, or real pods would land on it and only seem to run.
    """
    name = addresses.fake_node(layout.spec.name, index)
    resources = {"cpu": "1k", "memory": "1Ti", "pods": "10k", "ephemeral-storage": "1Ti"}
    if layout.spec.fake_gpus:
        resources["nvidia.com/gpu"] = str(layout.spec.fake_gpus)
    taint = {"key": FAKE_NODE, "value": "fake", "effect": "NoSchedule"}
    labels = {"kubernetes.io/hostname": name, "kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64"}
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": name,
            "labels": {**labels, "type": "kwok"},
            "annotations": {FAKE_NODE: "fake"},
        },
        "spec": {"taints": [taint]} if layout.spec.full_node else {},
        "status": {"capacity": resources, "allocatable": resources},
    }


def storage_class() -> dict[str, Any]:
    """Return the default StorageClass: a directory of the host, made where the pod goes."""
    return {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {"name": "standard", "annotations": {"storageclass.kubernetes.io/is-default-class": "true"}},
        "provisioner": PROVISIONER,
        "reclaimPolicy": "Delete",
        "volumeBindingMode": "WaitForFirstConsumer",
    }


def _json(value: Mapping[str, Any]) -> str:
    return json.dumps(value, indent=2) + "\n"
