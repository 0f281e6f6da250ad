"""`python -m demo`: arguments in, up or down called, errors told in a few lines."""

import argparse
import sys

from demo import steps
from demo.clusters import choose
from demo.commands import CommandError, tell
from demo.journal import Journal


def main() -> int:
    """Run the command and give its exit code."""
    parser = argparse.ArgumentParser(prog="python -m demo", description=steps.__doc__)
    parser.add_argument("verb", choices=["up", "down"], help="make it all, or remove it all")
    parser.add_argument(
        "--cluster",
        choices=["auto", "current"],
        default="auto",
        help="auto: kind where a Docker engine answers, else localcluster; current: that of the kubeconfig",
    )
    options = parser.parse_args()
    journal = Journal(tell)
    try:
        cluster = choose(options.cluster)
        if options.verb == "up":
            steps.up(cluster, journal)
        else:
            steps.down(cluster, journal)
    except CommandError as error:
        journal.fail(str(error))
        return 1
    except KeyboardInterrupt:
        journal.fail("interrupted; `make demo` goes on from here, `make demo-down` removes what was made")
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
