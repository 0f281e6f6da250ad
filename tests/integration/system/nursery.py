"""Starts operators quickly: a process that has imported everything and forks one for each line that it reads.

A line is a JSON object {"environment": {...}, "log": PATH}; the answer is the operator's pid. Each is a process of its
own that runs `rondo.shell.operator.main`, so it can be killed like any other; only the import is saved, which costs
more than a whole short run.
"""

from __future__ import annotations

import json
import os
import signal
import sys

from rondo.shell.operator import main


def listen() -> None:
    """Fork an operator for each line until the input ends."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    for line in sys.stdin:
        order = json.loads(line)
        pid = os.fork()
        if pid == 0:
            _become_operator(order["environment"], order["log"])
        print(pid, flush=True)


def _become_operator(environment: dict[str, str], log: str) -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for number in (1, 2):
        os.dup2(output, number)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.environ.update(environment)
    code = 1
    try:
        main()
        code = 0
    finally:
        os._exit(code)


if __name__ == "__main__":
    listen()
