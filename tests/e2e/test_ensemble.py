"""The example `ensemble` on real pods: a vote, an A/B test, and releases of a graph under load."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from typing import Any, Final

import pytest

from tests.e2e.conftest import Kubectl, eventually
from tests.e2e.test_digits import EXAMPLE as DIGITS
from tests.e2e.test_digits import condition, forwarded
from tests.e2e.test_graphs import answers, follow, scale, steps, until_ready

pytestmark = pytest.mark.e2e

GUARDED: Final = "digits-guarded"
RELEASE: Final = {
    "steps": [{"weight": 20, "hold": "7s"}, {"weight": 50, "hold": "2s"}],
    "minRequests": 20,
}

LOAD: Final = """
import collections, json, sys, threading, time, urllib.error, urllib.request

def ask(number):
    while True:
        number += 4
        headers = {"Content-Type": "application/json", "x-user": f"user-{number}"}
        call = urllib.request.Request(sys.argv[1], sys.argv[2].encode(), headers)
        try:
            with urllib.request.urlopen(call, timeout=10) as answer:
                answer.read()
                seen[str(answer.status)] += 1
        except urllib.error.HTTPError as error:
            seen[f"{error.code} {error.read().decode()}"] += 1
        except Exception as error:
            seen[repr(error)] += 1

seen = collections.Counter()
for number in range(4):
    threading.Thread(target=ask, args=(number,), daemon=True).start()
while True:
    time.sleep(0.25)
    print(json.dumps(dict(seen)), flush=True)
