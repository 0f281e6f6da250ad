"""What all items of a fan-out stored, as one input."""

from __future__ import annotations

import json
from typing import Any

from rondo.artifacts.command import run
from rondo.artifacts.config import Gathered, Output
from rondo.artifacts.errors import ExitCode
from tests.unit.artifacts.places import Place


def store_item(place: Place, index: int, text: str) -> dict[str, Any]:
    """Store what an item made; give its record."""
    (place.out / "model").write_text(text)
    uri = f"pvc://store/digits/6a1e/train/{index}-1/model"
    environment = place.environment(outputs=(Output("model", str(place.out / "model"), uri),))
    assert run("push", environment) is ExitCode.OK
    digest = json.loads(place.log.read_text())["outputs"]["model"]["digest"]
    return {"results": {"auc": index / 10}, "outputs": {"model": {"uri": uri, "digest": digest}}}


def gather(place: Place, records: dict[int, dict[str, Any]], total: int) -> tuple[ExitCode, str]:
    folder = place.root / "records"
    folder.mkdir(exist_ok=True)
    for index, record in records.items():
        (folder / str(index)).write_text(json.dumps(record))
    wanted = Gathered("input /in", str(place.root / "in"), "model", "model.bin", total, str(folder))
    return run("fetch", place.environment(gathered=(wanted,))), place.log.read_text()


def index_of(place: Place) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (place.root / "in" / "index.jsonl").read_text().splitlines()]


def test_each_item_has_a_folder_and_a_line_in_the_index(place: Place) -> None:
    records = {index: store_item(place, index, f"model {index}") for index in (0, 2)}
    assert gather(place, records, 4) == (ExitCode.OK, "")
    assert index_of(place) == [
        {"index": 0, "state": "Succeeded", "results": {"auc": 0.0}, "path": "0/model.bin"},
        {"index": 1, "state": "Failed"},
        {"index": 2, "state": "Succeeded", "results": {"auc": 0.2}, "path": "2/model.bin"},
        {"index": 3, "state": "Failed"},
    ]
    assert (place.root / "in" / "2" / "model.bin").read_text() == "model 2"
    assert gather(place, records, 4)[0] is ExitCode.OK  # again, after a restart of the container


def test_all_that_is_missing_is_told_but_not_thousands_of_times(place: Place) -> None:
    gone = {"outputs": {"model": {"uri": "pvc://store/nowhere", "digest": "sha256:0"}}}
    code, message = gather(place, dict.fromkeys(range(6), gone), 6)
    assert code is ExitCode.ARTIFACT
    assert "input /in, item 0, pvc://store/nowhere does not exist on claim store" in message
    assert message.endswith("(and 3 more)")


def test_another_artifact_in_the_place_of_an_item_is_refused(place: Place) -> None:
    record = store_item(place, 0, "model")
    record["outputs"]["model"]["digest"] = "sha256:0"
    code, message = gather(place, {0: record}, 1)
    assert code is ExitCode.ARTIFACT
    assert "not sha256:0 as expected" in message


def test_a_fan_out_of_which_nothing_succeeded_has_an_index_only(place: Place) -> None:
    wanted = Gathered("input /in", str(place.root / "in"), "model", "model", 2)
    assert run("fetch", place.environment(gathered=(wanted,))) is ExitCode.OK
    assert [line["state"] for line in index_of(place)] == ["Failed", "Failed"]
