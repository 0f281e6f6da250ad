"""Programs that the demo runs, and what they say."""

# ruff: noqa: S603 (running programs is what this module is for)

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

_TAIL = 30
"""Lines of a failed program's output that are shown."""


class CommandError(Exception):
    """A step is not possible; the message says why and what to do."""


def tell(line: str) -> None:
    """Write a line at once, so that it stands in order with what other programs write."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def output(command: Sequence[str], environment: Mapping[str, str] | None = None, *, stdin: str | None = None) -> str:
    """Run a program and give what it writes.

    Args:
        command: The program and its arguments.
        environment: Added to this process's.
        stdin: What it reads.

    Raises:
        CommandError: It failed; with its last lines.
    """
    done = _run(command, environment, stdin)
    if done.returncode:
        raise CommandError(_failure(command, done.returncode, done.stderr or done.stdout))
    return done.stdout


def succeeds(command: Sequence[str], environment: Mapping[str, str] | None = None) -> bool:
    """Tell whether a program succeeds; one that is not there does not."""
    try:
        return _run(command, environment, None).returncode == 0
    except CommandError:
        return False


def follow(command: Sequence[str], said: Callable[[str], None]) -> str:
    """Run a program that takes long and give what it writes; its lines on standard error are handed on at once.

    Raises:
        CommandError: It failed.
    """
    lines: list[str] = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        for line in process.stderr or ():
            lines.append(line)
            said(line.rstrip())
        written = process.stdout.read() if process.stdout else ""
    if process.returncode:
        raise CommandError(f"{_name(command)} ended with exit code {process.returncode}")
    return written


def show(command: Sequence[str], environment: Mapping[str, str]) -> int:
    """Run a program on this terminal and give its exit code."""
    return subprocess.run(command, env={**os.environ, **environment}, check=False).returncode


@contextmanager
def serving(
    command: Sequence[str], environment: Mapping[str, str], pattern: str, *, within: float
) -> Iterator[re.Match[str]]:
    """Run a program in the background while the block runs, from when a line of its output matches.

    Args:
        command: The program and its arguments.
        environment: Added to this process's.
        pattern: Regular expression of the line that says it is ready.
        within: Seconds until then.

    Raises:
        CommandError: It ended or did not say so in time.
    """
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env={**os.environ, **environment}
    )
    try:
        yield _await_line(process, command, pattern, within)
    finally:
        process.terminate()
        process.communicate()


def _await_line(process: subprocess.Popen[str], command: Sequence[str], pattern: str, within: float) -> re.Match[str]:
    said: list[str] = []
    late = threading.Timer(within, process.kill)
    late.start()
    try:
        for line in process.stdout or ():
            said.append(line)
            found = re.search(pattern, line)
            if found:
                return found
        code = process.wait()
    finally:
        late.cancel()
    if code == -signal.SIGKILL:
        raise CommandError(f"{_name(command)} was not ready in {within:.0f} s; it said: {''.join(said) or 'nothing'}")
    raise CommandError(_failure(command, code, "".join(said)))


def _run(
    command: Sequence[str], environment: Mapping[str, str] | None, stdin: str | None
) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            command,
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            capture_output=True,
            text=True,
            env={**os.environ, **(environment or {})},
            check=False,
        )
    except OSError as error:
        raise CommandError(f"{command[0]} cannot be run: {error.strerror}") from error


def _failure(command: Sequence[str], code: int, said: str) -> str:
    tail = "\n".join(said.strip().splitlines()[-_TAIL:])
    return f"{_name(command)} ended with exit code {code}" + (f":\n{tail}" if tail else "")


def _name(command: Sequence[str]) -> str:
    return " ".join([Path(command[0]).name, *command[1:]])
