"""`rondo graph NAME`: look at a graph and its routers, once or again and again, and show what is there."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Final

from rich.console import Console
from rich.live import Live

from rondo.cli.cluster import GRAPHS, Cluster
from rondo.cli.errors import FAILED, CommandError
from rondo.cli.graph.routers import Reading, read_routers
from rondo.cli.graph.screen import draw
from rondo.cli.graph.traffic import Sample, see_totals, see_traffic
from rondo.cli.graph.view import View, as_json
from rondo.cli.output import Output, written
from rondo.cli.progress import Object

APART: Final = 2.0
"""Seconds between two readings."""

_KEPT: Final = 6
"""Readings that are kept while watching: rates are those of the last ten seconds then."""


def show(cluster: Cluster, name: str, console: Console, *, output: Output, once: bool) -> None:
    """Show a graph as it is.

    Args:
        cluster: Where it is.
        name: Its name.
        console: Where it is shown.
        output: As what.
        once: Look at the routers but once: sums since they began instead of rates.

    Raises:
        CommandError: It is not there, or cannot be read.
    """
    view = look_once(cluster, name) if once else look_twice(cluster, name)
    if output is Output.TABLE:
        console.print(draw(view, console))
    else:
        console.out(written(as_json(view), output, console.encoding), highlight=False)


def watch(cluster: Cluster, name: str, console: Console) -> None:
    """Show a graph again and again until Ctrl-C: in place on a terminal, else one table below the other.

    Raises:
        CommandError: It is not there, or cannot be read at first, or was deleted.
    """
    views = _views(cluster, name)
    if not console.is_terminal or console.is_dumb_terminal:
        for view in views:
            console.print(draw(view, console))
        return
    with Live(console=console, auto_refresh=False, vertical_overflow="ellipsis") as live:
        for view in views:
            live.update(draw(view, console, live=True), refresh=True)


def look_once(cluster: Cluster, name: str) -> View:
    """Look once: what passed through is that since the routers began."""
    graph = get(cluster, name)
    reading = read_routers(cluster, graph)
    traffic = see_totals(reading.samples.values()) if reading.samples else None
    return View(graph, traffic, None, tuple(reading.samples), reading.notes)


def look_twice(cluster: Cluster, name: str) -> View:
    """Look twice: what passed through is that in between."""
    graph = get(cluster, name)
    before = read_routers(cluster, graph)
    if not before.samples:
        return View(graph, notes=before.notes)
    time.sleep(APART)
    graph = _again(cluster, name)
    return between(graph, before.samples, read_routers(cluster, graph))


def between(graph: Object, before: Mapping[str, Sample], after: Reading) -> View:
    """Give the view of two readings of each router, by pod."""
    both = tuple(pod for pod, sample in after.samples.items() if pod in before and before[pod].at < sample.at)
    if not both:
        notes = ("rates are not known: no router was read twice", *after.notes) if after.samples else after.notes
        return View(graph, notes=notes)
    seconds = max(after.samples[pod].at - before[pod].at for pod in both)
    once = tuple(f"rates are without router {pod}: it was read but once" for pod in after.samples if pod not in both)
    return View(graph, see_traffic(before, after.samples), seconds, both, once + after.notes)


def get(cluster: Cluster, name: str) -> Object:
    """Give a graph.

    Raises:
        CommandError: It is not there, or cannot be read.
    """
    graph = cluster.get(GRAPHS, name)
    if graph is None:
        raise CommandError(f"there is no ModelGraph {name} in namespace {cluster.namespace}")
    return graph


def _again(cluster: Cluster, name: str) -> Object:
    """Give a graph that was there before.

    Raises:
        CommandError: It was deleted, or cannot be read.
    """
    graph = cluster.get(GRAPHS, name)
    if graph is None:
        raise CommandError(f"ModelGraph {name} was deleted", FAILED)
    return graph


def _views(cluster: Cluster, name: str) -> Iterator[View]:
    """Look again and again; what cannot be read for a while is told with what was seen last."""
    readings: deque[Reading] = deque(maxlen=_KEPT)
    view = View(get(cluster, name))
    yield view
    while True:
        began = time.monotonic()
        try:
            graph = cluster.get(GRAPHS, name)
            reading = None if graph is None else read_routers(cluster, graph)
        except CommandError as error:
            view = replace(view, notes=(f"{error}; trying again",))
        else:
            if graph is None or reading is None:
                raise CommandError(f"ModelGraph {name} was deleted", FAILED)
            readings.append(reading)
            # Of a first reading there are no rates yet, and that is nothing to be said.
            first = View(graph, notes=reading.notes)
            view = between(graph, _oldest(readings), reading) if len(readings) > 1 else first
        yield view
        time.sleep(max(0.0, APART - (time.monotonic() - began)))


def _oldest(readings: Sequence[Reading]) -> dict[str, Sample]:
    """Give of each router the first reading that is kept."""
    return {pod: sample for reading in reversed(readings) for pod, sample in reading.samples.items()}
