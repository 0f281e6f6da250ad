"""The `localcluster` command: arguments in, one verb of `cluster` called, its errors told in one line."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from localcluster import cluster, components, images, kubeconfig, packages, processes, toolchain
from localcluster.errors import LocalClusterError
from localcluster.spec import DEFAULT_NAME, ClusterSpec


def main(arguments: Sequence[str]) -> int:
    """Run one command and return its exit code: 0, 1 for what failed, 2 for a wrong use."""
    options = build_parser().parse_args(arguments)
    try:
        code: int = options.verb(options)
    except LocalClusterError as error:
        _report(f"localcluster: {error}")
        return 1
    except KeyboardInterrupt:
        _report("localcluster: interrupted; `localcluster down` removes what was begun")
        return 130
    return code


def build_parser() -> argparse.ArgumentParser:
    """Return the parser; each verb's function is in `verb`."""
    parser = argparse.ArgumentParser(
        prog="localcluster",
        description="A real single-node Kubernetes for machines without a container engine.",
    )
    verbs = parser.add_subparsers(required=True, metavar="VERB")
    _add_up(verbs.add_parser("up", help="make a cluster, or make sure of it"))
    for name, verb, text in (
        ("down", _down, "end a cluster and leave nothing of it behind"),
        ("status", _status, "say which components run and which nodes are ready"),
        ("kubeconfig", _kubeconfig, "print the administrator's kubeconfig"),
    ):
        _add_name(_add_verb(verbs, name, verb, text))
    load = _add_verb(verbs, "load-image", _load_image, "bring an image into the node")
    load.add_argument("first", metavar="NAME", help="the cluster; may be left out")
    load.add_argument("second", metavar="ARCHIVE|TAG", nargs="?", help="a docker or OCI archive, or a tag in buildah")
    logs = _add_verb(verbs, "logs", _logs, "print a component's log, or where the logs are")
    logs.add_argument("component", nargs="?")
    _add_name(logs)
    _add_verb(verbs, "build", _build, "build the programs and print their folder")
    _add_verb(verbs, "list", _list, "print the names of this machine's clusters")
    _add_verb(verbs, "install-deps", _install, "install the Debian packages that are missing")
    return parser


def parse_flags(values: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Return the further flags by component.

    Raises:
        LocalClusterError: A value is not of the form COMPONENT=--FLAG.
    """
    flags: dict[str, tuple[str, ...]] = {}
    for value in values:
        component, _, flag = value.partition("=")
        if not flag.startswith("-"):
            raise LocalClusterError(f"--flag {value!r}: must be COMPONENT=--FLAG, as kube-apiserver=--v=4")
        flags[component] = (*flags.get(component, ()), flag)
    return flags


def _add_verb(
    verbs: "argparse._SubParsersAction[argparse.ArgumentParser]", name: str, verb: object, text: str
) -> argparse.ArgumentParser:
    parser = verbs.add_parser(name, help=text, description=text)
    parser.set_defaults(verb=verb)
    return parser


def _add_name(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--name", default=DEFAULT_NAME, help=f"the cluster (default: {DEFAULT_NAME})")


def _add_up(parser: argparse.ArgumentParser) -> None:
    _add_name(parser)
    parser.set_defaults(verb=_up)
    parser.add_argument("--control-plane-only", action="store_true", help="no kubelet; needs no root")
    parser.add_argument("--no-controllers", action="store_true", help="no controller-manager and scheduler")
    parser.add_argument("--fake-nodes", type=int, default=0, metavar="N", help="nodes that kwok plays")
    parser.add_argument("--fake-gpus", type=int, default=0, metavar="N", help="nvidia.com/gpu of each fake node")
    parser.add_argument(
        "--fake-stages", type=Path, metavar="FILE", help="kwok Stages for pods instead of the fast ones"
    )
    parser.add_argument("--audit", action="store_true", help="write an audit log at level Metadata")
    parser.add_argument("--flag", action="append", default=[], metavar="COMPONENT=--FLAG", help="a further flag")
    parser.add_argument("--kubeconfig", type=Path, metavar="FILE", help="add the cluster to this kubeconfig too")


def _up(options: argparse.Namespace) -> int:
    spec = ClusterSpec(
        name=options.name,
        control_plane_only=options.control_plane_only,
        controllers=not options.no_controllers,
        fake_nodes=options.fake_nodes,
        fake_gpus=options.fake_gpus,
        fake_stages=str(options.fake_stages.absolute()) if options.fake_stages else None,
        audit=options.audit,
        flags=parse_flags(options.flag),
    )
    made = cluster.up(spec, _report)
    if options.kubeconfig:
        kubeconfig.add(made, options.kubeconfig, context=f"localcluster-{made.name}")
    _say(f"export KUBECONFIG={options.kubeconfig or made.kubeconfig}")
    return 0


def _down(options: argparse.Namespace) -> int:
    cluster.down(options.name, _report)
    return 0


def _status(options: argparse.Namespace) -> int:
    found = cluster.get(options.name)
    running = processes.find_components(found.layout.places.folder)
    wanted = [component.name for component in components.all_components(found.layout)]
    for name in wanted:
        process = running.get(name)
        _say(f"{name:<24} {f'running, pid {process.pid}, {process.age:.0f} s' if process else 'not running'}")
    _say(f"{'API server':<24} {found.server}")
    _say(f"{'kubeconfig':<24} {found.kubeconfig}")
    _say(f"{'logs':<24} {found.layout.places.logs}")
    if set(wanted) <= running.keys():
        sys.stdout.write(found.kubectl("get", "nodes", "--output=wide"))
        return 0
    return 1


def _kubeconfig(options: argparse.Namespace) -> int:
    sys.stdout.write(cluster.get(options.name).kubeconfig.read_text())
    return 0


def _load_image(options: argparse.Namespace) -> int:
    name, source = (options.first, options.second) if options.second else (DEFAULT_NAME, options.first)
    for image in images.load(cluster.get(name).layout, source):
        _say(image)
    return 0


def _logs(options: argparse.Namespace) -> int:
    places = cluster.get(options.name).layout.places
    if options.component is None:
        for log in sorted(places.logs.glob("*.log")):
            _say(log)
        return 0
    if not places.log(options.component).exists():
        raise LocalClusterError(f"cluster {options.name!r}: no log of {options.component!r} in {places.logs}")
    sys.stdout.write(places.log(options.component).read_text(errors="replace"))
    return 0


def _build(_: argparse.Namespace) -> int:
    _say(toolchain.programs(_report))
    return 0


def _list(_: argparse.Namespace) -> int:
    for name in cluster.names():
        _say(name)
    return 0


def _install(_: argparse.Namespace) -> int:
    packages.install(_report)
    return 0


def _say(text: object) -> None:
    """Write a line of what was asked for; how far it is goes to `_report`."""
    sys.stdout.write(f"{text}\n")


def _report(text: str) -> None:
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()
