"""Each thing that can be wrong with a graph by itself has its place and its words."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from rondo.core.modelgraph.validation import EXPRESSIONS_LIMIT, validate
from tests.unit.core.modelgraph.builders import A, B, Body, C, parsed, target

KEY = {"secretKeyRef": {"name": "s", "key": "k"}}


def sequence(*steps: str, name: str = "s", **fields: Any) -> Body:
    return {"name": name, "sequence": list(steps), **fields}


def fallback(*choices: Any, name: str = "f") -> Body:
    return {"name": name, "fallback": [{"node": c} if isinstance(c, str) else c for c in choices]}


def switch(when: str, *to: str, name: str = "s") -> Body:
    return {"name": name, "switch": [{"when": when, "node": to[0]}, {"node": to[1]}]}


def parallel(*nodes: str, name: str = "p", **fields: Any) -> Body:
    return {"name": name, "parallel": {"nodes": list(nodes), **fields}}


def mapped(name: str, **mapping: Any) -> Body:
    return target(name, request=mapping)


def answered(name: str, **mapping: Any) -> Body:
    return target(name, response=mapping)


def call(url: str | None = "http://x:8001", **fields: Any) -> Body:
    given = {"url": url, "protocol": "OpenInference", "transport": "GRPC", "model": "m", **fields}
    return {"name": "a", "target": {key: value for key, value in given.items() if value is not None}}


@dataclass(frozen=True)
class Case:
    """Nodes, of which the first is the entry, and the problem that they have."""

    nodes: tuple[Body, ...]
    want: str
    spec: Body = field(default_factory=dict)


WRONG = {
    "unknown in a sequence": Case(
        (sequence("first", "secnd"), target("first"), target("second")),
        "spec.nodes[0].sequence[1]: there is no node secnd (did you mean second?)",
    ),
    "unknown in a parallel": Case((parallel("x1"), A), "spec.nodes[0].parallel.nodes[0]: there is no node x1"),
    "unknown in a switch": Case((switch("true", "a", "zzz"), A), "spec.nodes[0].switch[1].node: there is no node zzz"),
    "unknown in a split": Case(
        ({"name": "s", "split": {"to": [{"node": "zzz", "weight": 100}]}},),
        "spec.nodes[0].split.to[0].node: there is no node zzz",
    ),
    "unknown in a fallback": Case((fallback("a", "zzz"), A), "spec.nodes[0].fallback[1].node: there is no node zzz"),
    "unknown in a mirror": Case(
        ({"name": "m", "mirror": {"node": "a", "to": ["zzz"]}}, A), "spec.nodes[0].mirror.to[0]: there is no node zzz"
    ),
    "unknown in a cache": Case(
        ({"name": "m", "cache": {"node": "zzz", "ttl": "1m"}},), "spec.nodes[0].cache.node: there is no node zzz"
    ),
    "entry is no node": Case((A,), "spec.entry: there is no node aa (did you mean a?)", {"entry": "aa"}),
    "asks itself": Case((sequence("s", "a"), A), "spec.nodes[0]: nodes ask one another in a circle: s -> s"),
    "circle": Case(
        (fallback("y", name="x"), fallback("x", "a", name="y"), A),
        "spec.nodes[0]: nodes ask one another in a circle: x -> y -> x",
    ),
    "unreachable": Case(
        (A, B), "spec.nodes[1]: no request comes to node b: name it in another, make it the entry, or leave it out"
    ),
    "word of CEL": Case((target("in"),), "spec.nodes[0].name: in is a word of CEL; choose another name"),
    "two of one name": Case((sequence("a"), A, A), "spec.nodes[2].name: two nodes are named a"),
    "no CEL": Case(
        (fallback({"node": "a", "accept": "response.body.("}, "b"), A, B), "spec.nodes[0].fallback[0].accept: "
    ),
    "too many loops": Case(
        (switch("request.a.all(x, x.all(y, y.all(z, z)))", "a", "b"), A, B),
        "spec.nodes[0].switch[0].when: it nests 3 comprehensions; 2 are allowed",
    ),
    "variable of another place": Case(
        (switch("response.status == 200.0", "a", "b"), A, B),
        "spec.nodes[0].switch[0].when: there is no response here, only request, nodes",
    ),
    "no variable at all": Case(
        ({"name": "s", "split": {"to": [{"node": "a", "weight": 100}], "sticky": "user"}}, A),
        "spec.nodes[0].split.sticky: there is no user here, only request, nodes",
    ),
    "shadow outside of a mirror": Case(
        (answered("a", body="shadow.body"),),
        "spec.nodes[0].response.body: there is no shadow here, only request, response, nodes",
    ),
    "unknown node in CEL": Case(
        (sequence("a", "b"), A, mapped("b", body="nodes.aa.body")),
        "spec.nodes[2].request.body: there is no node aa (did you mean a?)",
    ),
    "unknown node in CEL by index": Case(
        (sequence("x-y", "b"), target("x-y"), mapped("b", body="nodes['x-y'].body")),
        "spec.nodes[2].request.body: there is no node x-y (did you mean x_y?)",
    ),
    "answers later": Case(
        (sequence("a", "b"), mapped("a", body="nodes.b.body"), B),
        "request.body: node b has not surely answered by then; ask has(nodes.b) first, or order the nodes",
    ),
    "answers itself": Case(
        (mapped("a", body="nodes.a.body"),), "spec.nodes[0].request.body: node a has not surely answered by then"
    ),
    "may be skipped": Case(
        (sequence("a", "b"), target("a", onError="Skip"), mapped("b", body="nodes.a.body")),
        "spec.nodes[2].request.body: node a has not surely answered",
    ),
    "one of several ways": Case(
        (sequence("f", "c"), fallback("a", "b"), A, B, mapped("c", body="nodes.a.body")),
        "spec.nodes[4].request.body: node a has not surely answered",
    ),
    "another branch": Case(
        (parallel("a", "b"), A, mapped("b", body="nodes.a.body")),
        "spec.nodes[2].request.body: node a has not surely answered",
    ),
    "not all have to answer": Case(
        (sequence("p", "c"), parallel("a", "b", quorum=1), A, B, mapped("c", body="nodes.a.body")),
        "spec.nodes[4].request.body: node a has not surely answered",
    ),
    "one way does not pass it": Case(
        (fallback("s", "b"), sequence("a", "b"), A, mapped("b", body="nodes.a.body")),
        "spec.nodes[3].request.body: node a has not surely answered",
    ),
    "from the cache": Case(
        (sequence("k", "b"), {"name": "k", "cache": {"node": "a", "ttl": "1m"}}, A, mapped("b", body="nodes.a.body")),
        "spec.nodes[3].request.body: node a has not surely answered",
    ),
    "shown to a shadow": Case(
        (
            sequence("a", "m"),
            A,
            {"name": "m", "mirror": {"node": "b", "to": ["c"]}},
            B,
            mapped("c", body="nodes.a.body"),
        ),
        "spec.nodes[4].request.body: node a has not surely answered",
    ),
    "too much of it": Case(
        (
            *(switch(f"request.path == '{'x' * 2000}'", f"n{i + 1}", f"n{i + 1}", name=f"n{i}") for i in range(33)),
            target("n33"),
        ),
        f"spec: all expressions together have more than {EXPRESSIONS_LIMIT} characters",
    ),
    "copied from nowhere": Case(
        (mapped("a", copy={"x": "input.body"}),),
        "spec.nodes[0].request.copy[x]: 'input.body' is none of request.body…, nodes.NAME.body…",
    ),
    "copied from an answer that is none": Case(
        (mapped("a", copy={"x": "response.body"}),), "spec.nodes[0].request.copy[x]: 'response.body' is none of"
    ),
    "copied from a header": Case(
        (mapped("a", copy={"x": "request.headers.a"}),),
        "spec.nodes[0].request.copy[x]: 'request.headers.a': only a body",
    ),
    "copied from a later node": Case(
        (sequence("a", "b-b"), mapped("a", copy={"x": "nodes.b-b.body"}), target("b-b")),
        "spec.nodes[1].request.copy[x]: node b-b has not surely answered",
    ),
    "copied along no path": Case(
        (mapped("a", copy={"x": "request.body.x..y"}),),
        "spec.nodes[0].request.copy[x]: 'x..y' is no path: wrong from '..y'",
    ),
    "copied to no path": Case(
        (mapped("a", copy={"x[": "request.body"}),), "spec.nodes[0].request.copy: 'x[' is no path"
    ),
    "set at no path": Case(
        (mapped("a", set={".x": 1}),), "spec.nodes[0].request.set: '.x' is no path: wrong from '.x' on"
    ),
    "removed at a far index": Case(
        (answered("a", remove=["x[10001]"]),), "spec.nodes[0].response.remove: 'x[10001]' is no path"
    ),
    "weights": Case(
        ({"name": "s", "split": {"to": [{"node": "a", "weight": 40}, {"node": "b", "weight": 50}]}}, A, B),
        "spec.nodes[0].split.to: the weights add up to 90, must be 100",
    ),
    "weight of a stranger": Case(
        (parallel("a", "b", combine={"method": "Weighted", "weights": {"c": 1}}), A, B),
        "spec.nodes[0].parallel.combine.weights: c is not one of its nodes",
    ),
    "no weight": Case(
        (parallel("a", combine={"method": "Weighted", "weights": {"a": 0}}), A),
        "spec.nodes[0].parallel.combine.weights: all weights are 0",
    ),
    "quorum": Case((parallel("a", quorum=2), A), "spec.nodes[0].parallel.quorum: it is 2, and there are 1 nodes"),
    "vote on anything": Case(
        (parallel("a", combine={"method": "Vote"}), A),
        "spec.nodes[0].parallel.combine.output: Vote has to know what in the JSON is combined: give its path",
        {"protocol": "JSON"},
    ),
    "vote on no path": Case(
        (parallel("a", combine={"method": "Mean", "output": "a b"}), A),
        "spec.nodes[0].parallel.combine.output: 'a b' is no path",
        {"protocol": "JSON"},
    ),
    "batch of chats": Case(
        ({"name": "k", "batch": {"node": "a", "maxSize": 8, "maxWait": "5ms"}}, A),
        "spec.nodes[0].batch: requests are gathered in OpenInference only, and this graph speaks OpenAI",
    ),
    "entry left out": Case((target("a", onError="Skip"),), "spec.nodes[0].onError: the entry cannot be left out"),
    "authorization for all": Case(
        (A,),
        "spec.headers: the header Authorization does not go to every target: list it in target.forward",
        {"headers": ["Authorization"]},
    ),
    "header of a connection": Case(
        (A,), "spec.headers: the header host belongs to one connection", {"headers": ["x-ok", "host"]}
    ),
    "header of a connection to one": Case(
        ({"name": "a", "target": {"url": "http://x", "forward": ["TE"]}},),
        "spec.nodes[0].target.forward: the header TE belongs to one connection",
    ),
    "secret in a header of a connection": Case(
        ({"name": "a", "target": {"url": "http://x", "auth": {"header": {"name": "content-length", **KEY}}}},),
        "spec.nodes[0].target.auth.header.name: the header content-length",
    ),
    "port": Case(
        ({"name": "a", "target": {"url": "http://x:70000/v1"}},), "spec.nodes[0].target.url: 70000 is no port"
    ),
    "model without a name": Case(
        ({"name": "a", "target": {"url": "http://x"}},),
        "spec.nodes[0].target: OpenInference asks for a model by name: give model or path",
        {"protocol": "OpenInference"},
    ),
    "gRPC of another protocol": Case(
        ({"name": "a", "target": {"url": "http://x:8001", "transport": "GRPC"}},),
        "spec.nodes[0].target.transport: gRPC is there for OpenInference only, and this target speaks OpenAI",
    ),
    "gRPC below a path": Case(
        (call(url="http://x:8001/models"),),
        "spec.nodes[0].target.url: gRPC has paths of its own: leave out what follows the host in http://x:8001/models",
    ),
    "gRPC without a name": Case(
        (call(model=None),), "spec.nodes[0].target: OpenInference asks for a model by name: give model or path"
    ),
    "no time": Case((A,), "spec.timeout: 0s is no time; give at least 1ms", {"timeout": "0s"}),
    "no time for a node": Case((target("a", timeout="0.1ms"),), "spec.nodes[0].timeout: 0.1ms is no time"),
    "no size": Case((A,), "spec.limits.body: 0 is no size", {"limits": {"body": 0}}),
    "no quantity": Case(
        ({"name": "k", "cache": {"node": "a", "ttl": "1m", "maxBytes": "lots"}}, A),
        "spec.nodes[0].cache.maxBytes: 'lots' is not a quantity",
    ),
}

RIGHT = {
    "one target": (A,),
    "gRPC": (call(),),
    "gRPC of a Service": (call(url=None, kind="Service", name="s", port=9000),),
    "earlier step": (sequence("a", "b"), A, mapped("b", body="nodes.a.body")),
    "copy of an earlier step": (sequence("a-a", "b"), target("a-a"), mapped("b", copy={"x": "nodes.a-a.body.y[0].z"})),
    "what may be left out, if asked": (
        sequence("a", "b"),
        target("a", onError="Skip"),
        mapped("b", body="has(nodes.a) ? nodes.a.body : request.body"),
    ),
    "all of a parallel": (
        sequence("p", "c"),
        parallel("a", "b"),
        A,
        B,
        mapped("c", body="[nodes.a.body, nodes.b.body]"),
    ),
    "every way passes it": (
        sequence("f", "c"),
        fallback("x", "y"),
        sequence("a", "b", name="x"),
        sequence("a", name="y"),
        A,
        B,
        mapped("c", body="nodes.a.body"),
    ),
    "accept sees what it accepts": (
        fallback({"node": "s", "accept": "nodes.a.status == 200.0 && response.body.ok"}, "b"),
        sequence("a", "b"),
        A,
        B,
    ),
    "response sees the steps": (sequence("a", "b", response={"body": "{'a': nodes.a.body, 'b': response.body}"}), A, B),
    "mirror compares": (
        {"name": "m", "mirror": {"node": "a", "to": ["b"], "compare": "primary.body == shadow.body"}},
        A,
        B,
    ),
    "names in texts and loops mean nothing": (
        switch("request.body.all(x, x != 'nodes.zzz.body')", "a", "b"),
        A,
        B,
    ),
    "names of types are the language's own": (
        switch("type(request.body) == map && type(request.body.x) in [list, string, double]", "a", "b"),
        A,
        B,
    ),
    "quoted path": (mapped("a", set={"['a.b'][0].c-d": 1}, remove=["x.y"]),),
    "shared step": (fallback("s", "t"), sequence("a", "c"), sequence("b", "c", name="t"), A, B, C),
}


@pytest.mark.parametrize("case", WRONG.values(), ids=WRONG)
def test_problems_are_named(case: Case) -> None:
    found = [str(problem) for problem in validate(parsed(*case.nodes, **case.spec))]
    assert [words for words in found if case.want in words], found


@pytest.mark.parametrize("nodes", RIGHT.values(), ids=RIGHT)
def test_what_is_right_has_no_problem(nodes: tuple[Body, ...]) -> None:
    assert [str(problem) for problem in validate(parsed(*nodes))] == []


CANARY: Body = {"steps": [{"weight": 10, "hold": "1m"}, {"weight": 50, "hold": "1m"}]}
SHADOW: Body = {
    "strategy": "Shadow",
    "steps": [{"percent": 10, "hold": "1m"}],
    "compare": "primary.body == shadow.body",
}
CHECK = "spec.release.checks[0].expression"


def checked(expression: str, **fields: Any) -> Body:
    return {**CANARY, "checks": [{"expression": expression}], **fields}


RELEASES: dict[str, tuple[Body, str]] = {
    "steps that do not rise": (
        {"steps": [CANARY["steps"][1], CANARY["steps"][0]]},
        "spec.release.steps[1]: 10 after 50: each step has to be larger",
    ),
    "a timeout within the steps": (
        {**CANARY, "timeout": "2m"},
        "spec.release.timeout: 2m is not longer than all steps together",
    ),
    "an unknown name": (checked("newer.p95 < 1.0"), f"{CHECK}: there is no newer here, only new, old"),
    "an unknown number": (
        checked("true || new.p96 < 1.0"),
        f"{CHECK}: there is no new.p96 (did you mean p",
    ),
    "no bool": (checked("new.p95"), f"{CHECK}: its value is"),
    "other types": (checked("new.p95 < 'slow'"), f"{CHECK}: "),
    "a loop": (
        checked("[1, 2].all(x, x > 0)"),
        f"{CHECK}: it loops; a check compares numbers and needs no all, exists, map or filter",
    ),
    "no CEL": (checked("new.p95 <"), f"{CHECK}: "),
    "agreement without a shadow": (
        checked("new.agreement > 0.9"),
        f"{CHECK}: new.agreement is there in a Shadow with compare only",
    ),
    "agreement by its name in brackets": (
        checked("new['agreement'] > 0.9"),
        f"{CHECK}: ",
    ),
    "too much of it": (
        {**CANARY, "checks": [{"expression": f"true || '{'x' * 2030}' == ''"}] * 32, "sticky": f"'{'x' * 2040}'"},
        f"spec: all expressions together have more than {EXPRESSIONS_LIMIT} characters",
    ),
    "agreement of the old": (checked("old.agreement > 0.9", **SHADOW), f"{CHECK}: there is no old.agreement"),
    "an unknown name in sticky": (
        {**CANARY, "sticky": "nodes.a.body"},
        "spec.release.sticky: there is no nodes here, only request",
    ),
    "an unknown name in compare": (
        {**SHADOW, "compare": "nodes.a"},
        "spec.release.compare: there is no nodes here, only request, primary, shadow",
    ),
}


@pytest.mark.parametrize(("release", "want"), RELEASES.values(), ids=RELEASES)
def test_what_is_wrong_with_a_release(release: Body, want: str) -> None:
    found = [str(problem) for problem in validate(parsed(A, release=release))]
    assert len(found) == 1
    assert found[0].startswith(want)


SOUND = [
    checked("new.errorRate <= 0.01 && new.p95 <= 1.2 * old.p95"),
    checked("old.requests == 0.0 || new.p99 / old.p99 < 2.0"),
    checked("new['agreement'] >= 0.97", **SHADOW),
    checked("new.agreement >= 0.97 && new.requests > old.requests / 10.0", **SHADOW),
    {**CANARY, "sticky": "request.headers['x-user']"},
]


@pytest.mark.parametrize("release", SOUND)
def test_what_is_right_with_a_release(release: Body) -> None:
    assert validate(parsed(A, release=release)) == []
