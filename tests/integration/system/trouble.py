"""Random runs and random trouble for them, drawn from a seeded generator.

The seed gives the pipelines and the order of what happens; when it happens is the machine's.
"""

from __future__ import annotations

import contextlib
import json
import random
import signal
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from kubernetes.dynamic.exceptions import NotFoundError

from rondo.api.pipeline import PipelineSpec
from rondo.core import names
from rondo.core.pipeline.validation import validate
from rondo.core.run.item_index import INDEX_LABEL
from tests.integration.system.objects import inline_run
from tests.integration.system.processes import Operator, Operators
from tests.integration.system.space import PATIENCE, Body, Space

STAGES = "abcdef"
FINAL = "yz"
IMAGES = ("succeeds", "succeeds", "succeeds", "holds", "holds", "fails")
GATES = ("run.name != ''", "run.name != ''", "run.name == ''")
AT_ONCE = 12
"""Runs that go on at a time."""

KEPT = 60
"""Runs that have ended and are kept for a while, so that they can be retried."""


def random_stage(chance: random.Random, name: str, earlier: list[str]) -> Body:
    """Draw a stage that may wait for earlier ones in any way."""
    needs = chance.sample(earlier, min(len(earlier), chance.choice((0, 1, 1, 2))))
    after = [other for other in earlier if other not in needs and chance.random() < 0.15]
    stage: Body = {"name": name, **({"needs": needs} if needs else {}), **({"after": after} if after else {})}
    if earlier and chance.random() < 0.15:
        stage["when"] = f"stages.{chance.choice(earlier)}.state != 'Skipped'"
    if chance.random() < 0.07:
        return {**stage, "wait": "1s"}
    if chance.random() < 0.1:
        return {**stage, "gate": {"checks": [{"expression": chance.choice(GATES)}]}}
    stage["job"] = {"image": chance.choice(IMAGES)}
    stage["retry"] = {"limit": chance.randrange(3), "backoff": "100ms", "maxDisruptions": 20}
    if chance.random() < 0.1:
        stage["continueOnFailure"] = True
    if chance.random() < 0.05:
        stage["timeout"] = "3s"
    if chance.random() < 0.15:
        stage["forEach"] = {"items": [1, 2, 3], "maxFailed": chance.randrange(3), "parallelism": chance.randint(1, 3)}
        if chance.random() < 0.5:
            stage["job"]["args"] = ["$(item.value)"]
        else:
            stage["retry"] = {"limit": chance.randrange(2)}
    return stage


def random_run(chance: random.Random, name: str) -> Body:
    """Draw a run whose pipeline is accepted."""
    while True:
        stages = STAGES[: chance.randint(1, len(STAGES))]
        drawn = [random_stage(chance, each, list(stages[:index])) for index, each in enumerate(stages)]
        final = [random_stage(chance, each, []) for each in FINAL[: chance.choice((0, 0, 1, 2))]]
        policy = chance.choice(("Finish", "Cancel", "Continue"))
        run = inline_run(name, *drawn, onStageFailure=policy, **({"finally": final} if final else {}))
        if validate(PipelineSpec.model_validate(run["spec"]["pipeline"]["spec"])) == []:
            return run


