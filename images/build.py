"""Builds Rondo's images, with Docker where an engine answers, else with buildah.

An image's tag is a hash of all that goes into it (`rondo-operator:dev-3f2a…`), so one that is there is not built
again, and a deployment that names the tag is rolled exactly when the image has changed. The image is also called
`NAME:dev`, for manifests written by hand.

Docker keeps the image in the engine. buildah writes an archive (`docker load`, `ctr images import` read it) into
`${XDG_CACHE_HOME:-~/.cache}/rondo/images` and, as it is for machines that reach no image registry, builds on a local
base that mmdebstrap makes from Debian's packages.

Prints a line for each image: its tag, and its archive if it has one. The standard library only: this runs before
anything is installed.
"""

# ruff: noqa: INP001, S603, S607, T201 (a script, which starts programs and prints)

from __future__ import annotations

import argparse
import ast
import contextlib
import fcntl
import hashlib
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import IO, Final, Protocol

REPOSITORY: Final = Path(__file__).resolve().parent.parent
CACHE: Final = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "rondo" / "images"
HEARTBEAT: Final = 10.0
"""Seconds between signs of life during a long step."""

PUBLIC_BASE: Final = "python:3.12-slim"

LOCAL_BASE: Final = (
    "mmdebstrap", "--variant=essential", "--include=usr-is-merged,python3,python3-venv,libstdc++6,ca-certificates",
    # Without this hook Debian's usrmerge brings 50 MB of Perl.
    "--hook-dir=/usr/share/mmdebstrap/hooks/merged-usr",
    *(f"--dpkgopt=path-exclude=/usr/share/{folder}/*" for folder in ("doc", "man", "locale")),
    '--customize-hook=rm -rf "$1"/var/lib/apt/lists/* "$1"/var/cache/*',
    "bookworm",
)  # fmt: skip
"""How the local base is made; the path of the root filesystem's archive follows."""

PIP_SETTINGS: Final = ("index-url", "extra-index-url", "trusted-host", "proxy", "timeout", "default-timeout", "retries")
"""This machine's settings of pip that also hold inside a build."""


class BuildError(Exception):
    """An image cannot be built; the message is for the person at the terminal."""


@dataclass(frozen=True)
class Image:
    """An image and what it is made of.

    Attributes:
        name: Its name, and that of its folder here.
        inputs: Files and folders of the repository that its Containerfile copies.
        crate: Folder of the Rust program that it holds; without a Docker engine this machine's cargo builds it.
    """

    name: str
    inputs: tuple[str, ...]
    crate: str | None = None

    @property
    def containerfile(self) -> Path:
        """Its Containerfile."""
        return REPOSITORY / "images" / self.name / "Containerfile"

    def tag(self, base: str) -> str:
        """Give its tag when built on a base."""
        content = hashlib.sha256(base.encode())
        for path in sorted({self.containerfile, *self._files()}):
            content.update(f"\0{path.relative_to(REPOSITORY)}\0{int(os.access(path, os.X_OK))}\0".encode())
            content.update(hashlib.sha256(path.read_bytes()).digest())
        return f"{self.name}:dev-{content.hexdigest()[:12]}"

    def _files(self) -> Iterator[Path]:
        for name in self.inputs:
            path = REPOSITORY / name
            found = path.rglob("*") if path.is_dir() else [path]
            yield from (file for file in found if file.is_file() and "__pycache__" not in file.parts)


IMAGES: Final = (
    Image("rondo-operator", ("requirements/operator.txt", "operator/rondo")),
    Image(
        "rondo-router",
        ("router/Cargo.toml", "router/Cargo.lock", "router/build.rs", "router/proto", "router/src"),
        crate="router",
    ),
    Image("rondo-sklearn", ("requirements/sklearn.txt", "images/rondo-sklearn/serve-model")),
)


class Engine(Protocol):
    """What builds images."""

    @property
    def base(self) -> str:
        """What names the base in an image's hash."""

    def archive(self, tag: str) -> Path | None:
        """Give where the archive of an image is or would be, or None if the engine keeps images itself."""

    def has(self, tag: str) -> bool:
        """Tell whether an image is there."""

    def build(self, image: Image, tag: str) -> None:
        """Build an image."""


