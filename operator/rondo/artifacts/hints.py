"""What is there instead: the end of a message about a path that does not exist."""

from __future__ import annotations

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
        names = sorted(item.name for item in folder.iterdir() if not item.name.endswith(_OURS))
    except OSError:
        return ""
    where = folder.relative_to(root) if folder != root else "it"
    if not names:
        return f" ({where} is empty)"
    return f" (in {where}: {', '.join(names[:_SHOWN])}{', …' if len(names) > _SHOWN else ''})"