@dataclass
class Trouble:
    """Makes runs, and trouble for them, until so many have ended.

    Attributes:
        space: Where.
        operators: Gives the operators that are killed.
        chance: Draws what happens.
        total: Runs to make, retries not counted.
        restart: Restarts the API server; None if it shall not be.
        check: Is called with each run that has ended.
        happened: Counts the trouble that was made, by kind.
        ended: The runs that have ended.
    """

    space: Space
    operators: Operators
    chance: random.Random
    total: int
    restart: Callable[[], None] | None
    check: Callable[[Body], None]
    happened: Counter[str] = field(default_factory=Counter)
    ended: list[Body] = field(default_factory=list)
    _made: int = 0
    _operator: Operator | None = None
    _second: Operator | None = None
    _open: dict[str, Body] = field(default_factory=dict)

    def run(self) -> None:
        """Go on until all runs have ended.

        Raises:
            AssertionError: A run does not end, or not as it should.
        """
        while self._made < self.total:
            self._look()
            self._make_runs()
            self._make_trouble()
            self._end_pods()
        self._let_all_end()

    # Runs ---------------------------------------------------------------------------------------------------

    def _make_runs(self) -> None:
        while len(self._open) < AT_ONCE and self._made < self.total:
            name = f"r{self._made}"
            self._made += 1
            self._create(random_run(self.chance, name))

    def _create(self, run: Body) -> None:
        self.space.create(run)
        self._open[run["metadata"]["name"]] = run

    def _look(self) -> None:
        """See which runs have ended, check them, and delete the oldest of them."""
        known = {run["metadata"]["name"]: run for run in self.space.items("PipelineRun")}
        for name in list(self._open):
            if name in known and "completionTime" in known[name].get("status", {}):
                del self._open[name]
                self.check(known[name])
                self.ended.append(known[name])
            elif name in known:
                self._open[name] = known[name]
        kept = [run["metadata"]["name"] for run in known.values() if run["metadata"]["name"] not in self._open]
        for name in kept[:-KEPT]:
            self.space.delete("PipelineRun", name)

    def _let_all_end(self) -> None:
        """No more trouble: every run has to end now."""
        self._live_operator()
        deadline = time.monotonic() + 4 * PATIENCE
        while self._open:
            for name, run in self._open.items():
                if run["spec"].get("state") == "Paused":
                    self.space.patch("PipelineRun", name, {"spec": {"state": "Running"}})
            self._end_pods(all_of_them=True)
            self._look()
            assert time.monotonic() < deadline, f"runs that do not end: {json.dumps(self._left(), indent=1)}"

    def _left(self) -> dict[str, Any]:
        """Say how far the runs are that have not ended, and their pods."""
        return {
            name: [run.get("status", {}).get("message"), *map(_describe, self.space.pods(name))]
            for name, run in self._open.items()
        }

    # Trouble ------------------------------------------------------------------------------------------------

    def _make_trouble(self) -> None:
        kinds: dict[str, tuple[int, Callable[[], bool]]] = {
            "operator killed": (4, self._kill_operator),
            "operator frozen": (2, self._freeze_operator),
            "operator stopped": (1, self._stop_operator),
            "second operator": (2, self._second_operator),
            "API server restarted": (1 if self.restart and self._made % 300 == 299 else 0, self._restart),
            "Job deleted": (3, self._delete_job),
            "pod deleted": (3, self._delete_pod),
            "pod evicted": (3, self._evict_pod),
            "run paused": (2, lambda: self._want("Paused", "Running")),
            "run resumed": (4, lambda: self._want("Running", "Paused")),
            "run cancelled": (1, lambda: self._want("Cancelled", "Running")),
            "run retried": (1, self._retry_run),
            "run deleted and made again": (1, self._make_again),
        }
        weights = [weight for weight, _ in kinds.values()]
        (kind,) = self.chance.choices(list(kinds), weights)
        self._live_operator()
        if kinds[kind][1]():
            self.happened[kind] += 1

    def _live_operator(self) -> Operator:
        if self._operator is None or not self._operator.alive:
            self._operator = self.operators.start(self.space.namespace)
        return self._operator

    def _kill_operator(self) -> bool:
        operator = self._live_operator()
        if self.chance.random() < 0.8:
            operator.works()
        time.sleep(self.chance.uniform(0, 0.3))  # the random point
        operator.kill()
        if self.chance.random() < 0.3:
            self._delete_job()  # while nobody looks
        return True

    def _freeze_operator(self) -> bool:
        operator = self._live_operator()
        operator.signal(signal.SIGSTOP)
        self._delete_pod()  # while nobody looks
        time.sleep(self.chance.uniform(0, 0.3))  # the random time
        operator.signal(signal.SIGCONT)
        return True

    def _stop_operator(self) -> bool:
        self._live_operator().works().stop()
        return True

    def _second_operator(self) -> bool:
        """Have two work side by side, as if one had not noticed that it leads no more; the next time it is killed."""
        if self._second is not None and self._second.alive:
            self._second.kill()
            return False
        self._second = self.operators.start(self.space.namespace)
        return True

    def _restart(self) -> bool:
        assert self.restart is not None
        self.restart()
        return True

    def _delete_job(self) -> bool:
        """Delete a Job that status knows of: one that it does not is made again under its name, as it should be."""
        known = [
            stage["job"]
            for run in self._open.values()
            for stage in run.get("status", {}).get("stages", ())
            if stage.get("jobUid")
        ]
        if known:
            self.space.delete("Job", self.chance.choice(known))
        return bool(known)

    def _delete_pod(self) -> bool:
        pods = self.space.live_pods()
        if pods:
            self.space.delete("Pod", self.chance.choice(pods)["metadata"]["name"])
        return bool(pods)

    def _evict_pod(self) -> bool:
        pods = self.space.live_pods()
        if not pods:
            return False
        with contextlib.suppress(NotFoundError):
            self.space.evict(self.chance.choice(pods)["metadata"]["name"])
        return True

    def _want(self, state: str, now: str) -> bool:
        fitting = [name for name, run in self._open.items() if run["spec"].get("state", "Running") == now]
        if fitting:
            name = self.chance.choice(fitting)
            self._open[name]["spec"]["state"] = state
            self.space.patch("PipelineRun", name, {"spec": {"state": state}})
        return bool(fitting)

    def _retry_run(self) -> bool:
        old = self.chance.choice(self.ended[-KEPT // 2 :]) if self.ended else None
        if old is None or old["metadata"]["name"].endswith("x") or not old["status"].get("stages"):
            return False
        name = f"{old['metadata']['name']}-{self._made}x"
        if name in self._open or self.space.get("PipelineRun", old["metadata"]["name"]) is None:
            return False
        spec = {"pipeline": old["spec"]["pipeline"], "retryOf": old["metadata"]["name"]}
        self._create({**old, "metadata": {"name": name}, "spec": spec, "status": {}})
        return True

    def _make_again(self) -> bool:
        """Delete a run and make another of its name at once."""
        fitting = [name for name in self._open if not name.endswith("x")]
        if not fitting:
            return False
        name = self.chance.choice(fitting)
        self.space.delete("PipelineRun", name)
        self.space.until_gone("PipelineRun", name)
        self._create(random_run(self.chance, name))
        return True

    def _end_pods(self, *, all_of_them: bool = False) -> None:
        """Let programs that run until they are told end: well, with an error, or killed for memory."""
        pods = self.space.live_pods()
        check_alone(pods)
        for pod in pods:
            if pod["spec"]["containers"][0]["image"] != "holds" or pod["status"].get("phase") != "Running":
                continue
            if all_of_them or self.chance.random() < 0.3:
                code = self.chance.choice((0, 0, 0, 1, 137))
                self.happened[f"program ended with {code}"] += 1
                self.space.end_pod_if_there(pod["metadata"]["name"], exit_code=code)


def check_alone(pods: list[Body]) -> None:
    """See that no two pods of a stage, or of an item of it, run side by side; indexes of one Job may."""
    labels = [pod["metadata"]["labels"] for pod in pods]
    keys = [(each[names.RUN_UID], each[names.STAGE], each.get(names.ITEM), each.get(INDEX_LABEL)) for each in labels]
    twice = [key for key, count in Counter(keys).items() if count > 1]
    assert not twice, [_describe(pod) for pod, key in zip(pods, keys, strict=True) if key in twice]


def _describe(pod: Body) -> str:
    metadata, status = pod["metadata"], pod["status"]
    leaving = "deletionTimestamp" in metadata
    image = pod["spec"]["containers"][0]["image"]
    return f"{metadata['name']} {image} {status.get('phase')} leaving={leaving} {metadata.get('finalizers')}"


def attempts_of(run: Body) -> dict[str, list[str]]:
    """Give the names of the Jobs of all attempts that a run has begun, by stage; of stages without forEach."""
    metadata, found = run["metadata"], {}
    for stage in run["status"]["stages"]:
        if "fanOut" not in stage:
            numbers: Any = range(1, stage.get("attempt", 0) + 1)
            found[stage["name"]] = [
                names.child_name(metadata["name"], stage["name"], metadata["uid"], number) for number in numbers
            ]
    return found
