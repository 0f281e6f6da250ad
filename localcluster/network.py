"""What a full node puts into the host's network, and taking it out again."""

import json
import time
from pathlib import Path

from localcluster import addresses
from localcluster.commands import attempt, run
from localcluster.errors import LocalClusterError

_IP_FORWARD = Path("/proc/sys/net/ipv4/ip_forward")


def read_ip_forward() -> str:
    """Return whether the host forwards packets: "0" or "1"."""
    return _IP_FORWARD.read_text().strip()


def prepare(name: str) -> None:
    """Make the bridge that carries the gateway's address and the table that masquerades what pods send out.

    The bridge has no ports; it is a place for an address that does not come and go with the pods (not every kernel
    has dummy interfaces).
    """
    link = addresses.bridge(name)
    if attempt(["ip", "link", "show", link]).returncode != 0:
        run("ip", "link", "add", link, "type", "bridge")
    run("ip", "address", "replace", f"{addresses.GATEWAY}/32", "dev", link)
    run("ip", "link", "set", link, "up")
    _IP_FORWARD.write_text("1\n")
    run("nft", "-f", "-", stdin=render_table(name))


def render_table(name: str) -> str:
    """Return the nftables commands that make the cluster's table anew."""
    table = addresses.table(name)
    pods = addresses.PODS
    return (
        f"table ip {table}\n"
        f"delete table ip {table}\n"
        f"table ip {table} {{\n"
        "  chain postrouting {\n"
        "    type nat hook postrouting priority srcnat; policy accept;\n"
        f"    ip saddr {pods} ip daddr != {pods} masquerade\n"
        "  }\n"
        "}\n"
    )


def clean(name: str, ip_forward: str | None) -> None:
    """Remove the cluster's interface and tables and give the host its forwarding setting back."""
    link = addresses.bridge(name)
    if attempt(["ip", "link", "show", link]).returncode == 0:
        run("ip", "link", "delete", link)
    for family, table in (("ip", addresses.table(name)), *addresses.PROXY_TABLES):
        # nft 1.0 knows no `destroy`; declaring the table first makes deleting it succeed in any case.
        run("nft", "-f", "-", stdin=f"table {family} {table}\ndelete table {family} {table}\n")
    if ip_forward is not None:
        _IP_FORWARD.write_text(f"{ip_forward}\n")
    _wait_for_pods_interfaces()


def occupied() -> list[str]:
    """Return in words what a full node would need of this host and somebody else has."""
    tables = {(family, name) for family, name in _tables()}
    found = [f"nftables table `{family} {name}`" for family, name in addresses.PROXY_TABLES if (family, name) in tables]
    return found + [f"address {addresses.GATEWAY} on {link}" for link in _links_with_gateway()]


def clusters() -> list[str]:
    """Return the names of the clusters whose table is in the host's network, whoever made them."""
    prefix = addresses.table("")
    return [name.removeprefix(prefix) for family, name in _tables() if family == "ip" and name.startswith(prefix)]


def _wait_for_pods_interfaces() -> None:
    """Wait for the kernel to take the pods' interfaces away, some time after their network namespaces."""
    deadline = time.monotonic() + 20
    while links := _links_with_gateway():
        if time.monotonic() > deadline:
            raise LocalClusterError(f"interfaces {', '.join(links)} still have the address {addresses.GATEWAY}")
        time.sleep(0.05)


def _links_with_gateway() -> list[str]:
    listed = json.loads(run("ip", "-json", "address", "show", "to", f"{addresses.GATEWAY}/32") or "[]")
    return [link["ifname"] for link in listed if "ifname" in link]


def _tables() -> list[tuple[str, str]]:
    entries = json.loads(run("nft", "-j", "list", "tables"))["nftables"]
    return [(entry["table"]["family"], entry["table"]["name"]) for entry in entries if "table" in entry]
