"""Pods of routers that tell what they serve, for clusters whose nodes are fake: only the telling is real.

Each pod gets an address of this machine's loopback network, at which a server does what a router's admin port does: it
tells the plan's revisions at once and at every change, and may refuse a graph.
"""

from __future__ import annotations

import itertools
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tests.integration.system.space import Body, Space, eventually

ADMIN_PORT = 9900
_HOSTS = itertools.count(2)


class Fleet:
    """The routers of one ConfigMap."""

    def __init__(self, space: Space, name: str = "rondo-router") -> None:
        self.space, self.name = space, name
        self.refuses: set[str] = set()
        self._served: Body = {"revision": "", "graphs": {}, "refused": None, "demand": {}}
        self._counts: Body | None = None
        self._ended = threading.Event()
        self._servers: list[ThreadingHTTPServer] = []

    def plan(self) -> Body:
        """Give the plan as it stands in the ConfigMap; empty while there is none."""
        config = self.space.get("ConfigMap", self.name)
        found: Body = {} if config is None else json.loads(config["data"]["plan.json"])
        return found

    def start(self, pods: int = 2) -> None:
        """Wait for the pods, and let each tell what it serves."""
        found = eventually(lambda: self._pods(pods), f"{pods} ready pods of {self.name}")
        threading.Thread(target=self._reload, daemon=True).start()
        for pod in found:
            host = f"127.0.{next(_HOSTS) // 250}.{next(_HOSTS) % 250 + 1}"
            server = ThreadingHTTPServer((host, ADMIN_PORT), _handler(self))
            server.daemon_threads = True
            self._servers.append(server)
            threading.Thread(target=server.serve_forever, daemon=True).start()
            status = {"podIP": host, "podIPs": [{"ip": host}]}
            self.space.patch("Pod", pod["metadata"]["name"], {"status": status}, status=True)

    def count(self, graph: str, **sides: Body) -> None:
        """Tell what was counted for the step that is served, `old` and `new`; each router the same."""
        planned = {part["name"]: part["counted"] for part in self.plan()["graphs"] if "counted" in part}
        told = {f"{graph}.{side}": counts for side, counts in sides.items()}
        self._counts = {"counts": {name: {"epoch": planned[name], **counts} for name, counts in told.items()}}

    def end(self) -> None:
        """Tell nothing more."""
        self._ended.set()
        for server in self._servers:
            server.shutdown()
            server.server_close()

    def lines(self) -> Iterator[bytes]:
        """Give what a pod tells, as it changes."""
        told: list[Body | None] = [None, None]
        while not self._ended.is_set():
            for place, line in enumerate((self._served, self._counts)):
                if line is not told[place] and line is not None:
                    yield json.dumps(line).encode() + b"\n"
                    told[place] = line
            time.sleep(0.02)  # the thread of one connection of a server that tells what changes

    def _pods(self, wanted: int) -> list[Body]:
        pods = [pod for pod in self.space.items("Pod", f"rondo.dev/router={self.name}") if _ready(pod)]
        return pods if len(pods) == wanted else []

    def _reload(self) -> None:
        while not self._ended.is_set():
            plan = self.plan()
            bad = next((graph for graph in plan.get("graphs", ()) if graph["name"] in self.refuses), None)
            if bad is not None:
                refused = {"revision": plan["revision"], "graph": bad["name"], "message": "it is refused"}
                if self._served["refused"] != refused:
                    self._served = {**self._served, "refused": refused}
            elif plan and plan["revision"] != self._served["revision"]:
                graphs = {graph["name"]: graph["revision"] for graph in plan["graphs"]}
                self._served = {"revision": plan["revision"], "graphs": graphs, "refused": None, "demand": {}}
            time.sleep(0.05)  # a router watches; this looks


@contextmanager
def fleet(space: Space, name: str = "rondo-router") -> Iterator[Fleet]:
    """Give routers that tell what they serve."""
    routers = Fleet(space, name)
    yield routers
    routers.end()


def _handler(routers: Fleet) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if self.path == "/watch" else 404)
            self.end_headers()
            for line in routers.lines():
                try:
                    self.wfile.write(line)
                    self.wfile.flush()
                except OSError:
                    return

        def log_message(self, *_: object) -> None:
            return

    return Handler


def _ready(pod: Body) -> bool:
    said = pod.get("status", {}).get("conditions", ())
    return any(each["type"] == "Ready" and each["status"] == "True" for each in said)
