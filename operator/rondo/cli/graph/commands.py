"""`rondo graph` as typer has it: from arguments to functions. Heavy imports stand inside, as in main.py."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from rondo.cli.errors import CommandError
from rondo.cli.options import Context, Kubeconfig, Namespace
from rondo.cli.output import Output


class _ShowFirst(TyperGroup):
    """Takes what is no command of its own for the name of a graph: `rondo graph NAME` is `rondo graph show NAME`.

    Options may stand before the command, as they may with kubectl.
    """

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put the command in front: the first word that is neither an option nor its value, or `show`."""
        if not args or args[0] in self.get_help_option_names(ctx):
            return super().parse_args(ctx, args)
        place = self._first_word(args)
        if args[place : place + 1] and args[place] in self.commands:
            return super().parse_args(ctx, [args[place], *args[:place], *args[place + 1 :]])
        return super().parse_args(ctx, ["show", *args])

    def _first_word(self, args: list[str]) -> int:
        options = (param for command in self.commands.values() for param in command.params)
        with_value = {name for option in options if not getattr(option, "is_flag", True) for name in option.opts}
        place = 0
        while place < len(args) and args[place].startswith("-"):
            place += 2 if args[place] in with_value else 1
        return place


graph = typer.Typer(
    cls=_ShowFirst,
    help="How a graph of models is doing, and what it does with a request. `rondo graph NAME` shows the graph.",
    no_args_is_help=True,
)

GraphName = Annotated[str, typer.Argument(metavar="NAME", help="The graph.")]


@graph.command()
def show(
    name: GraphName,
    *,
    namespace: Namespace = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
    output: Annotated[
        Output, typer.Option("--output", "-o", help="A table for people, or everything for programs.")
    ] = Output.TABLE,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Show it again and again until Ctrl-C.")] = False,
    once: Annotated[
        bool, typer.Option("--once", help="Sums since the routers began, at once, instead of rates of two seconds.")
    ] = False,
) -> None:
    """Show a graph: its nodes as a tree, how each is, and what passes through it.

    Exit code: 0 it was shown, 1 it was deleted meanwhile, 2 it could not be found out, 130 Ctrl-C.
    """
    from rich.console import Console  # noqa: PLC0415

    from rondo.cli import cluster  # noqa: PLC0415
    from rondo.cli.graph import show as shown  # noqa: PLC0415

    if watch and (once or output is not Output.TABLE):
        raise CommandError("--watch draws a table again and again: leave out --once and -o")
    connected = cluster.connect(context=context, kubeconfig=kubeconfig, namespace=namespace)
    if watch:
        shown.watch(connected, name, Console())
    else:
        shown.show(connected, name, Console(), output=output, once=once)


@graph.command("test")
def try_out(
    name: GraphName,
    *,
    file: Annotated[
        Path, typer.Option("--file", "-f", metavar="FILE", help="The request, JSON; - for standard input.")
    ],
    header: Annotated[
        list[str] | None, typer.Option("--header", "-H", metavar="NAME:VALUE", help="A header of the request.")
    ] = None,
    path: Annotated[
        str | None, typer.Option("--path", help="Path of the request. Default: that of the graph's protocol.")
    ] = None,
    url: Annotated[
        str | None, typer.Option("--url", help="Ask there, with no cluster: the address with the path of the request.")
    ] = None,
    answers: Annotated[
        bool, typer.Option("--answers", help="Show what each node answered, cut where it is long.")
    ] = False,
    output: Annotated[
        Output, typer.Option("--output", "-o", help="json and yaml: answer and steps together, on standard output.")
    ] = Output.TABLE,
    namespace: Namespace = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
) -> None:
    """Send a request to a graph, and show what each node did with it.

    The answer goes to standard output, the steps to standard error.

    Exit code: 0 the answer's status is 2xx, 1 it is another, 2 there is no answer, 130 Ctrl-C.
    """
    from rich.console import Console  # noqa: PLC0415

    from rondo.cli import cluster  # noqa: PLC0415
    from rondo.cli.graph import ask  # noqa: PLC0415

    request = ask.Request(ask.read_request(file), path, ask.parse_headers(header or []))
    told = Console(stderr=True)
    if url is not None:
        came = ask.ask_url(url, request)
    else:
        connected = cluster.connect(context=context, kubeconfig=kubeconfig, namespace=namespace)
        came = ask.ask_cluster(connected, name, request, told)
    if output is Output.TABLE:
        ask.show(came, told, answers=answers)
    typer.echo(ask.written_out(came, output, sys.stdout.encoding))
    raise typer.Exit(ask.code_of(came))
