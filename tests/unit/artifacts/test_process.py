"""`python -m rondo.artifacts push` as the kubelet runs it: a process that waits for a signal."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from rondo.artifacts.config import PRE_STOP
from rondo.artifacts.digest import digest_of
from rondo.artifacts.errors import ExitCode
from tests.unit.artifacts.places import Place

OPERATOR = Path(__file__).parents[3] / "operator"
PUSH = (sys.executable, "-m", "rondo.artifacts", "push")
DEADLINE = 30.0


@contextlib.contextmanager
def started(place: Place, *before: str) -> Iterator[subprocess.Popen[str]]:
    """Start `push` and wait until it says that it waits."""
    environment = {
        **place.environment(outputs=(place.output(),)),
        "PYTHONPATH": str(OPERATOR),
        "PATH": os.environ["PATH"],
    }
    command = [*before, *PUSH]
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        assert process.stdout is not None
        try:
            first = process.stdout.readline()
            assert first.startswith("waiting"), first + process.stdout.read()
            yield process
        finally:
            if process.poll() is None:
                process.kill()


def wait_for(path: Path, process: subprocess.Popen[str]) -> None:
    """Wait until a path exists."""
    end = time.monotonic() + DEADLINE
    while not path.exists():
        assert process.poll() is None, "push ended too early"
        assert time.monotonic() < end, f"{path} did not appear"
        time.sleep(0.001)


def big(place: Place, size: int = 1 << 28) -> None:
    """Write a model that takes a while to copy and little space to make."""
    (place.out / "model").mkdir()
    with (place.out / "model" / "weights").open("wb") as file:
        file.truncate(size)


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGINT])
def test_stores_nothing_before_the_signal_and_all_after_it(place: Place, end: signal.Signals) -> None:
    with started(place) as process:
        (place.out / "model").write_text("written while push waits")
        assert not list(place.claim.iterdir())
        process.send_signal(end)
        assert process.wait(DEADLINE) == ExitCode.OK
    assert place.stored().read_text() == "written while push waits"
    assert '"model"' in place.log.read_text()


def test_the_hook_ends_when_push_is_ready_and_not_before(place: Place) -> None:
    hook = [word.replace("/dev/termination-log", str(place.log)) for word in PRE_STOP]
    assert hook != list(PRE_STOP)
    with subprocess.Popen(hook) as waiting:
        with pytest.raises(subprocess.TimeoutExpired):
            waiting.wait(0.5)
        with started(place) as process:
            assert waiting.wait(DEADLINE) == 0
            assert place.log.read_text() == "push was killed while it waited; no outputs were stored"
            process.kill()


def test_a_push_that_is_killed_has_said_when(place: Place) -> None:
    big(place)
    with started(place) as process:
        process.terminate()
        wait_for(place.stored().with_name("model.rondo-part"), process)
        assert place.log.read_text() == "push was killed while it stored outputs"
        process.kill()


def test_a_missing_output_is_exit_code_1(place: Place) -> None:
    with started(place) as process:
        process.terminate()
        assert process.wait(DEADLINE) == ExitCode.ARTIFACT
    assert place.log.read_text() == f"output model: nothing was written to {place.out}/model (it is empty)"


def test_a_second_signal_does_not_interrupt_the_storing(place: Place) -> None:
    big(place)
    with started(place) as process:
        process.terminate()
        wait_for(place.stored().with_name("model.rondo-part"), process)
        process.terminate()
        process.send_signal(signal.SIGINT)
        assert process.wait(DEADLINE) == ExitCode.OK
    assert digest_of(place.stored()) == digest_of(place.out / "model")


def test_a_push_after_one_that_was_killed_half_way(place: Place) -> None:
    big(place)
    with started(place) as process:
        process.terminate()
        wait_for(place.stored().with_name("model.rondo-part") / "weights", process)
        process.kill()
        assert process.wait(DEADLINE) == -signal.SIGKILL
    assert not place.stored().exists(), "killed too late for this test to say anything"
    (place.out / "model" / "weights").write_text("small")
    assert place.push()[0] is ExitCode.OK
    assert {path.name for path in place.stored().parent.iterdir()} == {"model", "model.rondo.json"}
    assert (place.stored() / "weights").read_text() == "small"


def test_waits_in_little_memory(place: Place) -> None:
    with started(place) as process:
        status = dict(line.split(":", 1) for line in Path(f"/proc/{process.pid}/status").read_text().splitlines())
    assert int(status["VmRSS"].split()[0]) < 16_000, "kB; 10 MB were measured"


def test_streams_in_constant_memory(place: Place) -> None:
    big(place)
    limit = 96 << 20  # The address space of all; the model has 256 MiB.
    with started(place, "prlimit", f"--as={limit}") as process:
        process.terminate()
        assert process.wait(DEADLINE) == ExitCode.OK, place.log.read_text()


def test_a_limit_of_file_size_counts_as_no_space(place: Place) -> None:
    big(place)
    with started(place, "prlimit", f"--fsize={1 << 20}") as process:
        process.terminate()
        assert process.wait(DEADLINE) == ExitCode.NO_SPACE
    assert "output model cannot be stored at pvc://store/runs/1/model: claim store is full" in place.log.read_text()
    assert not list(place.stored().parent.iterdir()), "what was copied is removed: the space is needed"


def may_unshare() -> bool:
    return subprocess.run(["unshare", "-rmpf", "true"], capture_output=True, check=False).returncode == 0


needs_namespaces = pytest.mark.skipif(not may_unshare(), reason="user namespaces are not allowed here")


@needs_namespaces
def test_process_1_of_a_container_gets_its_signal(place: Place) -> None:
    (place.out / "model").write_text("x")
    with started(place, "unshare", "-rpf") as process:
        child = int(Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text())
        os.kill(child, signal.SIGTERM)
        assert process.wait(DEADLINE) == ExitCode.OK
    assert place.stored().read_text() == "x"


@needs_namespaces
@pytest.mark.parametrize(
    ("options", "code", "want"),
    [
        ("size=64k", ExitCode.NO_SPACE, "claim store is full: 0 of 65,536 bytes are free"),
        ("ro", ExitCode.DENIED, "it is mounted read-only"),
    ],
)
def test_a_store_that_is_full_or_read_only(place: Place, options: str, code: ExitCode, want: str) -> None:
    big(place, 1 << 20)
    mount = f'mount -t tmpfs -o {options} claim "$0" && exec "$@"'
    with started(place, "unshare", "-rm", "sh", "-c", mount, str(place.claim)) as process:
        process.terminate()
        assert process.wait(DEADLINE) == code, place.log.read_text()
    assert want in place.log.read_text()
