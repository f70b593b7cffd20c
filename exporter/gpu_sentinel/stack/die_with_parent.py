"""Run a program that the kernel ends with its parent.

`python die_with_parent.py PARENT PROGRAM ARGUMENT...`, with the process id of the parent.

A file of its own rather than code between fork and exec, which is unsafe while threads run.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def main(parent: int, command: list[str]) -> None:
    """Become the program; does not return.

    SIGKILL, since it reaches a stopped program too. It comes with the end of the thread that
    started this process: start programs from the main thread.
    """
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it has ended before the kernel was asked
        os.kill(os.getpid(), signal.SIGKILL)
    try:
        os.execv(command[0], command)  # noqa: S606 - the stack's own command line
    except OSError as error:
        sys.exit(f"{command[0]}: {error.strerror}")


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
