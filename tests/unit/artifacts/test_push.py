"""What `push` stores, refuses and says."""

from __future__ import annotations

import json
import os
import socket
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from rondo.artifacts.digest import Summary, digest_of
from rondo.artifacts.errors import ExitCode
from rondo.artifacts.report import MAX_MESSAGE, Stored, outputs_message
from rondo.artifacts.tree import Kind
from tests.unit.artifacts.places import Place, without_rights


def test_stores_a_directory_with_its_manifest_and_says_so(place: Place) -> None:
    (place.out / "model" / "sub").mkdir(parents=True)
    (place.out / "model" / "weights").write_bytes(b"123")
    (place.out / "model" / "sub" / "run").write_bytes(b"#!")
    (place.out / "model" / "sub" / "run").chmod(0o700)
    code, message = place.push()
    want = digest_of(place.out / "model")
    assert code is ExitCode.OK
    assert json.loads(message) == {"outputs": {"model": {"digest": want.digest, "size": 5, "files": 2}}}
    assert place.manifest() == {"version": 1, "kind": "Directory", "digest": want.digest, "size": 5, "files": 2}
    assert digest_of(place.stored()) == want


def test_stores_a_file(place: Place) -> None:
    (place.out / "model").write_bytes(b"123")
    assert place.push()[0] is ExitCode.OK
    assert place.stored().read_bytes() == b"123"
    assert place.manifest()["kind"] == "File"


def test_stores_several_outputs(place: Place) -> None:
    for name in ("model", "report"):
        (place.out / name).write_text(name)
    code, message = place.push("model", "report")
    assert code is ExitCode.OK
    assert set(json.loads(message)["outputs"]) == {"model", "report"}


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_modes_let_anyone_read_the_group_tidy_and_nobody_change(place: Place, umask: int) -> None:
    (place.out / "model" / "sub").mkdir(parents=True)
    for name, mode in (("data", 0o600), ("program", 0o700)):
        (place.out / "model" / name).write_text(name)
        (place.out / "model" / name).chmod(mode)
    before = os.umask(umask)
    try:
        assert place.push()[0] is ExitCode.OK
    finally:
        assert os.umask(before) == umask
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in place.claim.rglob("*")}
    assert modes == {
        "runs": 0o775, "1": 0o775, "model": 0o775, "sub": 0o775,
        "data": 0o644, "program": 0o755, "model.rondo.json": 0o644,
    }  # fmt: skip


def test_second_push_replaces_the_first(place: Place) -> None:
    (place.out / "model").mkdir()
    (place.out / "model" / "old").write_text("old")
    assert place.push()[0] is ExitCode.OK
    (place.out / "model" / "old").rename(place.out / "model" / "new")
    assert place.push()[0] is ExitCode.OK
    assert [path.name for path in place.stored().iterdir()] == ["new"]
    assert place.manifest()["digest"] == digest_of(place.out / "model").digest


def test_second_push_may_turn_a_directory_into_a_file(place: Place) -> None:
    (place.out / "model").mkdir()
    (place.out / "model" / "a").write_text("a")
    assert place.push()[0] is ExitCode.OK
    (place.out / "model" / "a").unlink()
    (place.out / "model").rmdir()
    (place.out / "model").write_text("file")
    assert place.push()[0] is ExitCode.OK
    assert place.stored().read_text() == "file"


def crashed_while_copying(place: Place) -> None:
    part = place.stored().with_name("model.rondo-part")
    part.mkdir(parents=True)
    (part / "half").write_text("ha")


def crashed_before_the_manifest(place: Place) -> None:
    place.stored().mkdir(parents=True)
    (place.stored() / "weights").write_text("from the first try")


def crashed_in_the_manifest(place: Place) -> None:
    crashed_before_the_manifest(place)
    place.stored().with_name("model.rondo.json.rondo-part").write_text("{")


@pytest.mark.parametrize("crash", [crashed_while_copying, crashed_before_the_manifest, crashed_in_the_manifest])
def test_a_push_after_a_crash_leaves_a_whole_artifact_and_nothing_else(
    place: Place, crash: Callable[[Place], None]
) -> None:
    crash(place)
    (place.out / "model").mkdir()
    (place.out / "model" / "weights").write_text("new")
    assert place.push()[0] is ExitCode.OK
    assert {path.name for path in place.stored().parent.iterdir()} == {"model", "model.rondo.json"}
    assert [path.read_text() for path in place.stored().iterdir()] == ["new"]


def nothing(out: Path) -> None:
    (out / "modle").mkdir()


def empty(out: Path) -> None:
    (out / "model").mkdir()


def link_outside(out: Path) -> None:
    (out / "model").mkdir()
    (out / "model" / "passwd").symlink_to("/etc/passwd")


def link_upwards(out: Path) -> None:
    (out / "model").mkdir()
    (out / "secret").write_text("s")
    (out / "model" / "up").symlink_to("../secret")


