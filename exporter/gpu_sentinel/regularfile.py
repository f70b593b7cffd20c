"""Reading files that people name, which must not be able to hold the reader up."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path


class TooLongError(ValueError):
    """The file is longer than any of its kind may be."""


def read_bytes(path: Path, longest: int | None = None, *, links: bool = True) -> bytes:
    """The content of a regular file, of so many bytes at most.

    A FIFO would block until somebody writes into it, and a device may never end: while the
    exporter reloads, both would keep it from everything else.

    Args:
        path: of the file.
        longest: what it may hold at most, in bytes.
        links: whether the path may be a symbolic link. Where strangers may write, a link could
            lead to what only this process may read.

    Raises:
        OSError: it cannot be read, or is no regular file.
        TooLongError: it is longer.
        ValueError: this cannot be a path.
    """
    follow = 0 if links else os.O_NOFOLLOW
    number = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | follow)
    try:
        if not stat.S_ISREG(os.fstat(number).st_mode):
            raise OSError(errno.EINVAL, "it is no regular file")
        with open(number, "rb", closefd=False) as file:
            content = file.read() if longest is None else file.read(longest + 1)
        if longest is not None and len(content) > longest:
            raise TooLongError(f"is longer than {longest >> 10} KiB")
        return content
    finally:
        os.close(number)
