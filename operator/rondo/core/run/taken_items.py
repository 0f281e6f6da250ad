"""Fan-outs in a retry: what of an earlier run's items stays done, and copies of the records that this run needs.

The records of an earlier run go with that run, so a retry copies them before it begins. Where they are gone already,
the fan-out is run anew.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from rondo.api.pipelinerun import FanOut, ItemNote, StageStatus
from rondo.core.plan import Create, GetLive, Object, Read, ReadResult, Ref
from rondo.core.resources import CONFIG_MAP
from rondo.core.run.item_jobs import PENDING, SUCCEEDED
from rondo.core.run.records import owned_config_map, records_base


def done_items(fan: FanOut) -> FanOut:
    """Give a fan-out that goes on with the items that have not succeeded, each as if it had not begun."""
    states = "".join(letter if letter == SUCCEEDED else PENDING for letter in fan.states)
    noted = {index: note for index, note in fan.notes.items() if states[int(index)] == SUCCEEDED}
    notes = {index: ItemNote(attempt=note.attempt) for index, note in noted.items()}
    changes = {"states": states, "notes": notes, "indexes": "", "lost": "", "failed": 0, "failures": [], "running": 0}
    return fan.model_copy(update=changes)


def moved(run: Object, stage: str, fan: FanOut) -> FanOut:
    """Give a fan-out whose records are those that this run owns."""
    return fan.model_copy(update={"stored_in": records_base(run, stage)}) if fan.stored else fan


def reads_of(namespace: str, fan: FanOut) -> Iterable[GetLive]:
    """Yield the reads of all ConfigMaps with the records of a fan-out."""
    for number in range(fan.stored):
        yield GetLive(Ref(CONFIG_MAP, namespace, f"{fan.stored_in}{number}"))


def copies(
    run: Object, stages: Iterable[StageStatus], reads: Mapping[Read, ReadResult]
) -> tuple[list[GetLive], list[Create], set[str]]:
    """Give what copies the records of fan-outs that are taken over.

    Args:
        run: The retry.
        stages: The stages as the earlier run left them.
        reads: Results of the live reads made so far.

    Returns:
        Reads that have to be made first, what creates the copies, and names of stages whose records are lost.
    """
    namespace = run["metadata"]["namespace"]
    missing: list[GetLive] = []
    creates: list[Create] = []
    lost: set[str] = set()
    for stage in stages:
        if stage.fan_out is None:
            continue
        for number, read in enumerate(reads_of(namespace, stage.fan_out)):
            found = reads.get(read)
            if found is None or found.error is not None:
                missing.append(read)
            elif found.value is None:
                lost.add(stage.name)
            else:
                ref = Ref(CONFIG_MAP, namespace, f"{records_base(run, stage.name)}{number}")
                creates.append(Create(ref, owned_config_map(run, stage.name, ref, found.value.get("data", {}))))
    return missing, creates, lost
