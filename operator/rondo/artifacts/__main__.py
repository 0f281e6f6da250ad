"""The command `python -m rondo.artifacts fetch|push|verify`.

`push` is a native sidecar: the kubelet starts it before the user's container, and sends it SIGTERM when that has ended,
in whatever way, or when the pod is deleted. Until then it sleeps, and imports nothing that it needs only afterwards.
"""

import signal
import sys

ENDS = (signal.SIGTERM, signal.SIGINT)

if sys.argv[1:] == ["push"]:
    # First of all: process 1 of a container does not get a signal for which it has no handler, but a blocked one stays
    # pending. It stays blocked, so that a second signal does not interrupt the storing.
    signal.pthread_sigmask(signal.SIG_BLOCK, ENDS)


def main() -> int:
    """Run the command of this process and give its exit code."""
    command = " ".join(sys.argv[1:])
    if command == "push":
        print("waiting for the end of the container whose outputs are to be stored", flush=True)  # noqa: T201
        signal.sigwait(ENDS)
    from rondo.artifacts.command import run  # noqa: PLC0415 (what a sleeping push does not need costs memory)

    return run(command)


if __name__ == "__main__":
    sys.exit(main())
