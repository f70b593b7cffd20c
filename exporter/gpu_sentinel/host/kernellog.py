"""The kernel log, read without ever waiting in it."""

from __future__ import annotations

import errno
import os
import select
import stat
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

from gpu_sentinel.host.records import Records, Report

#: The kernel cuts a record before it is that long.
_LONGEST_LINE = 16 * 1024
#: Read in one go, so that a flood leaves room for the rest of the thread's work.
_READS = 256
#: Between two looks at a file, which cannot be waited for.
_LOOK_SECONDS = 0.25
_OPEN_FLAGS = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


def is_plain_file(path: Path) -> bool:
    """Whether there is a file at this place, no device and no FIFO."""
    try:
        return stat.S_ISREG(path.stat().st_mode)
    except OSError:
        return False


class KernelLog:
    """`/dev/kmsg`, or a file or FIFO with such records, lines of syslog, or a journal's export.

    A file is followed by its name, as `tail -F` does: when it is cut off, and when another one
    takes its place. One thread uses it.

    Attributes:
        understood: what was made of the lines.
        caught_up: everything that was there when the log was opened has been read.
    """

    def __init__(
        self,
        path: Path,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        """Open it.

        Args:
            path: where it is.
            clock: seconds since the start of the machine.
            wall: Unix time.

        Raises:
            OSError: it is not there, may not be read, or is a directory.
        """
        self.caught_up = False
        self._rest = b""
        self._skipping = False
        self._pollable = False
        self._path = path
        self._leaving = False
        self._fd = os.open(path, _OPEN_FLAGS)
        self._mode = os.fstat(self._fd).st_mode
        if stat.S_ISDIR(self._mode):
            self.close()
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        # The kernel's own device has one format, and ends of lines in it are escaped.
        text = not stat.S_ISCHR(self._mode)
        self.understood = Records(wall() - clock(), wall, text=text)

    @property
    def records(self) -> Counter[str]:
        """How many were read, by what was in them."""
        return self.understood.counts

    @property
    def is_fifo(self) -> bool:
        """Whether what one reader takes is gone for all others."""
        return stat.S_ISFIFO(self._mode)

    def close(self) -> None:
        """Let go of it."""
        os.close(self._fd)

    def take(self) -> tuple[list[Report], bool]:
        """What has come since the last time, and whether there is more at once.

        Raises:
            OSError: it cannot be read any more.
        """
        found: list[Report] = []
        got = False
        for _ in range(_READS):
            try:
                data = os.read(self._fd, _LONGEST_LINE)
            except BlockingIOError:
                self.caught_up = self._pollable = True
                return found, False
            except BrokenPipeError:
                # The kernel has overwritten what came next; reading goes on with what it has.
                self.understood.overrun()
                continue
            except OSError as error:
                if error.errno != errno.EINVAL:
                    raise
                self.understood.malformed()  # longer than any record may be: left out
                continue
            if not data:
                # The end of a file, or of a FIFO without a writer, which would be "ready" for ever.
                if stat.S_ISFIFO(self._mode):
                    self._drop_rest()  # whoever began the line is gone
                elif stat.S_ISREG(self._mode) and self._goes_on():
                    continue
                self.caught_up, self._pollable = True, False
                return found, False
            got = True
            for line in self._lines(data):
                found += self.understood.read(line, new=self.caught_up)
        return found, got

    def wait(self, seconds: float, wake: int) -> None:
        """Until there is something, the file descriptor `wake` can be read, or time is over."""
        waiting = select.poll()
        waiting.register(wake, select.POLLIN)
        if self._pollable:
            waiting.register(self._fd, select.POLLIN)
        else:
            seconds = min(seconds, _LOOK_SECONDS)
        waiting.poll(seconds * 1e3)

    def _goes_on(self) -> bool:
        """At the end of a file, whether to read on: in its successor, or in it from its start."""
        here = os.fstat(self._fd)
        if here.st_size < os.lseek(self._fd, 0, os.SEEK_CUR):
            os.lseek(self._fd, 0, os.SEEK_SET)
            self._drop_rest()
            return True
        try:
            there = self._path.stat()
        except OSError:
            return False  # moved away: what writes it may go on for a while
        # A new file that is empty still: until it is told, syslog goes on with the old one.
        if os.path.samestat(here, there) or not stat.S_ISREG(there.st_mode) or not there.st_size:
            self._leaving = False
        elif not self._leaving:
            self._leaving = True  # once more, for what was written before the new one was begun
            return True
        else:
            other = os.open(self._path, _OPEN_FLAGS)
            os.close(self._fd)
            self._fd, self._leaving = other, False
            self._drop_rest()
            return True
        return False

    def _drop_rest(self) -> None:
        """Forget a line that will never be complete."""
        if self._rest:
            self.understood.malformed()
        self._rest, self._skipping = b"", False
        self.understood.interrupted()

    def _lines(self, data: bytes) -> Iterator[bytes]:
        """The lines that are complete; one that is too long is left out and counted."""
        *lines, rest = (self._rest + data).split(b"\n")
        for line in lines:
            if self._skipping:
                self._skipping = False
            elif len(line) > _LONGEST_LINE:
                self.understood.malformed()
            else:
                yield line
        if len(rest) > _LONGEST_LINE:
            if not self._skipping:
                self.understood.malformed()
            self._skipping, rest = True, b""
        self._rest = rest
