"""Which routers are read, and what is said of those that cannot be."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from rondo.cli.cluster import Reply
from rondo.cli.errors import CommandError
from rondo.cli.graph.routers import ADMIN_PORT, OWN_ROUTER, SHARED_ROUTER, Reading, read_routers
from rondo.cli.graph.show import between
from rondo.cli.graph.traffic import WHOLE
from rondo.core.modelgraph import judge
from rondo.core.router import observed
from tests.unit.cli.builders import graph, target
from tests.unit.cli.graph.test_ask import refused, reply
from tests.unit.cli.graph.test_traffic import sample, text

GRAPH = graph(target("a"))


def pod(name: str, *, ip: str = "10.0.0.1", port: int | None = ADMIN_PORT, phase: str = "Running") -> dict[str, Any]:
    ports = [] if port is None else [{"name": "admin", "containerPort": port}]
    return {
        "metadata": {"name": name},
        "spec": {"containers": [{"name": "router", "ports": ports}]},
        "status": {"phase": phase, **({"podIP": ip} if ip else {})},
    }


class Wire:
    """A cluster with pods, each of which gives a reply."""

    namespace = "team"

    def __init__(self, pods: list[dict[str, Any]] | Reply, say: Callable[[str], Reply]) -> None:
        self.pods = pods if isinstance(pods, Reply) else reply(200, {"items": pods})
        self.say = say
        self.asked: list[str] = []
        self.query: dict[str, str] = {}

    def request(self, _: str, path: str, *, query: dict[str, str] | None = None, **__: Any) -> Reply:
        self.asked.append(path)
        if query is None:
            return self.say(path)
        self.query = query
        return self.pods


def good(_: str) -> Reply:
    return Reply(200, {}, text(requests=4).encode())


def lost(_: str) -> Reply:
    raise CommandError("the API server does not answer: timed out")


def test_all_routers_that_may_serve_it_are_read_through_the_pod_proxy() -> None:
    wire = Wire([pod("p"), pod("q", port=None)], good)
    reading = read_routers(wire, GRAPH)  # type: ignore[arg-type]
    assert (
        wire.query["labelSelector"] == "app.kubernetes.io/managed-by=rondo,rondo.dev/router in (rondo-router,g-router)"
    )
    assert sorted(wire.asked[1:]) == [
        "/api/v1/namespaces/team/pods/p:9900/proxy/metrics",
        "/api/v1/namespaces/team/pods/q:9900/proxy/metrics",
    ]
    assert (set(reading.samples), reading.notes) == ({"p", "q"}, ())


@pytest.mark.parametrize(("length", "want"), [(56, True), (57, False), (63, False)])
def test_a_router_of_its_own_is_looked_for_where_it_can_have_its_name(length: int, want: bool) -> None:  # noqa: FBT001
    wire, name = Wire([pod("p")], good), "g" * length
    read_routers(wire, {**GRAPH, "metadata": {"name": name}})  # type: ignore[arg-type]
    values = wire.query["labelSelector"].partition(" in ")[2].strip("()").split(",")
    assert values == ["rondo-router", *([f"{name}-router"] if want else [])]
    assert all(len(value) <= 63 for value in values), "the API server refuses longer ones"


def other(_: str) -> Reply:
    return Reply(200, {}, text(requests=4, graph="h").encode())


def test_routers_that_do_not_serve_it_and_pods_that_have_ended_are_passed_over() -> None:
    pods = [pod("p"), pod("q"), pod("r", phase="Failed"), pod("s", phase="Succeeded", ip="")]
    reading = read_routers(Wire(pods, lambda path: (other if "/q:" in path else good)(path)), GRAPH)  # type: ignore[arg-type]
    assert (set(reading.samples), reading.notes) == ({"p"}, ())


def test_port_and_names_are_the_operators() -> None:
    assert ADMIN_PORT == observed.ADMIN_PORT
    assert SHARED_ROUTER == judge.SHARED_ROUTER
    assert OWN_ROUTER.format(graph="g") == judge.own_router("g")


def only_p(path: str) -> Reply:
    return good(path) if "/p:" in path else refused(502, "dial tcp 10.0.0.1:9900: connection refused")


NOTES: dict[str, tuple[list[dict[str, Any]] | Reply, Callable[[str], Reply], list[str]]] = {
    "no router": ([], good, ["rates are not known: there is no router yet"]),
    "none serves it": ([pod("p")], other, ["rates are not known: no router serves it yet"]),
    "none serves it of those that can be read": (
        [pod("p"), pod("q", ip="")],
        other,
        ["rates are not known: it has no address yet"],
    ),
    "only pods that have ended": ([pod("p", phase="Failed")], good, ["rates are not known: there is no router yet"]),
    "something else lists pods": (
        Reply(200, {}, b"<html>\n"),
        good,
        ["rates are not known: the API server answered 200, but no list: <html>"],
    ),
    "something else of JSON lists pods": (
        Reply(200, {}, b"[]"),
        good,
        ["rates are not known: the API server answered 200, but no list: []"],
    ),
    "no right to list pods": (
        refused(403, "no"),
        good,
        ["rates are not known: you may not list pods in namespace team; the role edit allows it"],
    ),
    "no right to their proxy": (
        [pod("p"), pod("q")],
        lambda _: refused(403, "no"),
        ["rates are not known: you may not get pods/proxy in namespace team; the role edit allows it"],
    ),
    "one does not answer": (
        [pod("p"), pod("q")],
        only_p,
        ["rates are without router q: the API server answered 502: dial tcp 10.0.0.1:9900: connection refused"],
    ),
    "one has no address": (
        [pod("p"), pod("q", ip="")],
        good,
        ["rates are without router q: it has no address yet"],
    ),
    "something else answers": (
        [pod("p")],
        lambda _: Reply(200, {}, b"<html>\n"),
        ["rates are not known: its metrics cannot be read: metrics have no end"],
    ),
    "the API server goes away": (
        [pod("p")],
        lost,
        ["rates are not known: its metrics cannot be read: the API server does not answer: timed out"],
    ),
}


@pytest.mark.parametrize(("pods", "say", "want"), NOTES.values(), ids=NOTES.keys())
def test_notes(pods: list[dict[str, Any]] | Reply, say: Callable[[str], Reply], want: list[str]) -> None:
    assert list(read_routers(Wire(pods, say), GRAPH).notes) == want  # type: ignore[arg-type]


def read(at: float, *pods: str, notes: tuple[str, ...] = ()) -> Reading:
    return Reading({name: sample(at, text(requests=int(at * 10))) for name in pods}, notes)


SECOND = ("rates are without router q: it has no address yet",)
ONCE = "rates are without router {}: it was read but once"
VIEWS: dict[str, tuple[Reading, Reading, tuple[str, ...], tuple[str, ...]]] = {
    "all of them twice": (read(0, "p", "q"), read(4, "p", "q"), ("p", "q"), ()),
    "one not the second time": (read(0, "p", "q"), read(4, "p", notes=SECOND), ("p",), SECOND),
    "one not the first time": (read(0, "p", notes=SECOND), read(4, "p", "q"), ("p",), (ONCE.format("q"),)),
    "one that is gone": (read(0, "p", "q"), read(4, "p"), ("p",), ()),
    "another one": (read(0, "p"), read(4, "q"), (), ("rates are not known: no router was read twice",)),
    "another one, and one not": (
        read(0, "p"),
        read(4, "r", notes=SECOND),
        (),
        ("rates are not known: no router was read twice", *SECOND),
    ),
    "none the second time": (
        read(0, "p"),
        read(4, notes=("rates are not known: no",)),
        (),
        ("rates are not known: no",),
    ),
}


@pytest.mark.parametrize(("before", "after", "routers", "notes"), VIEWS.values(), ids=VIEWS.keys())
def test_a_view_of_two_readings(
    before: Reading, after: Reading, routers: tuple[str, ...], notes: tuple[str, ...]
) -> None:
    view = between(GRAPH, before.samples, after)
    assert (view.routers, view.notes) == (routers, notes)
    if not routers:
        assert view.traffic is None
        return
    assert view.seconds == pytest.approx(4)
    assert view.traffic is not None
    assert view.traffic[WHOLE].requests == pytest.approx(10 * len(routers))
