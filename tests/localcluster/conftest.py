"""What the tests of localcluster share: a state folder of their own and an image to run."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from localcluster import host, images, places

POD_IMAGE = "localhost/rondo-tests/pod:1"
POD_SOURCE = Path(__file__).parent / "pod" / "main.go"


@pytest.fixture(scope="session", autouse=True)
def state_root(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Keep the tests' clusters apart from those of whoever runs them, and from what killed test runs left."""
    host.remove_wrecks(print)
    folder = tmp_path_factory.mktemp("state")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(places.STATE_VARIABLE, str(folder))
        yield folder


@pytest.fixture(scope="session")
def pod_program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the static program that the tests' containers run."""
    program = tmp_path_factory.mktemp("pod") / "pod"
    environment = os.environ | {"CGO_ENABLED": "0"}
    # With the flags of the toolchain, so that the standard library comes from the compiler's cache.
    subprocess.run(["go", "build", "-trimpath", "-o", program, POD_SOURCE], check=True, env=environment)
    return program


@pytest.fixture(scope="session")
def pod_archive(pod_program: Path) -> Path:
    """Pack that program into a docker archive."""
    archive = pod_program.with_suffix(".tar")
    archive.write_bytes(images.pack(POD_IMAGE, "pod", pod_program.read_bytes()))
    return archive