class Docker:
    """A Docker engine (or one that its command line reaches), with BuildKit."""

    def __init__(self, base: str | None) -> None:
        """Take the base image, or None for the Containerfiles' own."""
        self.base = base or PUBLIC_BASE

    @staticmethod
    def answers() -> bool:
        """Tell whether there is an engine."""
        return shutil.which("docker") is not None and _succeeds(
            ["docker", "version", "--format", "{{.Server.Version}}"]
        )

    def archive(self, tag: str) -> Path | None:  # noqa: ARG002
        """Give None: images stay in the engine."""
        return None

    def has(self, tag: str) -> bool:
        """Tell whether the engine has the image."""
        return _succeeds(["docker", "image", "inspect", tag])

    def build(self, image: Image, tag: str) -> None:
        """Build an image in the engine."""
        tags = [f"--tag={tag}", f"--tag={image.name}:dev"]
        with _settings() as secrets:
            command = ["docker", "build", *tags, *secrets, f"--build-arg=BASE={self.base}"]
            _run([*command, f"--file={image.containerfile}", str(REPOSITORY)], f"building {tag}")


class Buildah:
    """buildah with a store of its own, and archives as its product."""

    def __init__(self, base: str | None) -> None:
        """Take the base image, or None for the local one."""
        recipe = hashlib.sha256(" ".join(LOCAL_BASE).encode()).hexdigest()[:12]
        self.base = base or f"localhost/rondo-base:{recipe}"
        self._local = base is None

    def archive(self, tag: str) -> Path:
        """Give where the image's archive is or would be."""
        return CACHE / f"{tag.replace(':', '-')}.tar"

    def has(self, tag: str) -> bool:
        """Tell whether the image's archive is there."""
        return self.archive(tag).exists()

    def build(self, image: Image, tag: str) -> None:
        """Build an image and write its archive, then drop the older ones of its name."""
        self._call("rm", "--all")  # What an interrupted build has left.
        if self._local:
            self._make_base()
        command = [
            *self._buildah,
            "bud",
            "--isolation=chroot",
            "--layers",
            f"--tag={tag}",
            f"--build-arg=BASE={self.base}",
        ]
        if image.crate is not None:
            binary = compile_program(image.name, image.crate)
            _run([*command, f"--file={image.containerfile}.prebuilt", str(binary.parent)], f"building {tag}")
        else:
            with _settings() as secrets:
                ignore = f"--ignorefile={image.containerfile}.dockerignore"
                _run([*command, ignore, *secrets, f"--file={image.containerfile}", str(REPOSITORY)], f"building {tag}")
        self._export(image, tag)

    @cached_property
    def _buildah(self) -> list[str]:
        """The command with its store: overlay where the kernel and the folder's file system can, else whole copies."""
        if shutil.which("buildah") is None:
            raise BuildError("no Docker engine answers and buildah is not installed; as root: apt-get install buildah")
        store = ["buildah", f"--root={CACHE / 'storage'}", f"--runroot={CACHE / 'run'}"]
        commands = [[*store, f"--storage-driver={driver}"] for driver in ("overlay", "vfs")]
        for command in commands:
            if _succeeds([*command, "info"]):
                return command
        raise BuildError(f"buildah cannot use {CACHE} as its store; see: {' '.join([*commands[-1], 'info'])}")

    def _call(self, *arguments: str) -> None:
        _run([*self._buildah, *arguments], f"buildah {arguments[0]}")

    def _make_base(self) -> None:
        if _succeeds([*self._buildah, "inspect", "--type=image", self.base]):
            return
        if shutil.which("mmdebstrap") is None:
            raise BuildError("the local base needs mmdebstrap; as root: apt-get install mmdebstrap")
        with tempfile.TemporaryDirectory(dir=CACHE) as folder:
            root = Path(folder) / "root.tar"
            _run([*LOCAL_BASE, str(root)], "making the local base")
            recipe = Path(folder) / "Containerfile"
            recipe.write_text("FROM scratch\nADD root.tar /\n")
            self._call("bud", f"--tag={self.base}", f"--file={recipe}", folder)

    def _export(self, image: Image, tag: str) -> None:
        archive = self.archive(tag)
        with tempfile.TemporaryDirectory(dir=CACHE) as folder:
            plain, named = Path(folder) / "plain.tar", Path(folder) / "named.tar"
            self._call("push", tag, f"docker-archive:{plain}:{tag}")
            _name(plain, named, [tag, f"{image.name}:dev"])
            named.rename(archive)
        for old in CACHE.glob(f"{image.name}-dev-*.tar"):
            if old != archive:
                old.unlink()


