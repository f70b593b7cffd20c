"""Reads a copy, of which nothing is trusted: anybody may have made or changed it."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from gpu_sentinel import printable
from gpu_sentinel.backup.copier import Progress, chunks
from gpu_sentinel.backup.errors import BackupError
from gpu_sentinel.backup.manifest import Entry, Manifest


@contextmanager
def opened(folder: Path, entry: Entry) -> Iterator[int]:
    """A file of a copy, of the size that the manifest gives; no link on the way is followed.

    Raises:
        BackupError: it is missing, cannot be read, or is something else.
    """
    path = folder / entry.path
    number = -1
    try:
        number = _descend(folder, entry.path)
        found = os.fstat(number)
        if not stat.S_ISREG(found.st_mode):
            raise BackupError(
                f"{printable.line(path)}: it is no regular file: the copy was tampered with"
            )
        if found.st_size != entry.size:
            raise BackupError(
                f"{printable.line(path)}: {found.st_size} bytes, not {entry.size}: "
                "the copy is damaged"
            )
        yield number
    except FileNotFoundError:
        raise BackupError(f"{printable.line(path)}: missing: the copy is damaged") from None
    except OSError as error:
        raise BackupError(f"{printable.line(path)}: cannot be read: {error.strerror}") from None
    finally:
        if number >= 0:
            os.close(number)


def _descend(folder: Path, path: str) -> int:
    """Open folder after folder, so that none can be a link to elsewhere."""
    *folders, name = path.split("/")
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC
    number = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for part in folders:
            below = os.open(part, flags | os.O_DIRECTORY, dir_fd=number)
            os.close(number)
            number = below
        return os.open(name, flags, dir_fd=number)
    finally:
        os.close(number)


def read(folder: Path, entry: Entry, number: int, take: Callable[[memoryview], None]) -> None:
    """Hand over the content of an open file, and compare its checksum.

    Raises:
        BackupError: it is another.
        OSError: it cannot be read.
    """
    digest, size = hashlib.sha256(), 0
    for chunk in chunks(number, entry.size):
        digest.update(chunk)
        size += len(chunk)
        take(chunk)
    if size != entry.size or digest.hexdigest() != entry.sha256:
        raise BackupError(
            f"{printable.line(folder / entry.path)}: its checksum is not that of the manifest: "
            "the copy is damaged"
        )


def faults(folder: Path, content: Manifest, progress: Progress) -> list[str]:
    """What is wrong with the files of a copy, a line each."""
    found, done = [], 0
    for entry in content.files:
        try:
            with opened(folder, entry) as number:
                read(folder, entry, number, lambda _: None)
        except BackupError as error:
            found.append(str(error))
        done += entry.size
        progress(done, content.size)
    return found
