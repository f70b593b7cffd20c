"""Reading files that people name, which must not be able to hold the reader up."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path


def read_bytes(path: Path) -> bytes:
    """The content of a regular file.

    A FIFO would block until somebody writes into it, and a device may never end: while the
    exporter reloads, both would keep it from everything else.

    Raises:
        OSError: it cannot be read, or is no regular file.
        ValueError: this cannot be a path.
    """
    number = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        if not stat.S_ISREG(os.fstat(number).st_mode):
            raise OSError(errno.EINVAL, "it is no regular file")
        with open(number, "rb", closefd=False) as file:
            return file.read()
    finally:
        os.close(number)
