"""The terminal: a graph as a table with a tree in it.

The last step of `rondo graph`; what is drawn comes from view.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from rich.console import Console, Group, RenderableType
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from rondo.cli.graph.view import Line, View, fold, foot, line_of
from rondo.cli.progress import FANCY, PLAIN, Row, Tone, rows
from rondo.cli.screen import ASCII_MARKS, MARKS, STYLES, can_draw

_ROOM: Final = 48
"""Characters beside the figures that words need; where there are fewer, they stand below."""


def draw(view: View, console: Console, *, live: bool = False) -> RenderableType:
    """Draw a look at a graph.

    Args:
        view: The look.
        console: Where it will be shown.
        live: Fit it in: only trouble may take more than a line, and if it is too tall, calm nodes become one line.
    """
    line = line_of(view)
    drawing = _draw(line, view, console, live=live)
    if live and len(console.render_lines(drawing)) > console.height:
        return _draw(fold(line), view, console, live=live)
    return drawing


def _draw(tree: Line, view: View, console: Console, *, live: bool) -> RenderableType:
    fancy = can_draw(console)
    marks = MARKS if fancy else ASCII_MARKS
    found = rows(tree, FANCY if fancy else PLAIN)
    figures = [_cells(row, marks, view=view) for row in found]
    ends = [Text(foot(view), style="dim")] if foot(view) else []
    ends += [Text(note, style="yellow") for note in view.notes]
    bare = _table(view, figures)
    if console.width - Measurement.get(console, console.options, bare).maximum < _ROOM:
        return Group(bare, Text(), _words_below(found, live=live), *ends)
    words = (_words(row.node, whole=not live) for row in found)
    return Group(_table(view, [[*cells, said] for cells, said in zip(figures, words, strict=True)]), *ends)


def _table(view: View, lines: Sequence[Sequence[Text]]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
    table.add_column("NODE", no_wrap=True)
    table.add_column("STATE", no_wrap=True)
    if view.traffic is not None:
        for name in ("REQUESTS" if view.seconds is None else "REQ/S", "ERRORS", "P50", "P95"):
            table.add_column(name, no_wrap=True, justify="right")
    if len(lines[0]) > len(table.columns):
        table.add_column("", overflow="fold")
    for line in lines:
        table.add_row(*line)
    return table


def _cells(row: Row[Line], marks: dict[Tone, str], *, view: View) -> list[Text]:
    line = row.node
    name = Text.assemble((row.guide, "dim"), (line.name, "" if row.guide else "bold"))
    state = Text(f"{marks[line.tone]} {line.state}" if line.state else "", style=STYLES[line.tone])
    return [name, state, *(_figures(line) if view.traffic is not None else ())]


def _words_below(found: Sequence[Row[Line]], *, live: bool) -> Table:
    """Lay the words out below the figures, where there is no room beside them."""
    table = Table.grid(padding=(0, 2, 0, 0))
    for row in found:
        line = row.node
        if line.trouble or (line.state and line.words and not live):
            table.add_row(Text(line.name), _words(line, whole=not live))
    return table


def _words(line: Line, *, whole: bool) -> Text:
    parts = (Text(line.trouble, style=_trouble(line.tone)), Text(line.words, style="dim"))
    words = Text("; ").join(part for part in parts if part)
    if not (line.trouble or whole):
        words.no_wrap, words.overflow = True, "ellipsis"
    return words


def _figures(line: Line) -> list[Text]:
    requests, errors, p50, p95 = line.figures
    wrong = "bold red" if errors not in {"", "-", "0 %"} else ""
    return [
        Text(requests),
        Text(errors, style=wrong),
        Text(p50),
        Text(p95, style="yellow" if "slow" in line.trouble else ""),
    ]


def _trouble(tone: Tone) -> str:
    return STYLES[Tone.BAD] if tone is Tone.BAD else STYLES[Tone.TROUBLE]
