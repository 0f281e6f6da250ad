"""The server as an image for clusters without a registry, under the name that the examples use."""

from __future__ import annotations

from pathlib import Path

from localcluster.images import pack
from tests.s3.server import program

TAG = "versity/versitygw:v1.8.0"


def write_archive(path: Path) -> Path:
    """Write an archive of an image that holds the program alone, which is its entrypoint as in the public one."""
    path.write_bytes(pack(f"docker.io/{TAG}", "versitygw", program().read_bytes()))
    return path
