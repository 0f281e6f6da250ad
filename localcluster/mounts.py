"""The mounts below a cluster's folder: volumes, root filesystems of containers, network namespaces."""

import re
from pathlib import Path

from localcluster.commands import attempt
from localcluster.errors import LocalClusterError

_TABLE = Path("/proc/self/mountinfo")
_OCTAL = re.compile(r"\\([0-7]{3})")


def parse(table: str, folder: Path) -> list[Path]:
    """Return the mount points at or below the folder, in the order in which they can be unmounted."""
    points = [Path(_OCTAL.sub(lambda match: chr(int(match[1], 8)), line.split(" ")[4])) for line in table.splitlines()]
    return [point for point in reversed(points) if point.is_relative_to(folder)]


def folders(file: str) -> set[Path]:
    """Return every folder that holds such a file and has something mounted below it."""
    above = {parent for point in parse(_TABLE.read_text(), Path("/")) for parent in point.parents}
    return {folder for folder in above if (folder / file).is_file()}


def unmount_all(folder: Path) -> None:
    """Unmount everything at or below the folder.

    Raises:
        LocalClusterError: Something stays mounted. Nothing may be deleted then: a mount below the folder may be a
            directory of the host.
    """
    for point in parse(_TABLE.read_text(), folder):
        if attempt(["umount", str(point)]).returncode != 0:
            attempt(["umount", "--lazy", str(point)])
    if left := parse(_TABLE.read_text(), folder):
        raise LocalClusterError(f"cannot unmount {', '.join(map(str, left))}; nothing below {folder} was deleted")
