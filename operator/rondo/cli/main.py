"""The command `rondo`, which is also `kubectl rondo` where it is installed as kubectl-rondo.

Heavy imports stand inside the commands that need them: `--help` answers at once, and completion with it.
"""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import Annotated

import typer

from rondo.cli.errors import FAILED, INTERRUPTED, CommandError
from rondo.cli.graph.commands import graph
from rondo.cli.options import Context, Kubeconfig, Namespace
from rondo.version import __version__

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(graph, name="graph")

importer = typer.Typer(help="Translate manifests of other tools.", no_args_is_help=True)
app.add_typer(importer, name="import")

Target = Annotated[
    str | None,
    typer.Argument(
        metavar="[PIPELINE|RUN|GRAPH]",
        help="A pipeline, of which the newest run is shown, a run, a graph or a model deployment; pipeline/NAME, "
        "run/NAME, graph/NAME and model/NAME say which. Default: the newest run of the namespace.",
    ),
]
Files = Annotated[list[Path], typer.Argument(metavar="FILE...", help="YAML or JSON; - reads standard input.")]


@app.callback()
def rondo(*, namespace: Namespace = None, context: Context = None, kubeconfig: Kubeconfig = None) -> None:
    """Rondo orchestrates AI on Kubernetes: pipelines, model deployments and graphs of models."""
    # Commands take these up themselves, as `rondo.cli.options` says.


@app.command()
def watch(
    target: Target = None, namespace: Namespace = None, context: Context = None, kubeconfig: Kubeconfig = None
) -> None:
    """Show a run's stages until it ends, then what it deployed until that is Ready; or a graph until it is Ready.

    On a terminal the tree is drawn in place; elsewhere each change is a line.

    Exit code: 0 the run succeeded and what serves is Ready, 1 it failed, is Stalled or was deleted, 2 it could not be
    found out, 130 Ctrl-C.
    """
    from rich.console import Console  # noqa: PLC0415

    from rondo.cli import cluster, follower, screen  # noqa: PLC0415

    connected = cluster.connect(context=context, kubeconfig=kubeconfig, namespace=namespace)
    with screen.screen_for(Console()) as shown:
        code = follower.watch(connected, target, shown)
    raise typer.Exit(code)


@app.command()
def lint(files: Files) -> None:
    """Find everything that is wrong with manifests, without a cluster.

    Exit code: 0 nothing is wrong, 1 something is, 2 a file cannot be read.
    """
    from rondo.cli import linter  # noqa: PLC0415

    report = linter.lint(files)
    for finding in report.findings:
        typer.echo(finding)
    typer.echo(report.summary, err=True)
    raise typer.Exit(FAILED if report.findings else 0)


@importer.command("kserve")
def import_kserve(
    files: Files,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="DIR", help="Write a file each into this folder.")
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Take notes for errors.")] = False,  # noqa: FBT002 - typer's way
) -> None:
    """Translate InferenceGraphs and InferenceServices of KServe.

    The manifests come on standard output. What differs stands in them as comments, and on standard error.

    Exit code: 0 all is translated, 1 something cannot be expressed, 2 a file cannot be read or written.
    """
    from rondo.cli import kserve  # noqa: PLC0415

    result = kserve.convert(files)
    if out is None:
        typer.echo("---\n".join(document.text for document in result.documents), nl=False)
    else:
        kserve.write(result.documents, out)
    for line in (*result.notes, *result.remarks, *result.errors, result.summary):
        typer.echo(line, err=True)
    raise typer.Exit(FAILED if result.errors or (strict and result.notes) else 0)


@app.command()
def operator() -> None:
    """Run the operator, configured by RONDO_... variables; in a cluster the chart does this."""
    from rondo.shell.login import find_credentials  # noqa: PLC0415
    from rondo.shell.operator import main  # noqa: PLC0415

    try:
        find_credentials()
    except (LookupError, OSError) as error:
        raise CommandError(f"no cluster: {error}") from error
    main()


@app.command()
def version() -> None:
    """Print the version."""
    typer.echo(__version__)


def run() -> None:
    """Run the command and end the process with its exit code."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        # What the encoding of a terminal or a pipe does not have is no reason to end; standard error is so by itself.
        sys.stdout.reconfigure(errors="replace")
    name = "kubectl rondo" if Path(sys.argv[0]).name.startswith("kubectl") else "rondo"
    try:
        app(prog_name=name)
    except CommandError as error:
        typer.echo(f"{name}: {error}", err=True)
        sys.exit(error.code)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
