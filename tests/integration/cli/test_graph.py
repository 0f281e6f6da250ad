"""`rondo graph` and `rondo graph test`: a real router with real servers behind it, reached through a real API server.

The router runs beside the API server instead of in a pod; a pod and a Service of the API say where, so that the API
server's proxy leads to it as it leads to a pod.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import pty
import re
import signal
import socket
import subprocess
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest
import pytest_asyncio

from localcluster.cluster import Cluster
from rondo.core import names
from rondo.core.router.render import selector
from tests.integration.cli.conftest import RONDO, Start, create, set_status
from tests.integration.cli.test_watch import COLOURS
from tests.integration.router import build
from tests.integration.router.backends import backend
from tests.integration.router.process import PATIENCE, RouterProcess, graph, router
from tests.ports import free_port
from tests.unit.cli import builders
from tests.unit.cli.builders import down, said, up

Json = Any

ENTRY: Final = {"name": "answer", "fallback": [{"node": "small"}, {"node": "big"}]}
SPEC: Final[dict[str, Json]] = {
    "protocol": "JSON",
    "entry": "answer",
    "timeout": "5s",
    "nodes": [
        ENTRY,
        {"name": "small", "target": {"name": "small"}, "retry": {"limit": 1}},
        {"name": "big", "target": {"name": "big"}},
    ],
}
STATUSES: Final = [up("answer", "Fallback"), down("small", "NoEndpoints", "no ready pod"), up("big")]


@dataclass
class Done:
    """A command that has ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Json:
        return json.loads(self.out)


@dataclass
class Bed:
    """A namespace with the graph `g`, and the router that serves it.

    Attributes:
        cluster: The control plane.
        namespace: The namespace.
        running: The router.
        port: The graph's port of it.
    """

    cluster: Cluster
    namespace: str
    running: RouterProcess
    port: int

    async def rondo(self, *arguments: str, stdin: str = "", kubeconfig: Path | None = None) -> Done:
        """Run `rondo graph` to its end."""
        environment = {**os.environ, "KUBECONFIG": str(kubeconfig or self.cluster.kubeconfig), "COLUMNS": "160"}
        process = await asyncio.create_subprocess_exec(
            RONDO, "graph", *arguments, "-n", self.namespace,
            env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        out, err = await asyncio.wait_for(process.communicate(stdin.encode()), 60)
        assert process.returncode is not None
        return Done(process.returncode, out.decode(), err.decode())

    async def ask(self) -> int:
        """Ask the graph, and give the status."""
        async with self.running.session.post(f"http://127.0.0.1:{self.port}/", json={}) as answer:
            await answer.read()
            return answer.status

    @contextlib.asynccontextmanager
    async def load(self) -> AsyncIterator[None]:
        """Ask the graph all the time."""

        async def ask_on() -> None:
            while True:
                await self.ask()

        asking = asyncio.create_task(ask_on())
        try:
            yield
        finally:
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)


@pytest.fixture(scope="session")
def router_binary() -> Path:
    """The router, built if its sources have changed."""
    return build.router()


@pytest_asyncio.fixture
async def bed(rondo_server: Cluster, namespace: str, router_binary: Path, tmp_path: Path) -> AsyncIterator[Bed]:
    """The graph `g`: of its two targets the first is away, the second answers after 20 ms."""
    async with backend({"after": 0.02, "json": {"big": True}}) as big, router(router_binary, tmp_path) as running:
        port = free_port()
        nodes = [
            ENTRY,
            {"name": "small", "target": {"url": f"http://127.0.0.1:{free_port()}", "protocol": "JSON"}}
            | {"retry": {"limit": 1, "backoffMillis": 1, "budgetPercent": 100}},
            {"name": "big", "target": {"url": big.url, "protocol": "JSON"}},
        ]
        await running.serve([graph(nodes, port=port)])
        for thing in (pod_of(running), service(), endpoints(namespace, port)):
            create(rondo_server, namespace, thing)
        rondo_server.kubectl(
            "patch", "pod", "router-1", "-n", namespace, "--subresource=status", "--type=merge",
            "-p", json.dumps({"status": {"podIP": own_address(), "podIPs": [{"ip": own_address()}]}}),
        )  # fmt: skip
        tell(rondo_server, namespace, said("Degraded", "True"), said("Ready", "True", "Degraded", "but: small is away"))
        yield Bed(rondo_server, namespace, running, port)


