"""What is there instead: the end of a message about a path that does not exist."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

_SHOWN: Final = 5
_OURS: Final = (".rondo.json", ".rondo-part")


def instead(path: Path, root: Path) -> str:
    """Tell what the nearest existing folder of a missing path holds, not looking above `root`.

    Gives text to append to a message: ` (in runs/7: data, model)`, or nothing where nothing can be read.
    """
    folder = next((folder for folder in path.parents if folder.is_dir() or folder == root), root)
    try:
        names = sorted(item.name for item in folder.iterdir())
    except OSError:
        return ""
    return listing(str(folder.relative_to(root)) if folder != root else "it", names)


def listing(where: str, names: Sequence[str]) -> str:
    """Give text to append to a message: what a place holds; names of manifests and unfinished copies are left out."""
    shown = [name for name in names if not name.endswith(_OURS)]
    if not shown:
        return f" ({where} is empty)"
    return f" (in {where}: {', '.join(shown[:_SHOWN])}{', …' if len(shown) > _SHOWN else ''})"
