"""What a machine that is short of memory or threads makes of a program: errors of many kinds."""

from __future__ import annotations

import errno

#: What the loader says of a library for which there is no room.
_UNLOADED = ("failed to map segment", "cannot allocate memory", "cannot map zero-fill pages")
_SHORT = (errno.ENOMEM, errno.EAGAIN, errno.EMFILE, errno.ENFILE)


def shortage(error: BaseException) -> str | None:
    """One line about what there is too little of; None where the error is about something else."""
    if isinstance(error, MemoryError):
        return "there is not enough memory: raise its limit (`ulimit -v`, the container's)"
    if isinstance(error, OSError) and error.errno in _SHORT:
        return f"the machine is short of something: {error.strerror}: raise the limit (`ulimit -a`)"
    if isinstance(error, RuntimeError) and "start new thread" in str(error):
        return "no thread can be started: raise the limits of threads and memory (`ulimit -u -v`)"
    if isinstance(error, ImportError):
        said = " ".join(str(error).split())
        if any(words in said.casefold() for words in _UNLOADED):
            return f"there is not enough memory to load a library: raise its limit: {said}"
        return f"the installation is not complete: {said}: install it anew"
    return None
