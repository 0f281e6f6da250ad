"""Choosing a block of free ports.

The range lies above Linux' ephemeral ports and NodePorts, so neither an outgoing connection nor a Service takes one
between the choice and its use.
"""

import errno
import socket
import zlib
from collections.abc import Collection

from localcluster.errors import LocalClusterError
from localcluster.spec import Ports

FIRST = 61008
BLOCK = 16
BLOCKS = 280


def candidates(name: str) -> list[int]:
    """Return every block's first port, beginning at a place of the name's own.

    Clusters with different state folders do not know of each other; starting apart keeps them from racing for a block.
    """
    start = zlib.crc32(name.encode()) % BLOCKS
    return [FIRST + BLOCK * ((start + step) % BLOCKS) for step in range(BLOCKS)]


def choose_ports(name: str, taken: Collection[int]) -> Ports:
    """Return a block that no other cluster has recorded and whose ports are all free now.

    Raises:
        LocalClusterError: There is none.
    """
    for base in candidates(name):
        if base not in taken and all(is_free(port) for port in range(base, base + BLOCK)):
            return Ports(base)
    last = FIRST + BLOCK * BLOCKS - 1
    raise LocalClusterError(f"cluster {name!r}: no {BLOCK} free ports in a row between {FIRST} and {last}")


def is_free(port: int) -> bool:
    """Return whether the port can be bound on every address of the host."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("", port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                return False
            raise
        return True
