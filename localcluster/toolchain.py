"""The programs of a cluster, built once from Go modules and cached by a hash of their source.

`kube/` holds Kubernetes, etcd, CoreDNS and our two small programs in one module, so that they share compiled packages;
`tools/` holds helm and kwok, which need other versions of the same libraries.
"""

import fcntl
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from localcluster.errors import LocalClusterError
from localcluster.places import SOURCE, cache_root

KUBERNETES = "v1.35.4"
_HELM = "v3.22.0"
_KWOK = "v0.8.0"

KUBE_PROGRAMS = (
    "etcd",
    "kube-apiserver",
    "kube-controller-manager",
    "kube-proxy",
    "kube-scheduler",
    "kubectl",
    "kubelet",
)
_KWOK_STAGES = {
    "node-initialize.yaml": "node/fast/node-initialize.yaml",
    "node-heartbeat-with-lease.yaml": "node/heartbeat-with-lease/node-heartbeat-with-lease.yaml",
    "pod-ready.yaml": "pod/fast/pod-ready.yaml",
    "pod-complete.yaml": "pod/fast/pod-complete.yaml",
    "pod-delete.yaml": "pod/fast/pod-delete.yaml",
}
_REPORT_SECONDS = 15

Report = Callable[[str], None]


@dataclass(frozen=True)
class Target:
    """A program to build.

    Attributes:
        program: Its file's name.
        module: The module's folder beside this file.
        package: The Go package.
        variables: Values linked into it.
    """

    program: str
    module: str
    package: str
    variables: Mapping[str, str]


_VERSION = "k8s.io/component-base/version"
_HELM_KUBE = {
    f"helm.sh/helm/v3/pkg/{package}.k8sVersion{part}": value
    for package in ("chartutil", "lint/rules")
    for part, value in (("Major", "1"), ("Minor", "35"))
}
"""What helm takes for the cluster's version where it asks none; without it, 1.20."""

TARGETS = (
    Target(
        "kube",
        "kube",
        ".",
        {f"{_VERSION}.gitVersion": KUBERNETES, f"{_VERSION}.gitMajor": "1", f"{_VERSION}.gitMinor": "35"},
    ),
    Target("coredns", "kube", "./cmd/coredns", {}),
    Target("storage", "kube", "./cmd/storage", {}),
    Target("pause", "kube", "./cmd/pause", {}),
    Target("kwok", "tools", "sigs.k8s.io/kwok/cmd/kwok", {"sigs.k8s.io/kwok/pkg/consts.Version": _KWOK}),
    Target(
        "helm", "tools", "helm.sh/helm/v3/cmd/helm", {"helm.sh/helm/v3/internal/version.version": _HELM, **_HELM_KUBE}
    ),
)


def source_files() -> list[Path]:
    """Return the files that decide what the programs are."""
    modules = (SOURCE, SOURCE.parent / "tools")
    patterns = ("go.mod", "go.sum", "*.go", "cmd/*/*.go")
    return [path for module in modules for pattern in patterns for path in sorted(module.glob(pattern))]


def source_hash() -> str:
    """Return a short hash of the programs' source and of how they are built."""
    digest = hashlib.sha256()
    for path in source_files():
        digest.update(f"{path.relative_to(SOURCE.parent)}\0".encode())
        digest.update(path.read_bytes())
    for target in TARGETS:
        digest.update(json.dumps(build_command(target, Path("/"))).encode())
    return digest.hexdigest()[:16]


def build_command(target: Target, folder: Path) -> list[str]:
    """Return the command that builds one program into the folder."""
    values = "".join(f" -X {name}={value}" for name, value in target.variables.items())
    flags = ["-trimpath", "-tags=grpcnotrace", f"-ldflags=-s -w{values}"]
    return ["go", "build", *flags, "-o", str(folder / target.program), target.package]


def programs(report: Report) -> Path:
    """Return the folder of the built programs, building them first if this source has never been built.

    The folder gets its name only when everything in it is there, so a build that was interrupted leaves no half of one.

    Raises:
        LocalClusterError: Go is missing or too old, or a program does not compile.
    """
    folder = cache_root() / source_hash()
    if folder.exists():
        return folder
    with _locked(folder):
        if not folder.exists():
            check_go()
            _build(folder, report)
    return folder


