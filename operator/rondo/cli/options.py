"""Options that several commands have: which cluster, and which namespace of it.

They may also stand before the command, as with kubectl; what stands behind it wins.
"""

from __future__ import annotations

from typing import Annotated

import typer


def _or_above(ctx: typer.Context, param: typer.CallbackParam, value: str | None) -> str | None:
    """Give the value of an option, else what was given before the command."""
    return value if value is not None else ctx.find_root().params.get(param.name)


Namespace = Annotated[
    str | None, typer.Option("--namespace", "-n", help="Default: that of the context.", callback=_or_above)
]
Context = Annotated[
    str | None,
    typer.Option("--context", help="Context of the kubeconfig. Default: the current one.", callback=_or_above),
]
Kubeconfig = Annotated[
    str | None, typer.Option("--kubeconfig", help="Default: $KUBECONFIG, else ~/.kube/config.", callback=_or_above)
]
