"""Processes that are watched for their end, which costs less than to read of them again."""

from __future__ import annotations

import os
import select


class Watch:
    """One process, by a descriptor that none with the same pid can take over.

    The descriptor is closed with the last reference to the watch.
    """

    def __init__(self, pid: int) -> None:
        """Begin.

        Args:
            pid: as this process sees it.

        Raises:
            OSError: there is no such process, the kernel is older than 5.3, or forbids it.
            AttributeError: Python was built for such a kernel.
        """
        self._number = os.pidfd_open(pid)
        self._poll = select.poll()
        self._poll.register(self._number, select.POLLIN)

    @property
    def ended(self) -> bool:
        """Whether it is no more, or a zombie: pidfd_open(2)."""
        return bool(self._poll.poll(0))

    def __del__(self) -> None:
        """Close the descriptor, if there is one."""
        if "_number" in self.__dict__:
            os.close(self._number)


def watch(pid: int) -> Watch | None:
    """The watch of a process; None where there is none."""
    try:
        return Watch(pid)
    except (OSError, AttributeError):
        return None