def compile_program(name: str, crate: str) -> Path:
    """Build a Rust program with this machine's cargo, and give its binary, which is alone in its folder.

    What was built of the same sources is taken again. All checkouts share cargo's folder, so that dependencies are
    built once; cargo goes by the times of files, which tell nothing between checkouts, so sources are made new for it.

    Raises:
        BuildError: There is no cargo, or it fails.
    """
    sources = REPOSITORY / crate
    files = [sources / "Cargo.toml", sources / "Cargo.lock", sources / "build.rs"]
    files += [*sorted((sources / "proto").iterdir()), *sorted((sources / "src").rglob("*.rs"))]
    content = hashlib.sha256()
    for file in files:
        content.update(f"\0{file.relative_to(sources)}\0".encode() + file.read_bytes())
    target = CACHE.parent / crate
    built = target / "built" / content.hexdigest()[:16] / name
    if built.exists():
        return built
    if shutil.which("cargo") is None:
        raise BuildError(f"cargo is not installed: {name} is built with Rust")
    for file in files[2:]:
        file.touch()
    options = ["--release", "--locked", f"--target-dir={target}", f"--manifest-path={sources / 'Cargo.toml'}"]
    _run(["cargo", "build", *options], f"compiling {name}")
    for old in built.parent.parent.glob("*"):
        shutil.rmtree(old, ignore_errors=True)
    built.parent.mkdir(parents=True)
    part = built.parent.with_suffix(".part")
    shutil.copy2(target / "release" / name, part)
    return part.replace(built)


def _name(source: Path, target: Path, tags: Sequence[str]) -> None:
    """Copy an image's archive, giving the image these names and no others."""
    with tarfile.open(source) as old, tarfile.open(target, "w") as new:
        for member in old:
            content: IO[bytes] | None = old.extractfile(member)
            if member.name == "manifest.json" and content is not None:
                manifest = [{**item, "RepoTags": list(tags)} for item in json.load(content)]
                text = json.dumps(manifest).encode()
                member.size, content = len(text), io.BytesIO(text)
            if member.name != "repositories":  # The same names in the format of old engines.
                new.addfile(member, content)


@contextlib.contextmanager
def _settings() -> Iterator[list[str]]:
    """Give options that hand this machine's settings of pip and its certificates to a build, without storing them."""
    settings = _pip_settings()
    certificates = Path(settings.pop("cert", "") or os.environ.get("SSL_CERT_FILE", ""))
    options: list[str] = []
    if certificates.is_file():
        settings["cert"] = "/run/secrets/ca"
        options.append(f"--secret=id=ca,src={certificates.resolve()}")
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "pip.conf"
        file.write_text("[global]\n" + "".join(f"{key} = {value}\n" for key, value in settings.items()))
        yield [*options, f"--secret=id=pip,src={file}"]


def _pip_settings() -> dict[str, str]:
    """Read what this machine's pip is told, by files and by environment; nothing if it has no pip."""
    if shutil.which("pip") is None:
        return {}
    listed = subprocess.run(["pip", "config", "list"], capture_output=True, text=True, check=False)
    settings: dict[str, str] = {}
    for line in listed.stdout.splitlines():
        key, _, value = line.partition("=")
        name = key.rpartition(".")[2]
        if name in (*PIP_SETTINGS, "cert") and (name not in settings or key.startswith(":env:")):
            settings[name] = str(ast.literal_eval(value)).strip().replace("\n", "\n  ")
    return settings


