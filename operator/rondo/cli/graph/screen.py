"""The terminal: a graph as a table with a tree in it.

The last step of `rondo graph`; what is drawn comes from view.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, TypeAlias

from rich.console import Console, Group, JustifyMethod, RenderableType
from rich.table import Table
from rich.text import Text

from rondo.cli.graph.view import Line, View, fold, foot, line_of
from rondo.cli.progress import FANCY, PLAIN, Row, Tone, rows
from rondo.cli.screen import ASCII_MARKS, MARKS, STYLES, can_draw

_ROOM: Final = 48
"""Characters beside the figures that words need; where there are fewer, they stand below."""
_NAME: Final = 8
"""Characters of a name that are shown however narrow it is."""
_GAP: Final = 2
"""Characters between two columns."""

Columns: TypeAlias = Mapping[str, Sequence[Text]]
"""Cells by the header that stands above them."""


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
    found = rows(tree, FANCY if fancy else PLAIN)
    columns = _fitting(_columns(found, MARKS if fancy else ASCII_MARKS, view), console.width)
    ends = [Text(foot(view), style="dim")] if foot(view) else []
    notes = [Text(note, style="yellow") for note in view.notes]
    parts: list[RenderableType]
    if console.width - _width(columns) < _ROOM:
        parts = [_table(columns, console.width), Text(), _words_below(found, live=live)]
    else:
        parts = [_table(columns, console.width, [_words(row.node, whole=not live) for row in found])]
    # What is redrawn is cut at its end where it is too tall.
    return Group(*notes, *parts, *ends) if live else Group(*parts, *ends, *notes)


def _columns(found: Sequence[Row[Line]], marks: Mapping[Tone, str], view: View) -> Columns:
    headers = ["NODE", "STATE"]
    if view.traffic is not None:
        headers += ["REQUESTS" if view.seconds is None else "REQ/S", "ERRORS", "P50", "P95"]
    cells = [_cells(row, marks, view=view) for row in found]
    return {header: [line[place] for line in cells] for place, header in enumerate(headers)}


def _fitting(columns: Columns, width: int) -> Columns:
    """Leave out lengths of time where there is no room for all."""
    fitting = dict(columns)
    for header in ("P50", "P95"):
        if _width(fitting) > width:
            fitting.pop(header, None)
    return fitting


def _table(columns: Columns, width: int, words: Sequence[Text] = ()) -> Table:
    """Lay the columns out, and words beside them; where there is no room yet, names are cut and no figures."""
    table = Table(box=None, padding=(0, _GAP, 0, 0), pad_edge=False, header_style="dim")
    cut = max(0, _width(columns) - width)
    for header, cells in columns.items():
        needed = _needed(header, cells)
        if header == "NODE":
            needed = max(min(needed, _NAME), needed - cut)
        justify: JustifyMethod = "left" if header in {"NODE", "STATE"} else "right"
        table.add_column(header, width=needed, no_wrap=True, justify=justify)
    if words:
        table.add_column("", overflow="fold")
    for line in zip(*columns.values(), *([words] if words else []), strict=True):
        table.add_row(*line)
    return table


def _width(columns: Columns) -> int:
    return sum(_needed(header, cells) for header, cells in columns.items()) + _GAP * (len(columns) - 1)


def _needed(header: str, cells: Sequence[Text]) -> int:
    return max(len(header), *(cell.cell_len for cell in cells))


def _cells(row: Row[Line], marks: Mapping[Tone, str], *, view: View) -> list[Text]:
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
