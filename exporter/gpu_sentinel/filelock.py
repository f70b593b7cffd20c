"""Locks on files and folders, which the kernel lets go of when their process ends, however."""

from __future__ import annotations

import fcntl
import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

#: In a data directory: held by `gpu-sentinel up`, or by who must keep it out.
UP_LOCK = "up.lock"
#: How often to look whether somebody has let go.
_LOOK_SECONDS = 0.05


class HeldError(Exception):
    """Somebody else holds the lock.

    Attributes:
        said: what the holder has written into the file.
    """

    def __init__(self, said: str = "") -> None:
        super().__init__(said)
        self.said = said


@contextmanager
def held(path: Path, wait: float = 0.0) -> Iterator[int]:
    """Lock a folder, or a file that is made if need be; gives its open number.

    Args:
        path: the folder or the file.
        wait: seconds within which another process may let go of it.

    Raises:
        HeldError: another process holds it.
        OSError: it cannot be made or opened, or is a link.
    """
    number = _folder(path) if path.is_dir() else _file(path)
    try:
        deadline = time.monotonic() + wait
        while not _locked(number):
            if time.monotonic() >= deadline:
                raise HeldError(_said(number))
            time.sleep(_LOOK_SECONDS)
        yield number
    finally:
        os.close(number)


def _locked(number: int) -> bool:
    try:
        fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _folder(path: Path) -> int:
    return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)


def _file(path: Path) -> int:
    # Whatever a link leads to would be written to.
    flags = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        number = os.open(path, flags | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        # Without O_CREAT, with which Linux refuses files of others where everybody may write.
        number, made = os.open(path, flags), False
    else:
        made = True
    try:
        owner = path.parent.stat()
        if made and os.geteuid() == 0:
            # The folder's owner, for whom root does this, could not open it later otherwise.
            os.fchown(number, owner.st_uid, owner.st_gid)
        if os.fstat(number).st_uid == owner.st_uid:
            # Whoever can read it can hold it, and so keep everybody from starting. It may be
            # another name of a file of somebody else, which stays as it is.
            os.fchmod(number, 0o600)
    except BaseException:
        os.close(number)
        raise
    return number


def _said(number: int) -> str:
    if not stat.S_ISREG(os.fstat(number).st_mode):
        return ""
    return os.pread(number, 32, 0).decode(errors="replace").strip()