def dangling(out: Path) -> None:
    (out / "model").mkdir()
    (out / "model" / "latest").symlink_to("step-9")


def circle(out: Path) -> None:
    (out / "model" / "sub").mkdir(parents=True)
    (out / "model" / "sub" / "self").symlink_to("..")


def itself_outside(out: Path) -> None:
    (out / "model").symlink_to("/etc/passwd")


def itself_dangling(out: Path) -> None:
    (out / "model").symlink_to("step-9")


def pipe(out: Path) -> None:
    (out / "model").mkdir()
    os.mkfifo(out / "model" / "pipe")


def unix_socket(out: Path) -> None:
    (out / "model").mkdir()
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(out / "model" / "sock"))


REFUSED = [
    (nothing, "output model: nothing was written to {out}/model (in it: modle)"),
    (empty, "output model: {out}/model is an empty directory"),
    (link_outside, "{out}/model/passwd is a symbolic link to /etc/passwd, which is outside {out}/model"),
    (link_upwards, "{out}/model/up is a symbolic link to ../secret, which is outside {out}/model"),
    (dangling, "{out}/model/latest is a symbolic link to step-9, which does not exist"),
    (circle, "{out}/model/sub/self is a symbolic link to .., a directory that it stands in"),
    (itself_outside, "output model: {out}/model is a symbolic link to /etc/passwd, which is outside {out}"),
    (itself_dangling, "output model: {out}/model is a symbolic link to step-9, which does not exist"),
    (pipe, "output model: {out}/model/pipe is a named pipe; only files and directories can be stored"),
    (unix_socket, "output model: {out}/model/sock is a socket; only files and directories can be stored"),
]


@pytest.mark.parametrize(("make", "want"), REFUSED, ids=lambda value: getattr(value, "__name__", ""))
def test_refuses_by_name_and_stores_nothing(place: Place, make: Callable[[Path], None], want: str) -> None:
    make(place.out)
    code, message = place.push()
    assert code is ExitCode.ARTIFACT
    assert want.format(out=place.out) in message
    assert not [path for path in place.claim.rglob("*") if not path.is_dir()], "nothing may be left behind"


def test_names_every_missing_output_and_stores_none(place: Place) -> None:
    (place.out / "report").write_text("x")
    code, message = place.push("model", "report", "table")
    assert code is ExitCode.ARTIFACT
    assert "output model: nothing was written to" in message
    assert "output table: nothing was written to" in message
    assert not list(place.claim.iterdir())


def test_links_within_an_artifact_become_what_they_point_to(place: Place) -> None:
    (place.out / "model" / "step-9").mkdir(parents=True)
    (place.out / "model" / "step-9" / "weights").write_text("w")
    (place.out / "model" / "latest").symlink_to("step-9")
    (place.out / "model" / "best").symlink_to(place.out / "model" / "step-9" / "weights")
    assert place.push()[0] is ExitCode.OK
    assert not [path for path in place.stored().rglob("*") if path.is_symlink()]
    assert (place.stored() / "latest" / "weights").read_text() == "w"
    assert (place.stored() / "best").read_text() == "w"
    assert place.manifest()["files"] == 3
    assert digest_of(place.stored()) == digest_of(place.out / "model")


def test_an_output_may_be_a_link_to_its_neighbour(place: Place) -> None:
    (place.out / "step-9").mkdir()
    (place.out / "step-9" / "weights").write_text("w")
    (place.out / "model").symlink_to("step-9")
    assert place.push()[0] is ExitCode.OK
    assert not place.stored().is_symlink()
    assert (place.stored() / "weights").read_text() == "w"


def test_denied_by_the_store(place: Place) -> None:
    (place.out / "model").write_text("x")
    place.claim.chmod(0o555)
    with without_rights():
        code, message = place.push()
    assert code is ExitCode.DENIED
    assert "output model cannot be stored at pvc://store/runs/1/model: permission denied for user" in message


def test_a_file_that_cannot_be_read_is_named(place: Place) -> None:
    (place.out / "model").mkdir()
    (place.out / "model" / "secret").write_text("x")
    (place.out / "model" / "secret").chmod(0o000)
    with without_rights():
        code, message = place.push()
    assert code is ExitCode.DENIED
    assert f"{place.out}/model/secret" in message


def test_message_drops_sizes_rather_than_digests() -> None:
    few = {f"output{n}": Stored(Summary(Kind.FILE, "sha256:" + "0" * 64, 10**12, 10**6)) for n in range(4)}
    many = {f"{'o' * 61}{n:02}": one for n, one in enumerate(list(few.values()) * 4)}
    assert len(outputs_message(few)) <= MAX_MESSAGE
    assert json.loads(outputs_message(few))["outputs"]["output0"]["size"] == 10**12
    assert len(many) == 16
    assert len(outputs_message(many)) <= 4096
    assert all(set(one) == {"digest"} for one in json.loads(outputs_message(many))["outputs"].values())
