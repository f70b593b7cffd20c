"""Whether somebody writes to a data directory, and keeping them out meanwhile."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from gpu_sentinel.backup.errors import BackupError, shown

#: Held by `gpu-sentinel up`, and by Prometheus in its own data directory.
UP_LOCK, PROMETHEUS_LOCK = "up.lock", "lock"


@contextmanager
def kept_free(folder: Path, prometheus: Path | None, *, up: bool) -> Iterator[None]:
    """Hold the locks of a data directory.

    Args:
        folder: exists; nobody but us may start a stack in it meanwhile.
        prometheus: where a Prometheus would keep its lock; may be missing.
        up: whether `gpu-sentinel up` may run in the folder.

    Raises:
        BackupError: somebody else holds one.
        OSError: it cannot be locked.
    """
    with ExitStack() as held:
        if up:
            held.enter_context(_lock(folder / UP_LOCK, folder, os.O_CREAT))
        if prometheus is not None and (prometheus / PROMETHEUS_LOCK).is_file():
            held.enter_context(_lock(prometheus / PROMETHEUS_LOCK, prometheus, 0))
        yield


@contextmanager
def _lock(path: Path, folder: Path, flags: int) -> Iterator[None]:
    number = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | flags, 0o600)
    try:
        try:
            fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BackupError(f"{shown(folder)}: it is in use: stop the stack first") from None
        yield
    finally:
        os.close(number)
