"""Whether somebody writes to a data directory, and keeping them out meanwhile."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gpu_sentinel import filelock, printable
from gpu_sentinel.backup.errors import BackupError

_PROC = Path("/proc")


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep `gpu-sentinel up` out of a data directory.

    Raises:
        BackupError: it runs there.
        OSError: the lock cannot be made.
    """
    try:
        with filelock.held(folder / filelock.UP_LOCK):
            yield
    except filelock.HeldError:
        raise BackupError(f"{printable.line(folder)}: it is in use: stop the stack first") from None


def check_unused(folder: Path, proc: Path = _PROC) -> None:
    """Look for processes that have a file of a folder open.

    Prometheus' own lock file does not do: packages of distributions switch it off. Files are
    compared by number, since a container sees them under other paths. Of other users' processes
    only root sees the files.

    Raises:
        BackupError: there is one.
    """
    inside = set[tuple[int, int]]()
    for path in folder.rglob("*"):
        try:
            found = path.lstat()
        except OSError:
            continue
        inside.add((found.st_dev, found.st_ino))
    for process in proc.glob("[0-9]*"):
        if process.name != str(os.getpid()) and _opened(process) & inside:
            raise BackupError(
                f"{printable.line(folder)}: it is in use by process {process.name}"
                f"{_name(process)}: stop it first"
            )


def _opened(process: Path) -> set[tuple[int, int]]:
    found = set[tuple[int, int]]()
    try:
        links = list((process / "fd").iterdir())
    except OSError:
        return found
    for link in links:
        try:
            file = link.stat()
        except OSError:
            continue
        found.add((file.st_dev, file.st_ino))
    return found


def _name(process: Path) -> str:
    try:
        return f" ({printable.line((process / 'comm').read_text().strip())})"
    except OSError:
        return ""
