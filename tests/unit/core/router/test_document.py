"""The ConfigMap of a router, and plans that a router takes as a whole."""

from __future__ import annotations

from typing import Any

import pytest

from rondo.core.router.document import Document, read
from rondo.core.router.planner import closed, without_circles


def entry(name: str, *nested: str, timeout: int = 1) -> dict[str, Any]:
    return {"name": name, "revision": f"r{timeout}", "nodes": [{"name": n, "graph": n} for n in nested]}


def config(**data: str) -> dict[str, Any]:
    return {"metadata": {"uid": repr(sorted(data.items()))}, "data": data}


def test_what_is_written_is_read_back() -> None:
    document = Document(
        entries={"a": {**entry("a"), "port": 20_000}},
        uids={"a": "u"},
        refused={"b": ("r", "no")},
        former={"a": entry("a")},
        last_port=20_001,
    )
    found = read({"metadata": {"uid": "written"}, "data": document.data()})
    assert found.revision
    assert (found.entries, found.uids, found.refused, found.former, found.last_port) == (
        document.entries, document.uids, document.refused, document.former, document.last_port,
    )  # fmt: skip
    assert found.port_of("a") == 20_000
    assert found.port_of("b") is None


@pytest.mark.parametrize(
    "data",
    [
        {"plan.json": "{"},
        {"plan.json": "[]"},
        {"plan.json": '{"graphs": [1]}'},
        {"plan.json": '{"graphs": [{}]}'},
        {"plan.json": "{}", "state.json": '{"refused": {"a": 1}}'},
        {"state.json": '{"lastPort": "x"}'},
        {},
    ],
    ids=str,
)
def test_what_somebody_made_unreadable_counts_as_empty(data: dict[str, str]) -> None:
    assert read(config(**data)) == Document()
    assert read(None) == Document()


def test_what_points_at_a_graph_that_is_not_there_asks_its_service() -> None:
    entries = {"b": entry("b", "c"), "d": entry("d"), "e": entry("e", "d")}
    made = closed(entries, {"c": {"protocol": "OpenAI"}}, "team")
    assert made["b"]["revision"] != entries["b"]["revision"]
    (node,) = (node for node in made["b"]["nodes"] if "target" in node)
    assert node["target"] == {"url": "http://c.team.svc", "protocol": "OpenAI", "model": "c"}
    assert "graph" not in node
    assert (made["d"], made["e"]) == (entries["d"], entries["e"])


def test_a_circle_of_a_new_part_and_a_former_one_goes_back_to_the_former() -> None:
    kept = {"a": entry("a"), "b": entry("b", "a")}
    entries = {"a": entry("a", "b", timeout=2), "b": kept["b"], "c": entry("c")}
    assert without_circles(entries, kept) == {"a": kept["a"], "b": kept["b"], "c": entry("c")}


def test_a_circle_that_a_new_graph_closes_is_left_without_it() -> None:
    kept = {"b": entry("b", "a")}
    assert without_circles({"a": entry("a", "b"), "b": kept["b"]}, kept) == {"b": kept["b"]}
