"""Graphs of real models in real pods: the examples, a member that is lost, and a router that is rolled under load."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from typing import Any

import pytest

from tests.e2e.conftest import Kubectl, eventually
from tests.e2e.test_digits import condition, forwarded
from tests.e2e.test_examples import EXAMPLES, ended

pytestmark = pytest.mark.e2e

LOAD = """
import collections, json, sys, threading, time, urllib.request

def ask(seen, end):
    while time.monotonic() < end:
        call = urllib.request.Request(sys.argv[1], b'{"query": "exceptions"}', {"Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(call, timeout=10) as answer:
                seen[answer.status] += len(json.load(answer)["passages"]) == 3
        except Exception as error:
            seen[repr(error)] += 1

seen, end = collections.Counter(), time.monotonic() + float(sys.argv[2])
threads = [threading.Thread(target=ask, args=(seen, end)) for _ in range(4)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
print(json.dumps(seen))
"""
"""Asks a graph from four threads, each request by a connection of its own, and counts what came."""


def post(url: str, body: dict[str, Any], **headers: str) -> Any:
    """Send JSON, and give the open answer."""
    every = {"Content-Type": "application/json"} | {name.replace("_", "-"): value for name, value in headers.items()}
    call = urllib.request.Request(url, json.dumps(body).encode(), every)  # noqa: S310 (a forwarded port)
    return urllib.request.urlopen(call, timeout=30)  # noqa: S310


def answers(url: str, body: dict[str, Any], **headers: str) -> bool:
    """Tell whether a graph answers; a node's proxy may learn of new endpoints a moment after they are ready."""
    try:
        with post(url, body, **headers) as answer:
            return bool(answer.status == 200)
    except urllib.error.HTTPError as error:
        if error.code != 502:
            raise
        return False


def steps(url: str, body: dict[str, Any], **headers: str) -> list[str]:
    """Ask with the debug header, and give the nodes that were asked."""
    with post(url, body, x_rondo_debug="true", **headers) as answer:
        return [step["node"] for step in json.load(answer)["steps"]]


def until_ready(kubectl: Kubectl, graph: str) -> None:
    eventually(
        f"{graph} is Ready",
        lambda: condition(kubectl, "modelgraph", graph, "Ready").get("status") == "True",
        within=120,
    )


def follow(kubectl: Kubectl, example: str, run: str) -> dict[str, Any]:
    """Apply an example, and give the status of its run, which succeeds."""
    kubectl("apply", "--kustomize", str(EXAMPLES / example))
    status = ended(kubectl, run, within=240)
    assert condition(kubectl, "pipelinerun", run, "Succeeded")["status"] == "True", status["message"]
    return status


def scale(kubectl: Kubectl, model: str, replicas: int) -> None:
    kubectl("scale", "modeldeployment", model, f"--replicas={replicas}")


def test_an_answer_streams_and_another_model_takes_over(team: Kubectl) -> None:
    follow(team, "assistant", "assistant-1")
    until_ready(team, "assistant")
    streaming = {node["name"]: node.get("streaming") for node in team.get("modelgraph", "assistant")["status"]["nodes"]}
    assert streaming["small"] == streaming["big"] == "Passthrough"
    question = {"messages": [{"role": "user", "content": "What is an exception"}], "seed": 7, "stream": True}
    with forwarded(team, "assistant") as url:
        eventually("it answers", lambda: answers(f"{url}/v1/chat/completions", question))
        first = eventually("the small one answers", lambda: by_small(chunks(url, question)))
        assert len(first) > 2
        scale(team, "small-lm", 0)
        eventually("the graph tells", lambda: condition(team, "modelgraph", "assistant", "Degraded"))
        eventually("the big one answers", lambda: {chunk["model"] for chunk in chunks(url, question)} == {"3-words"})
        scale(team, "big-lm", 0)
        eventually(
            "nothing is left",
            lambda: condition(team, "modelgraph", "assistant", "Ready").get("status") == "False",
        )
        message = team.get("modelgraph", "assistant")["status"]["message"]
        assert "small" in message
        assert "big" in message
        eventually("that is what clients get", lambda: not answers(f"{url}/v1/chat/completions", question))


def found_by(url: str, asked: dict[str, Any]) -> list[dict[str, Any]]:
    """Give what was found if it was reranked; while the reranker cannot be reached, all that was retrieved comes."""
    with post(url, asked) as answer:
        passages: list[dict[str, Any]] = json.load(answer)["passages"]
    return passages if len(passages) == 3 else []


def by_small(said: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Give what was said if the small model said it; its cooldown may not be over after a first failure."""
    return said if {chunk["model"] for chunk in said} == {"1-words"} else []


def chunks(url: str, question: dict[str, Any]) -> list[dict[str, Any]]:
    """Ask for events, and give what they say, up to the mark of their end."""
    with post(f"{url}/v1/chat/completions", question) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        events = [line[6:].strip() for line in answer if line.startswith(b"data: ")]
    assert events[-1] == b"[DONE]"
    return [json.loads(event) for event in events[:-1]]


def test_passages_are_retrieved_and_reranked_while_the_router_is_rolled(team: Kubectl) -> None:
    follow(team, "retrieve", "retrieve-1")
    until_ready(team, "help")
    with forwarded(team, "help") as url:
        asked = {"query": "How is an exception raised?"}
        eventually("it answers", lambda: answers(url, asked))
        found = eventually("the reranker answers too", lambda: found_by(url, asked), within=10)
        assert any("raise" in passage["topic"] or "exception" in passage["text"] for passage in found)
        with post(url, asked, x_rondo_debug="true") as answer:
            assert {step["node"] for step in json.load(answer)["steps"]} == {"search", "retrieve", "rerank"}
    image = team.get("deployment", "retriever")["spec"]["template"]["spec"]["containers"][0]["image"]
    address = team.get("modelgraph", "help")["status"]["url"]
    start = ["run", "load", f"--image={image}", "--restart=Never", "--command", "--"]
    team(*start, "python3", "-c", LOAD, address, "20")
    eventually("it asks", lambda: team.get("pod", "load").get("status", {}).get("phase") == "Running")
    team("rollout", "restart", "deployment/rondo-router")
    team("rollout", "status", "deployment/rondo-router", "--timeout=60s")
    eventually("it has asked", lambda: team.get("pod", "load")["status"]["phase"] == "Succeeded")
    seen = json.loads(team("logs", "load"))
    assert list(seen) == ["200"], seen
    assert seen["200"] > 100


def test_a_secret_that_is_missing_is_named_until_a_router_has_it(team: Kubectl) -> None:
    auth = {"bearer": {"secretKeyRef": {"name": "vendor", "key": "token"}}}
    target = {"url": "https://api.example.com/v1", "model": "m", "auth": auth}
    spec = {"protocol": "OpenAI", "entry": "far", "nodes": [{"name": "far", "target": target}]}
    team.apply({"apiVersion": "rondo.dev/v1alpha1", "kind": "ModelGraph", "metadata": {"name": "vendor"}, "spec": spec})

    def ready(status: str, reason: str) -> bool:
        found = condition(team, "modelgraph", "vendor", "Ready")
        return (found.get("status"), found.get("reason")) == (status, reason)

    eventually("it is named", lambda: ready("False", "CredentialUnusable"), within=60)
    message = team.get("modelgraph", "vendor")["status"]["message"]
    assert (
        f"key token of Secret {team.namespace}/vendor cannot be used by Pod {team.namespace}/rondo-router-" in message
    )
    assert message.endswith(": it is not there")
    team("create", "secret", "generic", "vendor", "--from-literal=token=t")
    team(
        "delete", "pods", "--selector=rondo.dev/router=rondo-router", "--wait=false"
    )  # the kubelet takes up to a minute
    eventually("a router has it", lambda: ready("True", "Ready"), within=60)
