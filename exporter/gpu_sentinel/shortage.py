"""What a machine that is short of memory or threads makes of a program: errors of many kinds."""

from __future__ import annotations

import errno

NO_MEMORY = "there is not enough memory: raise its limit (`ulimit -v`, the container's)"

#: What the loader says of a library for which there is no room.
_UNLOADED = ("failed to map segment", "cannot allocate memory", "cannot map zero-fill pages")
_SHORT = (errno.ENOMEM, errno.EAGAIN, errno.EMFILE, errno.ENFILE)


def shortage(error: BaseException) -> str | None:
    """One line about what there is too little of; None where the error is about something else."""
    cause: BaseException | None = error
    while cause is not None:
        # A library may have made something else of it; the interpreter itself, a SystemError.
        if isinstance(cause, MemoryError | SystemError):
            return NO_MEMORY
        cause = cause.__cause__ or cause.__context__
    said = " ".join(str(error).split())
    if isinstance(error, OSError) and error.errno in _SHORT:
        return f"the machine is short of something: {error.strerror}: raise the limit (`ulimit -a`)"
    if isinstance(error, RuntimeError) and "start new thread" in said:
        return "no thread can be started: raise the limits of threads and memory (`ulimit -u -v`)"
    if isinstance(error, ImportError) and any(words in said.casefold() for words in _UNLOADED):
        return f"there is not enough memory to load a library: raise its limit: {said}"
    if isinstance(error, ImportError) or (isinstance(error, LookupError) and "encoding" in said):
        return f"the installation is not complete, or there is not enough memory: {said}"
    return None
