"""Free ports that no two tests get at the same time, in whatever processes they run."""

from __future__ import annotations

import contextlib
import itertools
import socket
from collections.abc import Iterator

HOST = "127.0.0.1"
#: Below 32768, where Linux takes the ports of outgoing connections from, and above 20000, below
#: which programs have their own.
FIRST, LAST, BLOCK = 20_000, 32_600, 200


def _free(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_server((HOST, port)):
        return True
    return False


def _own_block() -> tuple[socket.socket, range]:
    """A block of ports belongs to the process that listens on its first one."""
    for first in range(FIRST, LAST, BLOCK):
        with contextlib.suppress(OSError):
            return socket.create_server((HOST, first)), range(first + 1, first + BLOCK)
    raise OSError(f"every block of ports from {FIRST} to {LAST} is taken")


class Ports:
    """Hands out the ports of a block in turn, so that none comes back soon."""

    def __init__(self) -> None:
        self._claim, self._block = _own_block()
        self._turn: Iterator[int] = itertools.cycle(self._block)

    def take(self) -> int:
        for port in itertools.islice(self._turn, len(self._block)):
            if _free(port):
                return port
        raise OSError(f"every port of {self._block} is taken")

    def close(self) -> None:
        self._claim.close()
