"""Runs one command and reports how it ended through exit code, log and termination message."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from rondo.artifacts import report
from rondo.artifacts.config import MARKS_FILE, VARIABLE, Config, Sweep
from rondo.artifacts.errors import ArtifactError, ExitCode, classify
from rondo.artifacts.fetch import provide_inputs
from rondo.artifacts.push import store_outputs
from rondo.artifacts.sweep import Swept, sweep

MARKS: Final = "RONDO_MARKS"
"""Environment variable for the marks of a sweep elsewhere than where the operator mounts them."""

TERMINATION_LOG: Final = "RONDO_TERMINATION_LOG"
"""Environment variable for a termination message elsewhere than at Kubernetes' default path."""


def run(command: str, environment: Mapping[str, str] = os.environ) -> ExitCode:
    """Run `fetch`, `verify`, `sweep` or `push` (which has already waited for its signal).

    Args:
        command: The command.
        environment: Holds the document `RONDO_ARTIFACTS`.
    """
    log = environment.get(TERMINATION_LOG, report.TERMINATION_LOG)
    try:
        message = _run(command, environment)
    except ArtifactError as error:
        report.say(str(error), log)
        return error.code
    except OSError as error:
        report.say(str(error), log)
        return classify(error)
    report.write(message, log)
    return ExitCode.OK


def _sweep(config: Config, environment: Mapping[str, str]) -> Swept:
    """Sweep the claim by the marks in a file, which are too large for an environment variable."""
    marks = Sweep.unpack(Path(environment.get(MARKS, MARKS_FILE)).read_text())
    return sweep(Path(config.claims[marks.claim]), marks)


def _run(command: str, environment: Mapping[str, str]) -> str:
    """Run a command and give its termination message."""
    if VARIABLE not in environment:
        raise ArtifactError(f"{VARIABLE} is not set; it holds what to do as JSON", ExitCode.CONFIG)
    config = Config.from_json(environment[VARIABLE])
    match command:
        case "fetch" | "verify":
            provide_inputs(config, environment)
            return ""
        case "push":
            return report.outputs_message(store_outputs(config))
        case "sweep":
            return report.sweep_message(_sweep(config, environment))
        case _:
            raise ArtifactError(f"the command is fetch, push, sweep or verify, not {command!r}", ExitCode.CONFIG)
