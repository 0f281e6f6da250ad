"""The numbers as tables for a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.table import Table

from tests.bench.cases import Found
from tests.bench.compare import Comparison, Side
from tests.bench.crowd import Idle, Queued
from tests.bench.scaling import Growth


def tables(found: Found) -> Iterator[Table]:
    """Give a table for each kind of number there is."""
    if found.comparisons:
        yield _times(found.comparisons)
        yield _costs(found.comparisons)
        yield _writes(found.comparisons)
    if found.growth:
        yield _growth(found.growth)
    if found.queued:
        yield _queued(found.queued)
    if found.idle or found.queued:
        yield _idle([*found.idle, *(each.idle for each in found.queued)])


def _times(comparisons: Sequence[Comparison]) -> Table:
    """Wall times, and from the end of a pod to the creation of the Job that waited for it."""
    table = Table(
        "work", "runs", "script", "rondo", "ratio", "hand-offs", "script p50", "p95", "rondo p50", "p95", "others busy",
        title="From the first creation to the end of the last run; hand-off: pod ended to next Job created",
    )  # fmt: skip
    for each in comparisons:
        mine, other = each.rondo, each.script
        gaps = [f"{gap:.0f}" for side in (other, mine) for gap in (side.gaps.p50, side.gaps.p95)]
        gaps = gaps if mine.gaps.count else ["-"] * 4
        times = [f"{other.seconds:.2f}", f"{mine.seconds:.2f}", f"{each.ratio:.2f}", str(mine.gaps.count)]
        table.add_row(each.work, str(each.runs), *times, *gaps, f"{max(other.busy, mine.busy):.0%}")
    return table


def _costs(comparisons: Sequence[Comparison]) -> Table:
    title = "What Rondo's part costs"
    table = Table("work", "runs", "operator CPU", "peak", "reconciles a run", "largest object", title=title)
    for each in comparisons:
        price = each.price
        numbers = f"{price.cpu:.2f}", f"{price.peak:.0f}", f"{price.reconciles:.1f}"
        table.add_row(each.work, str(each.runs), *numbers, f"{price.largest}, {price.bytes:,} bytes")
    return table


def _writes(comparisons: Sequence[Comparison]) -> Table:
    table = Table("work", "runs", "script", "rondo", title="API writes a run")
    for each in comparisons:
        table.add_row(each.work, str(each.runs), _list(each.script), _list(each.rondo))
    return table


def _list(side: Side) -> str:
    return ", ".join(f"{count:.4g} {what}" for what, count in side.writes.items())


def _growth(rows: Sequence[Growth]) -> Table:
    title = "Does the cost grow with the stages, or faster?"
    table = Table("work", "stages", "operator CPU", "ms a stage", "reconciles", "PipelineRun, bytes", title=title)
    for row in rows:
        numbers = f"{row.cpu:.2f}", f"{row.each:.1f}", str(row.reconciles), f"{row.bytes:,}"
        table.add_row(row.work, str(row.stages), *numbers)
    return table


def _queued(rows: Sequence[Queued]) -> Table:
    table = Table("among", "work", "script", "rondo", "ratio", "operator CPU", title="In a crowd")
    for row in rows:
        one, all_ = row.one_rondo / row.one_script, row.release_rondo / row.release_script
        times = f"{row.one_script:.2f}", f"{row.one_rondo:.2f}", f"{one:.2f}", "-"
        table.add_row(row.idle.what, "a chain of 3 besides", *times)
        times = f"{row.release_script:.2f}", f"{row.release_rondo:.2f}", f"{all_:.2f}", f"{row.release_cpu:.2f}"
        table.add_row("", f"{row.released} waiting runs let go", *times)
    return table


def _idle(rows: Sequence[Idle]) -> Table:
    table = Table("among", "CPU", "resident", "peak", "start", "peak then", title="An idle operator")
    for row in rows:
        cpu = f"{row.cpu:.2f} of {row.seconds:.0f}"
        table.add_row(
            row.what, cpu, *(f"{n:.0f}" for n in (row.resident, row.peak)), f"{row.start:.2f}", f"{row.start_peak:.0f}"
        )
    return table
