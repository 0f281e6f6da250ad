"""Options that several commands have: which cluster, and which namespace of it."""

from __future__ import annotations

from typing import Annotated

import typer

Namespace = Annotated[str | None, typer.Option("--namespace", "-n", help="Default: that of the context.")]
Context = Annotated[str | None, typer.Option("--context", help="Context of the kubeconfig. Default: the current one.")]
Kubeconfig = Annotated[str | None, typer.Option("--kubeconfig", help="Default: $KUBECONFIG, else ~/.kube/config.")]
