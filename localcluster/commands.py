"""Running the host's programs."""

import subprocess
from collections.abc import Sequence

from localcluster.errors import LocalClusterError
from localcluster.packages import find_program


def run(*command: str, stdin: str | None = None) -> str:
    """Run a program of the host and return what it prints.

    Raises:
        LocalClusterError: It is not installed or ended with another code than 0; the text holds what it said.
    """
    result = attempt(command, stdin=stdin)
    if result.returncode != 0:
        raise LocalClusterError(f"{' '.join(command)}: exit code {result.returncode}: {result.stderr.strip()}")
    return result.stdout


def attempt(command: Sequence[str], *, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
    """Run a program of the host, whatever code it ends with.

    Raises:
        LocalClusterError: It is not installed.
    """
    program = find_program(command[0])
    if program is None:
        raise LocalClusterError(f"{command[0]}: not installed; `localcluster install-deps` installs it")
    return subprocess.run([program, *command[1:]], check=False, capture_output=True, text=True, input=stdin)
