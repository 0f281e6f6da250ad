"""What is measured, as processes: nginx alone and as a proxy, Rondo's router, KServe's routers."""

from __future__ import annotations

import json
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tests.bench.router.programs import Programs
from tests.ports import free_port

ANSWER: Final = '{"predictions": [1, 2, 3]}'
REQUEST: Final = '{"instances": [[1.0, 2.0, 3.0, 4.0]]}'
KSERVE_PORT: Final = 8080
"""It cannot be given another."""

PATIENCE: Final = 10.0

POLICIES: Final[dict[str, Any]] = {
    "timeoutMillis": 2000,
    "retry": {"limit": 2},
    "hedge": {"budgetPercent": 5},
    "circuitBreaker": {"failures": 50, "windowMillis": 1000, "cooldownMillis": 1000},
    "concurrency": {"limit": 1000, "queue": 100},
}
"""All that a node can have, wide enough that a healthy backend never meets it."""


@dataclass(frozen=True)
class Backend:
    """nginx, with one worker, that answers at once, and beside it as a reverse proxy of itself.

    Attributes:
        direct: Its port.
        proxy: The port of the reverse proxy.
        pid: The worker.
    """

    direct: int
    proxy: int
    pid: int


@contextmanager
def nginx(programs: Programs) -> Iterator[Backend]:
    """Run nginx."""
    direct, proxy = free_port(), free_port()
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "nginx.conf").write_text(_configuration(folder, direct, proxy))
        with _running([str(programs.nginx), "-c", f"{folder}/nginx.conf"], direct) as process:
            children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
            yield Backend(direct, proxy, int(children[0]))


def _configuration(folder: str, direct: int, proxy: int) -> str:
    places = "\n".join(f"{kind}_temp_path {folder};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    return f"""
worker_processes 1; daemon off; pid {folder}/pid; error_log {folder}/error.log;
events {{ worker_connections 4096; }}
http {{
  access_log off; keepalive_requests 100000000; {places}
  upstream backend {{ server 127.0.0.1:{direct}; keepalive 256; keepalive_requests 100000000; }}
  server {{
    listen 127.0.0.1:{direct} backlog=4096;
    location / {{ default_type application/json; return 200 '{ANSWER}'; }}
  }}
  server {{
    listen 127.0.0.1:{proxy} backlog=4096;
    location / {{ proxy_pass http://backend; proxy_http_version 1.1; proxy_set_header Connection ""; }}
  }}
}}"""


@contextmanager
def rondo(programs: Programs, nodes: list[dict[str, Any]]) -> Iterator[tuple[int, int]]:
    """Run Rondo's router with one graph; give its port and process."""
    port = free_port()
    graph = {"name": "g", "revision": "1", "port": port, "protocol": "KServeV1", "entry": nodes[0]["name"]}
    limits = {"timeoutMillis": 10_000, "limits": {"body": 1 << 20, "inFlight": 10_000}}
    with tempfile.TemporaryDirectory() as folder:
        plan = Path(folder, "plan.json")
        plan.write_text(json.dumps({"revision": "1", "graphs": [{**graph, **limits, "nodes": nodes}]}))
        command = [str(programs.rondo), "--plan", str(plan), "--admin-port", str(free_port()), "--linger", "0"]
        with _running(command, port) as process:
            yield port, process.pid


def target(name: str, port: int, **policies: Any) -> dict[str, Any]:
    """Give a node that asks a server on this machine."""
    return {"name": name, "target": {"url": f"http://127.0.0.1:{port}", "protocol": "KServeV1"}, **policies}


@contextmanager
def kserve(programs: Programs, port: int, kind: str, steps: int) -> Iterator[tuple[int, int]]:
    """Run KServe's router with one graph of so many steps to one server; give its port and process."""
    url = f"http://127.0.0.1:{port}/v1/models/m:predict"
    listed = [{"serviceUrl": url, "name": f"step{number}"} for number in range(steps)]
    graph = {"nodes": {"root": {"routerType": kind, "steps": listed}}}
    with _running([str(programs.kserve), "--graph-json", json.dumps(graph)], KSERVE_PORT) as process:
        yield KSERVE_PORT, process.pid


@contextmanager
def _running(command: list[str], port: int) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program until the block ends; it listens on its port by then."""
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            _until_it_listens(process, port)
            yield process
        finally:
            _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()  # nginx ends its worker then
    try:
        process.wait(timeout=1)
    except subprocess.TimeoutExpired:
        process.kill()  # KServe's waits for half a minute


def _until_it_listens(process: subprocess.Popen[bytes], port: int) -> None:
    until = time.monotonic() + PATIENCE
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            if process.poll() is not None or time.monotonic() > until:
                raise
            time.sleep(0.02)
        else:
            return
