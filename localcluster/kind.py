"""A command of kind's shape on top of localcluster: the verbs that pytest-kind and scripts for CI call.

It prints what kind prints where programs read it. What a localcluster cannot honour (another node image, more nodes,
port mappings) is refused by name, never ignored.
"""

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from localcluster import addresses, cluster, images, kubeconfig, toolchain
from localcluster.cluster import Cluster
from localcluster.errors import LocalClusterError
from localcluster.spec import ClusterSpec

DEFAULT_NAME = "kind"
_NAME_VARIABLE = "KIND_CLUSTER_NAME"
_HONOURED_NETWORKING = {"podSubnet": addresses.PODS, "serviceSubnet": addresses.SERVICES, "ipFamily": "ipv4"}


def main(arguments: Sequence[str]) -> int:
    """Run one command and return its exit code, with errors told as kind tells them."""
    options = build_parser().parse_args(arguments)
    try:
        options.verb(options)
    except LocalClusterError as error:
        _tell(f"ERROR: {error}")
        return 1
    return 0


def build_parser() -> argparse.ArgumentParser:
    """Return the parser; each verb's function is in `verb`."""
    parser = argparse.ArgumentParser(prog="kind", description="localcluster in kind's shape", allow_abbrev=False)
    parser.add_argument("-q", "--quiet", action="store_true")
    parser.add_argument("-v", "--verbosity", type=int, default=0)
    verbs = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_create(_add_group(verbs, "create"))
    _add_delete(_add_group(verbs, "delete"))
    _add_get(_add_group(verbs, "get"))
    _add_load(_add_group(verbs, "load"))
    _add_export(_add_group(verbs, "export"))
    verbs.add_parser("version").set_defaults(verb=_version)
    return parser


def refuse_image(image: str) -> str | None:
    """Return why a node image cannot be honoured, or None if it is of the version that runs here."""
    tag = image.partition("@")[0].rpartition(":")[2]
    if tag == toolchain.KUBERNETES:
        return None
    return f"--image {image!r}: the node is no image here; only the tag {toolchain.KUBERNETES} can be asked for"


def refuse_config(config: dict[str, Any]) -> list[str]:
    """Return in words every field of a kind configuration that cannot be honoured."""
    refused = [
        f"{field}: is not supported"
        for field in config.keys() - {"apiVersion", "kind", "name", "nodes", "networking"}
        if config[field]
    ]
    for field, value in (config.get("networking") or {}).items():
        if value != _HONOURED_NETWORKING.get(field):
            refused.append(f"networking.{field}: is {value!r}, can only be {_HONOURED_NETWORKING.get(field)!r} here")
    nodes = config.get("nodes") or []
    if len(nodes) > 1:
        refused.append(f"nodes: has {len(nodes)} entries, must have one")
    for index, node in enumerate(nodes):
        refused += _refuse_node(f"nodes[{index}]", node)
    return sorted(refused)


def _refuse_node(path: str, node: dict[str, Any]) -> list[str]:
    refused = [f"{path}.{field}: is not supported" for field in node.keys() - {"role", "image"} if node[field]]
    if node.get("role", "control-plane") != "control-plane":
        refused.append(f"{path}.role: is {node['role']!r}, must be 'control-plane'")
    if node.get("image") and (reason := refuse_image(node["image"])):
        refused.append(f"{path}.image: {reason}")
    return refused


def _add_group(verbs: Any, name: str) -> Any:
    return verbs.add_parser(name, allow_abbrev=False).add_subparsers(required=True, metavar="OBJECT")


def _add_verb(group: Any, name: str, verb: object) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = group.add_parser(name, allow_abbrev=False)
    parser.set_defaults(verb=verb)
    return parser


