"""`rondo graph`, `rondo graph test` and `rondo watch` on graphs of real pods, with the rights that people have."""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from tests.e2e.conftest import Kubectl, eventually
from tests.e2e.test_digits import condition, forwarded
from tests.e2e.test_graphs import follow, post, scale, until_ready

pytestmark = pytest.mark.e2e

RONDO: Final = Path(sys.executable).with_name("rondo")
QUESTION: Final = {"messages": [{"role": "user", "content": "What is an exception"}], "seed": 7}


def rondo(
    kubectl: Kubectl, *arguments: str, kubeconfig: Path | None = None, stdin: str = ""
) -> subprocess.CompletedProcess[str]:
    """Run the command line in the namespace of the test."""
    environment = {**os.environ, "KUBECONFIG": str(kubeconfig or kubectl.kubeconfig), "COLUMNS": "200"}
    command = [str(RONDO), *arguments, "-n", kubectl.namespace]
    return subprocess.run(command, input=stdin, capture_output=True, text=True, env=environment, check=False)


def looked(kubectl: Kubectl, **how: Any) -> Any:
    """Look at the graph of the example for two seconds."""
    done = rondo(kubectl, "graph", "assistant", "-o", "json", **how)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def asked(kubectl: Kubectl) -> Any:
    """Ask the graph of the example once, through the API server, and give everything that came."""
    done = rondo(kubectl, "graph", "test", "assistant", "-f", "-", "-o", "json", stdin=json.dumps(QUESTION))
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@contextlib.contextmanager
def load(url: str) -> Iterator[None]:
    """Ask the graph all the time."""
    ended = threading.Event()

    def ask_on() -> None:
        while not ended.is_set():
            with post(f"{url}/v1/chat/completions", QUESTION) as answer:
                answer.read()

    asking = threading.Thread(target=ask_on)
    asking.start()
    try:
        yield
    finally:
        ended.set()
        asking.join()


def kubeconfig_of(kubectl: Kubectl, role: str, file: Path) -> Path:
    """Give the kubeconfig of somebody who has one of Kubernetes' own roles in the namespace."""
    kubectl("create", "serviceaccount", role)
    kubectl("create", "rolebinding", role, f"--clusterrole={role}", f"--serviceaccount={kubectl.namespace}:{role}")
    config = json.loads(kubectl("config", "view", "--raw", "--flatten", "--minify", "-o", "json"))
    config["users"][0]["user"] = {"token": kubectl("create", "token", role).strip()}
    file.write_text(json.dumps(config))
    return file


@pytest.fixture(scope="module")
def team(shared: Kubectl) -> Kubectl:
    """A namespace with the example."""
    follow(shared, "assistant", "assistant-1")
    return shared


def test_a_graph_of_real_pods_is_shown_asked_and_watched(team: Kubectl, tmp_path: Path) -> None:
    watched = rondo(team, "watch", "graph/assistant")
    assert watched.returncode == 0, watched.stderr
    assert re.search(r"^ModelGraph assistant Ready: ", watched.stdout, re.MULTILINE)
    told = asked(team)
    assert (told["status"], [step["node"] for step in told["steps"]]) == (200, ["answer", "small"])
    assert told["answer"]["choices"]
    viewer, editor = (kubeconfig_of(team, role, tmp_path / role) for role in ("view", "edit"))
    with forwarded(team, "assistant") as url, load(url):
        view = looked(team, kubeconfig=editor)
        assert (view["state"], view["notes"], len(view["routers"])) == ("Ready", [], 1)
        rates = {node["name"]: node["traffic"]["requests"] for node in view["nodes"]}
        assert view["traffic"]["requests"] > 0.5
        assert rates["small"] == pytest.approx(view["traffic"]["requests"], rel=0.5, abs=1)
        assert rates["big"] == 0
    without = looked(team, kubeconfig=viewer)
    assert without["traffic"] is None
    words = f"you may not get pods/proxy in namespace {team.namespace}; the role edit allows it"
    assert without["notes"] == [f"rates are not known: {words}"]


def test_what_is_lost_is_seen_and_who_answers_instead(team: Kubectl) -> None:
    until_ready(team, "assistant")
    scale(team, "small-lm", 0)
    eventually("the graph tells", lambda: condition(team, "modelgraph", "assistant", "Degraded"))
    pods = ("get", "pods", "-l", "rondo.dev/modeldeployment=small-lm", "-o", "name")
    eventually("the pod has ended, and answers no more", lambda: not team(*pods))
    shown = rondo(team, "graph", "assistant", "--once")
    assert shown.returncode == 0
    assert re.search(r"^assistant +▲ Degraded", shown.stdout, re.MULTILINE)
    assert re.search(r"─ small +✘ \w+", shown.stdout)
    assert re.search(r"─ big +✔ Ready", shown.stdout)
    done = rondo(team, "graph", "test", "assistant", "-f", "-", stdin=json.dumps(QUESTION))
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["model"] == "3-words"
    assert done.stderr.startswith("assistant is Degraded: ")
    assert re.search(r"─ big +✔ 200", done.stderr)
