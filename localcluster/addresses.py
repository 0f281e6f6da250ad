"""The addresses of a cluster, and the names of what it puts into the host's network: pure, derived from its name."""

import zlib

LOOPBACK = "127.0.0.1"
SERVICES = "10.96.0.0/16"
SERVICE_API = "10.96.0.1"
DOMAIN = "cluster.local"

# A full node's. The gateway is every pod's next hop and the node's own address, on which the API server, the kubelet
# and the DNS server answer: pods can route to it, and Endpoints refuse a loopback address.
PODS = "10.244.0.0/24"
GATEWAY = "10.244.0.1"
FAKE_PODS = "10.245.0.1/16"

# Advertised where nothing is to be reached at it: documentation's own range (RFC 5737).
UNREACHABLE = "192.0.2.1"

# kube-proxy's tables have fixed names; only one full node can stand on a host.
PROXY_TABLES = (("ip", "kube-proxy"), ("ip6", "kube-proxy"))


def bridge(name: str) -> str:
    """Return the name of the cluster's bridge; interface names have at most 15 characters."""
    return f"rondo-{zlib.crc32(name.encode()):08x}"


def table(name: str) -> str:
    """Return the name of the cluster's nftables table, which masquerades what pods send out."""
    return f"rondo-{name}"


def network(name: str) -> str:
    """Return the name of the cluster's CNI network."""
    return f"rondo-{name}"


def cgroup(name: str) -> str:
    """Return the name of the control group below which all its pods are."""
    return f"rondo-{name}"


def node(name: str) -> str:
    """Return the name of the real node."""
    return f"{name}-control-plane"


def fake_node(name: str, index: int) -> str:
    """Return the name of one of the nodes that kwok plays."""
    return f"{name}-fake-{index}"
