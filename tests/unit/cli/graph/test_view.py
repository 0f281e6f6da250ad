"""What a look at a graph shows: lines for people, JSON for programs."""

from __future__ import annotations

import io
import math
from typing import Any

import pytest
from rich.console import Console

from rondo.cli.graph.screen import draw
from rondo.cli.graph.traffic import WHOLE, Histogram, Traffic
from rondo.cli.graph.view import View, as_json, fold, foot, length, line_of, percent, slowest
from rondo.cli.progress import Tone
from tests.unit.cli.builders import down, graph, said, target, up

CASCADE = graph(
    {"name": "answer", "fallback": [{"node": "small"}, {"node": "big"}]},
    target("small", timeout="8s"),
    target("big"),
    conditions=[
        said("Ready", "True", "Degraded", "it answers, but not all of it: small: no ready pod"),
        said("Degraded", "True", "NoEndpoints", "small: no ready pod"),
    ],
    statuses=[
        up("answer", "Fallback", streaming="Passthrough"),
        down("small", "NoEndpoints", "no ready pod", url="http://small.team.svc"),
        up("big", url="http://big.team.svc", streaming="Passthrough"),
    ],
)


def took(milliseconds: float, count: float = 4.0) -> Histogram:
    """A histogram in which everything took about so long."""
    bound = milliseconds / 1000
    return Histogram(((bound * 0.9, 0.0), (bound, count), (60.0, count), (math.inf, count)))


def flowing(milliseconds: float, count: float = 4.0, **failed: float) -> Traffic:
    good = count - sum(failed.values())
    return Traffic({"2xx": good, **failed}, took(milliseconds, count))


def between(low: float, high: float) -> Traffic:
    """Everything took between these bounds, in seconds."""
    return Traffic({"2xx": 4.0}, Histogram(((low, 0.0), (high, 4.0), (math.inf, 4.0))))


TRAFFIC = {
    WHOLE: Traffic({"200": 4.0}, took(40), {}, 2.0),
    "answer": flowing(40),
    "small": flowing(2, connect=4.0),
    "big": flowing(38),
}
VIEW = View(CASCADE, TRAFFIC, 6.0, ("p", "q"))


def drawn(view: View, *, width: int = 150, height: int = 40, live: bool = False, utf: bool = True) -> list[str]:
    file = io.TextIOWrapper(io.BytesIO(), encoding="utf-8" if utf else "ascii")
    console = Console(file=file, width=width, height=height, color_system=None, force_terminal=True)
    with console.capture() as captured:
        console.print(draw(view, console, live=live))
    return [line.rstrip() for line in captured.get().splitlines()]


def test_a_stranger_sees_what_is_down_and_what_is_slow() -> None:
    *lines, last = drawn(VIEW, width=200)
    assert [line[:57].rstrip() for line in lines] == [
        "NODE         STATE          REQ/S  ERRORS     P50     P95",
        "g            ▲ Degraded       4.0     0 %   38 ms   40 ms",
        "└─ answer    ✔ Ready          4.0     0 %   38 ms   40 ms",
        "   ├─ small  ✘ NoEndpoints    4.0   100 %  1.9 ms  2.0 ms",
        "   └─ big    ✔ Ready          4.0     0 %   36 ms   38 ms",
    ]
    assert [line[59:] for line in lines[1:]] == [
        "it answers, but not all of it: small: no ready pod; JSON; http://g.team.svc; 2 under way",
        "fallback; streams",
        "no ready pod; 100 % connect; first; ModelDeployment small; http://small.team.svc; timeout 8s",
        "by far the slowest; then; ModelDeployment big; http://big.team.svc; streams",
    ]
    assert last == "2 routers, the last 6.0 s; revision r1"


def test_without_rates_there_are_no_columns_for_them_but_why() -> None:
    note = "rates are not known: you may not get pods/proxy in namespace team; the role edit allows it"
    shown = drawn(View(CASCADE, notes=(note,)), utf=False)
    assert shown[0].split() == ["NODE", "STATE"]
    assert shown[2].startswith("`- answer    + Ready")
    assert shown[-1] == note


