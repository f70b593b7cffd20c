"""Files that nobody but their owner may read, replaced whole or not at all."""

from __future__ import annotations

import errno
import os
import secrets
from pathlib import Path


def folder_of_ours(path: Path) -> None:
    """Make a folder of mode 0700, or give it that mode.

    Raises:
        OSError: it cannot be made, or belongs to somebody else.
    """
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    if path.stat().st_uid != os.geteuid():
        raise PermissionError(errno.EACCES, "belongs to another user", str(path))
    path.chmod(0o700)


def write(path: Path, text: str, mode: int = 0o600, owner: int | None = None) -> None:
    """Write a file of this mode; whoever reads meanwhile gets the old or the new one.

    Args:
        path: where it is to be.
        text: all of it.
        mode: who may read and write it.
        owner: the number of the user to whom it is given, which root alone can; None keeps it.

    Raises:
        OSError: it cannot be written; the old one is still there.
    """
    new = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    handle = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        os.fchmod(handle, mode)
        if owner is not None:
            os.fchown(handle, owner, -1)
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        new.replace(path)
    except BaseException:
        new.unlink(missing_ok=True)
        raise


def read_line(path: Path) -> str:
    """The first line of a file, without its end.

    Raises:
        OSError: it cannot be read, or is empty.
    """
    text = path.read_text(encoding="utf-8", errors="replace").partition("\n")[0].strip()
    if not text:
        raise OSError(errno.EINVAL, "is empty: remove it to get a new one", str(path))
    return text
