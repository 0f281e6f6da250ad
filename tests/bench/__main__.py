"""`python -m tests.bench`: Rondo beside a bare script that only chains Jobs, measured in one run.

Fake nodes finish the pods of Jobs at once, so what is measured is the control plane and who drives it. Ratios travel
between machines, seconds do not. The control plane runs with the flags of localcluster: 50 concurrent Job syncs, and
clients of controller manager and scheduler that are not throttled.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
from pathlib import Path

from rich.console import Console

from tests.bench.cases import CASES, FULL, QUICK, measure
from tests.bench.tables import tables


def main() -> None:
    """Measure, print, and write the numbers down if wanted."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description="Rondo beside a bare script.")
    parser.add_argument("--quick", action="store_true", help="little of everything on one control plane: does it work?")
    parser.add_argument("--only", choices=CASES, action="append", help="only this case; may be given several times")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write all numbers to this file")
    given = parser.parse_args()
    console = Console(width=160)
    console.print(f"{os.cpu_count()} cores; fake nodes; times in seconds, gaps in milliseconds, memory in MiB")
    found = asyncio.run(measure(QUICK if given.quick else FULL, given.only or CASES, console.print))
    for table in tables(found):
        console.print(table)
    if given.json is not None:
        given.json.write_text(json.dumps(found.data(), indent=1) + "\n")


if __name__ == "__main__":
    main()
