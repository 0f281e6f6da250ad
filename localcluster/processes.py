"""The host processes of a cluster: started in sessions of their own, found again and ended without mistake.

Nothing is written down about a process. Each carries its cluster's folder and its component's name in its environment,
which /proc shows and children inherit: a process is ours exactly if it says so, a recycled pid never does, and one
started by an `up` that was killed the next moment is found all the same.
"""

import os
import select
import signal
import subprocess
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from localcluster.errors import LocalClusterError
from localcluster.packages import search_path

FOLDER_MARK = "RONDO_LOCALCLUSTER_FOLDER"
COMPONENT_MARK = "RONDO_LOCALCLUSTER_COMPONENT"

# For how long at most a process may show no environment while it executes its program.
EXEC_SECONDS = 0.05

_END_SECONDS = 30
_PROC = Path("/proc")
_PASSED_ON = ("HOME", "LANG", "TMPDIR")


@dataclass(frozen=True)
class Process:
    """A running process of a cluster.

    Attributes:
        pid: Its process id.
        component: The component that it is, or that it was started by.
        leader: Whether it is the component itself, which leads its session, and not a child of it.
        age: Seconds since it was started.
    """

    pid: int
    component: str
    leader: bool
    age: float


def start(folder: Path, component: str, command: Sequence[str], *, log: Path) -> None:
    """Start a component in its own session, detached from the calling process, its output appended to a log.

    `setsid --fork` leaves the component to init: a caller that lives on, as a test does, keeps no zombie of it.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    environment = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    environment |= {"PATH": search_path(), FOLDER_MARK: str(folder), COMPONENT_MARK: component}
    with log.open("ab") as output:
        subprocess.run(
            ["setsid", "--fork", *command],
            check=True,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )


def find_all(folder: Path) -> list[Process]:
    """Return every living process of the cluster in that folder, children of components included."""
    found = (_inspect(int(entry.name), str(folder)) for entry in _PROC.iterdir() if entry.name.isdigit())
    return [process for process in found if process is not None]


def find_folders() -> set[Path]:
    """Return the folders of all clusters that have a living process on this machine."""
    marks = (_marks(int(entry.name)) for entry in _PROC.iterdir() if entry.name.isdigit())
    return {Path(folder) for each in marks if (folder := each.get(FOLDER_MARK))}


def find_components(folder: Path) -> dict[str, Process]:
    """Return the cluster's running components by their names."""
    return {process.component: process for process in find_all(folder) if process.leader}


def is_running(folder: Path, component: str) -> bool:
    """Return whether the component runs, also in the moment of its start."""
    if component in find_components(folder):
        return True
    time.sleep(EXEC_SECONDS)
    return component in find_components(folder)


def kill(folder: Path, targets: Iterable[Process]) -> None:
    """Kill processes (SIGKILL) and wait until they have ended.

    Raises:
        LocalClusterError: One does not end.
    """
    handles = {process.pid: handle for process in targets if (handle := _open(process.pid, str(folder))) is not None}
    try:
        for handle in handles.values():
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(handle, signal.SIGKILL)
        if not _wait(handles.values(), _END_SECONDS):
            raise LocalClusterError(f"processes {sorted(handles)} of {folder} do not end, even by SIGKILL")
    finally:
        for handle in handles.values():
            os.close(handle)


def kill_all(folder: Path) -> None:
    """Kill every process of the cluster; what they start meanwhile too.

    A process has no environment for a moment while it executes its program, so only a second look proves that none is
    left.
    """
    looks = 0
    while looks < 2:
        remaining = find_all(folder)
        kill(folder, remaining)
        looks = 0 if remaining else looks + 1
        time.sleep(EXEC_SECONDS if looks == 1 else 0)


def _open(pid: int, folder: str) -> int | None:
    """Return a pidfd, which cannot come to mean another process, if the pid is the cluster's."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return None
    if _marks(pid).get(FOLDER_MARK) == folder:
        return handle
    os.close(handle)
    return None


def _wait(handles: Iterable[int], seconds: float) -> bool:
    """Return whether all have ended within the time."""
    poll = select.poll()
    alive = set(handles)
    for handle in alive:
        poll.register(handle, select.POLLIN)
    deadline = time.monotonic() + seconds
    while alive and (left := deadline - time.monotonic()) > 0:
        for handle, _ in poll.poll(left * 1000):
            poll.unregister(handle)
            alive.discard(handle)
    return not alive


def _inspect(pid: int, folder: str) -> Process | None:
    marks = _marks(pid)
    if marks.get(FOLDER_MARK) != folder:
        return None
    try:
        # The command's name stands in parentheses and may hold spaces; the fields after it are from the third on.
        fields = (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    session, started = int(fields[3]), int(fields[19]) / os.sysconf("SC_CLK_TCK")
    age = time.clock_gettime(time.CLOCK_BOOTTIME) - started
    return Process(pid=pid, component=marks.get(COMPONENT_MARK, ""), leader=session == pid, age=age)


def _marks(pid: int) -> dict[str, str]:
    """Return the marks in a process' environment; none where it has ended or is another user's."""
    try:
        raw = (_PROC / str(pid) / "environ").read_bytes()
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return {}
    wanted = (FOLDER_MARK, COMPONENT_MARK)
    pairs = (entry.partition("=") for entry in raw.decode(errors="replace").split("\0"))
    return {name: value for name, _, value in pairs if name in wanted}
