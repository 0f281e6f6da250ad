"""Operators as processes: started, stopped and killed by their pid."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.integration.system.space import Plane, eventually

ROOT = Path(__file__).parents[3]
COMMAND = (sys.executable, "-m", "rondo.shell")


def environment_of(plane: Plane, namespace: str = "", **more: str) -> dict[str, str]:
    """Give the settings of an operator that is alone and works in one namespace, or in all."""
    settings = {
        "KUBECONFIG": str(plane.kubeconfig),
        "PYTHONPATH": str(ROOT / "operator"),
        "RONDO_LEADER_ELECTION": "false",
        "RONDO_PROBE_PORT": "0",
        "RONDO_WATCH_NAMESPACES": namespace,
    }
    return settings | more


@dataclass
class Nursery:
    """Forks operators from a process that has imported everything."""

    process: subprocess.Popen[str]

    def start(self, environment: Mapping[str, str], log: Path) -> int:
        """Start an operator and give its pid."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps({"environment": dict(environment), "log": str(log)}) + "\n")
        self.process.stdin.flush()
        return int(self.process.stdout.readline())


@contextlib.contextmanager
def open_nursery() -> Iterator[Nursery]:
    """Give a nursery until the block ends."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "operator")}
    with subprocess.Popen(
        [sys.executable, Path(__file__).with_name("nursery.py")],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment,
    ) as process:  # fmt: skip
        yield Nursery(process)
        assert process.stdin is not None
        process.stdin.close()


@dataclass
class Operators:
    """Starts operators of one control plane and ends those that still run.

    Attributes:
        plane: The control plane.
        nursery: Where they come from.
        folder: Where their logs go.
    """

    plane: Plane
    nursery: Nursery
    folder: Path
    running: list[Operator] = field(default_factory=list)

    def start(self, namespace: str = "", **settings: str) -> Operator:
        """Start an operator for a namespace, or for all, and give it before it works."""
        log = self.folder / f"operator-{len(self.running)}.log"
        log.unlink(missing_ok=True)
        operator = Operator(self.nursery.start(environment_of(self.plane, namespace, **settings), log), log)
        self.running.append(operator)
        return operator

    def end(self) -> None:
        """Kill all that still run."""
        for operator in self.running:
            operator.kill()


@dataclass(frozen=True)
class Operator:
    """One process of the operator.

    Attributes:
        pid: Its process.
        log: What it says.
    """

    pid: int
    log: Path

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, 0)
            return True
        return False

    @property
    def cpu_seconds(self) -> float:
        """What it has used of the processors so far."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    @property
    def peak_bytes(self) -> int:
        """The most memory that it has held (peak resident set)."""
        lines = Path(f"/proc/{self.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))

    def said(self) -> str:
        """Give its log."""
        return self.log.read_text() if self.log.exists() else ""

    def works(self) -> Operator:
        """Wait until it has listed everything."""
        eventually(lambda: "synced;" in self.said() or not self.alive, "the operator to be synced")
        assert self.alive, self.said()
        return self

    def signal(self, number: signal.Signals) -> None:
        """Send a signal."""
        os.kill(self.pid, number)

    def kill(self) -> None:
        """Kill it (SIGKILL) and wait until it is gone; nothing if it is."""
        with contextlib.suppress(ProcessLookupError):
            self.signal(signal.SIGKILL)
        eventually(lambda: not self.alive, f"operator {self.pid} to be gone", every=0.005)

    def stop(self, *, within: float = 15.0) -> None:
        """Tell it to stop (SIGTERM) and wait until it has."""
        self.signal(signal.SIGTERM)
        eventually(lambda: not self.alive, f"operator {self.pid} to stop; it says {self.said()}", within=within)