"""
"""Asks a graph from four threads, each request for another user, and counts what came."""


@pytest.fixture(scope="module")
def team(shared: Kubectl) -> Kubectl:
    """A namespace with the example."""
    follow(shared, "ensemble", "ensemble-1")
    return shared


def test_three_models_vote_and_one_may_be_away(team: Kubectl) -> None:
    until_ready(team, "digits-vote")
    shown = team("get", "modelgraph", "digits-vote", "--no-headers").split()
    assert shown[:4] == ["digits-vote", "True", "Ready", "4/4"]
    request = json.loads((DIGITS / "request.json").read_text())
    predict = [sys.executable, str(DIGITS / "predict.py"), "--model=any"]
    with forwarded(team, "digits-vote") as url:
        eventually("it answers", lambda: answers(f"{url}/v2/models/any/infer", request))
        told = subprocess.run([*predict, url], capture_output=True, text=True, check=True)
        assert "10 of 10 right" in told.stdout
        scale(team, "digits-forest", 0)
        degraded = eventually("the graph tells", lambda: condition(team, "modelgraph", "digits-vote", "Degraded"))
        assert "forest" in degraded["message"]
        assert condition(team, "modelgraph", "digits-vote", "Ready")["status"] == "True"
        told = subprocess.run([*predict, url], capture_output=True, text=True, check=True)
        assert "10 of 10 right" in told.stdout
    scale(team, "digits-forest", 1)
    until_ready(team, "digits-ab")
    with forwarded(team, "digits-ab") as url:
        infer, users = f"{url}/v2/models/any/infer", [f"user-{number}" for number in range(40)]
        eventually("both ways answer", lambda: all(answers(infer, request, x_user=user) for user in users))
        ways = [steps(infer, request, x_user=user) for user in (*users, *users)]
    assert ways[:40] == ways[40:], "each user goes the same way again"
    shares = Counter("neighbors" if "neighbors" in way else "forest" for way in ways)
    assert 0 < shares["neighbors"] < shares["forest"]
    eventually("the shadows were compared", lambda: agreements(team) >= 75)


def agreements(kubectl: Kubectl) -> float:
    """Give how often the shadow of the A/B test gave the same answer, of all routers."""
    total = 0.0
    for pod in kubectl.items("pods", "--selector=rondo.dev/router"):
        path = f"/api/v1/namespaces/{kubectl.namespace}/pods/{pod['metadata']['name']}:9900/proxy/metrics"
        for line in kubectl("get", "--raw", path).splitlines():
            if line.startswith("rondo_mirror_agreements_total"):
                total += float(line.rsplit(" ", 1)[1])
    return total


def test_a_graph_goes_over_to_another_version_and_back_under_load(team: Kubectl) -> None:
    until_ready(team, GUARDED)
    assert condition(team, "modelgraph", GUARDED, "Released")["message"] == "release 1 is promoted"
    patch(team, "modelgraph", GUARDED, {"release": RELEASE})
    image = team.get("deployment", "digits-forest")["spec"]["template"]["spec"]["containers"][0]["image"]
    address = team.get("modelgraph", GUARDED)["status"]["url"]
    load = ["run", "load", f"--image={image}", "--restart=Never", "--command", "--", "/opt/venv/bin/python", "-c", LOAD]
    team(*load, f"{address}/v2/models/any/infer", (DIGITS / "request.json").read_text())
    eventually("the load is answered", lambda: came(team)["200"] > 20)
    another_model(team)
    no_model(team)
    another_revision(team)


def another_model(team: Kubectl) -> None:
    with all_well(team):
        patch(team, "modelgraph", GUARDED, asking(name="digits-neighbors"))
        assert "error rate 0%" in eventually("numbers are told", lambda: numbers(team), within=120)
        until_released(team, 2, "Promoted")
        until_ready(team, GUARDED)
    eventually("what is not asked is not kept", lambda: kept(team, "digits-forest") == [])


def no_model(team: Kubectl) -> None:
    before = came(team)
    patch(team, "modelgraph", GUARDED, asking(url="http://localhost:1", model="m"))
    until_released(team, 3, "RolledBack")
    eventually("it is Stalled", lambda: condition(team, "modelgraph", GUARDED, "Stalled").get("status") == "True")
    ready = condition(team, "modelgraph", GUARDED, "Ready")
    assert (ready["status"], ready["reason"]) == ("False", "CheckFailed")
    assert "requests fail that did not" in ready["message"]
    seen = came(team) - before
    assert 0 < seen.total() - seen["200"] < seen["200"]
    with all_well(team):
        patch(team, "modelgraph", GUARDED, asking(name="digits-neighbors"))
        until_ready(team, GUARDED)
    assert release(team)["served"]["number"] == 2


def another_revision(team: Kubectl) -> None:
    with all_well(team):
        patch(team, "modeldeployment", "digits-neighbors", {"env": [{"name": "REVISION", "value": "2"}]})
        until_released(team, 4, "Promoted")
        eventually("the old revision is not kept", lambda: len(kept(team, "digits-neighbors")) == 1)
        eventually("one Deployment is left", lambda: deployments(team, "digits-neighbors") == ["digits-neighbors"])
    assert condition(team, "modelgraph", GUARDED, "Ready")["status"] == "True"


@contextlib.contextmanager
def all_well(kubectl: Kubectl) -> Iterator[None]:
    """See that all requests are answered meanwhile."""
    before = came(kubectl)
    yield
    seen = eventually("it asks", lambda: came(kubectl) - before)
    assert list(seen) == ["200"], seen


def came(kubectl: Kubectl) -> Counter[str]:
    """Give what came of the load so far."""
    told = kubectl("logs", "load", "--tail=1") if kubectl.get("pod", "load")["status"]["phase"] == "Running" else ""
    return Counter(json.loads(told) if told.strip() else {})


def until_released(kubectl: Kubectl, number: int, state: str) -> None:
    """Wait until a release has come to its end, and to no other."""

    def ended() -> bool:
        now = release(kubectl)
        over = now["number"] == number and now["state"] in {"Promoted", "RolledBack", "Paused"}
        assert not over or now["state"] == state, now
        return over

    eventually(f"release {number} is {state}", ended, within=120)


def release(kubectl: Kubectl) -> dict[str, Any]:
    status: dict[str, Any] = kubectl.get("modelgraph", GUARDED)["status"]["release"]
    return status


def numbers(kubectl: Kubectl) -> str:
    """Give what is told of a step once it has numbers."""
    message: str = condition(kubectl, "modelgraph", GUARDED, "Released").get("message", "")
    return message if "requests, error rate" in message else ""


def asking(**target: Any) -> dict[str, Any]:
    return {"nodes": [{"name": "model", "target": target}]}


def patch(kubectl: Kubectl, kind: str, name: str, spec: dict[str, Any]) -> None:
    kubectl("patch", kind, name, "--type=merge", "-p", json.dumps({"spec": spec}))


def deployments(kubectl: Kubectl, prefix: str) -> list[str]:
    names = (each["metadata"]["name"] for each in kubectl.items("deployments"))
    return [name for name in names if name.startswith(prefix)]


def kept(kubectl: Kubectl, deployment: str) -> list[dict[str, Any]]:
    """Give the revisions that are kept for graphs."""
    found: list[dict[str, Any]] = kubectl.get("modeldeployment", deployment)["status"].get("kept", [])
    return found
