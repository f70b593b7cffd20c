"""The time at the beginning of a line of syslog, in every form that syslog daemons write: pure.

The forms are those of rsyslog's templates (its page "Reserved template names"), of syslog-ng's
`ts-format()` (lib/timeutils/format.c), of `journalctl --output` (systemd's src/shared/logs-show.c)
and of busybox (sysklogd/syslogd.c).
"""

from __future__ import annotations

import re
import time
from datetime import datetime, timedelta, timezone

#: Year, month, day, hour, minute, second, fraction, zone: `2026-01-02T10:00:00.25+01:00`, and what
#: `journalctl -o short-full` writes, `Fri 2026-01-02 10:00:00 CET`.
_ISO = re.compile(
    rb"(\d{4})-(\d\d)-(\d\d)[T ](\d\d):(\d\d):(\d\d)(?:[.,](\d{1,9}))?([^ \n]{0,20})(?= )"
)
_FULL = re.compile(
    rb"[A-Z][a-z]{2} (\d{4})-(\d\d)-(\d\d) (\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))?"
    rb" ([A-Z]{3,6}|[+-]\d\d(?:\d\d)?)(?= )"
)
#: Year if it is there, month, day, hour, minute, second, fraction: `Jan  2 10:00:00` and
#: syslog-ng's `2026 Jan  2 10:00:00`. journalctl writes the month in the language of who calls it.
_BSD = re.compile(
    rb"(?:(\d{4}) )?([^\s\d:]{2,12}) {1,2}(\d{1,2}) (\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))?(?= )"
)
#: Month, day, hour, minute, second, year: `Fri Jan  2 10:00:00 2026`, as ctime(3) and OpenWrt.
_CTIME = re.compile(
    rb"[^\s\d:]{2,12} ([^\s\d:]{2,12}) {1,2}(\d{1,2}) (\d\d):(\d\d):(\d\d) (\d{4})(?= )"
)
_UNIX = re.compile(rb"(\d{9,11}(?:\.\d{1,9})?)(?= )")
#: Seconds since the start of some machine, at some time: nobody knows when that was.
MONOTONIC = re.compile(rb"\[ {0,12}\d{1,12}\.\d{1,9}[ .<>*\d]{0,40}\](?=[ \[])")

_ZONE = re.compile(r"([+-])(\d\d):?(\d\d)?")
_MONTHS = (
    *(b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun"),
    *(b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec"),
)
#: A time without a year is taken to be past, but for clocks that differ by less than this.
_AHEAD_SECONDS = 86_400.0


def find(line: bytes) -> re.Match[bytes] | None:
    """The time that a line begins with; a blank follows it, or the next bracket of the kernel."""
    return (
        _ISO.match(line)
        or _BSD.match(line)
        or _FULL.match(line)
        or _CTIME.match(line)
        or _UNIX.match(line)
        or MONOTONIC.match(line)
    )


def wall(match: re.Match[bytes], now: float) -> float | None:
    """Unix time; None where it does not exist, or nobody can know it.

    Args:
        match: what `find` has found.
        now: Unix time, for the year that the line may not have.
    """
    try:
        if match.re is _UNIX:
            return float(match[1])
        if match.re is _ISO or match.re is _FULL:
            *date, fraction, zone = match.groups()
            return _dated(date, fraction, (zone or b"").decode("ascii", "replace"))
        if match.re is _CTIME:
            month, *rest, year = match.groups()
            return _dated([year, str(_month(month)).encode(), *rest], None, "")
        if match.re is _BSD:
            year, month, *rest, fraction = match.groups()
            return _bsd(year, _month(month), rest, fraction, now)
    except (ValueError, OverflowError, OSError):
        return None
    return None


def _bsd(
    year: bytes | None, month: int, rest: list[bytes], fraction: bytes | None, now: float
) -> float | None:
    def in_year(number: int) -> float | None:
        return _dated([str(number).encode(), str(month).encode(), *rest], fraction, "")

    if year is not None:
        return in_year(int(year))
    this = datetime.fromtimestamp(now).year  # noqa: DTZ006 - as syslog writes it
    found = in_year(this)
    return found if found is None or found <= now + _AHEAD_SECONDS else in_year(this - 1)


def _month(name: bytes) -> int:
    return _MONTHS.index(name) + 1


def _dated(parts: list[bytes], fraction: bytes | None, zone: str) -> float | None:
    year, month, day, hour, minute, second = map(int, parts)
    begun = datetime(year, month, day, hour, minute, second)  # noqa: DTZ001 - local, or set below
    more = float(b"0." + fraction) if fraction else 0.0
    if zone in ("", *time.tzname):
        # `fold` chooses between the two hours of one name when the clock is put back.
        fold = zone == time.tzname[0] != time.tzname[1]
        return begun.replace(fold=fold).timestamp() + more
    offset = _offset(zone)
    return None if offset is None else begun.replace(tzinfo=timezone(offset)).timestamp() + more


def _offset(zone: str) -> timedelta | None:
    """Of a zone from UTC; None for the name of a zone that is not this machine's."""
    if zone in ("Z", "UTC", "GMT"):
        return timedelta(0)
    match = _ZONE.fullmatch(zone)
    if match is None:
        return None
    offset = timedelta(hours=int(match[2]), minutes=int(match[3] or 0))
    return -offset if match[1] == "-" else offset
