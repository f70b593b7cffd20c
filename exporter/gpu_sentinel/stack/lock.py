"""One `gpu-sentinel up` for one data directory."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gpu_sentinel.stack.process import ComponentError


@contextmanager
def held(data: Path) -> Iterator[None]:
    """Hold the directory; the kernel lets go of it with the end of this process, however it ends.

    Raises:
        ComponentError: another process holds it.
        OSError: the directory cannot be written to.
    """
    path = data / "up.lock"
    number = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        try:
            fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(number, 32).decode(errors="replace").strip() or "unknown"
            raise ComponentError(
                f"{data}: `gpu-sentinel up` runs here already, as process {holder}: "
                "stop it, or name another --data-dir"
            ) from None
        os.ftruncate(number, 0)
        os.pwrite(number, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(number)
