"""What the items of a fan-out gave: counted at once, kept in status while it is little, then in ConfigMaps.

Records gather in status. When the next does not fit they are sealed, stored in an immutable ConfigMap whose name and
content follow from the sealed status alone, and only then dropped; while they are sealed no item is recorded. So a
crash at any point stores the same again and loses nothing. Statistics and the best item are kept from record to record
and never need the ConfigMaps.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from rondo.api.base import Json
from rondo.api.pipeline import Goal, Stage
from rondo.api.pipelinerun import BestItem, FanOut, ItemFailure, ItemRecord, Statistics, StoredOutput
from rondo.core import names
from rondo.core.causes import Cause
from rondo.core.conditions import shorten
from rondo.core.items import Item
from rondo.core.plan import Create, GetLive, Object, Read, ReadResult, Ref
from rondo.core.references import text_of
from rondo.core.resources import CONFIG_MAP
from rondo.core.run.step import Step, update

INLINE_LIMIT: Final = 24 * 1024
"""Bytes of records in the status of a run, all fan-outs together."""

KEPT_FAILURES: Final = 10
_WORDS: Final = 200


@dataclass
class Recorder:
    """Takes down how items ended, in one pass over them.

    Attributes:
        fan: The fan-out as it was.
        stage: Its stage.
        limit: Bytes of records that status may hold.
    """

    fan: FanOut
    stage: Stage
    limit: int
    _records: dict[str, ItemRecord] = field(default_factory=dict)
    _failures: list[ItemFailure] = field(default_factory=list)
    _statistics: dict[str, Statistics] = field(default_factory=dict)
    _best: BestItem | None = None
    _size: int = 0
    _sealed: bool = False
    succeeded: int = 0
    failed: int = 0

    def __post_init__(self) -> None:
        """Begin with what the fan-out holds."""
        fan = self.fan
        self._records, self._failures = dict(fan.records), list(fan.failures)
        self._statistics, self._best = dict(fan.statistics), fan.best
        self.succeeded, self.failed, self._sealed = fan.succeeded, fan.failed, fan.sealed
        self._size = sum(_size_of(record) for record in fan.records.values())

    def take(self, item: Item, results: Mapping[str, Json], outputs: Mapping[str, StoredOutput]) -> bool:
        """Record an item that succeeded; False if there is no room yet and it has to be offered again."""
        if results or outputs:
            record = ItemRecord(results=dict(results), outputs=dict(outputs))
            size = _size_of(record)
            if self._sealed or (self._records and self._size + size > self.limit):
                self._sealed = True
                return False
            self._records[str(item.index)] = record
            self._size += size
        self.succeeded += 1
        for name, value in results.items():
            if isinstance(value, int | float) and not isinstance(value, bool):
                self._statistics[name] = _add(self._statistics.get(name), float(value))
        self._compare(item, results, outputs)
        return True

    def lose(self, item: Item, cause: Cause) -> None:
        """Record an item that failed."""
        self.failed += 1
        if len(self._failures) < KEPT_FAILURES:
            said = shorten(str(item), _WORDS // 2)
            words = shorten(cause.message, _WORDS)
            self._failures.append(ItemFailure(index=item.index, item=said, reason=cause.reason.value, message=words))

    def seal(self) -> None:
        """Ask for the records to be stored although there is room."""
        self._sealed = self._sealed or bool(self._records)

    def result(self, **changes: Any) -> FanOut:
        """Give the fan-out with all that was recorded and these changes."""
        recorded = {
            "records": self._records, "failures": self._failures, "statistics": self._statistics, "best": self._best,
            "succeeded": self.succeeded, "failed": self.failed, "sealed": self._sealed,
        }  # fmt: skip
        return self.fan.model_copy(update={**recorded, **changes})

    def _compare(self, item: Item, results: Mapping[str, Json], outputs: Mapping[str, StoredOutput]) -> None:
        """Keep the best item; of equals the first in the list."""
        policy = self.stage.for_each.best if self.stage.for_each is not None else None
        if policy is None or policy.result not in results:
            return
        sign = 1 if policy.goal is Goal.MAXIMIZE else -1
        mine = (sign * results[policy.result], -item.index)
        if self._best is None or mine > (sign * self._best.results[policy.result], -self._best.index):
            self._best = BestItem(index=item.index, item=item.value, results=dict(results), outputs=dict(outputs))


def gathered(fan: FanOut) -> dict[str, list[Json]]:
    """Give the list of each result over the items that succeeded, in their order; empty if they are stored."""
    if fan.stored:
        return {}
    lists: dict[str, list[Json]] = {}
    for _, record in sorted(fan.records.items(), key=lambda pair: int(pair[0])):
        for name, value in record.results.items():
            lists.setdefault(name, []).append(value)
    return lists


def store(step: Step, run: Object, stage: str, reads: Mapping[Read, ReadResult]) -> Step:
    """Store sealed records: create their ConfigMap, and drop them from status once it is known to be there.

    Args:
        step: What is planned for the stage so far.
        run: The run.
        stage: Name of the stage.
        reads: Results of the live reads made so far.
    """
    fan = step.status.fan_out
    if fan is None or not fan.sealed:
        return step
    metadata = run["metadata"]
    base = fan.stored_in or records_base(run, stage)
    ref = Ref(CONFIG_MAP, metadata["namespace"], f"{base}{fan.stored}")
    found = reads.get(GetLive(ref))
    if found is None:
        return Step(step.status, step.actions, (*step.reads, GetLive(ref)), step.events, step.look_again)
    if found.value is not None and names.controller_uid(found.value) == metadata["uid"]:
        dropped = {"records": {}, "sealed": False, "stored": fan.stored + 1, "stored_in": base}
        status = update(step.status, fan_out=fan.model_copy(update=dropped))
        return Step(status, step.actions, step.reads, step.events, 0.0)
    create = Create(ref, owned_config_map(run, stage, ref, {key: _to_json(each) for key, each in fan.records.items()}))
    return Step(step.status, (*step.actions, create), step.reads, step.events, 0.2)


def records_base(run: Object, stage: str) -> str:
    """Give the names of the ConfigMaps with a stage's records but for the number at their end."""
    return names.child_name(run["metadata"]["name"], stage, run["metadata"]["uid"], "records") + "-"


def owned_config_map(run: Object, stage: str, ref: Ref, data: Mapping[str, str]) -> dict[str, Any]:
    """Build the immutable ConfigMap of some records, written as JSON, an item a key."""
    metadata = run["metadata"]
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": ref.name,
            "namespace": ref.namespace,
            "labels": {
                names.MANAGED_BY: names.MANAGER,
                names.RUN: metadata["name"],
                names.RUN_UID: metadata["uid"],
                names.STAGE: stage,
            },
            "ownerReferences": [names.owner_reference(run)],
        },
        "immutable": True,
        "data": dict(data),
    }


def _add(before: Statistics | None, value: float) -> Statistics:
    if before is None:
        return Statistics(count=1, min=value, max=value, sum=value, mean=value)
    count, total = before.count + 1, before.sum + value
    return Statistics(
        count=count, min=min(before.min, value), max=max(before.max, value), sum=total, mean=total / count
    )


def _size_of(record: ItemRecord) -> int:
    return len(_to_json(record).encode()) + 10


def _to_json(record: ItemRecord) -> str:
    return text_of(record.model_dump(mode="json", by_alias=True, exclude_defaults=True))