def _add_name(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-n", "--name", default=os.environ.get(_NAME_VARIABLE))


def _add_kubeconfig(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--kubeconfig", type=Path, default=None)


def _add_create(group: Any) -> None:
    parser = _add_verb(group, "cluster", _create_cluster)
    _add_name(parser)
    _add_kubeconfig(parser)
    parser.add_argument("--image")
    parser.add_argument("--config", type=Path)
    parser.add_argument("--retain", action="store_true")
    parser.add_argument("--wait", help="accepted: the node is always waited for")


def _add_delete(group: Any) -> None:
    parser = _add_verb(group, "cluster", _delete_cluster)
    _add_name(parser)
    _add_kubeconfig(parser)
    parser = _add_verb(group, "clusters", _delete_clusters)
    _add_kubeconfig(parser)
    parser.add_argument("names", nargs="*")
    parser.add_argument("-A", "--all", action="store_true")


def _add_get(group: Any) -> None:
    _add_verb(group, "clusters", _get_clusters)
    _add_name(_add_verb(group, "nodes", _get_nodes))
    parser = _add_verb(group, "kubeconfig", _get_kubeconfig)
    _add_name(parser)
    parser.add_argument("--internal", action="store_true")


def _add_load(group: Any) -> None:
    for name, verb in (("docker-image", _load_tags), ("image-archive", _load_archives)):
        parser = _add_verb(group, name, verb)
        _add_name(parser)
        parser.add_argument("--nodes", default="")
        parser.add_argument("sources", nargs="+")


def _add_export(group: Any) -> None:
    parser = _add_verb(group, "kubeconfig", _export_kubeconfig)
    _add_name(parser)
    _add_kubeconfig(parser)
    parser.add_argument("--internal", action="store_true")
    parser = _add_verb(group, "logs", _export_logs)
    _add_name(parser)
    parser.add_argument("folder", nargs="?")


def _create_cluster(options: argparse.Namespace) -> None:
    config = _read_config(options.config) if options.config else {}
    name = options.name or config.get("name") or DEFAULT_NAME
    refused = refuse_config(config)
    if options.image and (reason := refuse_image(options.image)):
        refused.append(reason)
    if refused:
        raise LocalClusterError(f"cannot create cluster {name!r} as asked: {'; '.join(refused)}")
    if name in _names():
        raise LocalClusterError(f'node(s) already exist for a cluster with the name "{name}"')
    _tell(f'Creating cluster "{name}" ...')
    made = _up(name, retain=options.retain, quiet=options.quiet)
    kubeconfig.add(made, options.kubeconfig or kubeconfig.default_file(), context=_context(name))
    _tell(f'Set kubectl context to "{_context(name)}"')


def _up(name: str, *, retain: bool, quiet: bool) -> Cluster:
    try:
        return cluster.up(ClusterSpec(name=name), (lambda _: None) if quiet else _tell)
    except LocalClusterError:
        # As kind does: nothing is left of a cluster that did not come up, unless somebody wants to look at it.
        if not retain:
            cluster.down(name)
        raise


def _delete_cluster(options: argparse.Namespace) -> None:
    _delete(options.name or DEFAULT_NAME, options.kubeconfig)


def _delete_clusters(options: argparse.Namespace) -> None:
    if not options.all and not options.names:
        raise LocalClusterError("no cluster names given; name them or add --all")
    for name in _names() if options.all else options.names:
        _delete(name, options.kubeconfig)


def _delete(name: str, file: Path | None) -> None:
    _tell(f'Deleting cluster "{name}" ...')
    found = cluster.find(name)
    if found is not None:
        kubeconfig.remove(found.programs, file or kubeconfig.default_file(), context=_context(name))
    cluster.down(name)


def _get_clusters(_: argparse.Namespace) -> None:
    names = _names()
    if not names:
        _tell("No kind clusters found.")
    for name in names:
        _say(name)


def _get_nodes(options: argparse.Namespace) -> None:
    name = options.name or DEFAULT_NAME
    if name not in _names():
        _tell(f'No kind nodes found for cluster "{name}".')
        return
    _say(addresses.node(name))


def _get_kubeconfig(options: argparse.Namespace) -> None:
    _refuse_internal(options)
    found = _get(options.name)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "config"
        kubeconfig.add(found, file, context=_context(found.name))
        _say(file.read_text().rstrip("\n"))


def _load_tags(options: argparse.Namespace) -> None:
    found = _get_target(options)
    for tag in options.sources:
        _tell(f"Image: {tag!r} loading into {', '.join(images.load_tag(found.layout, tag))}")


def _load_archives(options: argparse.Namespace) -> None:
    found = _get_target(options)
    for archive in options.sources:
        images.load_archive(found.layout, Path(archive))


def _export_kubeconfig(options: argparse.Namespace) -> None:
    _refuse_internal(options)
    found = _get(options.name)
    kubeconfig.add(found, options.kubeconfig or kubeconfig.default_file(), context=_context(found.name))
    _tell(f'Set kubectl context to "{_context(found.name)}"')


def _export_logs(options: argparse.Namespace) -> None:
    found = _get(options.name)
    folder = Path(options.folder or tempfile.mkdtemp(prefix="kind-"))
    _tell(f'Exporting logs for cluster "{found.name}" to:')
    shutil.copytree(found.layout.places.logs, folder / addresses.node(found.name), dirs_exist_ok=True)
    _say(folder)


def _version(_: argparse.Namespace) -> None:
    machine = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
    _say(f"kind {toolchain.KUBERNETES}-localcluster python{platform.python_version()} linux/{machine}")


def _refuse_internal(options: argparse.Namespace) -> None:
    if options.internal:
        raise LocalClusterError("--internal: is not supported; there is no network of containers")


def _get_target(options: argparse.Namespace) -> Cluster:
    found = _get(options.name)
    node = addresses.node(found.name)
    if unknown := [each for each in options.nodes.split(",") if each not in {"", node}]:
        raise LocalClusterError(f"--nodes: {', '.join(unknown)}: the cluster's only node is {node}")
    return found


def _get(name: str | None) -> Cluster:
    wanted = name or DEFAULT_NAME
    found = cluster.find(wanted)
    if found is None or wanted not in _names():
        raise LocalClusterError(f'no nodes found for cluster "{wanted}"')
    return found


def _names() -> list[str]:
    """Return the clusters with a real node; those of a control plane alone would be none to kind."""
    found = ((name, cluster.find(name)) for name in cluster.names())
    return [name for name, each in found if each is not None and each.layout.spec.full_node]


def _read_config(file: Path) -> dict[str, Any]:
    """Return a configuration file's content. kubectl reads the YAML, so that no library must be installed."""
    kubectl = toolchain.programs(_tell) / "kubectl"
    patch = ["patch", "--local", "--type=merge", "--patch={}", "--output=json", f"--filename={file}"]
    command = [str(kubectl), "--kubeconfig=/dev/null", *patch]
    result = subprocess.run(command, check=False, capture_output=True, text=True)
    if result.returncode != 0:
        raise LocalClusterError(f"--config {file}: {result.stderr.strip()}")
    config: dict[str, Any] = json.loads(result.stdout)
    if (config.get("kind"), config.get("apiVersion")) != ("Cluster", "kind.x-k8s.io/v1alpha4"):
        raise LocalClusterError(f"--config {file}: must be a Cluster of kind.x-k8s.io/v1alpha4")
    return config


def _context(name: str) -> str:
    return f"kind-{name}"


def _say(text: object) -> None:
    """Write what was asked for."""
    sys.stdout.write(f"{text}\n")


def _tell(text: str) -> None:
    """Write what goes on, where kind writes it."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()
