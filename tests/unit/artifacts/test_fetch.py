"""What `fetch` and `verify` accept, and how they name what is missing."""

from __future__ import annotations

import pytest

from rondo.artifacts.command import run
from rondo.artifacts.config import Input
from rondo.artifacts.errors import ExitCode
from rondo.artifacts.report import MAX_MESSAGE
from tests.unit.artifacts.places import Place, without_rights

OTHER = "sha256:" + "0" * 64


@pytest.fixture
def stored(place: Place) -> Place:
    (place.out / "model").mkdir()
    (place.out / "model" / "weights").write_text("w")
    assert place.push()[0] is ExitCode.OK
    return place


def test_accepts_what_was_stored(stored: Place) -> None:
    uri, digest = "pvc://store/runs/1/model", stored.manifest()["digest"]
    wanted = (Input(uri), Input(uri, digest=digest), Input("pvc://store/runs/1/model/weights"))
    assert stored.verify(*wanted) == (ExitCode.OK, "")
    assert run("fetch", stored.environment(inputs=wanted)) is ExitCode.OK


def test_accepts_files_of_the_users_own_without_a_manifest(place: Place) -> None:
    (place.claim / "llama").mkdir()
    assert place.verify(Input("pvc://store/llama/")) == (ExitCode.OK, "")


REFUSED = [
    (
        Input("pvc://store/runs/1/modle", what="model"),
        "model pvc://store/runs/1/modle does not exist on claim store (in runs/1: model)",
        ExitCode.ARTIFACT,
    ),
    (
        Input("pvc://store/nowhere/deep/model", what="input /in"),
        "input /in pvc://store/nowhere/deep/model does not exist on claim store (in it: runs)",
        ExitCode.ARTIFACT,
    ),
    (Input("pvc://store/runs/1/model", digest=OTHER), f"not {OTHER} as expected", ExitCode.ARTIFACT),
    (Input("pvc://store/runs/1/model/weights", digest=OTHER), "has no manifest", ExitCode.ARTIFACT),
    (Input("pvc://other/model"), "claim other of pvc://other/model is not mounted", ExitCode.CONFIG),
    (Input("pvc://store/a/../../etc"), "'pvc://store/a/../../etc' is not a URI such as", ExitCode.CONFIG),
    (Input("pvc://store/"), "'pvc://store/' is not a URI such as", ExitCode.CONFIG),
    (Input("gs://bucket/model"), "'gs://bucket/model' belongs to no store known here", ExitCode.CONFIG),
    (Input("s3://bucket/model"), "input s3://bucket/model has no path to be downloaded to", ExitCode.CONFIG),
    (Input("s3://bucket/", path="/x"), "'s3://bucket/' is not a URI such as s3://BUCKET/PATH", ExitCode.CONFIG),
]


@pytest.mark.parametrize(("wanted", "message", "code"), REFUSED, ids=lambda value: getattr(value, "uri", ""))
def test_refuses_by_name(stored: Place, wanted: Input, message: str, code: ExitCode) -> None:
    got, said = stored.verify(wanted)
    assert message in said
    assert got is code


def test_a_manifest_that_speaks_of_another_kind(stored: Place) -> None:
    digest = stored.manifest()["digest"]
    (stored.stored() / "weights").unlink()
    stored.stored().rmdir()
    stored.stored().write_text("now a file")
    code, said = stored.verify(Input("pvc://store/runs/1/model", digest=digest))
    assert (code, "is not a Directory, as its manifest says" in said) == (ExitCode.ARTIFACT, True)


def test_a_manifest_that_is_none(stored: Place) -> None:
    stored.stored().with_name("model.rondo.json").write_text('{"version": 1}')
    code, said = stored.verify(Input("pvc://store/runs/1/model", digest=OTHER))
    assert (code, "model.rondo.json is not a manifest" in said) == (ExitCode.STORE, True)


def test_one_message_names_everything_that_is_missing(place: Place) -> None:
    wanted = [Input(f"pvc://store/part-{n}", what=f"input /in/{n}") for n in range(200)]
    code, said = place.verify(*wanted)
    assert code is ExitCode.ARTIFACT
    assert "input /in/0 " in said
    assert "input /in/1 " in said
    assert len(said.encode()) <= MAX_MESSAGE
    assert said.endswith("…")


def test_what_this_user_cannot_read(stored: Place) -> None:
    stored.stored().chmod(0o300)
    with without_rights():
        code, said = stored.verify(Input("pvc://store/runs/1/model", what="model"))
    assert code is ExitCode.DENIED
    assert "model pvc://store/runs/1/model cannot be read by user " in said
    assert "mode 0300" in said


@pytest.mark.parametrize(
    ("environment", "command", "want"),
    [
        ({}, "fetch", "RONDO_ARTIFACTS is not set"),
        ({"RONDO_ARTIFACTS": "{"}, "fetch", "RONDO_ARTIFACTS cannot be read"),
        ({"RONDO_ARTIFACTS": "[]"}, "fetch", "RONDO_ARTIFACTS cannot be read"),
        ({"RONDO_ARTIFACTS": '{"inptus": []}'}, "fetch", "'inptus'"),
        ({"RONDO_ARTIFACTS": '{"inputs": [{"url": "x"}]}'}, "verify", "'url'"),
        ({"RONDO_ARTIFACTS": "{}"}, "fetsch", "the command is fetch, push, sweep or verify, not 'fetsch'"),
    ],
)
def test_a_wrong_start_is_a_fault_of_configuration(
    place: Place, environment: dict[str, str], command: str, want: str
) -> None:
    code = run(command, {"RONDO_TERMINATION_LOG": str(place.log), **environment})
    assert code is ExitCode.CONFIG
    assert want in place.log.read_text()
