"""One `gpu-sentinel up` for one data directory."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gpu_sentinel import filelock, printable
from gpu_sentinel.stack.process import ComponentError


@contextmanager
def held(data: Path) -> Iterator[None]:
    """Hold the directory; the kernel lets go of it with the end of this process, however it ends.

    Raises:
        ComponentError: another process holds it.
        OSError: the directory cannot be written to.
    """
    try:
        with filelock.held(data / filelock.UP_LOCK, 0o644) as number:
            os.ftruncate(number, 0)
            os.pwrite(number, f"{os.getpid()}\n".encode(), 0)
            yield
    except filelock.HeldError as error:
        holder = printable.line(error.said) or "unknown"
        raise ComponentError(
            f"{data}: `gpu-sentinel up` runs here already, as process {holder}: "
            "stop it, or name another --data-dir"
        ) from None
