"""Each CEL rule of the CRDs has an object that it refuses with its message, and one beside it that it takes."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from kubernetes.client import ApiException

from rondo.api.crds import build_crd
from rondo.api.kinds import KINDS, PLANNED
from tests.integration.api.conftest import Api, words_of
from tests.integration.api.objects import (
    SERVER,
    Body,
    approval,
    env,
    gate,
    graph,
    job,
    model_deployment,
    model_runtime,
    node,
    pipeline,
    run,
    run_of,
)

DEPLOY: Body = {"name": "d", "deploy": {"name": "m", "spec": {"runtime": "sklearn"}}}
ABSENT: Body = {"name": "d", "deploy": {"name": "m", "state": "Absent"}}
EACH: Body = {"items": [1, "a", {"x": 1}]}
SECRET: Body = {"secretKeyRef": {"name": "s", "key": "k"}}
STORE: Body = {"secretRef": {"name": "store"}}
FIELD: Body = {"fieldRef": {"fieldPath": "metadata.name"}}
MODEL: Body = {"name": "m"}
SERVICE: Body = {"kind": "Service", "name": "s"}
URL = "https://api.example.com/v1"
GRPC: Body = {"protocol": "OpenInference", "transport": "GRPC"}
KEY: Body = {"secretKeyRef": {"name": "s", "key": "k"}}
SPLIT: Body = {"to": [{"node": "b", "weight": 90}, {"node": "c", "weight": 10}]}
WHEN: Body = {"when": "request.body.n > 1.0", "node": "b"}
ELSE: Body = {"node": "c"}

ONE_STAGE = "a stage has exactly one of job, gate, deploy, wait"
ONE_SOURCE = "give exactly one of secretKeyRef, configMapKeyRef, fieldRef, resourceFieldRef"
ONE_REF = "give exactly one of configMapRef and secretRef"
ONE_VALUE = "give either value or valueFrom"
SCRIPT = "give either script, or command and args"
NO_TIMEOUT = "a gate is decided at once and a wait ends by itself: neither takes a timeout"
OF_A_JOB = "inputs, results, outputs and retry belong to a job"
NAMES_OF_RUNS = "metadata.name: at most 45 characters, only a-z, 0-9 and '-': runs are named PIPELINE-GENERATION"
NAMES_OF_JOBS = "metadata.name: at most 52 characters, only a-z, 0-9 and '-': the names of its Jobs begin with it"
NAME_OF_SERVICE = (
    "metadata.name: at most 52 characters, only a-z, 0-9 and '-', beginning with a letter: "
    "it is also the name of a Service"
)
ONE_REFERENCE = "give exactly one of name and spec"
ONE_SERVER = "give exactly one of runtime and server"
IMAGE = "give the image of the server"
HTTP = "give the port that answers requests, named http"


def canary(*steps: Body, **release: Any) -> Body:
    return graph(node(sequence=["b"]), release={"steps": list(steps), **release})


def shadow(*steps: Body, **release: Any) -> Body:
    return canary(*steps, strategy="Shadow", **release)


ONE_NODE = "a node has exactly one of target, sequence, parallel, switch, split, fallback, mirror, cache, batch"
ONLY_LAST = "only the last case of a switch may be without when: what follows it is never reached"
PORT = "give the port of a Service; a ModelDeployment and a ModelGraph know theirs"
PATH = "path and protocol belong to a Service or a url; a ModelDeployment and a ModelGraph know theirs"
NAME_OR_URL = "give exactly one of name and url"
NO_KIND = "a url has no kind: leave kind out"
OVER_GRPC = "gRPC is for a Service or a url; a ModelDeployment and a ModelGraph are asked by HTTP"
NO_PATH = "gRPC has paths of its own: leave path out"
ONE_OBJECT = "give exactly one of configMapKeyRef and secretKeyRef"
OF_HTTPS = "ca is for a url that begins with https://"
OF_A_SERVER = "model, auth and forward belong to a server; a ModelGraph has them in its own nodes"
ONE_AUTH = "give exactly one of bearer and header"
WEIGHTS = "weights belong to the method Weighted"
TIES = "ties belong to the method Vote"
TWICE = "the node that answers is not shown its requests twice"
MAPPED = "give body, copy, set or remove"
OWN_REPLICAS = "replicas belong to a router of its own"
NO_SPEC = "give spec; only with state: Absent, which removes the target, leave it out"
FIXED = " of a run cannot be changed: create another PipelineRun"
ONLY_STATE = "only state of a run can be changed: create another PipelineRun"
NO_WAY_BACK = "a cancelled run does not go on: create another with retryOf"
OF_A_RETRY = "rerunFrom belongs to retryOf"
NO_ARTIFACTS = "give uri, credentials or retention"
NEVER_REMOVED = "from a bucket nothing is ever removed"
OF_A_BUCKET = "credentials belong to a uri of s3://"
FINAL = "a decision is final"
QUESTION = "run, stage, message, approvers, expiresAt cannot be changed: they are what is decided on"
ONE_SHARE = "give weight (Canary) or percent (Shadow)"
SHARES = "steps have weight in a Canary and percent in a Shadow"
WEIGHT, PERCENT = {"weight": 10, "hold": "1m"}, {"percent": 10, "hold": "1m"}
QUORUM = "a quorum is at most all nodes"

# The message of a rule, an object that it refuses, and the like of it that is taken.
CASES: list[tuple[str, Body, Body]] = [
    (NAMES_OF_RUNS, pipeline(name="x" * 46), pipeline(name="x" * 45)),
    (NAMES_OF_RUNS, pipeline(name="with.dot"), pipeline(name="with-hyphen")),
    (ONE_STAGE, pipeline({"name": "a"}), pipeline(job())),
    (ONE_STAGE, pipeline({**job(), **gate("a")}), pipeline(gate("a"))),
    (ONE_STAGE, pipeline({**DEPLOY, **gate("a")}), pipeline(DEPLOY)),
    (OF_A_JOB, pipeline(gate(results=[{"name": "r"}])), pipeline({**job(), "results": [{"name": "r"}]})),
    (OF_A_JOB, pipeline({**DEPLOY, "retry": {"limit": 1}}), pipeline({**job(), "retry": {"limit": 1}})),
    (NO_TIMEOUT, pipeline(gate(timeout="1m")), pipeline({**DEPLOY, "timeout": "1m"})),
    ("a stage cannot need itself", pipeline({**job(), "needs": ["a"]}), pipeline({**job(), "needs": ["b"]})),
    ("a stage cannot be after itself", pipeline({**job(), "after": ["a"]}), pipeline({**job(), "after": ["b"]})),
    ("forEach belongs to a job", pipeline(gate(forEach=EACH)), pipeline({**job(), "forEach": EACH})),
    (ONE_STAGE, pipeline({**job(), "wait": "1m"}), pipeline({"name": "a", "wait": "1m"})),
    (ONE_STAGE, pipeline(finally_=[{"name": "z"}]), pipeline(finally_=[{**job(), "name": "z"}])),
    (NO_TIMEOUT, pipeline({"name": "a", "wait": "1m", "timeout": "1m"}), pipeline({**job(), "timeout": "1m"})),
    (NO_SPEC, pipeline({"name": "d", "deploy": {"name": "m"}}), pipeline(ABSENT)),
    (NO_SPEC, pipeline({"name": "d", "deploy": {**DEPLOY["deploy"], "state": "Absent"}}), pipeline(DEPLOY)),
    (NO_ARTIFACTS, pipeline(job(), artifacts={}), pipeline(job(), artifacts={"credentials": STORE})),
    (
        NEVER_REMOVED,
        pipeline(artifacts={"uri": "s3://bucket/a", "retention": "Keep"}),
        pipeline(artifacts={"retention": "Keep"}),
    ),
    (SCRIPT, pipeline(job(script="#!/bin/sh", args=["x"])), pipeline(job(script="date"))),
    (ONE_SOURCE, pipeline(job(env=[env(**SECRET, **FIELD)])), pipeline(job(env=[env(**SECRET)]))),
    (ONE_SOURCE, pipeline(job(env=[env()])), pipeline(job(env=[env(**FIELD)]))),
    (ONE_VALUE, pipeline(job(env=[{**env(**SECRET), "value": "v"}])), pipeline(job(env=[env(**SECRET)]))),
    (ONE_REF, pipeline(job(envFrom=[{"prefix": "P_"}])), pipeline(job(envFrom=[{"secretRef": {"name": "s"}}]))),
    (NAMES_OF_JOBS, run(name="x" * 53), run(name="x" * 52)),
    (ONE_REFERENCE, run_of(), run_of(name="p")),
    (ONE_REFERENCE, run_of(name="p", spec={"stages": [job()]}), run_of(spec={"stages": [job()]})),
    (OF_A_RETRY, run(rerunFrom=["a"]), run(rerunFrom=["a"], retryOf="r")),
    (NAME_OF_SERVICE, model_deployment("1st"), model_deployment("first")),
    (NAME_OF_SERVICE, model_deployment("x" * 53), model_deployment("x" * 52)),
    (ONE_SERVER, model_deployment(runtime="r", server=SERVER), model_deployment(server=SERVER)),
    (ONE_SERVER, model_deployment(replicas=1), model_deployment(runtime="r", replicas=1)),
    (IMAGE, model_deployment(server={"ports": SERVER["ports"]}), model_deployment(server=SERVER)),
    (HTTP, model_deployment(server={"image": "i"}), model_deployment(server=SERVER)),
    (
        OF_A_BUCKET,
        model_deployment(runtime="r", model={"uri": "pvc://c/m", "credentials": STORE}),
        model_deployment(runtime="r", model={"uri": "s3://bucket/m", "credentials": STORE}),
    ),
    (IMAGE, model_runtime(ports=SERVER["ports"]), model_runtime(**SERVER)),
    (HTTP, model_runtime(image="i", ports=[{"name": "grpc", "containerPort": 9}]), model_runtime(**SERVER)),
    ("entry names one of the nodes", graph(node(), entry="b"), graph(node(), entry="a")),
    (ONE_NODE, graph(node(sequence=["b"], split=SPLIT)), graph(node(sequence=["b"]))),
    (ONE_SHARE, canary({"hold": "1m"}), canary(WEIGHT)),
    (ONE_SHARE, canary({**WEIGHT, **PERCENT}), shadow(PERCENT)),
    (SHARES, canary(WEIGHT, PERCENT), canary(WEIGHT, WEIGHT)),
    (SHARES, shadow(PERCENT, WEIGHT), shadow(PERCENT)),
    ("sticky belongs to Canary", shadow(PERCENT, sticky="request.path"), canary(WEIGHT, sticky="request.path")),
    ("compare belongs to Shadow", canary(WEIGHT, compare="true"), shadow(PERCENT, compare="true")),
    (ONE_NODE, graph({"name": "a"}), graph(node())),
    (ONLY_LAST, graph(node(switch=[ELSE, WHEN])), graph(node(switch=[WHEN, ELSE]))),
    (ONLY_LAST, graph(node(switch=[ELSE, ELSE])), graph(node(switch=[ELSE]))),
    (PORT, graph(node(target=SERVICE)), graph(node(target={**SERVICE, "port": 80}))),
    (PORT, graph(node(target={"name": "m", "port": 80})), graph(node(target={"name": "m"}))),
    (PATH, graph(node(target={"name": "m", "path": "/"})), graph(node(target={**SERVICE, "port": 80, "path": "/"}))),
    (PATH, graph(node(target={"name": "m", "protocol": "JSON"})), graph(node(target={"url": URL, "protocol": "JSON"}))),
    (NAME_OR_URL, graph(node(target={"name": "m", "url": URL})), graph(node(target={"url": URL}))),
    (NAME_OR_URL, graph(node(target={"kind": "ModelGraph"})), graph(node(target={"kind": "ModelGraph", "name": "g"}))),
    (NO_KIND, graph(node(target={"kind": "ModelGraph", "url": URL})), graph(node(target={"url": URL}))),
    (OVER_GRPC, graph(node(target={"name": "m", **GRPC})), graph(node(target={"url": URL, **GRPC}))),
    (
        OVER_GRPC,
        graph(node(target={"kind": "ModelGraph", "name": "g", **GRPC})),
        graph(node(target={**SERVICE, "port": 9000, **GRPC})),
    ),
    (
        NO_PATH,
        graph(node(target={**SERVICE, "port": 9000, "path": "/", **GRPC})),
        graph(node(target={**SERVICE, "port": 9000, "path": "/", "transport": "HTTP"})),
    ),
    (
        OF_A_SERVER,
        graph(node(target={"kind": "ModelGraph", "name": "g", "model": "m"})),
        graph(node(target={"name": "g", "model": "m", "auth": {"bearer": KEY}, "forward": ["cookie"]})),
    ),
    (
        ONE_AUTH,
        graph(node(target={"url": URL, "auth": {"bearer": KEY, "header": {"name": "x", **KEY}}})),
        graph(node(target={"url": URL, "auth": {"header": {"name": "x", **KEY}}})),
    ),
    (
        ONE_OBJECT,
        graph(node(target={"url": "https://u", "ca": {**KEY, "configMapKeyRef": KEY["secretKeyRef"]}})),
        graph(node(target={"url": "https://u", "ca": {"configMapKeyRef": KEY["secretKeyRef"]}})),
    ),
    (OF_HTTPS, graph(node(target={"url": "http://u", "ca": KEY})), graph(node(target={"url": "https://u", "ca": KEY}))),
    (OF_HTTPS, graph(node(target={"name": "m", "ca": KEY})), graph(node(target={"name": "m"}))),
    (
        WEIGHTS,
        graph(node(parallel={"nodes": ["b"], "combine": {"method": "Mean", "weights": {"b": 1}}})),
        graph(node(parallel={"nodes": ["b"], "combine": {"method": "Weighted", "weights": {"b": 1}}})),
    ),
    (
        TIES,
        graph(node(parallel={"nodes": ["b"], "combine": {"ties": "Fail"}})),
        graph(node(parallel={"nodes": ["b"], "combine": {"method": "Vote", "ties": "Fail"}})),
    ),
    (TWICE, graph(node(mirror={"node": "b", "to": ["b"]})), graph(node(mirror={"node": "b", "to": ["c"]}))),
    (MAPPED, graph(node(request={}, target=MODEL)), graph(node(request={"set": {"a": 1}}, target=MODEL))),
    (OWN_REPLICAS, graph(node(), router={"replicas": 3}), graph(node(), router={"own": True, "replicas": 3})),
    ("the weights add up to 100", graph(node(split={"to": [SPLIT["to"][0]]})), graph(node(split=SPLIT))),
    (QUORUM, graph(node(parallel={"nodes": ["b"], "quorum": 2})), graph(node(parallel={"nodes": ["b"], "quorum": 1}))),
    ("name users or groups that may decide", approval(approvers={}), approval(approvers={"users": ["eve"]})),
    ("decidedBy comes with a decision", approval(decidedBy="eve"), approval(decision="Approved", decidedBy="eve")),
]  # fmt: skip

# The message of a rule about changes, an object, a change that it refuses, and one that is taken.
CHANGES: list[tuple[str, Body, Body, Body]] = [
    (ONLY_STATE, run(), {"spec": {"params": {"n": 1}}}, {"spec": {"state": "Paused"}}),
    (ONLY_STATE, run(params={"n": 1}), {"spec": {"params": {"n": 2}}}, {"spec": {"state": "Cancelled"}}),
    (ONLY_STATE, run(), {"spec": {"pipeline": {"name": "q"}}}, {"metadata": {"labels": {"a": "b"}}}),
    (
        f"pipeline{FIXED}",
        run(),
        {"spec": {"pipeline": {"name": "q"}, "state": "Paused"}},
        {"spec": {"state": "Paused"}},
    ),
    (f"targets{FIXED}", run(targets=["a"]), {"spec": {"targets": None}}, {"spec": {"state": "Paused"}}),
    (f"retryOf{FIXED}", run(retryOf="r"), {"spec": {"retryOf": "s"}}, {"spec": {"state": "Paused"}}),
    (f"rerunFrom{FIXED}", run(retryOf="r"), {"spec": {"rerunFrom": ["a"]}}, {"spec": {"state": "Paused"}}),
    (NO_WAY_BACK, run(state="Cancelled"), {"spec": {"state": "Running"}}, {"metadata": {"labels": {"a": "b"}}}),
    (NO_WAY_BACK, run(state="Cancelled"), {"spec": {"state": None}}, {"spec": {"state": "Cancelled"}}),
    (FINAL, approval(decision="Approved"), {"spec": {"decision": "Rejected"}}, {"metadata": {"labels": {"a": "b"}}}),
    (FINAL, approval(decision="Approved"), {"spec": {"decision": None}}, {"spec": {"decision": "Approved"}}),
    (QUESTION, approval(), {"spec": {"approvers": {"groups": ["all"]}}}, {"spec": {"decision": "Approved"}}),
    (QUESTION, approval(message="Ship?"), {"spec": {"message": None}}, {"spec": {"reason": "not yet"}}),
    (QUESTION, approval(), {"spec": {"expiresAt": "2030-01-01T00:00:00Z"}}, {"spec": {"decision": "Rejected"}}),
]  # fmt: skip


@pytest.mark.parametrize(("message", "refused", "taken"), CASES, ids=[message[:40] for message, *_ in CASES])
def test_a_rule_refuses_with_its_message_and_takes_what_is_right(
    api: Api, message: str, refused: Body, taken: Body
) -> None:
    assert message in api.refusal(refused)
    assert api.create(taken, dry_run=True)["spec"]


@pytest.mark.parametrize(("message", "before", "refused", "taken"), CHANGES, ids=[each[0][:40] for each in CHANGES])
def test_what_was_settled_cannot_be_changed(api: Api, message: str, before: Body, refused: Body, taken: Body) -> None:
    before = {**before, "metadata": {"name": f"x{uuid.uuid4().hex[:8]}"}}
    api.create(before)
    with pytest.raises(ApiException) as failure:
        api.patch(before, refused)
    assert message in words_of(failure.value)
    api.patch(before, taken)


def test_every_rule_has_a_case() -> None:
    messages = {message for kind in (*KINDS, *PLANNED) for message in messages_in(build_crd(kind))}
    assert messages == {message for message, *_ in CASES} | {message for message, *_ in CHANGES}


def messages_in(document: Any) -> Iterator[str]:
    """Find the messages of all rules."""
    match document:
        case dict():
            for rule in document.get("x-kubernetes-validations", ()):
                yield rule["message"]
            for part in document.values():
                yield from messages_in(part)
        case list():
            for part in document:
                yield from messages_in(part)
        case _:
            pass
