"""Which routers are read, and what is said of those that cannot be."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from rondo.cli.cluster import Reply
from rondo.cli.errors import CommandError
from rondo.cli.graph.routers import ADMIN_PORT, OWN_ROUTER, SHARED_ROUTER, read_routers
from rondo.cli.graph.show import between
from rondo.cli.graph.traffic import WHOLE, Sample
from rondo.core.modelgraph import judge
from rondo.core.router import observed
from tests.unit.cli.builders import graph, target
from tests.unit.cli.graph.test_ask import refused, reply
from tests.unit.cli.graph.test_traffic import sample, text

GRAPH = graph(target("a"))


def pod(name: str, *, ip: str = "10.0.0.1", port: int | None = ADMIN_PORT) -> dict[str, Any]:
    ports = [] if port is None else [{"name": "admin", "containerPort": port}]
    return {
        "metadata": {"name": name},
        "spec": {"containers": [{"name": "router", "ports": ports}]},
        "status": {"podIP": ip} if ip else {},
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


def test_port_and_names_are_the_operators() -> None:
    assert ADMIN_PORT == observed.ADMIN_PORT
    assert SHARED_ROUTER == judge.SHARED_ROUTER
    assert OWN_ROUTER.format(graph="g") == judge.own_router("g")


def only_p(path: str) -> Reply:
    return good(path) if "/p:" in path else refused(502, "dial tcp 10.0.0.1:9900: connection refused")


NOTES: dict[str, tuple[list[dict[str, Any]] | Reply, Callable[[str], Reply], list[str]]] = {
    "no router": ([], good, ["rates are not known: there is no router yet"]),
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


def test_a_view_of_two_readings() -> None:
    wire = Wire([pod("p"), pod("q")], only_p)
    after = read_routers(wire, GRAPH)  # type: ignore[arg-type]
    first = {"p": Sample(after.samples["p"].at - 4, sample(0, text()).values)}
    view = between(GRAPH, first, after)
    assert view.routers == ("p",)
    assert view.seconds == pytest.approx(4)
    assert view.traffic is not None
    assert view.traffic[WHOLE].requests == pytest.approx(1)
    assert len(view.notes) == 1
    assert between(GRAPH, {}, after).traffic is None