def own_address() -> str:
    """Give an address of this machine that is no loopback address: the API server does not lead to those."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.1", 9))  # nothing is sent
        return str(probe.getsockname()[0])


def pod_of(running: RouterProcess) -> Json:
    """A pod that no node ever gets."""
    container = {"name": "router", "image": "x", "ports": [{"name": "admin", "containerPort": running.admin}]}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "router-1", "labels": selector("rondo-router")},
        "spec": {"schedulingGates": [{"name": "rondo.dev/test"}], "containers": [container]},
    }


def service() -> Json:
    port = {"name": "http", "port": 80, "targetPort": 80}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "g"}, "spec": {"ports": [port]}}


def endpoints(namespace: str, port: int) -> Json:
    """Where the Service leads to; the API server's proxy goes by Endpoints, and only to addresses of pods."""
    pod = {"kind": "Pod", "name": "router-1", "namespace": namespace}
    address = {"ip": own_address(), "targetRef": pod}
    subset = {"addresses": [address], "ports": [{"name": "http", "port": port, "protocol": "TCP"}]}
    return {"apiVersion": "v1", "kind": "Endpoints", "metadata": {"name": "g"}, "subsets": [subset]}


def tell(cluster: Cluster, namespace: str, *conditions: Any, statuses: Sequence[Any] = STATUSES) -> None:
    """Make the graph, or write its status anew."""
    made = builders.graph(*SPEC["nodes"], conditions=conditions, statuses=statuses)
    thing = {**made, "metadata": {"name": "g"}, "spec": SPEC}
    if cluster.kubectl("get", "modelgraph", "g", "-n", namespace, "--ignore-not-found", "-o", "name"):
        set_status(cluster, namespace, thing)
    else:
        create(cluster, namespace, thing)


async def test_the_rates_of_a_graph_and_of_its_nodes(bed: Bed) -> None:
    async with bed.load():
        shown = await bed.rondo("g", "-o", "json")
    assert (shown.code, shown.err) == (0, "")
    told = shown.json
    assert (told["state"], told["routers"], told["notes"]) == ("Degraded", ["router-1"], [])
    assert 1.5 < told["seconds"] < 10
    nodes = {node["name"]: node["traffic"] for node in told["nodes"]}
    rate = told["traffic"]["requests"]
    assert 5 < rate < 50, "one after the other, each takes 20 ms and a little more"
    assert told["traffic"]["errors"] == 0
    assert 0.01 < told["traffic"]["p50"] < 0.25, "20 ms, as exact as the bucket from 10 to 25 ms"
    assert nodes["big"]["requests"] == pytest.approx(rate, rel=0.2)
    assert (nodes["small"]["errors"], nodes["big"]["errors"]) == (1, 0)
    assert nodes["small"]["outcomes"]["connect"] == pytest.approx(2 * nodes["small"]["requests"], rel=0.2)
    assert nodes["small"]["events"]["retries"] > 0


async def test_the_table(bed: Bed) -> None:
    assert [await bed.ask() for _ in range(3)] == [200] * 3
    lines = (await bed.rondo("g", "--once")).out.splitlines()
    assert lines[0].split() == ["NODE", "STATE", "REQUESTS", "ERRORS", "P50", "P95"]
    assert re.match(r"g +▲ Degraded +3 +0 % .*but: small is away", lines[1])
    assert re.match(r"└─ answer +✔ Ready +3 +0 % .* fallback", lines[2])
    assert re.match(r"   ├─ small +✘ NoEndpoints +3 +100 % .*no ready pod; 100 % connect; first", lines[3])
    assert re.match(r"   └─ big +✔ Ready +3 +0 % .*ModelDeployment big", lines[4])
    assert lines[5] == "1 router, all since the start; revision r1"


async def test_without_rights_for_the_routers_the_rest_is_shown(bed: Bed, tmp_path: Path) -> None:
    viewer = viewer_of(bed, tmp_path / "kubeconfig")
    shown = await bed.rondo("g", kubeconfig=viewer)
    assert shown.code == 0
    assert re.search(r"small +✘ NoEndpoints +no ready pod", shown.out)
    assert f"rates are not known: you may not list pods in namespace {bed.namespace}; the role edit" in shown.out
    asked = await bed.rondo("test", "g", "-f", "-", stdin="{}", kubeconfig=viewer)
    assert asked.code == 2
    assert f"rondo: you may not create services/proxy in namespace {bed.namespace}; the role edit" in asked.err


