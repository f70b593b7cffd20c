"""Locks on files and folders, which the kernel lets go of when their process ends, however."""

from __future__ import annotations

import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

#: In a data directory: held by `gpu-sentinel up`, or by who must keep it out.
UP_LOCK = "up.lock"


class HeldError(Exception):
    """Somebody else holds the lock.

    Attributes:
        said: what the holder has written into the file.
    """

    def __init__(self, said: str = "") -> None:
        super().__init__(said)
        self.said = said


@contextmanager
def held(path: Path, mode: int = 0o600) -> Iterator[int]:
    """Lock a folder, or a file that is made if need be; gives its open number.

    Root locks folders of services: a file that it makes belongs to whom the folder belongs, who
    could not open it later otherwise; and it follows no link.

    Raises:
        HeldError: another process holds it.
        OSError: it cannot be made or opened.
    """
    number = _open(path, mode)
    try:
        try:
            fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise HeldError(_said(number)) from None
        yield number
    finally:
        os.close(number)


def _open(path: Path, mode: int) -> int:
    flags = os.O_CLOEXEC | os.O_NOFOLLOW
    if path.is_dir():
        # Some folder may be named by a link.
        return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        number = os.open(path, flags | os.O_RDWR | os.O_CREAT | os.O_EXCL, mode)
    except FileExistsError:
        # Without O_CREAT: Linux lets nobody, not even root, open a file of another user with it
        # where everybody may write (fs.protected_regular).
        return os.open(path, flags | os.O_RDWR)
    try:
        if os.geteuid() == 0:
            owner = path.parent.stat()
            os.fchown(number, owner.st_uid, owner.st_gid)
    except BaseException:
        os.close(number)
        raise
    return number


def _said(number: int) -> str:
    if not stat.S_ISREG(os.fstat(number).st_mode):
        return ""
    return os.pread(number, 32, 0).decode(errors="replace").strip()
