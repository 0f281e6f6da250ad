"""`push`: store the outputs of the user's container when it has ended.

It stores what is there and says so truthfully; whether that counts is for the operator to decide.
"""

from __future__ import annotations

import time
from pathlib import Path

from rondo.artifacts import lines
from rondo.artifacts.config import Config, Output
from rondo.artifacts.digest import Summary
from rondo.artifacts.errors import ArtifactError
from rondo.artifacts.hints import instead
from rondo.artifacts.report import Stored
from rondo.artifacts.store import open_store
from rondo.artifacts.tree import Kind


def store_outputs(config: Config) -> dict[str, Stored]:
    """Store all outputs and give what was stored, by name.

    Nothing is stored if one of them is missing: the attempt has failed then, and copying the others would only take
    time.

    Raises:
        ArtifactError: An output is missing or cannot be stored, or its lines are not JSON.
    """
    problems = [f"output {output.name}: {why}" for output in config.outputs if (why := _missing(Path(output.path)))]
    if problems:
        raise ArtifactError("; ".join(problems))
    counted = {o.name: lines.count(Path(o.path), f"output {o.name}") for o in config.outputs if o.lines}
    return {output.name: Stored(_store(output, config), counted.get(output.name)) for output in config.outputs}


def _missing(path: Path) -> str | None:
    """Say what is wrong if the user's container has left nothing at an output's path."""
    if path.is_symlink():
        return _misleading(path)
    if not path.exists():
        return f"nothing was written to {path}{instead(path, path.parent)}"
    # An output right below / is a volume, which is there even if nobody wrote to it.
    if path.is_dir() and next(path.iterdir(), None) is None:
        return f"{path} is an empty directory"
    return None


def _misleading(path: Path) -> str | None:
    """Say what is wrong with an output that is itself a symbolic link: it may point to its neighbours only."""
    link, folder = f"{path} is a symbolic link to {path.readlink()}", path.parent.resolve()
    real = path.resolve()
    if not real.is_relative_to(folder):
        return f"{link}, which is outside {folder}"
    if not real.exists():
        return f"{link}, which does not exist"
    return None


def _store(output: Output, config: Config) -> Summary:
    started = time.monotonic()
    try:
        summary = open_store(output.uri, config).put(output)
    except ArtifactError as error:
        named = str(error) if str(error).startswith("output ") else f"output {output.name}: {error}"
        raise ArtifactError(named, error.code) from error
    took = time.monotonic() - started
    what = "file" if summary.kind is Kind.FILE else f"directory of {summary.files} files"
    text = f"stored output {output.name}: {what}, {summary.size:,} bytes, {summary.digest}, in {took:.1f} s"
    print(text, flush=True)  # noqa: T201
    return summary
