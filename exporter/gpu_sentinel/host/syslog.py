"""What a line of the kernel says in a file of syslog, such as /var/log/kern.log: pure.

Both ways in which rsyslog and syslog-ng write the time are understood, the traditional one without
a year and that of RFC 3339; the kernel's own clock in brackets is there or not.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime

from gpu_sentinel.host.kmsg import XidLine, xids

_LINE = re.compile(
    rb"(?:(\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d\S{0,20})"
    rb"|([A-Z][a-z]{2}) ([ \d]\d) (\d\d):(\d\d):(\d\d))"
    rb" \S{1,255} ([^\n]*)"
)
_KERNEL = re.compile(rb"kernel: (?:\[ *\d{1,12}\.\d{1,9}\] ?)?([^\n]*)")
_MONTHS = (
    *(b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun"),
    *(b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec"),
)
#: A time without a year is taken to be past, but for clocks that differ by less than this.
_AHEAD_SECONDS = 86_400.0


@dataclass(frozen=True, slots=True)
class SyslogRecord:
    """One line.

    Attributes:
        wall: Unix time of what it reports; None where the line has no time that exists.
        xids: what it reports; mostly nothing, and always so where another program wrote it.
        odd: it begins like a report of an XID, and is none.
    """

    wall: float | None
    xids: tuple[XidLine, ...]
    odd: bool


def parse(line: bytes, now: float) -> SyslogRecord | None:
    """The record in a line; None where it is none of syslog.

    Args:
        line: without its end.
        now: Unix time, for the year that the line may not have.
    """
    match = _LINE.fullmatch(line)
    if match is None:
        return None
    kernel = _KERNEL.match(match[7])
    found, odd = xids(kernel[1]) if kernel else ((), False)
    if not found:
        return SyslogRecord(None, (), odd)
    try:
        wall = _rfc3339(match[1]) if match[1] else _without_year(match, now)
    except (ValueError, OverflowError):
        wall = None
    return SyslogRecord(wall, found, odd)


def _rfc3339(text: bytes) -> float:
    return datetime.fromisoformat(
        text.decode("ascii", "replace").replace("Z", "+00:00")
    ).timestamp()


def _without_year(match: re.Match[bytes], now: float) -> float:
    month = _MONTHS.index(match[2]) + 1
    day, hour, minute, second = (int(match[part]) for part in (3, 4, 5, 6))

    def in_year(year: int) -> float:
        return datetime(year, month, day, hour, minute, second).timestamp()  # noqa: DTZ001 - local time

    year = datetime.fromtimestamp(now).year  # noqa: DTZ006 - as syslog writes it
    wall = in_year(year)
    return wall if wall <= now + _AHEAD_SECONDS else in_year(year - 1)
