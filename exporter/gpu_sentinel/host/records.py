"""What the lines of a kernel log report, whatever form they have, and how many were understood."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from gpu_sentinel.host import kmsg, syslog
from gpu_sentinel.host.journal import Export, parse_json
from gpu_sentinel.host.kernelevents import EventLines, KernelEvent, begins
from gpu_sentinel.host.kmsg import XidLine


@dataclass(frozen=True, slots=True)
class Report:
    """An XID in the log, or an event of another kind.

    Attributes:
        wall: Unix time.
        new: it was not there yet when the log was opened.
    """

    line: XidLine | KernelEvent
    wall: float
    new: bool


class Records:
    """Reads the lines of one log. The format is known anew for each: they may be mixed.

    Attributes:
        counts: records by what was in them: `xid`, `event`, `other`, `malformed`; `lost` are those
            that the kernel overwrote before they were read.
        kernel: records that the kernel wrote.
        run: malformed records since the last one that was not.
        unread: the last record that began like a report of an XID was none that could be read.
    """

    def __init__(self, boot: float, wall: Callable[[], float], *, text: bool) -> None:
        """Nothing was read yet.

        Args:
            boot: Unix time of the start of the machine.
            wall: Unix time.
            text: lines of syslog are taken too.
        """
        self.counts: Counter[str] = Counter(xid=0, event=0, other=0, malformed=0, lost=0)
        self.kernel = 0
        self.run = 0
        self.unread = False
        self._boot = boot
        self._wall = wall
        self._text = text
        self._export = Export()
        self._events = EventLines()
        #: Unix time of the last record that may begin an event.
        self._begun: float | None = None
        self._sequence: int | None = None
        self._overrun = False

    def read(self, line: bytes, *, new: bool) -> Iterator[Report]:
        """What a line reports, which has come since the log was opened or was there before."""
        if self._text and self._export.take(line):
            if self._export.entry is not None:
                yield from self._syslog(self._export.entry, new=new)
            return
        if not line or line.startswith(b" "):
            return  # what the kernel knows besides about the record before: a dictionary
        record = kmsg.parse(line)
        if record is not None:
            yield from self._kmsg(record, new=new)
        elif not self._text:
            self.malformed()
        else:
            text = parse_json(line) or syslog.parse(line, self._wall())
            if text is None:
                self.malformed()
            else:
                yield from self._syslog(text, new=new)

    def malformed(self) -> None:
        """A record made no sense."""
        self.counts["malformed"] += 1
        self.run += 1

    def overrun(self) -> None:
        """The kernel has overwritten what came next."""
        self._overrun = True

    def interrupted(self) -> None:
        """What comes next does not follow on what came last."""
        self._export.reset()

    def _kmsg(self, record: kmsg.Record, *, new: bool) -> Iterator[Report]:
        if self._overrun and self._sequence is not None:
            self.counts["lost"] += max(record.sequence - self._sequence - 1, 1)
        self._overrun = False
        self._sequence = record.sequence
        events = tuple(self._events.read(record.message))
        self._count(kernel=True, odd=record.odd, xid=bool(record.xids), event=bool(events))
        wall = self._wall()
        if not new:
            # Only for what was there before: the kernel's clock is not disciplined, and has gone
            # astray by seconds or minutes after months.
            wall = min(self._boot + record.seconds, wall)
        yield from _reports(record.xids, events, wall, new=new)

    def _syslog(self, record: syslog.SyslogRecord, *, new: bool) -> Iterator[Report]:
        events = tuple(self._events.read(record.message)) * record.times if record.kernel else ()
        self._count(kernel=record.kernel, odd=record.odd, xid=bool(record.xids), event=bool(events))
        now = self._wall()
        if begins(record.message):
            self._begun = record.wall
        # Of what was there before, nothing is said where nobody knows when that was. The stack that
        # completes an event has the time of the event's first line.
        wall = now if new else self._begun
        if wall is not None:
            yield from _reports(record.xids, events, min(wall, now), new=new)

    def _count(self, *, kernel: bool, odd: bool, xid: bool, event: bool) -> None:
        self.kernel += kernel
        if odd:
            self.malformed()
            self.unread = True
            return
        self.run = 0
        self.counts["xid" if xid else "event" if event else "other"] += 1
        if xid:
            self.unread = False


def _reports(
    xids: Iterable[XidLine], events: Iterable[KernelEvent], wall: float, *, new: bool
) -> Iterator[Report]:
    for xid in xids:
        yield Report(xid, wall, new)
    for event in events:
        yield Report(event, wall, new)