def _succeeds(command: Sequence[str]) -> bool:
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def _run(command: Sequence[str], what: str) -> None:
    """Run a command with a sign of life now and then; its output is shown only if it fails.

    Raises:
        BuildError: It failed.
    """
    started = time.monotonic()
    with tempfile.NamedTemporaryFile("w+", errors="replace") as log:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT)
        try:
            _wait(process, Path(log.name), what)
        finally:
            if process.poll() is None:
                process.terminate()
                process.wait()
        if process.returncode != 0:
            tail = "\n".join(Path(log.name).read_text(errors="replace").splitlines()[-40:])
            raise BuildError(f"{what}: {command[0]} exited with {process.returncode} after {_since(started)}\n{tail}")


def _wait(process: subprocess.Popen[bytes], log: Path, what: str) -> None:
    started = time.monotonic()
    while True:
        try:
            process.wait(HEARTBEAT)
        except subprocess.TimeoutExpired:
            _tell(f"{what}: {_since(started)}{_step(log)}")
        else:
            return


def _step(log: Path) -> str:
    """Give the step of a Containerfile that a build's log has come to."""
    lines = log.read_text(errors="replace").splitlines()
    steps = [line for line in lines if "STEP " in line or line.startswith("#")]
    return f", {steps[-1][:60].strip()}" if steps else ""


def _since(started: float) -> str:
    return f"{time.monotonic() - started:.0f} s"


def _tell(message: str) -> None:
    print(f"images: {message}", file=sys.stderr, flush=True)


@contextlib.contextmanager
def _alone() -> Iterator[None]:
    """Let one build at a time use the cache."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            _tell("waiting for another build to end")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _choose(name: str, base: str | None) -> Engine:
    if name == "docker" or (name == "auto" and Docker.answers()):
        return Docker(base)
    return Buildah(base)


def _build(engine: Engine, image: Image) -> str:
    """Build an image unless it is there, and give its tag."""
    tag = image.tag(engine.base)
    if engine.has(tag):
        _tell(f"{tag} is up to date")
        return tag
    started = time.monotonic()
    engine.build(image, tag)
    _tell(f"{tag} built in {_since(started)}")
    # Somebody may have edited a file meanwhile; a tag must not name what it is not made of.
    return tag if image.tag(engine.base) == tag else _build(engine, image)


def _clean() -> None:
    """Remove the cache: archives, the local base and the layers of former builds."""
    if (CACHE / "storage").exists():
        _run([*Buildah(None)._buildah, "rmi", "--all", "--force"], "removing images")  # noqa: SLF001
    shutil.rmtree(CACHE, ignore_errors=True)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Build Rondo's images.")
    known = [image.name for image in IMAGES]
    parser.add_argument("images", nargs="*", metavar="IMAGE", help=f"of {', '.join(known)}; default: all")
    parser.add_argument("--engine", choices=["auto", "docker", "buildah"], default="auto")
    parser.add_argument("--base", help="base image with Python 3.11 or later, instead of the engine's default")
    parser.add_argument("--print-tags", action="store_true", help="print the tags and build nothing")
    parser.add_argument("--clean", action="store_true", help="remove the cache of buildah's builds")
    arguments = parser.parse_args()
    if unknown := set(arguments.images) - set(known):
        parser.error(f"no image {', '.join(sorted(unknown))}; there are {', '.join(known)}")
    return arguments


def main() -> int:
    """Run the command and give its exit code."""
    arguments = _arguments()
    if arguments.clean:
        _clean()
        return 0
    engine = _choose(arguments.engine, arguments.base)
    wanted = [image for image in IMAGES if image.name in arguments.images or not arguments.images]
    if arguments.print_tags:
        print("\n".join(image.tag(engine.base) for image in wanted))
        return 0
    with _alone():
        tags = [_build(engine, image) for image in wanted]
    for tag in tags:
        print(" ".join(map(str, filter(None, [tag, engine.archive(tag)]))))
    return 0


if __name__ == "__main__":
    # As for an interrupt: what was started is ended, and temporary files go.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        sys.exit(main())
    except BuildError as problem:
        _tell(str(problem))
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