def test_where_there_is_no_room_the_words_stand_below() -> None:
    lines = drawn(VIEW, width=80)
    assert lines[:6] == [
        "NODE         STATE          REQ/S  ERRORS     P50     P95",
        "g            ▲ Degraded       4.0     0 %   38 ms   40 ms",
        "└─ answer    ✔ Ready          4.0     0 %   38 ms   40 ms",
        "   ├─ small  ✘ NoEndpoints    4.0   100 %  1.9 ms  2.0 ms",
        "   └─ big    ✔ Ready          4.0     0 %   36 ms   38 ms",
        "",
    ]
    assert lines[6] == "g       it answers, but not all of it: small: no ready pod; JSON;"
    assert lines[8] == "answer  fallback; streams"
    assert lines[-1] == "2 routers, the last 6.0 s; revision r1"
    live = drawn(VIEW, width=80, live=True)
    assert not any(line.startswith("answer ") for line in live), "what is well needs no words"
    assert any(line.startswith("small  no ready pod; 100 % connect") for line in live)


WIDE = graph(
    {"name": "answer", "fallback": [{"node": "a-rather-long-name-of-a-node"}, {"node": "big"}]},
    target("a-rather-long-name-of-a-node"),
    target("big"),
    statuses=[up("answer"), down("a-rather-long-name-of-a-node", "ImagePull", "no image"), up("big")],
)
BUSY = {
    WHOLE: flowing(250, count=123456),
    "answer": flowing(250, count=123456),
    "a-rather-long-name-of-a-node": flowing(250, count=123456, timeout=23456.0),
    "big": flowing(250, count=123456),
}
NARROW: dict[int, list[str]] = {
    79: ["NODE", "STATE", "REQ/S", "ERRORS", "P50", "P95"],
    78: ["NODE", "STATE", "REQ/S", "ERRORS", "P95"],
    70: ["NODE", "STATE", "REQ/S", "ERRORS"],
    50: ["NODE", "STATE", "REQ/S", "ERRORS"],
    40: ["NODE", "STATE", "REQ/S", "ERRORS"],
}


@pytest.mark.parametrize(("width", "want"), NARROW.items(), ids=map(str, NARROW))
def test_figures_and_states_are_whole_however_narrow_it_is(width: int, want: list[str]) -> None:
    lines = drawn(View(WIDE, BUSY, 2.0, ("p",)), width=width)
    assert lines[0].split() == want
    assert all(len(line) <= width for line in lines)
    figures = {"REQ/S": "123456", "ERRORS": "19 %", "P50": "238 ms", "P95": "249 ms"}
    assert " ".join(lines[3].split()).endswith(" ".join(["✘ ImagePull", *(figures[name] for name in want[2:])]))
    assert ("a-rather-long-name-of-a-node " in lines[3]) is (width > 50), "only then a name is cut"


def test_what_could_not_be_seen_stands_above_where_there_is_no_room() -> None:
    nodes = [f"n{number}" for number in range(30)]
    broken = graph(
        {"name": "p", "parallel": {"nodes": nodes}},
        *map(target, nodes),
        statuses=[down(name, "ImagePull", "no such image") for name in nodes],
    )
    note = "the API server does not answer: refused; trying again"
    view = View(broken, {}, 2.0, ("p",), (note,))
    assert drawn(view, height=10, live=True)[0] == note
    assert drawn(view)[-1] == note


def test_totals_are_called_so() -> None:
    shown = drawn(View(CASCADE, TRAFFIC, None, ("p",)))
    assert shown[0].split()[:3] == ["NODE", "STATE", "REQUESTS"]
    assert shown[-1] == "1 router, all since the start; revision r1"


