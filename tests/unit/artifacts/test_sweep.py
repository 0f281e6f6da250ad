"""What a sweep removes from a claim, and what it never touches."""

from __future__ import annotations

import json
import os
import time
from dataclasses import replace
from pathlib import Path

import pytest

from rondo.artifacts.command import MARKS, run
from rondo.artifacts.config import Output, Sweep
from rondo.artifacts.errors import ArtifactError, ExitCode
from rondo.artifacts.sweep import sweep
from tests.unit.artifacts.places import Place

GONE = "00000000-0000-4000-8000-000000000001"
LIVE = "00000000-0000-4000-8000-000000000002"
DAY = 86_400.0


def store(place: Place, *paths: str) -> None:
    """Store an artifact, a folder with a file, at each path of the claim, two days ago."""
    (place.out / "x").mkdir(exist_ok=True)
    (place.out / "x" / "weights").write_text("w" * 10)
    for path in paths:
        output = Output("x", str(place.out / "x"), f"pvc://store/{path}")
        assert run("push", place.environment(outputs=(output,))) is ExitCode.OK
        grow_old(place.claim / path.split("/")[0])


def grow_old(folder: Path, age: float = 2 * DAY) -> None:
    for path in (folder, *folder.rglob("*")):
        os.utime(path, (time.time() - age,) * 2, follow_symlinks=False)


def marks(**fields: frozenset[str]) -> Sweep:
    return Sweep("store", at=time.time(), age=DAY, **fields)


def files(place: Place) -> set[str]:
    found = (path for path in place.claim.rglob("*") if path.is_file())
    return {str(path.relative_to(place.claim)) for path in found if not path.name.endswith(".rondo.json")}


def test_what_nothing_refers_to_goes_with_its_folders(place: Place) -> None:
    store(place, f"digits/{GONE}/train-1/model", f"digits/{GONE}/train/3-1/model", f"digits/{LIVE}/train-1/model")
    done = sweep(place.claim, marks(runs=frozenset({LIVE})))
    assert (done.removed, done.size, done.kept) == (2, 20, 1)
    assert files(place) == {f"digits/{LIVE}/train-1/model/weights"}
    assert not (place.claim / "digits" / GONE).exists()


def test_what_is_referred_to_stays_whole_and_its_neighbours_go(place: Place) -> None:
    base = f"digits/{GONE}"
    store(place, f"{base}/train-1/model", f"{base}/train-1/data", f"{base}/train-1/model2")
    sweep(place.claim, marks(paths=frozenset({f"{base}/train-1/model/weights"})))
    assert files(place) == {f"{base}/train-1/model/weights"}
    assert (place.claim / base / "train-1" / "model.rondo.json").exists()


def test_a_pipeline_may_keep_everything(place: Place) -> None:
    store(place, f"digits/{GONE}/train-1/model")
    assert sweep(place.claim, marks(pipelines=frozenset({"digits"}))).removed == 0
    assert files(place)


def test_a_folder_in_which_anything_is_young_stays(place: Place) -> None:
    store(place, f"digits/{GONE}/train-1/model", f"digits/{GONE}/train-2/model")
    grow_old(place.claim / "digits" / GONE / "train-2" / "model" / "weights", age=DAY / 2)
    assert sweep(place.claim, marks()).removed == 0


def test_what_people_put_there_is_never_touched(place: Place) -> None:
    own = place.claim / "digits" / GONE / "notes"
    own.mkdir(parents=True)
    (own / "a.txt").write_text("mine")
    (place.claim / "data.csv").write_text("mine")
    (place.claim / "llama" / "7b").mkdir(parents=True)
    (place.claim / "llama" / "7b" / "weights").write_text("mine")
    before = files(place)
    store(place, f"digits/{GONE}/train-1/model", "uploads/by-hand/model")
    grow_old(place.claim)
    assert sweep(place.claim, marks()).removed == 1
    assert files(place) == before | {"uploads/by-hand/model/weights"}


def test_leftovers_of_a_cut_off_store_go_too(place: Place) -> None:
    store(place, f"digits/{GONE}/train-1/model")
    (place.claim / "digits" / GONE / "train-1" / "data.rondo-part").write_text("half")
    grow_old(place.claim)
    sweep(place.claim, marks())
    assert not (place.claim / "digits" / GONE).exists()


def test_a_sweep_that_was_killed_is_finished_by_the_next(place: Place) -> None:
    store(place, f"digits/{GONE}/train-1/model")
    (place.claim / "digits" / GONE / "train-1" / "model" / "weights").unlink()
    (place.claim / "digits" / GONE / "train-1" / "model").rmdir()
    grow_old(place.claim)
    assert sweep(place.claim, marks()).removed == 1
    assert not (place.claim / "digits" / GONE).exists()


@pytest.mark.parametrize("shift", [-DAY, 3600.0])
def test_marks_of_another_time_remove_nothing(place: Place, shift: float) -> None:
    store(place, f"digits/{GONE}/train-1/model")
    with pytest.raises(ArtifactError, match="nothing is removed"):
        sweep(place.claim, replace(marks(), at=time.time() + shift))
    assert files(place)


def test_the_command_reads_marks_and_reports(place: Place) -> None:
    store(place, f"digits/{GONE}/train-1/model")
    file = place.root / "marks"
    many = frozenset(f"{number:08x}-0000-4000-8000-{number:012x}" for number in range(5000))
    file.write_text(marks(runs=many).pack())
    assert Sweep.unpack(file.read_text()).runs == many
    assert run("sweep", {**place.environment(), MARKS: str(file)}) is ExitCode.OK
    assert json.loads(place.log.read_text()) == {"removed": 1, "size": 10, "kept": 0}
    file.write_text("no marks")
    assert run("sweep", {**place.environment(), MARKS: str(file)}) is ExitCode.CONFIG
