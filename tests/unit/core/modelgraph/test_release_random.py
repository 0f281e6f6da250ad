"""Releases under whatever happens in whatever order: edits, revisions, numbers, time, and an operator that crashes.

Whatever it is, the plan has exactly the versions that the status names, each asked by its own protocol, weights only
grow within a release, another version is served only after all steps, and no revision is kept that nobody asks.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st

from rondo.core.modelgraph.versions import spec_hash
from rondo.core.resources import CONFIG_MAP
from tests.unit.core.modelgraph.builders import A, Body, graph, parsed
from tests.unit.core.modelgraph.world import CrashError, World

TIMEOUTS = ("5s", "6s", "7s")
REVISIONS = ("r1", "r2", "r3")
STEPS = [{"weight": 10, "hold": "10m"}, {"weight": 50, "hold": "10m"}]
SPOKEN = dict(zip(REVISIONS, ("OpenAI", "KServeV1", "OpenInference"), strict=True))
RELEASE: Body = {"steps": STEPS, "checks": [{"expression": "new.errorRate <= 0.1"}], "minRequests": 10}
SPECS = {spec_hash(parsed({**A, "timeout": timeout})): timeout for timeout in TIMEOUTS}


@dataclass
class Play:
    """A graph `g` over a model `a`, and what was seen of its releases."""

    world: World = field(default_factory=World)
    weights: dict[int, int] = field(default_factory=dict)
    served: list[str] = field(default_factory=list)
    candidates: set[str] = field(default_factory=set)
    timeout: str = TIMEOUTS[0]
    spoiled: bool = False

    def begin(self) -> None:
        self.edit(TIMEOUTS[0])
        self.revise(REVISIONS[0])
        self.go_on()
        self.wait(2)
        self.world.serve()
        self.look()

    def edit(self, timeout: str) -> None:
        self.timeout, self.spoiled = timeout, False
        self.world.put(graph("g", {**A, "timeout": timeout}, release=RELEASE))

    def spoil(self, expression: str) -> None:
        """Write what is not accepted."""
        self.spoiled = True
        checks = [*RELEASE["checks"], {"expression": expression}]
        self.world.put(graph("g", {**A, "timeout": self.timeout}, release={**RELEASE, "checks": checks}))

    def revise(self, revision: str) -> None:
        self.world.model("a", revision=revision, protocol=SPOKEN[revision], kept=dict.fromkeys(REVISIONS, 1))

    def wait(self, seconds: int) -> None:
        self.world.pass_time(seconds=seconds)
        self.go_on()

    def count(self, errors: int) -> None:
        if any(entry["name"] == "g.new" for entry in self.world.plan()["graphs"]):
            counted = {"requests": 100, "seconds": {"320": 100}}
            self.world.count("g", old=counted, new={**counted, "errors": errors})

    def restart(self, writes: int) -> None:
        """Crash before the next write but so many, and begin anew."""
        self.world.writes_left = writes
        try:
            self.world.pass_time(seconds=1)
            self.world.settle()
        except CrashError:
            pass
        self.world.writes_left = None
        self.look()
        self.world.restart()
        self.world.routers()
        self.go_on()

    def go_on(self) -> None:
        """Have everything looked at, and let routers serve what is planned."""
        self.world.settle()
        if self.world.get(CONFIG_MAP, "rondo-router") is not None:
            self.world.routers()
            self.world.tell()
            self.world.settle()

    def look(self) -> None:
        """See that all is as it has to be, also between two writes."""
        release = self.world.status("g")["release"]
        number, weight = release["number"], release["weight"]
        assert weight >= self.weights.get(number, 0)
        self.weights[number] = weight
        if release.get("candidate"):
            self.candidates.add(release["candidate"]["hash"])
        if release["served"]["hash"] not in self.served[-1:]:
            if self.served:
                assert release["served"]["hash"] in self.candidates
                assert (release["state"], weight) == ("Promoted", STEPS[-1]["weight"])
            self.served.append(release["served"]["hash"])
        names = {entry["name"] for entry in self.world.plan()["graphs"]}
        assert names in ({"g"}, {"g", "g.old", "g.new"})

    def check_settled(self) -> None:
        """See that the plan has what the status says."""
        release = self.world.status("g")["release"]
        divided = release["state"] in {"Progressing", "Paused"}
        names = {entry["name"] for entry in self.world.plan()["graphs"]}
        assert names == ({"g", "g.old", "g.new"} if divided else {"g"})
        assert release["leaving"] == [] or self.spoiled
        if divided:
            assert self.version("g.old") == said(release["served"])
            assert self.version("g.new") == said(release["candidate"])
            shares = self.world.entry("g")["nodes"][0]["split"]["to"]
            weights = [share["weight"] for share in shares]
            assert self.spoiled or weights == [100 - release["weight"], release["weight"]]
        else:
            assert self.version("g") == said(release["served"])
        pinned = {member["revision"] for member in release["served"]["members"]}
        asked = {self.version(name)[1] for name in names - ({"g"} if divided else set())}
        candidate = release.get("candidate") or {"members": ()}
        assert asked <= pinned | {member["revision"] for member in candidate["members"]}

    def version(self, name: str) -> tuple[int, str, str]:
        """Give timeout, revision and protocol of a part of the plan."""
        (node,) = self.world.entry(name)["nodes"]
        host = node["target"]["url"].removeprefix("http://").split(".")[0]
        return node["timeoutMillis"], host.removeprefix("a-"), node["target"]["protocol"]


def said(version: Body) -> tuple[int, str, str]:
    revision = version["members"][0]["revision"]
    return int(SPECS[version["spec"]][:-1]) * 1000, revision, SPOKEN[revision]


MOVES = st.one_of(
    st.tuples(st.just("edit"), st.sampled_from(TIMEOUTS)),
    st.tuples(st.just("spoil"), st.sampled_from(("new.errorRate <=", "newer.p95 < 1.0"))),
    st.tuples(st.just("revise"), st.sampled_from(REVISIONS)),
    st.tuples(st.just("wait"), st.sampled_from((1, 2, 60, 600, 8000))),
    st.tuples(st.just("count"), st.sampled_from((0, 0, 50))),
    st.tuples(st.just("restart"), st.integers(0, 6)),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(MOVES, max_size=14))
def test_the_plan_has_what_the_status_says_whatever_happens(moves: list[tuple[str, str | int]]) -> None:
    play = Play()
    play.begin()
    for move, with_ in moves:
        getattr(play, move)(with_)
        play.go_on()
        play.look()
        play.check_settled()
    release = play.world.status("g")["release"]
    if release["state"] == "RolledBack":
        assert release["rejected"]
        before = play.world.plan()
        play.wait(100_000)
        assert play.world.plan() == before