async def test_the_role_edit_is_enough(bed: Bed, tmp_path: Path) -> None:
    """What Kubernetes' own role has besides the rights on graphs, which the chart adds to it."""
    editor = viewer_of(bed, tmp_path / "kubeconfig")
    binding = ["create", "rolebinding", "editor", "-n", bed.namespace, "--clusterrole=edit"]
    bed.cluster.kubectl(*binding, f"--serviceaccount={bed.namespace}:default")
    shown = await bed.rondo("g", "--once", "-o", "json", kubeconfig=editor)
    assert (shown.json["routers"], shown.json["notes"]) == (["router-1"], [])
    assert (await bed.rondo("test", "g", "-f", "-", stdin="{}", kubeconfig=editor)).code == 0


def viewer_of(bed: Bed, file: Path) -> Path:
    """Give the kubeconfig of somebody who may read graphs and nothing else."""
    kubectl, own = bed.cluster.kubectl, ("-n", bed.namespace)
    kubectl("create", "role", "viewer", *own, "--verb=get,list,watch", "--resource=modelgraphs.rondo.dev")
    kubectl("create", "rolebinding", "viewer", *own, "--role=viewer", f"--serviceaccount={bed.namespace}:default")
    config = json.loads(kubectl("config", "view", "--raw", "--flatten", "-o", "json"))
    config["users"][0]["user"] = {"token": kubectl("create", "token", "default", *own).strip()}
    file.write_text(json.dumps(config))
    return file


async def test_a_router_that_does_not_answer_is_named(bed: Bed) -> None:
    bed.running.process.terminate()
    await bed.running.process.wait()
    shown = await bed.rondo("g")
    assert shown.code == 0
    assert re.search(r"rates are not known: the API server answered 50\d: .*refused", " ".join(shown.out.split()))


