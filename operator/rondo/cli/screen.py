"""The terminal: draws trees in place, or tells changes line by line where nothing can be redrawn.

The last step of `rondo watch`; what is drawn comes from progress.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from types import TracebackType
from typing import Final, Protocol, Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from rondo.cli.graph.topology import graph_node
from rondo.cli.progress import (
    FANCY,
    PLAIN,
    Node,
    Object,
    Row,
    Tone,
    deployment_node,
    foldings,
    line,
    news,
    rows,
    run_node,
)

STYLES: Final = {
    Tone.IDLE: "dim",
    Tone.ACTIVE: "cyan",
    Tone.TROUBLE: "yellow",
    Tone.GOOD: "green",
    Tone.BAD: "bold red",
    Tone.NEUTRAL: "dim",
}
MARKS: Final = {
    Tone.IDLE: "·",
    Tone.ACTIVE: "●",
    Tone.TROUBLE: "▲",
    Tone.GOOD: "✔",
    Tone.BAD: "✘",
    Tone.NEUTRAL: "○",
}
ASCII_MARKS: Final = {
    Tone.IDLE: ".",
    Tone.ACTIVE: "*",
    Tone.TROUBLE: "!",
    Tone.GOOD: "+",
    Tone.BAD: "x",
    Tone.NEUTRAL: "-",
}


class Screen(Protocol):
    """Where progress is shown; a context, so that a drawing is ended however the command ends."""

    def __enter__(self) -> Self:
        """Begin to show."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the drawing as it is."""

    def note(self, words: str) -> None:
        """Tell something in passing, such as what is waited for."""

    def run(self, run: Object) -> None:
        """Show a run as it is now."""

    def serving(self, things: Sequence[Object]) -> None:
        """Show model deployments and graphs as they are now."""


class Drawing:
    """Draws in place and lets the clocks tick."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._note = ""
        self._run: Object | None = None
        self._serving: Sequence[Object] = ()
        self._over = False
        self._live = Live(console=console, get_renderable=self._draw, refresh_per_second=4)

    def __enter__(self) -> Self:
        """Begin to draw."""
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Draw for the last time, in full."""
        self._over = True
        self._live.stop()

    def note(self, words: str) -> None:
        """Show words below the tree until something else is known."""
        self._note = words

    def run(self, run: Object) -> None:
        """Show a run."""
        self._run, self._note = run, ""

    def serving(self, things: Sequence[Object]) -> None:
        """Show what serves below the run, if there is one."""
        self._serving, self._note = things, ""

    def _draw(self) -> RenderableType:
        note = Text(self._note, style="dim") if self._note else Group()
        fancy = can_draw(self._console)
        choices = (Group(draw(trees, fancy=fancy, whole=self._over), note) for trees in self._forests())
        # What is left on the terminal in the end may be longer than it is tall.
        return next(choices) if self._over else _first_or_last(choices, self._fits)

    def _forests(self) -> Iterator[list[Node]]:
        """Give all trees that are shown, then ever smaller ones."""
        now = datetime.now(UTC)
        runs = [[run] for run in foldings(run_node(self._run, now))] if self._run is not None else [[]]
        below = list(map(serving_node, self._serving))
        yield from ([*run, *below] for run in runs)
        yield [*runs[-1], *(list(foldings(node, "nodes"))[-1] for node in below)]

    def _fits(self, drawing: RenderableType) -> bool:
        return len(self._console.render_lines(drawing)) <= self._console.height


class Lines:
    """Tells each change in a line of its own: for files, pipes and CI."""

    def __init__(self, write: Callable[[str], None], clock: Callable[[], datetime]) -> None:
        self._write = write
        self._clock = clock
        self._note = ""
        self._run: Object | None = None
        self._told: dict[str, str] = {}

    def __enter__(self) -> Self:
        """Begin to tell."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing is left to do."""

    def note(self, words: str) -> None:
        """Tell something, once."""
        if words != self._note:
            self._write(words)
        self._note = words

    def run(self, run: Object) -> None:
        """Tell what has changed in a run."""
        for words in news(self._run, run, self._clock()):
            self._write(words)
        self._run, self._note = run, ""

    def serving(self, things: Sequence[Object]) -> None:
        """Tell what has changed in what serves."""
        for thing in things:
            for number, (name, words, trouble) in enumerate(flat(serving_node(thing), thing["metadata"]["name"])):
                known = self._told.get(name)
                # Of the nodes of a graph only those are told at first that are in trouble.
                if known != words and (known is not None or trouble or number == 0):
                    self._write(words)
                self._told[name] = words


def screen_for(console: Console) -> Drawing | Lines:
    """Choose how to show progress on a console."""
    if console.is_terminal and not console.is_dumb_terminal:
        return Drawing(console)
    return Lines(lambda words: console.print(words, markup=False, emoji=False, highlight=False, soft_wrap=True), _now)


def draw(trees: Sequence[Node], *, fancy: bool, whole: bool) -> Table:
    """Draw trees as a table: name, state, time and words side by side.

    Args:
        trees: The trees.
        fancy: With lines and marks beyond ASCII.
        whole: With all words; else only trouble may take more than a line.
    """
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True, justify="right")
    table.add_column(overflow="fold")
    for tree in trees:
        for row in rows(tree, FANCY if fancy else PLAIN):
            table.add_row(*_cells(row, MARKS if fancy else ASCII_MARKS, whole=whole))
    return table


def serving_node(thing: Object) -> Node:
    """Describe a ModelDeployment or a ModelGraph."""
    return graph_node(thing) if thing.get("kind") == "ModelGraph" else deployment_node(thing)


def flat(tree: Node, name: str) -> Iterator[tuple[str, str, bool]]:
    """Give each row of a tree as its full name, a line, and whether it is in trouble; the tree itself first.

    Args:
        tree: What a thing shows of itself.
        name: Name of the thing, which stands before those of the rows below.
    """
    yield tree.name, line("", tree), False
    for row in rows(tree, PLAIN)[1:]:
        if row.node.tone is not Tone.NEUTRAL:
            trouble = row.node.tone in {Tone.BAD, Tone.TROUBLE}
            yield f"{name}/{row.node.name}", line(name, row.node), trouble


def _first_or_last(choices: Iterable[Group], fits: Callable[[Group], bool]) -> Group:
    """Give the first that fits, or the last."""
    found = Group()
    for found in choices:
        if fits(found):
            break
    return found


def can_draw(console: Console) -> bool:
    """Tell whether a console's encoding has the characters of a tree."""
    return console.encoding.startswith("utf")


def _cells(row: Row[Node], marks: dict[Tone, str], *, whole: bool) -> tuple[Text, Text, Text, Text]:
    node = row.node
    style = STYLES[node.tone]
    name = Text.assemble((row.guide, "dim"), (node.name, "bold" if not row.guide else ""))
    state = Text(f"{marks[node.tone]} {node.state}", style=style)
    trouble = node.tone in {Tone.BAD, Tone.TROUBLE}
    words = Text(node.words, style="" if trouble else "dim")
    if not (trouble or whole):
        words.no_wrap, words.overflow = True, "ellipsis"
    return name, state, Text(node.took, style="dim"), words


def _now() -> datetime:
    return datetime.now(UTC)