def test_what_is_redrawn_has_a_line_a_node_but_for_trouble_and_fits() -> None:
    many = [target(f"n{number}") for number in range(40)]
    wide = graph(
        {"name": "p", "parallel": {"nodes": [f"n{number}" for number in range(32)]}},
        *many[:32],
        statuses=[up("p"), *(up(f"n{number}") for number in range(31)), down("n31", "ImagePull", "no such image")],
    )
    assert len(drawn(View(wide), height=50, live=True)) > 30
    small = drawn(View(wide), height=10, live=True)
    assert len(small) <= 10
    assert any("31 nodes" in line for line in small)
    assert any("no such image" in line for line in small)


def test_fold_keeps_what_is_in_trouble_or_asks_others() -> None:
    (entry,) = fold(line_of(VIEW)).children
    assert [line.name for line in entry.children] == ["small", "big"], "one alone is not folded"


TONES: dict[str, tuple[Traffic | None, Tone, str]] = {
    "nothing known": (None, Tone.GOOD, ""),
    "nothing passes": (Traffic(), Tone.GOOD, ""),
    "all well": (flowing(5), Tone.GOOD, ""),
    "errors": (flowing(5, timeout=1.0), Tone.TROUBLE, "25 % timeout"),
    "errors of several kinds": (
        flowing(5, timeout=1.0, circuit_open=2.0),
        Tone.TROUBLE,
        "50 % circuit open, 25 % timeout",
    ),
    "a condition without a value": (
        Traffic({"2xx": 4.0}, took(5), {"expressionErrors": 1.0}),
        Tone.TROUBLE,
        "25 % with a condition without a value",
    ),
    "near its timeout": (flowing(7900), Tone.TROUBLE, "slow: p95 near its timeout of 8s"),
    "perhaps near its timeout, perhaps not": (between(2.5, 10), Tone.GOOD, ""),
    "too few to judge": (flowing(7900, count=3), Tone.GOOD, ""),
    "turned away": (flowing(0.1, overloaded=3.0), Tone.TROUBLE, "75 % overloaded"),
    "not to be mapped": (flowing(5, mapping=1.0), Tone.TROUBLE, "25 % mapping"),
    "given up, as the client left": (flowing(5, given_up=1.0), Tone.GOOD, ""),
}


@pytest.mark.parametrize(("traffic", "tone", "trouble"), TONES.values(), ids=TONES.keys())
def test_trouble(traffic: Traffic | None, tone: Tone, trouble: str) -> None:
    one = graph(target("a", timeout="8s"), statuses=[up("a")])
    (line,) = line_of(View(one, None if traffic is None else {"a": traffic}, 6.0)).children
    assert (line.tone, line.trouble) == (tone, trouble)


def test_what_was_given_up_is_told_and_named_where_the_deadline_has_passed() -> None:
    lost = {**TRAFFIC, "answer": flowing(40, given_up=1.0), "big": flowing(38, given_up=1.0)}
    line = line_of(View(CASCADE, lost, 6.0))
    assert "given up" not in line.trouble, "the clients have left"
    big = line.children[0].children[1]
    assert big.words.endswith("6 given up before it answered; streams")
    late = {**lost, WHOLE: Traffic({"200": 3.0, "504": 1.0}, took(40))}
    line = line_of(View(CASCADE, late, 6.0))
    assert line.trouble.endswith("; 25 % 504: no answer in time from big")
    (answer,) = line.children
    big = answer.children[1]
    assert (big.tone, big.trouble) == (Tone.TROUBLE, "6 given up before it answered; by far the slowest")
    assert (answer.tone, answer.trouble) == (Tone.GOOD, ""), "it waited for another"


def test_where_all_was_given_up_the_node_was_asked_all_the_same() -> None:
    one = graph(target("a"), statuses=[up("a")])
    view = View(one, {"a": Traffic({"2xx": 0.0, "given_up": 0.5}), WHOLE: Traffic({"504": 0.5}, took(60))}, 2.0)
    (line,) = line_of(view).children
    assert line.figures == ("0.5", "-", "-", "-")
    assert line.trouble == "1 given up before it answered"


