"""The kernel log, read without ever waiting in it."""

from __future__ import annotations

import errno
import os
import select
import stat
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from gpu_sentinel.host import kmsg, syslog
from gpu_sentinel.host.kmsg import XidLine

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


@dataclass(frozen=True, slots=True)
class Report:
    """An XID in the log.

    Attributes:
        wall: Unix time.
        new: it was not there yet when the log was opened.
    """

    line: XidLine
    wall: float
    new: bool


class KernelLog:
    """`/dev/kmsg`, a FIFO with such records, or a file with them or lines of syslog.

    A file is followed by its name, as `tail -F` does: when it is cut off, and when another one
    takes its place. One thread uses it.

    Attributes:
        records: how many were read, by what was in them: `xid`, `other`, `malformed`; `lost` are
            those that the kernel overwrote before they were read.
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
        self.records: Counter[str] = Counter(xid=0, other=0, malformed=0, lost=0)
        self.caught_up = False
        self._wall = wall
        self._boot = wall() - clock()
        self._rest = b""
        self._skipping = False
        self._sequence: int | None = None
        self._overrun = False
        self._pollable = False
        self._path = path
        self._leaving = False
        self._fd = os.open(path, _OPEN_FLAGS)
        self._mode = os.fstat(self._fd).st_mode
        if stat.S_ISDIR(self._mode):
            self.close()
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))

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
                self._overrun = True
                continue
            except OSError as error:
                if error.errno != errno.EINVAL:
                    raise
                self.records["malformed"] += 1  # longer than any record may be: left out
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
                found += self._reports(line)
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
            self.records["malformed"] += 1
        self._rest, self._skipping = b"", False

    def _lines(self, data: bytes) -> Iterator[bytes]:
        """The lines that are complete; one that is too long is left out and counted."""
        *lines, rest = (self._rest + data).split(b"\n")
        for line in lines:
            if self._skipping:
                self._skipping = False
            elif len(line) > _LONGEST_LINE:
                self.records["malformed"] += 1
            else:
                yield line
        if len(rest) > _LONGEST_LINE:
            if not self._skipping:
                self.records["malformed"] += 1
            self._skipping, rest = True, b""
        self._rest = rest

    def _reports(self, line: bytes) -> Iterator[Report]:
        if not line or line.startswith(b" "):
            return  # what the kernel knows besides about the record before: a dictionary
        record = kmsg.parse(line)
        if record is None:
            yield from self._syslog_reports(line)
            return
        if self._overrun and self._sequence is not None:
            self.records["lost"] += max(record.sequence - self._sequence - 1, 1)
        self._overrun = False
        self._sequence = record.sequence
        self._count(odd=record.odd, xid=bool(record.xids))
        new, wall = self.caught_up, self._wall()
        if not new:
            # Only for what was there before: the kernel's clock is not disciplined, and has gone
            # astray by seconds or minutes after months.
            wall = min(self._boot + record.seconds, wall)
        for xid in record.xids:
            yield Report(xid, wall, new)

    def _syslog_reports(self, line: bytes) -> Iterator[Report]:
        new, now = self.caught_up, self._wall()
        record = syslog.parse(line, now) if stat.S_ISREG(self._mode) else None
        if record is None:
            self.records["malformed"] += 1
            return
        self._count(odd=record.odd, xid=bool(record.xids))
        # Of what was there before, nothing is said where nobody knows when that was.
        wall = now if new else record.wall
        if wall is not None:
            for xid in record.xids:
                yield Report(xid, min(wall, now), new)

    def _count(self, *, odd: bool, xid: bool) -> None:
        self.records["malformed" if odd else "xid" if xid else "other"] += 1
