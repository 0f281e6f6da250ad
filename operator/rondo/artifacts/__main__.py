"""The command `python -m rondo.artifacts fetch|push|verify`.

`push` is a native sidecar: the kubelet starts it before the user's container, and sends it SIGTERM when that has ended,
in whatever way, or when the pod is deleted. Until then it sleeps, and imports nothing that it needs only afterwards.

A SIGTERM that comes before push is ready would be lost, since process 1 of a container gets no signal that it does not
expect, and the pod would hang until the end of its grace period. On a node without a spare cycle a short container can
end that early, so push marks when it is ready and a preStop hook, `config.PRE_STOP`, holds the signal back until then.
The mark is a termination message, which tells what happened to a push that is killed.
"""

import os
import signal
import sys
from contextlib import suppress
from pathlib import Path

ENDS = (signal.SIGTERM, signal.SIGINT)


def wait_for_end() -> None:
    """Sleep until the kubelet says that the user's container has ended."""
    # They stay blocked, so that a second signal does not interrupt the storing.
    signal.pthread_sigmask(signal.SIG_BLOCK, ENDS)
    print("waiting for the end of the container whose outputs are to be stored", flush=True)  # noqa: T201
    _mark("push was killed while it waited; no outputs were stored")
    signal.sigwait(ENDS)
    _mark("push was killed while it stored outputs")


def _mark(message: str) -> None:
    with suppress(OSError):  # Outside a pod there is no termination message.
        Path(os.environ.get("RONDO_TERMINATION_LOG", "/dev/termination-log")).write_text(message)


def main() -> int:
    """Run the command of this process and give its exit code."""
    command = " ".join(sys.argv[1:])
    if command == "push":
        wait_for_end()
    from rondo.artifacts.command import run  # noqa: PLC0415 (what a sleeping push does not need costs memory)

    return run(command)


if __name__ == "__main__":
    sys.exit(main())
