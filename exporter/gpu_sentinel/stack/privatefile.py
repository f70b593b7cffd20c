"""Files that nobody but their owner may read, replaced whole or not at all."""

from __future__ import annotations

import errno
import os
import re
import secrets
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from gpu_sentinel import filelock, regularfile
from gpu_sentinel.stack.process import ComponentError
from gpu_sentinel.web.auth import PASSWORD_BYTES

#: Hexadecimal digits at the end of the name that a file has until it is whole.
_RANDOM = 8
_UNFINISHED = re.compile(rf"\..+\.[0-9a-f]{{{_RANDOM}}}")
#: Another process that changes a folder is done within a second.
_OTHERS_SECONDS = 10.0
#: Bytes that are read: what is longer is no password.
_LONGEST = 4096


def folder_of_ours(path: Path) -> None:
    """Make a folder of mode 0700, or give it that mode.

    Raises:
        OSError: it cannot be made, or belongs to somebody else.
    """
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    # A link of somebody else leads to a folder of ours that others may have to enter.
    if any(found.st_uid != os.geteuid() for found in (path.lstat(), path.stat())):
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
    new = path.with_name(f".{path.name}.{secrets.token_hex(_RANDOM // 2)}")
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


@contextmanager
def changed(folder: Path) -> Iterator[None]:
    """Change what is in a folder and below, alone; what a killed change has left is removed.

    Raises:
        ComponentError: another process changes it, and does not come to an end.
        OSError: the folder cannot be opened, or what is left cannot be removed.
    """
    try:
        with filelock.held(folder, _OTHERS_SECONDS):
            remove_unfinished(folder.rglob(".*"))
            yield
    except filelock.HeldError:
        raise ComponentError(
            f"{folder}: another process changes what is in it: try again when that has ended"
        ) from None


def remove_unfinished(found: Iterable[Path]) -> None:
    """Remove what a `write` that was killed has left; what has other names stays.

    Raises:
        OSError: it cannot be removed.
    """
    for path in found:
        if _UNFINISHED.fullmatch(path.name) and stat.S_ISREG(path.lstat().st_mode):
            path.unlink()


def read_password(path: Path) -> str:
    """The password in a file, without the end of its line.

    Raises:
        OSError: it cannot be read, or holds what not every part reads as the same password.
    """
    try:
        content = regularfile.read_bytes(path, _LONGEST)
        text = content.decode().strip()
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from None
    except ValueError:
        raise _wrong(path, "holds no password") from None
    if not text:
        raise _wrong(path, "is empty")
    if not text.isprintable():
        raise _wrong(path, "holds more than a line of text")
    if len(text.encode()) > PASSWORD_BYTES:
        raise _wrong(path, f"is longer than {PASSWORD_BYTES} bytes")
    return text


def _wrong(path: Path, why: str) -> OSError:
    return OSError(errno.EINVAL, f"{why}: remove it to get a new one", str(path))