def tool(module: Path, program: str, package: str, report: Report) -> Path:
    """Return a program of a Go module that is not the cluster's, building it first if it has never been built.

    Args:
        module: The folder of the module; its requirements decide what the program is.
        program: Its file's name.
        package: The Go package.
        report: Is told how far a build is.

    Raises:
        LocalClusterError: Go is missing or too old, or the program does not compile.
    """
    command = build_command(Target(program, module.name, package, {}), Path("/"))
    digest = hashlib.sha256(json.dumps(command).encode())
    for name in ("go.mod", "go.sum"):
        digest.update((module / name).read_bytes())
    folder = cache_root() / f"{program}-{digest.hexdigest()[:16]}"
    with _locked(folder):
        if not folder.exists():
            check_go()
            draft = folder.with_suffix(".draft")
            with _reporting(f"building {program}", time.monotonic(), report):
                _run(build_command(Target(program, module.name, package, {}), draft), module)
            draft.rename(folder)
    return folder / program


def check_go() -> None:
    """Check that the Go on the PATH can build both modules.

    Raises:
        LocalClusterError: There is none, or it is too old.
    """
    if shutil.which("go") is None:
        raise LocalClusterError(f"go: not found on the PATH; install Go {required_go()} or newer (https://go.dev/dl)")
    answer = subprocess.run(["go", "env", "GOVERSION"], check=True, capture_output=True, text=True).stdout
    found = parse_version(answer)
    if found < parse_version(required_go()):
        raise LocalClusterError(
            f"go: version is {answer.strip()}, must be {required_go()} or newer (https://go.dev/dl)"
        )


def required_go() -> str:
    """Return the newest Go version that one of the modules asks for."""
    texts = [(module / "go.mod").read_text() for module in (SOURCE, SOURCE.parent / "tools")]
    versions = [match[1] for text in texts if (match := re.search(r"^go (\S+)$", text, re.MULTILINE))]
    return max(versions, key=parse_version)


def parse_version(text: str) -> tuple[int, ...]:
    """Return the numbers of a version such as `go1.26.8`."""
    match = re.search(r"\d+(\.\d+)*", text)
    return tuple(int(part) for part in match[0].split(".")) if match else ()


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold off a second build of the same source."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _build(folder: Path, report: Report) -> None:
    draft = folder.with_suffix(".draft")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    started = time.monotonic()
    report("building Kubernetes and its tools; this happens once and takes about 8 minutes on 2 cores")
    for number, target in enumerate(TARGETS, start=1):
        step = f"building {target.program} ({number} of {len(TARGETS)})"
        with _reporting(step, started, report):
            _run(build_command(target, draft), SOURCE.parent / target.module)
    for name in KUBE_PROGRAMS:
        (draft / name).symlink_to("kube")
    _copy_stages(draft / "stages")
    draft.rename(folder)
    report(f"built in {time.monotonic() - started:.0f} s: {folder}")


def _copy_stages(folder: Path) -> None:
    """Copy kwok's own descriptions of what nodes and pods do out of its module."""
    command = ["go", "list", "-m", "-f", "{{.Dir}}", "sigs.k8s.io/kwok"]
    module = Path(_run(command, SOURCE.parent / "tools").strip())
    folder.mkdir()
    for name, path in _KWOK_STAGES.items():
        shutil.copyfile(module / "kustomize" / "stage" / path, folder / name)


def _run(command: Sequence[str], folder: Path) -> str:
    # Without cgo no C compiler is needed and the programs run in any image.
    environment = os.environ | {"CGO_ENABLED": "0", "GOFLAGS": "-mod=readonly -buildvcs=false", "GOWORK": "off"}
    result = subprocess.run(command, check=False, cwd=folder, env=environment, capture_output=True, text=True)
    if result.returncode != 0:
        raise LocalClusterError(f"{' '.join(command)}: exit code {result.returncode}\n{result.stderr.strip()}")
    return result.stdout


@contextmanager
def _reporting(step: str, started: float, report: Report) -> Iterator[None]:
    """Say every few seconds that a long step still goes on: on a terminal in place, elsewhere as lines."""
    over = threading.Event()

    def say() -> None:
        terminal = sys.stderr.isatty()
        while not over.wait(1 if terminal else _REPORT_SECONDS):
            elapsed = f"{step}, {time.monotonic() - started:.0f} s"
            if terminal:
                _rewrite(elapsed)
            else:
                report(elapsed)
        if terminal:
            _rewrite("")

    report(f"{step}, {time.monotonic() - started:.0f} s")
    speaker = threading.Thread(target=say, daemon=True)
    speaker.start()
    try:
        yield
    finally:
        over.set()
        speaker.join()


def _rewrite(text: str) -> None:
    """Put the text in place of the terminal's current line."""
    sys.stderr.write(f"\r\033[K{text}")
    sys.stderr.flush()
