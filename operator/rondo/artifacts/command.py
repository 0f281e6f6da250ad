"""Runs one command and reports how it ended through exit code, log and termination message."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Final

from rondo.artifacts import report
from rondo.artifacts.config import VARIABLE, Config
from rondo.artifacts.errors import ArtifactError, ExitCode, classify
from rondo.artifacts.fetch import provide_inputs
from rondo.artifacts.push import store_outputs

TERMINATION_LOG: Final = "RONDO_TERMINATION_LOG"
"""Environment variable for a termination message elsewhere than at Kubernetes' default path."""


def run(command: str, environment: Mapping[str, str] = os.environ) -> ExitCode:
    """Run `fetch`, `verify` or `push` (which has already waited for its signal).

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
        case _:
            raise ArtifactError(f"the command is fetch, push or verify, not {command!r}", ExitCode.CONFIG)
