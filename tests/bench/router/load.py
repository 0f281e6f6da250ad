"""wrk for some seconds, and what the measured process used of processors and memory meanwhile."""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.bench.router.programs import Programs
from tests.bench.router.servers import REQUEST

UNITS: Final = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0}
SCRIPT: Final = f"""
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
wrk.body = '{REQUEST}'
"""


@dataclass(frozen=True)
class Load:
    """What came of a load.

    Attributes:
        rate: Requests a second.
        p50: Seconds that half of the requests took at most.
        p99: Seconds that all but a hundredth took at most.
        cpu: Seconds of processors that the process used, a request.
        peak: The most memory it has held since it started, MiB.
        failed: Requests without an answer of 200.
    """

    rate: float
    p50: float
    p99: float
    cpu: float
    peak: float
    failed: int


def load(programs: Programs, port: int, path: str, connections: int, pid: int, seconds: int) -> Load:
    """Make load on a port by one thread of wrk.

    Args:
        programs: Where wrk is.
        port: Where to.
        path: Path of the requests.
        connections: Connections, each with one request at a time.
        pid: The process that is watched.
        seconds: How long.
    """
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        script.write(SCRIPT)
        script.flush()
        command = [str(programs.wrk), "-t1", f"-c{connections}", f"-d{seconds}s", "--latency", "-s", script.name]
        before = cpu_seconds(pid)
        told = subprocess.check_output([*command, f"http://127.0.0.1:{port}{path}"], text=True)
        used = cpu_seconds(pid) - before
    requests = int(_found(r"(\d+) requests in", told))
    failed = int(_found(r"Non-2xx or 3xx responses: (\d+)", told, "0"))
    errors = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", told)
    failed += sum(map(int, errors.groups())) if errors else 0
    rate = float(_found(r"Requests/sec:\s+([\d.]+)", told))
    p50, p99 = (_seconds(_found(rf"\n\s+{part}%\s+(\S+)", told)) for part in (50, 99))
    return Load(rate, p50, p99, used / max(requests, 1), peak(pid), failed)


def cpu_seconds(pid: int) -> float:
    """Give the processor time that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def peak(pid: int) -> float:
    """Give the most memory that a process has held, in MiB."""
    return int(_found(r"VmHWM:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())) / 1024


def _found(pattern: str, text: str, default: str | None = None) -> str:
    found = re.search(pattern, text)
    if found is None and default is None:
        raise ValueError(f"wrk said nothing that fits {pattern}: {text}")
    return found[1] if found else str(default)


def _seconds(text: str) -> float:
    return float(_found(r"^([\d.]+)", text)) * UNITS[_found(r"(\D+)$", text)]
