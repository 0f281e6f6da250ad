"""Artifacts in a bucket of a real S3 server: what is stored, how it comes back, and what goes over the network."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest

from rondo.artifacts.config import Config, Input
from rondo.artifacts.digest import digest_of
from rondo.artifacts.errors import ExitCode
from tests.integration.artifacts.conftest import Place
from tests.s3.proxy import Proxy

MIB = 1 << 20
NAMES = ("a b", "ü", "%20", "a#b", "a?b", "x+y", "a-b", "a.b", "a/b", "a/c/d", "~", "*", "[x]", "a\\b", "ä/€", "Z", "_")


def write(folder: Path, name: str, content: bytes, *, mode: int = 0o600) -> None:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    path.chmod(mode)


def model(place: Place, large: int = 20 * MIB + 7) -> Path:
    """Write a directory with files of many names, one of them large, and one that can be executed."""
    folder = place.out / "model"
    for index, name in enumerate(NAMES):
        write(folder, name, name.encode() * index)
    write(folder, "bin/serve", b"#!/bin/sh\n", mode=0o700)
    write(folder, "weights", os.urandom(large))
    (folder / "nothing").mkdir()
    (folder / "link").symlink_to("weights")
    return folder


def show_folder(folder: Path) -> None:
    """Make the server list a folder as an empty object, `folder/`, as consoles make them."""
    os.setxattr(folder, "user.etag", b"d41d8cd98f00b204e9800998ecf8427e")


def uploads_left(place: Place) -> list[Path]:
    return list((place.objects / ".sgwtmp" / "multipart").glob("*/*"))


def test_a_directory_comes_back_as_it_was(place: Place) -> None:
    source = model(place)
    want = digest_of(source)
    pushed = place.push()
    assert pushed.code is ExitCode.OK, pushed.log
    assert json.loads(pushed.message) == {
        "outputs": {"model": {"digest": want.digest, "size": want.size, "files": want.files}}
    }
    manifest = json.loads(place.stored("model.rondo.json").read_text())
    assert manifest == {
        "version": 1, "kind": "Directory", "digest": want.digest, "size": want.size, "files": want.files
    }  # fmt: skip
    fetched = place.fetch(Input(place.uri(), digest=want.digest, path=str(place.into)))
    assert (fetched.code, fetched.message) == (ExitCode.OK, ""), fetched.log
    assert digest_of(place.into) == want
    assert (place.into / "weights").read_bytes() == (source / "weights").read_bytes()
    assert [oct((place.into / name).stat().st_mode)[-3:] for name in ("bin/serve", "bin", "weights")] == [
        "755", "775", "644"
    ]  # fmt: skip


@pytest.mark.parametrize("size", [0, 5, 8 * MIB, 8 * MIB + 1])
def test_a_file_comes_back_as_it_was(place: Place, size: int) -> None:
    content = os.urandom(size)
    write(place.out, "model", content)
    assert place.push().code is ExitCode.OK
    assert place.fetch().code is ExitCode.OK
    assert place.into.read_bytes() == content
    assert json.loads(place.stored("model.rondo.json").read_text())["kind"] == "File"


def test_many_small_files(place: Place) -> None:
    for index in range(500):
        write(place.out / "model", f"{index % 7}/{index}", str(index).encode())
    assert place.push().code is ExitCode.OK
    assert place.fetch().code is ExitCode.OK
    assert digest_of(place.into) == digest_of(place.out / "model")


def test_memory_does_not_grow_with_the_file(place: Place) -> None:
    write(place.out, "model", os.urandom(200 * MIB))
    pushed = place.push()
    fetched = place.fetch()
    assert (pushed.code, fetched.code) == (ExitCode.OK, ExitCode.OK), pushed.log + fetched.log
    print(f"push {pushed.memory:.0f} MiB, fetch {fetched.memory:.0f} MiB")
    assert pushed.memory < 150
    assert fetched.memory < 150


def test_memory_does_not_grow_with_the_number_of_files(place: Place) -> None:
    content = os.urandom(8 * MIB)
    for index in range(24):
        write(place.out / "model", str(index), content)
    pushed, fetched = place.push(), place.fetch()
    assert (pushed.code, fetched.code) == (ExitCode.OK, ExitCode.OK), pushed.log + fetched.log
    print(f"push {pushed.memory:.0f} MiB, fetch {fetched.memory:.0f} MiB")
    assert pushed.memory < 150
    assert fetched.memory < 150


def test_what_is_there_whole_is_not_stored_again(place: Place, proxy: Proxy) -> None:
    source = model(place)
    assert place.push().code is ExitCode.OK
    first = proxy.up
    assert first > 20 * MIB
    write(source, "a b", b"changed")
    (source / "Z").unlink()
    (source / "_").chmod(0o700)
    again = place.push()
    assert again.code is ExitCode.OK, again.log
    assert proxy.up - first < MIB
    assert not place.stored("model/Z").exists()
    assert place.fetch().code is ExitCode.OK
    assert digest_of(place.into) == digest_of(source)


def test_a_killed_push_is_continued(place: Place, proxy: Proxy) -> None:
    source = place.out / "model"
    for index in range(6):
        write(source, str(index), os.urandom(6 * MIB))
    proxy.rate = 8 * MIB
    with place.start("push", place.outputs()) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(signal.SIGTERM)
        while len(list(place.stored().glob("*"))) < 3:
            assert process.poll() is None
        process.kill()
    assert not place.stored("model.rondo.json").exists()
    proxy.rate, proxy.up = 0, 0
    assert place.push().code is ExitCode.OK
    assert proxy.up < 20 * MIB
    assert place.fetch().code is ExitCode.OK
    assert digest_of(place.into) == digest_of(source)


def test_a_file_takes_the_place_of_a_directory_and_the_other_way_round(place: Place) -> None:
    model(place, large=1)
    assert place.push().code is ExitCode.OK
    (place.out / "model").rename(place.out / "directory")
    write(place.out, "model", b"now a file")
    pushed = place.push()
    assert pushed.code is ExitCode.OK, pushed.log
    assert place.fetch().code is ExitCode.OK
    assert place.into.read_bytes() == b"now a file"
    (place.out / "model").unlink()
    (place.out / "directory").rename(place.out / "model")
    assert place.push().code is ExitCode.OK
    place.into.unlink()
    assert place.fetch().code is ExitCode.OK
    assert digest_of(place.into) == digest_of(place.out / "model")


def test_a_cut_download_goes_on_from_where_it_was(place: Place, proxy: Proxy) -> None:
    write(place.out, "model", os.urandom(40 * MIB))
    assert place.push().code is ExitCode.OK
    proxy.down, proxy.cut_after, proxy.cuts = 0, 3 * MIB, 5
    fetched = place.fetch()
    assert fetched.code is ExitCode.OK, fetched.log
    assert proxy.cuts == 0
    assert place.into.read_bytes() == (place.out / "model").read_bytes()
    assert proxy.down < 45 * MIB


def test_a_cut_upload_sends_only_the_part_again(place: Place, proxy: Proxy) -> None:
    write(place.out, "model", os.urandom(80 * MIB))
    proxy.cut_after, proxy.cuts = 3 * MIB, 4
    pushed = place.push()
    assert pushed.code is ExitCode.OK, pushed.log
    assert proxy.cuts == 0
    assert proxy.up < 120 * MIB
    assert place.fetch().code is ExitCode.OK
    assert place.into.read_bytes() == (place.out / "model").read_bytes()


def test_a_killed_fetch_is_continued(place: Place, proxy: Proxy) -> None:
    write(place.out, "model", os.urandom(30 * MIB))
    assert place.push().code is ExitCode.OK
    proxy.rate = 10 * MIB
    with place.start("fetch", Config(inputs=(Input(place.uri(), path=str(place.into)),))) as process:
        while not (place.into.exists() and place.into.stat().st_size > 5 * MIB):
            assert process.poll() is None
        process.kill()
    proxy.rate, proxy.down = 0, 0
    fetched = place.fetch()
    assert fetched.code is ExitCode.OK, fetched.log
    assert proxy.down < 26 * MIB
    assert place.into.read_bytes() == (place.out / "model").read_bytes()


def test_leftovers_that_are_wrong_are_fetched_anew(place: Place) -> None:
    write(place.out, "model", b"right")
    assert place.push().code is ExitCode.OK
    place.into.write_bytes(b"wro")
    assert place.fetch().code is ExitCode.OK
    assert place.into.read_bytes() == b"right"


def test_a_slow_store_is_waited_for_and_told_about(place: Place, proxy: Proxy) -> None:
    write(place.out, "model", os.urandom(12 * MIB))
    assert place.push().code is ExitCode.OK
    place.environment["RONDO_S3_TIMEOUT"] = "2"
    proxy.rate = MIB
    fetched = place.fetch()
    assert fetched.code is ExitCode.OK, fetched.log
    assert "fetching input /in: " in fetched.log
    assert " bytes after 10 s, " in fetched.log


def test_takes_what_people_have_put_there_themselves(place: Place) -> None:
    for name, content in (("2026/a.csv", b"1"), ("2026/b.csv", b"2"), ("2026-11.csv", b"3")):
        write(place.objects, f"lake/{name}", content)
    (place.objects / "lake" / "2026" / "empty").mkdir()
    for folder in ("lake", "lake/2026", "lake/2026/empty"):
        show_folder(place.objects / folder)
    fetched = place.fetch(Input(f"s3://{place.bucket}/lake/", path=str(place.into)))
    assert fetched.code is ExitCode.OK, fetched.log
    assert sorted(str(path.relative_to(place.into)) for path in place.into.rglob("*") if path.is_file()) == [
        "2026-11.csv", "2026/a.csv", "2026/b.csv"
    ]  # fmt: skip
    assert (place.into / "2026" / "a.csv").read_bytes() == b"1"
    single = place.fetch(Input(f"s3://{place.bucket}/lake/2026/b.csv", path=str(place.root / "b.csv")))
    assert single.code is ExitCode.OK, single.log
    assert (place.root / "b.csv").read_bytes() == b"2"


def test_nothing_is_published_that_is_not_whole(place: Place, proxy: Proxy) -> None:
    source = model(place)
    assert place.push().code is ExitCode.OK
    write(source, "weights", os.urandom(20 * MIB))
    proxy.answers = {"PUT": ("507 Insufficient Storage", "")}
    place.environment["RONDO_S3_RETRIES"] = "2"
    assert place.push().code is ExitCode.NO_SPACE
    assert not place.stored("model.rondo.json").exists()
    proxy.answers = {}
    assert place.push().code is ExitCode.OK
    assert place.fetch().code is ExitCode.OK
    assert digest_of(place.into) == digest_of(source)
    assert not uploads_left(place)
