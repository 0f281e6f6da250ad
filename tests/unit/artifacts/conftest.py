from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.artifacts.places import Place


@pytest.fixture
def place() -> Iterator[Place]:
    """A place that other users can reach too: pytest's own folders are for root alone."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder).resolve()
        root.chmod(0o755)
        yield Place(root)
