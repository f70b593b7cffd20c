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
        ComponentError: another process holds it, or root would write into what is another user's.
        OSError: the directory cannot be written to.
    """
    _refuse_for_root(data)
    try:
        with filelock.held(data / filelock.UP_LOCK) as number:
            os.ftruncate(number, 0)
            os.pwrite(number, f"{os.getpid()}\n".encode(), 0)
            yield
    except filelock.HeldError as error:
        holder = printable.line(error.said) or "unknown"
        raise ComponentError(
            f"{data}: `gpu-sentinel up` runs here already, as process {holder}: "
            "stop it, or name another --data-dir"
        ) from None


def _refuse_for_root(data: Path) -> None:
    """Whose folder it is can have root write to any other place, by links."""
    owner = data.stat().st_uid
    if os.geteuid() == 0 and owner != 0:
        raise ComponentError(
            f"{data}: belongs to user {owner}, and this is root: run it as that user, or name "
            "another --data-dir"
        )
