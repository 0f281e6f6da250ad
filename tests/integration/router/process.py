"""The router as a process: built once, given plans by a file as the operator gives them by a ConfigMap."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import aiohttp

from tests.ports import free_port

Json = Any

PATIENCE: Final = 10.0
"""Seconds that a test waits for what takes milliseconds."""


@dataclass
class RouterProcess:
    """A running router.

    Attributes:
        session: Asks its graphs.
        plan: The file that it follows.
        admin: Its admin port.
        process: The process.
        revision: Number of plans written so far.
        log: What it has written.
    """

    session: aiohttp.ClientSession
    plan: Path
    admin: int
    process: asyncio.subprocess.Process
    revision: int = 0
    log: list[str] = field(default_factory=list)

    def write(self, graphs: list[Json], **more: Json) -> str:
        """Give it a plan; return the revision."""
        self.revision += 1
        revision = f"r{self.revision}"
        self.write_text(json.dumps({"revision": revision, "graphs": graphs, **more}))
        return revision

    def write_text(self, text: str) -> None:
        """Put another file in the place of the plan, as editors and the kubelet do."""
        new = self.plan.with_suffix(".new")
        new.write_text(text)
        new.replace(self.plan)

    async def serve(self, graphs: list[Json]) -> None:
        """Give it a plan and wait until it is served.

        Raises:
            AssertionError: It was refused.
        """
        report = await self.reported(self.write(graphs))
        assert report["refused"] is None, report

    async def reported(self, revision: str) -> Json:
        """Wait for the report that a revision is served or refused."""
        async with asyncio.timeout(PATIENCE), self.watch() as reports:
            async for report in reports:
                if report["revision"] == revision or (report["refused"] or {}).get("revision") == revision:
                    return report
        raise AssertionError(f"nothing was reported of {revision}")

    async def unusable(self, expected: Mapping[str, str]) -> None:
        """Wait until it tells of exactly these credentials why they cannot be used."""
        async with asyncio.timeout(PATIENCE), self.watch() as reports:
            async for report in reports:
                if report["unusable"] == expected:
                    return

    @contextlib.asynccontextmanager
    async def watch(self, *, counts: bool = False) -> AsyncIterator[AsyncIterator[Json]]:
        """Follow its reports, or what it has counted of releases."""

        async def lines() -> AsyncIterator[Json]:
            async for line in answer.content:
                told = json.loads(line)
                if ("counts" in told) is counts:
                    yield told

        async with self.session.get(f"http://127.0.0.1:{self.admin}/watch") as answer:
            yield lines()

    async def alive(self) -> None:
        """Wait until it answers on its admin port."""
        async with asyncio.timeout(PATIENCE):
            while True:
                with contextlib.suppress(aiohttp.ClientConnectionError):
                    if (await self.told("/livez"))[0] == 200:
                        return
                await asyncio.sleep(0.02)

    async def told(self, path: str) -> tuple[int, str]:
        """Ask the admin port."""
        async with self.session.get(f"http://127.0.0.1:{self.admin}{path}") as answer:
            return answer.status, await answer.text()

    async def metric(self, name: str, **labels: str) -> float:
        """Give the sum of a metric over all samples that have these labels."""
        _, text = await self.told("/metrics")
        wanted = [f'{key}="{value}"' for key, value in labels.items()]
        lines = [line for line in text.splitlines() if line.startswith((f"{name}{{", f"{name} "))]
        return sum(float(line.rpartition(" ")[2]) for line in lines if all(each in line for each in wanted))


def project(folder: Path, files: Mapping[str, str]) -> None:
    """Put files into a folder as the kubelet does: beside the former ones, and all at once in their place."""
    new = Path(tempfile.mkdtemp(prefix="..", dir=folder))
    for path, text in files.items():
        (new / path).parent.mkdir(parents=True, exist_ok=True)
        (new / path).write_text(text)
    link = folder / "..data_tmp"
    link.symlink_to(new.name)
    link.replace(folder / "..data")
    for top in {Path(path).parts[0] for path in files}:
        if not (folder / top).is_symlink():
            (folder / top).symlink_to(Path("..data", top))


@contextlib.asynccontextmanager
async def router(
    binary: Path, folder: Path, *source: str, environment: Mapping[str, str] | None = None, linger: int = 0
) -> AsyncIterator[RouterProcess]:
    """Run a router until it has nothing more to do, and have it end well.

    Args:
        binary: The router.
        folder: Where its plan and its credentials are.
        source: Arguments that say where its plan comes from, if not from a file.
        environment: Variables besides those of this process.
        linger: Seconds in which it still takes connections once it is told to end.
    """
    plan, admin = folder / "plan.json", free_port()
    plan.write_text(json.dumps({"revision": "r0"}))
    command = [str(binary), "--admin-port", str(admin), "--credentials", str(folder)]
    command += ["--linger", str(linger)]
    command += source or ["--plan", str(plan)]
    variables = {**os.environ, "RONDO_LOG": "debug,hyper=info,h2=info", **(environment or {})}
    process = await asyncio.create_subprocess_exec(*command, env=variables, stdout=asyncio.subprocess.PIPE)
    timeout = aiohttp.ClientTimeout(total=PATIENCE)
    async with aiohttp.ClientSession(timeout=timeout, auto_decompress=False) as session:
        running = RouterProcess(session, plan, admin, process)
        reading = asyncio.create_task(_read_log(running))
        try:
            await running.alive()
            if not source:
                await running.reported("r0")
            yield running
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
            await asyncio.wait_for(process.wait(), PATIENCE)
            await reading
    panics = [line for line in running.log if "panicked" in line]
    assert not panics, panics


async def _read_log(running: RouterProcess) -> None:
    assert running.process.stdout is not None
    async for line in running.process.stdout:
        running.log.append(line.decode(errors="replace"))


async def eventually(what: str, check: Callable[[], Awaitable[bool]], *, seconds: float = PATIENCE) -> None:
    """Wait until something is so.

    Raises:
        AssertionError: It is not within the time.
    """
    until = asyncio.get_running_loop().time() + seconds
    while not await check():
        assert asyncio.get_running_loop().time() < until, what
        await asyncio.sleep(0.02)


def graph(nodes: list[Json], *, port: int, protocol: str = "JSON", **fields: Json) -> Json:
    """Give a graph of a plan; its first node answers."""
    defaults: Mapping[str, Json] = {"name": "g", "revision": "1", "timeoutMillis": 5000, "entry": nodes[0]["name"]}
    return {**defaults, "port": port, "protocol": protocol, "nodes": nodes, **fields}
