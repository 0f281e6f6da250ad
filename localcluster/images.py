"""Container images of a full node: brought in from archives and from buildah, since there is no registry."""

import hashlib
import io
import json
import tarfile
import tempfile
from pathlib import Path

from localcluster.commands import attempt, run
from localcluster.components import Layout
from localcluster.documents import PAUSE_IMAGE
from localcluster.errors import LocalClusterError

_NAMESPACE = "k8s.io"


def load_pause(layout: Layout) -> None:
    """Make the image that holds a pod's namespaces from our own program, if containerd has it not yet."""
    if PAUSE_IMAGE in _listed(layout):
        return
    archive = layout.places.configuration / "pause.tar"
    archive.write_bytes(pack(PAUSE_IMAGE, "pause", (layout.record.programs / "pause").read_bytes()))
    _ctr(layout, "images", "import", str(archive))
    archive.unlink()


def pack(tag: str, program: str, content: bytes) -> bytes:
    """Return a docker archive of an image that holds one static program, which is its entrypoint."""
    layer = _tar({program: (content, 0o755)})
    config = {
        "architecture": "amd64",
        "os": "linux",
        "config": {"Entrypoint": [f"/{program}"]},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(layer).hexdigest()}"]},
    }
    manifest = [{"Config": "config.json", "RepoTags": [tag], "Layers": ["layer.tar"]}]
    files = {"config.json": json.dumps(config).encode(), "manifest.json": json.dumps(manifest).encode()}
    return _tar({"layer.tar": (layer, 0o644)} | {name: (text, 0o644) for name, text in files.items()})


def load(layout: Layout, source: str) -> list[str]:
    """Bring an image into the cluster from what the text names: an archive if there is such a file, else a tag."""
    if Path(source).is_file():
        return load_archive(layout, Path(source))
    return load_tag(layout, source)


def load_archive(layout: Layout, archive: Path) -> list[str]:
    """Bring the images of a docker or OCI archive into the cluster and return the names they have there.

    Raises:
        LocalClusterError: The cluster has no real node, or this is no archive of images.
    """
    _require_node(layout)
    before = _listed(layout)
    said = _ctr(layout, "images", "import", str(archive))
    named = {line.split()[1] for line in said.splitlines() if line.startswith("unpacking ")}
    # containerd lists an image under its digest too.
    return sorted(name for name in named | (_listed(layout) - before) if not name.startswith("sha256:"))


def load_tag(layout: Layout, tag: str) -> list[str]:
    """Bring an image of buildah's storage into the cluster and return the names it has there.

    Raises:
        LocalClusterError: The cluster has no real node, or there is no such image.
    """
    _require_node(layout)
    with tempfile.TemporaryDirectory(dir=layout.places.folder) as folder:
        archive = Path(folder) / "image.tar"
        _export(tag, archive)
        return load_archive(layout, archive)


def _require_node(layout: Layout) -> None:
    if layout.spec.control_plane_only:
        raise LocalClusterError(f"cluster {layout.spec.name!r} is a control plane only: no real node, no images")


def _export(tag: str, archive: Path) -> None:
    """Write an image of buildah's storage to an archive under its full name."""
    for options in ([], ["--storage-driver", "vfs"]):
        names = attempt(["buildah", *options, "inspect", "--type", "image", "--format", "{{.FromImage}}", tag])
        if names.returncode == 0:
            run("buildah", *options, "push", tag, f"docker-archive:{archive}:{names.stdout.strip()}")
            return
    raise LocalClusterError(f"image {tag!r}: neither a file nor a tag in buildah's storage (`buildah images`)")


def _listed(layout: Layout) -> set[str]:
    return set(_ctr(layout, "images", "list", "--quiet").splitlines())


def _ctr(layout: Layout, *arguments: str) -> str:
    return run("ctr", "--address", str(layout.places.socket), "--namespace", _NAMESPACE, *arguments)


def _tar(files: dict[str, tuple[bytes, int]]) -> bytes:
    """Return a tar of the files with nothing in it that differs between two runs."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, (content, mode) in files.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), mode
            archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()