@pytest.mark.usefixtures("rondo_server")
def test_a_graph_that_is_not_there(api_server: Cluster, namespace: str) -> None:
    command = [str(RONDO), "graph", "nobody", "-n", namespace]
    environment = {**os.environ, "KUBECONFIG": str(api_server.kubeconfig)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (2, f"rondo: there is no ModelGraph nobody in namespace {namespace}\n")


async def test_one_request_step_by_step(bed: Bed) -> None:
    done = await bed.rondo("test", "g", "-f", "-", "--answers", stdin='{"x": 1}')
    assert (done.code, done.json) == (0, {"big": True})
    lines = done.err.splitlines()
    assert lines[:2] == ["g is Degraded: but: small is away", "status 200 from revision 1"]
    assert re.match(r"answer +✔ 200 +\d+ ms", lines[2])
    assert re.match(r"├─ small +▲ connect +[\d.]+ ms +2 attempts, before: .*refused", lines[3])
    assert re.match(r'└─ big +✔ 200 +\d+ ms +{"big": true}', lines[-1])


async def test_one_request_for_programs(bed: Bed) -> None:
    done = await bed.rondo("test", "g", "-f", "-", "-o", "json", stdin="{}")
    assert done.code == 0
    attempts = [(step["node"], step["attempts"]) for step in done.json["steps"]]
    assert attempts == [("answer", 1), ("small", 2), ("big", 1)]
    assert (done.json["status"], done.json["answer"]) == (200, {"big": True})


async def test_a_request_that_fails_is_exit_code_1_and_says_where(bed: Bed) -> None:
    nodes = [{"name": "answer", "target": {"url": f"http://127.0.0.1:{free_port()}", "protocol": "JSON"}}]
    await bed.running.serve([graph(nodes, port=bed.port)])
    done = await bed.rondo("test", "g", "-f", "-", stdin="{}")
    assert done.code == 1
    assert done.json["code"] == "connect"
    assert "status 502" in done.err
    assert re.search(r"answer +✘ connect", done.err)


async def test_an_answer_without_steps_is_said_to_be_so(bed: Bed) -> None:
    node = {"name": "answer", "target": {"url": "http://127.0.0.1:1", "protocol": "OpenAI"}}
    await bed.running.serve([graph([node], port=bed.port, protocol="OpenAI")])
    done = await bed.rondo("test", "g", "-f", "-", "--path", "/v1/nothing", stdin="{}")
    assert done.code == 1
    assert "ask POST /v1/chat/completions" in done.out
    status, why = done.err.splitlines()[-2:]
    assert status == "status 404"
    assert why == "the answer has no steps: no node was asked, or no router answered"


async def test_an_address_is_asked_without_a_cluster(bed: Bed) -> None:
    url = f"http://127.0.0.1:{bed.port}/"
    done = await bed.rondo("test", "g", "-f", "-", "--url", url, stdin="{}", kubeconfig=Path("/nowhere"))
    assert (done.code, done.json) == (0, {"big": True})
    assert re.search(r"└─ big +✔ 200", done.err)


async def test_a_service_without_a_router_is_told(bed: Bed) -> None:
    nowhere = json.dumps({"subsets": None})
    bed.cluster.kubectl("patch", "endpoints", "g", "-n", bed.namespace, "--type=merge", "-p", nowhere)
    done = await bed.rondo("test", "g", "-f", "-", stdin="{}")
    assert (done.code, done.out) == (2, "")
    assert "rondo: g cannot be asked through the API server (503): no endpoints available for service" in done.err


async def test_a_terminal_is_redrawn_until_it_is_interrupted(bed: Bed) -> None:
    own, its = pty.openpty()
    environment = {"KUBECONFIG": str(bed.cluster.kubeconfig), "TERM": "xterm", "COLUMNS": "120", "LINES": "20"}
    command = [str(RONDO), "graph", "g", "--watch", "-n", bed.namespace]
    async with bed.load():
        process = await asyncio.create_subprocess_exec(
            *command, stdin=its, stdout=its, stderr=its, env={**os.environ, **environment}
        )
        os.close(its)
        written = await asyncio.to_thread(_read_until, own, r"REQ/S", process.pid)
    assert await asyncio.wait_for(process.wait(), PATIENCE) == 130
    os.close(own)
    plain = COLOURS.sub("", written)
    assert re.search(r"g +▲ Degraded +but: small is away", plain), "at once, without rates"
    assert re.search(r"big +✔ Ready +\d+ +0 %", plain)
    assert written.rindex("\x1b[?25h") > written.rindex("\x1b[?25l"), "the cursor is back"
    assert "Traceback" not in written


def _read_until(terminal: int, pattern: str, pid: int) -> str:
    """Read a terminal to its end; interrupt the process when it has written what is waited for."""
    written, sent = b"", False
    while True:
        try:
            chunk = os.read(terminal, 4096)
        except OSError:  # how Linux says that the other end is closed
            return written.decode()
        written += chunk
        if not sent and re.search(pattern, written.decode(errors="replace")):
            os.kill(pid, signal.SIGINT)
            sent = True


def test_watch_follows_a_graph_until_it_is_ready(rondo_server: Cluster, namespace: str, watch: Start) -> None:
    starting = [said("Ready", "False", "NoEndpoints", "node answer: nothing answers"), said("Reconciling", "True")]
    tell(rondo_server, namespace, *starting)
    shown = watch("graph/g", namespace=namespace)
    shown.expect("^ModelGraph g Progressing: node answer: nothing answers; ")
    shown.expect("^g/small NoEndpoints: no ready pod$")
    tell(rondo_server, namespace, statuses=[up("answer", "Fallback"), up("small"), up("big")])
    shown.expect("^ModelGraph g Ready: ")
    shown.expect("^g/small Ready: ")
    assert shown.end() == 0


def test_watch_of_a_graph_that_is_stalled_is_exit_code_1(rondo_server: Cluster, namespace: str, watch: Start) -> None:
    tell(rondo_server, namespace, said("Ready", "False", "InvalidSpec", "wrong"), said("Stalled", "True"), statuses=[])
    shown = watch("g", namespace=namespace)
    shown.expect("^ModelGraph g Stalled: wrong; ")
    assert shown.end() == 1


def test_the_label_of_routers_is_the_one_that_is_looked_for() -> None:
    assert selector("rondo-router") == {names.MANAGED_BY: "rondo", names.ROUTER: "rondo-router"}