def test_what_else_happens_at_a_node() -> None:
    events = {"retries": 1.0, "cacheHits": 3.0, "cacheMisses": 1.0, "agreements": 1.0, "disagreements": 1.0}
    one = graph(target("a"), statuses=[up("a")])
    view = View(one, {"a": Traffic({"2xx": 4.0}, took(5), {**events, "hedges": 0.4})}, 2.0)
    (line,) = line_of(view).children
    assert line.words == "ModelDeployment a; 25 % retried; 10 % hedged; 75 % from the cache; 50 % agree"


SLOWEST: dict[str, tuple[dict[str, Traffic], str]] = {
    "one of them": ({"small": flowing(5), "big": flowing(50)}, "big"),
    "none by far": ({"small": flowing(30), "big": flowing(50)}, ""),
    "nothing to compare it with": ({"big": flowing(50)}, ""),
    "perhaps as long": ({"small": between(1, 2.5), "big": between(2.5, 10)}, ""),
    "at least twice as long": ({"small": between(0.5, 1.0), "big": between(2.5, 10)}, "big"),
    "too few to judge": ({"small": flowing(5), "big": flowing(50, count=2)}, ""),
    "too few to compare it with": ({"small": flowing(5, count=2), "big": flowing(50)}, ""),
    "not what takes the time": ({"small": flowing(5), "big": flowing(50), WHOLE: flowing(500)}, ""),
}


@pytest.mark.parametrize(("traffic", "want"), SLOWEST.values(), ids=SLOWEST.keys())
def test_slowest(traffic: dict[str, Traffic], want: str) -> None:
    assert slowest(View(CASCADE, traffic, 6.0)) == want


def test_json() -> None:
    told = as_json(VIEW)
    assert (told["name"], told["entry"], told["state"], told["seconds"]) == ("g", "answer", "Degraded", 6.0)
    assert told["traffic"]["requests"] == pytest.approx(4)
    assert told["traffic"]["inFlight"] == 2
    nodes: dict[str, Any] = {node["name"]: node for node in told["nodes"]}
    assert nodes["answer"]["asks"] == [{"node": "small", "role": "first"}, {"node": "big", "role": "then"}]
    assert nodes["small"]["traffic"]["outcomes"] == {"2xx": 0.0, "connect": 4.0}
    assert nodes["small"]["traffic"]["errors"] == 1.0
    assert nodes["big"]["traffic"]["p95"] == pytest.approx(0.038, rel=0.02)
    assert as_json(View(CASCADE))["traffic"] is None


def test_foot_of_a_graph_that_nobody_serves() -> None:
    bare = {"metadata": {"name": "g"}, "spec": {"entry": "a", "nodes": []}}
    assert foot(View(bare)) == ""


@pytest.mark.parametrize(
    ("seconds", "want"),
    [(0.0004, "0.4 ms"), (0.0099, "9.9 ms"), (0.012, "12 ms"), (0.9996, "1.0 s"), (12.34, "12.3 s")],
)
def test_length(seconds: float, want: str) -> None:
    assert length(seconds) == want


@pytest.mark.parametrize(
    ("part", "want"),
    [(0, "0 %"), (0.0001, "<0.1 %"), (0.004, "0.4 %"), (0.0999, "10 %"), (0.123, "12 %"), (1, "100 %")],
)
def test_percent(part: float, want: str) -> None:
    assert percent(part) == want


@pytest.mark.parametrize(
    ("status", "ready", "told"),
    [
        ("Unknown", "2 routers serve revision r1", True),
        ("False", "2 routers serve revision r1", True),
        ("False", "release 2: step 1 of 2, 10% for 4m of 10m", False),
        ("True", "2 routers serve revision r1", False),
    ],
)
def test_a_release_that_is_not_promoted_is_told_once(status: str, ready: str, told: bool) -> None:  # noqa: FBT001
    words = "release 2: step 1 of 2, 10% for 4m of 10m"
    conditions = [said("Ready", "True", "Ready", ready), said("Released", status, "Progressing", words)]
    line = line_of(View(graph(target("model"), conditions=conditions)))
    assert line.words.endswith(words) is told
