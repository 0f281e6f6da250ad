"""InferenceGraphs as ModelGraphs: which nodes, and what is said of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from rondo.api.modelgraph import Limits, TargetKind
from rondo.api.modelruntime import Protocol
from rondo.kserve.findings import Imported
from rondo.kserve.graph import import_graph
from rondo.kserve.services import Service
from tests.unit.kserve.builders import graph, router

Json = Any

V2 = Service("m", protocol=Protocol.OPEN_INFERENCE)
CUSTOM = Service("own", TargetKind.SERVICE, Protocol.KSERVE_V1, "cifar")
KNOWN = {name: Service(name) for name in ("a", "b", "c", "m")}
"""Services that speak v1, so that nothing is said of them."""


def spec_of(result: Imported) -> Json:
    assert [str(problem) for problem in result.problems] == []
    return result.documents[0]["spec"]


def nodes_of(content: Json, services: dict[str, Service] | None = None) -> Json:
    return spec_of(import_graph(content, KNOWN if services is None else services))["nodes"]


def target(name: str, service: str = "", **fields: Json) -> Json:
    return {"name": name, "target": {"name": service or name}, **fields}


@dataclass(frozen=True)
class Case:
    """A graph.

    Attributes:
        content: KServe's.
        nodes: What they become.
        notes: Parts of what is said, in order; nothing else is said.
    """

    content: Json
    nodes: list[Json]
    notes: list[str] = field(default_factory=list)


def hard(**fields: Json) -> Json:
    return {"dependency": "Hard", **fields}


IS_DOG = '[@this].#(predictions.0=="dog")'


def is_dog(base: str) -> str:
    there = f"type({base}) == map && has({base}.predictions) && type({base}.predictions) == list"
    return f"{there} && size({base}.predictions) > 0 && {base}.predictions[0] == 'dog'"


NO_MATCH = "what no condition takes gets 404, as in KServe"
ENDS = "a sequence that ends unless the condition is met"

CASES = {
    "a splitter": Case(
        graph(router("Splitter", {"serviceName": "a", "weight": 20}, {"serviceName": "b", "weight": 80})),
        [
            {"name": "root", "split": {"to": [{"node": "a", "weight": 20}, {"node": "b", "weight": 80}]}},
            target("a"),
            target("b"),
        ],
    ),
    "one service twice": Case(
        graph(router("Splitter", {"serviceName": "a", "weight": 50}, {"serviceName": "a", "weight": 50})),
        [
            {"name": "root", "split": {"to": [{"node": "a", "weight": 50}, {"node": "a-2", "weight": 50}]}},
            target("a"),
            target("a-2", "a"),
        ],
    ),
    "a condition that KServe does not look at": Case(
        graph(router("Splitter", {"serviceName": "a", "weight": 100, "condition": "[@this].#(x==ERROR)"})),
        [{"name": "root", "split": {"to": [{"node": "a", "weight": 100}]}}, target("a")],
        ["spec.nodes.root.steps[0].condition: means nothing in a Splitter, in KServe neither: left out"],
    ),
    "a switch": Case(
        graph(
            router(
                "Switch",
                {"name": "rootStep1", "serviceName": "a", "condition": "[@this].#(picker==ERROR)"},
                {"name": "rootStep2", "serviceName": "b", "condition": "[@this].#(picker==SUCCESS)"},
            )
        ),
        [
            {
                "name": "root",
                "switch": [
                    {
                        "when": "type(request.body) == map && has(request.body.picker) && "
                        f"request.body.picker == '{word}'",
                        "node": name,
                    }
                    for word, name in (("ERROR", "rootstep1"), ("SUCCESS", "rootstep2"))
                ],
            },
            target("rootstep1", "a"),
            target("rootstep2", "b"),
        ],
        [NO_MATCH],
    ),
    "a switch with a step that is never taken": Case(
        graph(router("Switch", {"serviceName": "a", "condition": "x"}, {"serviceName": "b"})),
        [
            {"name": "root", "switch": [{"when": "type(request.body) == map && has(request.body.x)", "node": "a"}]},
            target("a"),
        ],
        ["steps[1]: a step without condition is never taken in KServe: left out", NO_MATCH],
    ),
    "a sequence of what was asked": Case(
        graph(
            router(
                "Sequence",
                hard(serviceName="a"),
                hard(serviceName="b", data="$request"),
                hard(serviceName="c"),
            )
        ),
        [
            {"name": "root", "sequence": ["a", "b", "c"]},
            target("a"),
            target("b", request={"body": "request.body"}),
            target("c", request={"body": "request.body"}),
        ],
    ),
    "a chain passes answers on as they are": Case(
        graph(router("Sequence", hard(serviceName="a"), hard(serviceName="b", data="$response"))),
        [{"name": "root", "sequence": ["a", "b"]}, target("a"), target("b", request={"body": "nodes.a.body"})],
    ),
    "predictions become instances, which a sequence does by itself": Case(
        graph(
            router(
                "Sequence",
                hard(serviceName="a"),
                hard(serviceName="b", data="$response", mapPredictionsToInstances=True),
            )
        ),
        [{"name": "root", "sequence": ["a", "b"]}, target("a"), target("b")],
        ["mapPredictionsToInstances: the request has to have predictions"],
    ),
    "a soft step": Case(
        graph(router("Sequence", {"serviceName": "a"}, {"serviceName": "b", "data": "$response"})),
        [
            {"name": "root", "sequence": ["a", "b"]},
            target("a", onError="Skip"),
            target("b", request={"body": "has(nodes.a) ? nodes.a.body : request.body"}),
        ],
        ["Soft steps a: if it cannot be reached, the sequence goes on; KServe ends it with 500"],
    ),
    "dogs alone go on": Case(
        graph(
            router(
                "Sequence",
                hard(serviceName="a", name="cat_dog"),
                hard(serviceName="b", name="breed", data="$request", condition=IS_DOG),
            )
        ),
        [
            {
                "name": "root",
                "fallback": [
                    {"node": "cat-dog", "accept": f"!({is_dog('response.body')})"},
                    {"node": "if-breed"},
                ],
            },
            target("cat-dog", "a"),
            {
                "name": "if-breed",
                "switch": [
                    {
                        "when": f"has(nodes.cat_dog) && nodes.cat_dog.status < 300.0 && {is_dog('nodes.cat_dog.body')}",
                        "node": "breed",
                    }
                ],
            },
            target("breed", "b"),
        ],
        [ENDS],
    ),
    "a condition in the middle": Case(
        graph(
            router(
                "Sequence",
                hard(serviceName="a"),
                hard(serviceName="b", data="$response"),
                hard(serviceName="c", data="$response", condition="x"),
                hard(serviceName="m", data="$response"),
            )
        ),
        [
            {"name": "root", "sequence": ["a", "b-unless"]},
            target("a"),
            {
                "name": "b-unless",
                "fallback": [
                    {"node": "b", "accept": "!(type(response.body) == map && has(response.body.x))"},
                    {"node": "if-c"},
                ],
            },
            target("b", request={"body": "nodes.a.body"}),
            {
                "name": "if-c",
                "switch": [
                    {
                        "when": "has(nodes.b) && nodes.b.status < 300.0 && type(nodes.b.body) == map && "
                        "has(nodes.b.body.x)",
                        "node": "root-rest",
                    }
                ],
            },
            {"name": "root-rest", "sequence": ["c", "m"]},
            target("c", request={"body": "has(nodes.b) ? nodes.b.body : request.body"}),
            target("m", request={"body": "nodes.c.body"}),
        ],
        [ENDS],
    ),
    "a condition on the first step": Case(
        graph(router("Sequence", hard(serviceName="a", condition="x"))),
        [{"name": "root", "sequence": ["a"]}, target("a")],
        ["steps[0].condition: KServe answers every request with 500"],
    ),
    "an ensemble whose answers keep their names": Case(
        graph(router("Ensemble", hard(serviceName="a"), hard(serviceName="b", name="second_one"))),
        [
            {
                "name": "root",
                "parallel": {"nodes": ["a", "second-one"], "combine": {"method": "Map"}},
                "response": {"body": "{'0': nodes.a.body, 'second_one': nodes.second_one.body}"},
            },
            target("a"),
            target("second-one", "b"),
        ],
        ["Hard steps a, second_one: a 5xx becomes 502 here"],
    ),
    "a soft ensemble": Case(
        graph(router("Ensemble", {"serviceName": "a", "name": "a"}, hard(serviceName="b", name="b"))),
        [
            {"name": "root", "parallel": {"nodes": ["a", "b"], "combine": {"method": "Map"}}},
            target("a", onError="Skip"),
            target("b"),
        ],
        ["Soft steps a: of one that fails it is left out", "Hard steps b"],
    ),
    "a router in a router looks at the answer before it": Case(
        graph(
            router("Sequence", hard(serviceName="a"), hard(nodeName="pick", data="$response")),
            pick=router("Switch", {"serviceName": "b", "condition": "x"}),
        ),
        [
            {"name": "root", "sequence": ["a", "pick"]},
            target("a"),
            {
                "name": "pick",
                "switch": [{"when": "type(nodes.a.body) == map && has(nodes.a.body.x)", "node": "b"}],
                "request": {"body": "nodes.a.body"},
            },
            target("b"),
        ],
        ["gets 404; KServe answers 500 here"],
    ),
    "a router that may not have an answer before it": Case(
        graph(
            router("Sequence", {"serviceName": "a"}, hard(nodeName="pick", data="$response")),
            pick=router("Switch", {"serviceName": "b", "condition": "x"}),
        ),
        [
            {"name": "root", "sequence": ["a", "pick"]},
            target("a", onError="Skip"),
            {
                "name": "pick",
                "switch": [{"when": "has(nodes.a) && type(nodes.a.body) == map && has(nodes.a.body.x)", "node": "b"}],
                "request": {"body": "has(nodes.a) ? nodes.a.body : request.body"},
            },
            target("b"),
        ],
        ["Soft steps a", "gets 404"],
    ),
    "predictions as instances for a router": Case(
        graph(
            router(
                "Sequence",
                hard(serviceName="a"),
                hard(nodeName="pick", data="$response", mapPredictionsToInstances=True),
            ),
            pick=router("Switch", {"serviceName": "b", "condition": "instances"}),
        ),
        [
            {"name": "root", "sequence": ["a", "pick"]},
            target("a"),
            {
                "name": "pick",
                "switch": [
                    {
                        "when": "type(({'instances': nodes.a.body.predictions})) == map && "
                        "has(({'instances': nodes.a.body.predictions}).instances)",
                        "node": "b",
                    }
                ],
            },
            target("b"),
        ],
        ["mapPredictionsToInstances: the request has to have predictions", "gets 404"],
    ),
    "a router that two steps name is written twice": Case(
        graph(
            router("Splitter", {"nodeName": "one", "weight": 50}, {"nodeName": "one", "weight": 50}),
            one=router("Sequence", {"serviceName": "a"}),
        ),
        [
            {"name": "root", "split": {"to": [{"node": "one", "weight": 50}, {"node": "one-2", "weight": 50}]}},
            {"name": "one", "sequence": ["a"]},
            target("a"),
            {"name": "one-2", "sequence": ["a-2"]},
            target("a-2", "a"),
        ],
    ),
    "a router that no step names": Case(
        graph(router("Sequence", {"serviceName": "a"}), lost=router("Sequence", {"serviceName": "b"})),
        [{"name": "root", "sequence": ["a"]}, target("a")],
        ["spec.nodes.lost: no step leads to node lost: left out"],
    ),
    "names that are none here": Case(
        graph(
            router(
                "Splitter",
                {"name": "1st_Step!", "serviceName": "a", "weight": 40},
                {"name": "in", "serviceName": "b", "weight": 30},
                {"name": "__", "serviceName": "c", "weight": 20},
                {"name": "x" * 50, "serviceName": "m", "weight": 10},
            )
        ),
        [
            {
                "name": "root",
                "split": {
                    "to": [
                        {"node": "step-1st-step", "weight": 40},
                        {"node": "step-in", "weight": 30},
                        {"node": "step", "weight": 20},
                        {"node": "x" * 40, "weight": 10},
                    ]
                },
            },
            target("step-1st-step", "a"),
            target("step-in", "b"),
            target("step", "c"),
            target("x" * 40, "m"),
        ],
    ),
    "data that KServe does not know": Case(
        graph(router("Sequence", hard(serviceName="a"), hard(serviceName="b", data="$response.predictions"))),
        [{"name": "root", "sequence": ["a", "b"]}, target("a"), target("b", request={"body": "request.body"})],
        ["steps[1].data: '$response.predictions': KServe knows $request and $response only"],
    ),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_becomes(case: Case) -> None:
    result = import_graph(case.content, KNOWN)
    assert spec_of(result)["nodes"] == case.nodes
    said = [str(note) for note in result.notes]
    assert [part for part, note in zip(case.notes, said, strict=True) if part not in note] == []


def test_addresses_are_asked_at_exactly_their_path() -> None:
    steps = [
        {"serviceUrl": "http://blue.default.example.com/switch", "weight": 50},
        {"serviceUrl": "https://10.0.0.1:8443/v1/models/x:predict", "weight": 25},
        {"serviceUrl": "http://green", "weight": 25},
    ]
    result = import_graph(graph(router("Splitter", *steps)), {})
    assert spec_of(result)["nodes"][1:] == [
        {"name": "blue", "target": {"url": "http://blue.default.example.com", "path": "/switch"}},
        {"name": "step-10", "target": {"url": "https://10.0.0.1:8443", "path": "/v1/models/x:predict"}},
        {"name": "green", "target": {"url": "http://green", "path": "/"}},
    ]


ADDRESSES = {
    "plain": ("http://m.team.svc", {"port": 80, "path": "/"}),
    "in full": ("http://m.team.svc.cluster.local:8080/v1/x", {"port": 8080, "path": "/v1/x"}),
    "another namespace": ("http://m.other.svc/x", None),
    "with TLS": ("https://m.team.svc/x", None),
    "a pod": ("http://m-0.m.team.svc/x", None),
    "another cluster": ("http://m.team.svc.example.com/x", None),
}


@pytest.mark.parametrize(("url", "want"), ADDRESSES.values(), ids=ADDRESSES.keys())
def test_an_address_of_a_service_of_the_own_namespace_names_the_service(url: str, want: Json) -> None:
    content = graph(router("Splitter", {"serviceUrl": url, "weight": 100}))
    content["metadata"]["namespace"] = "team"
    result = import_graph(content, {})
    (target,) = [node["target"] for node in result.documents[0]["spec"]["nodes"][1:]]
    if want is None:
        assert ("url" in target, result.notes) == (True, ())
    else:
        assert target == {"kind": "Service", "name": "m", **want}
        assert [note.path for note in result.notes] == ["spec.nodes.root.steps[0].serviceUrl"]


def test_an_address_stays_one_where_the_graphs_namespace_is_not_known() -> None:
    (_, node) = nodes_of(graph(router("Sequence", {"serviceUrl": "http://m.team.svc/x"})), {})
    assert node["target"] == {"url": "http://m.team.svc", "path": "/x"}


def test_a_service_is_asked_by_its_models_name() -> None:
    (_, node) = nodes_of(graph(router("Sequence", {"serviceName": "own"})), {"own": CUSTOM})
    assert node["target"] == {"kind": "Service", "name": "own", "port": 80, "model": "cifar"}


PROTOCOLS = {
    "all v2": ({"m": V2}, {"serviceName": "m"}, "OpenInference", 0),
    "v1": ({"m": Service("m")}, {"serviceName": "m"}, "KServeV1", 0),
    "not known": ({}, {"serviceName": "m"}, "KServeV1", 1),
    "v1 by address": ({}, {"serviceUrl": "http://h/v1/models/m:predict"}, "KServeV1", 0),
    "v2 by address": ({}, {"serviceUrl": "http://h/v2/models/m/infer"}, "OpenInference", 0),
    "OpenAI by address": ({}, {"serviceUrl": "http://h/openai/v1/chat/completions"}, "OpenAI", 0),
    "anything": ({}, {"serviceUrl": "http://h/x"}, "JSON", 0),
    "gRPC": ({"m": Service("m", protocol=None)}, {"serviceName": "m"}, "JSON", 0),
}


@pytest.mark.parametrize(("services", "step", "want", "notes"), PROTOCOLS.values(), ids=PROTOCOLS.keys())
def test_speaks_what_its_members_do(services: dict[str, Service], step: Json, want: str, notes: int) -> None:
    result = import_graph(graph(router("Sequence", step)), services)
    assert (spec_of(result)["protocol"], len(result.notes)) == (want, notes)


def test_members_of_two_protocols() -> None:
    steps = router("Ensemble", hard(serviceName="m"), hard(serviceName="own"))
    result = import_graph(graph(steps), {"m": V2, "own": CUSTOM})
    assert spec_of(result)["protocol"] == "KServeV1"
    assert "its members speak KServeV1 and OpenInference" in str(result.notes[0])


SETTINGS = {
    "timeout": ({"timeout": 30}, {"timeout": "30s"}, []),
    "limit of each call": ({"routerTimeouts": {"serviceClient": 5}}, {}, []),
    "limit of the server": (
        {"routerTimeouts": {"serverWrite": 90, "serverRead": 7, "serverIdle": 8}},
        {"timeout": "90s"},
        ["routerTimeouts.serverWrite", "routerTimeouts.serverRead", "routerTimeouts.serverIdle"],
    ),
    "replicas": (
        {"minReplicas": 3, "maxReplicas": 5},
        {"router": {"own": True, "replicas": 3}},
        ["spec.minReplicas: makes a router of its own", "spec.maxReplicas: left out"],
    ),
    "one replica": ({"minReplicas": 1, "maxReplicas": 1}, {}, []),
    "to zero": ({"minReplicas": 0}, {}, ["spec.minReplicas: routers do not scale to zero"]),
    "the router's own": (
        {"resources": {"limits": {"cpu": 1}}, "affinity": {"nodeAffinity": {}}, "scaleMetric": "cpu", "scaleTarget": 5},
        {},
        ["spec.resources: has no", "spec.affinity: has no", "spec.scaleMetric: has no", "spec.scaleTarget: has no"],
    ),
    "what says nothing": ({"resources": {}, "affinity": None, "tolerations": []}, {}, []),
    "what KServe may come to have": ({"novelty": {"x": 1}}, {}, ["spec.novelty: has no counterpart and is left out"]),
}


@pytest.mark.parametrize(("more", "want", "notes"), SETTINGS.values(), ids=SETTINGS.keys())
def test_settings(more: Json, want: Json, notes: list[str]) -> None:
    content = graph(router("Sequence", {"serviceName": "a"}))
    content["spec"] |= more
    result = import_graph(content, KNOWN)
    written = spec_of(result)
    limit = more.get("routerTimeouts", {}).get("serviceClient")
    assert written.pop("nodes")[1] == target("a", **({"timeout": f"{limit}s"} if limit else {}))
    assert written == {"protocol": "KServeV1", "entry": "root", **want}
    assert [part for part, note in zip(notes, result.notes, strict=True) if not str(note).find(part) >= 0] == []


def test_metadata_is_kept_but_for_what_means_something_to_kserve_alone() -> None:
    content = graph(router("Sequence", {"serviceName": "a"}))
    content["metadata"] |= {
        "namespace": "team",
        "uid": "x",
        "creationTimestamp": None,
        "labels": {"app": "x", "networking.knative.dev/visibility": "cluster-local"},
        "annotations": {"serving.kserve.io/deploymentMode": "RawDeployment", "note": "y"},
        "finalizers": ["f"],
    }
    content["status"] = {"url": "http://g"}
    result = import_graph(content, KNOWN)
    want = {"name": "g", "namespace": "team", "labels": {"app": "x"}, "annotations": {"note": "y"}}
    assert result.documents[0]["metadata"] == want
    assert [note.path for note in result.notes] == [
        "metadata.finalizers",
        "metadata.labels[networking.knative.dev/visibility]",
        "metadata.annotations[serving.kserve.io/deploymentMode]",
    ]


def test_limits_that_only_a_model_graph_has_are_told() -> None:
    result = import_graph(graph(router("Sequence", {"serviceName": "a"})), KNOWN)
    (said,) = [remark for remark in result.remarks if remark.startswith("limits: ")]
    default = Limits()
    assert f"more than {default.body} " in said
    assert f"{default.in_flight} requests" in said


ONE = {"serviceName": "a"}
PROBLEMS = {
    "no root": ({"spec": {"nodes": {"x": router("Sequence", ONE)}}}, "spec.nodes: there is no node root"),
    "no spec": ({"spec": None}, "spec.nodes: there is no node root"),
    "a circle": (
        graph(router("Sequence", {"nodeName": "x"}), x=router("Sequence", {"nodeName": "root"})),
        "spec.nodes.root: nodes ask one another in a circle: root -> x -> root",
    ),
    "an unknown router": (graph(router("Sequence", {"nodeName": "x"})), "steps[0].nodeName: there is no node x"),
    "an old type": (graph(router("Single", ONE)), "spec.nodes.root.routerType: 'Single' is none of Sequence, Switch"),
    "no steps": (graph(router("Sequence")), "spec.nodes.root.steps: there is no step"),
    "two targets": (
        graph(router("Sequence", {"serviceName": "a", "nodeName": "root"})),
        "spec.nodes.root.steps[0]: give exactly one of nodeName, serviceName and serviceUrl",
    ),
    "weights": (
        graph(router("Splitter", {"serviceName": "a", "weight": 60}, {"serviceName": "b", "weight": 60})),
        "spec.nodes.root.steps: the weights add up to 120, must be 100",
    ),
    "a step without weight": (graph(router("Splitter", ONE)), "spec.nodes.root.steps: each step of a Splitter needs"),
    "a weight that is text": (
        graph(router("Splitter", {"serviceName": "a", "weight": "100"})),
        "spec.nodes.root.steps[0].weight: must be a whole number, not below 0, is '100'",
    ),
    "a switch without conditions": (graph(router("Switch", ONE)), "no step of the switch has a condition"),
    "a condition": (
        graph(router("Switch", {"serviceName": "a", "condition": "{ .input.userId == 1 }"})),
        "spec.nodes.root.steps[0].condition: '{ .input.userId == 1 }': of lists and objects",
    ),
    "a condition that is too deep": (
        graph(router("Switch", {"serviceName": "a", "condition": "a.#(b.#(c.#(d==1)))"})),
        "condition: 'a.#(b.#(c.#(d==1)))': it nests 3 comprehensions",
    ),
    "a query in an address": (
        graph(router("Sequence", {"serviceUrl": "http://h/p?x=1"})),
        "spec.nodes.root.steps[0].serviceUrl: 'http://h/p?x=1' is no address that can be asked",
    ),
    "too many": (
        graph(
            router("Ensemble", *[{"nodeName": "x"}] * 4),
            x=router("Ensemble", *[{"nodeName": "y"}] * 4),
            y=router("Ensemble", *[ONE] * 6),
        ),
        "spec.nodes: it becomes more than 100 nodes",
    ),
    "what the ModelGraph does not take": (
        graph(router("Ensemble", *[ONE] * 33)),
        "spec: the ModelGraph that it becomes is refused: spec.nodes[0].parallel.nodes: ",
    ),
    "a name": ({**graph(router("Sequence", ONE)), "metadata": {"name": "x" * 53}}, "metadata.name: 'xxx"),
}


@pytest.mark.parametrize(("content", "want"), PROBLEMS.values(), ids=PROBLEMS.keys())
def test_cannot_be_expressed(content: Json, want: str) -> None:
    result = import_graph({"metadata": {"name": "g"}, **content}, KNOWN)
    assert result.documents == ()
    assert want in "\n".join(map(str, result.problems))


def test_all_problems_are_told_at_once() -> None:
    steps = [{"serviceName": "a", "condition": "a.@keys"}, {"serviceName": "b", "condition": "a.#(b"}]
    result = import_graph(graph(router("Switch", *steps)), KNOWN)
    assert [problem.path for problem in result.problems] == [
        "spec.nodes.root.steps[0].condition",
        "spec.nodes.root.steps[1].condition",
    ]
