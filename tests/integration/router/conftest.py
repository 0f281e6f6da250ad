"""The router's binary, and a router that the tests of a module share."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.integration.router import build
from tests.integration.router.process import RouterProcess, router


@pytest.fixture(scope="session")
def router_binary() -> Path:
    """The router, built if its sources have changed."""
    return build.router()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running(router_binary: Path, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RouterProcess]:
    """A router for the tests of one module."""
    async with router(router_binary, tmp_path_factory.mktemp("router")) as process:
        yield process
