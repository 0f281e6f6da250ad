"""`python -m rondo.api.generate` writes every file that follows from the models; `--check` proves none is stale."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from rondo.api.generate import base
from rondo.api.generate.files import FOLDERS, generated_files, is_generated

ROOT: Final = Path(__file__).resolve().parents[4]


def main(arguments: list[str], root: Path = ROOT) -> int:
    """Write the files, or with `--check` name those that are stale.

    Args:
        arguments: Of the command line.
        root: The repository.

    Returns:
        The exit code: 1 if a file is stale and was not written.
    """
    wanted = dict(generated_files())
    stale = [*_different(root, wanted), *_left_over(root, wanted)]
    if "--check" in arguments:
        return _check(root, stale)
    for path in stale:
        _write(root / path, wanted.get(path))
    return _render(root)


def _check(root: Path, stale: list[Path]) -> int:
    """Name stale files. The rendered manifests follow from generated files, so they are looked at last."""
    rendered = [] if base.is_current(root) else [base.FILE]
    for path in [*stale, *rendered]:
        _say(f"{path} is stale: run `make generate`")
    return bool(stale or rendered)


def _render(root: Path) -> int:
    if base.is_current(root):
        return 0
    try:
        base.render(root)
    except base.NoHelmError as error:
        _say(str(error))
        return 1
    return 0


def _different(root: Path, wanted: Mapping[Path, str]) -> Iterator[Path]:
    """Find files that are missing or have another text."""
    for path, text in wanted.items():
        if not (root / path).exists() or (root / path).read_text() != text:
            yield path


def _left_over(root: Path, wanted: Mapping[Path, str]) -> Iterator[Path]:
    """Find files that an earlier version of the models gave."""
    for folder in FOLDERS:
        for file in sorted((root / folder).glob("*")):
            path = file.relative_to(root)
            if path not in wanted and file.is_file() and is_generated(file.read_text()):
                yield path


def _write(file: Path, text: str | None) -> None:
    if text is None:
        file.unlink()
        return
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


def _say(line: str) -> None:
    print(line, file=sys.stderr)  # noqa: T201 - a command's output


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
