"""A folder in /tmp for a simulation, which does not stay for ever where nobody can remove it.

A process that is killed removes nothing. So each holds a lock in its folder, which ends with it,
and the next simulation of the same user removes the folders that nobody has locked.
"""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import os
import shutil
import stat
import tempfile
import time
from pathlib import Path

from gpu_sentinel.config import ConfigError

_PREFIX, _LOCK = "gpu-sentinel-simulated-", "lock"
#: Younger ones may be of a process that has not come to lock its own, in seconds.
_YOUNG = 60.0


def work_folder() -> Path:
    """A new folder; it is there until this process ends.

    Raises:
        ConfigError: no folder for temporary files can be written to.
    """
    try:
        folder = Path(tempfile.mkdtemp(prefix=_PREFIX))
    except OSError as error:
        raise ConfigError(
            "a simulation writes its /proc into a folder for temporary files, and there is none: "
            f"{error.strerror or error}. Set TMPDIR to a folder that can be written to; "
            "in a container with a read-only root, mount a tmpfs at /tmp"
        ) from None
    # Open as long as the process lives.
    lock = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    _tidy(folder.parent)
    return folder


def _tidy(parent: Path) -> None:
    for old in parent.glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError):
            status = old.lstat()
            # Others may write to /tmp, too: a link is not followed.
            own = stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid()
            if own and time.time() - status.st_mtime > _YOUNG and not _locked(old / _LOCK):
                shutil.rmtree(old, ignore_errors=True)


def _locked(path: Path) -> bool:
    try:
        lock = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return True  # it is none of these
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(lock)
    return False
