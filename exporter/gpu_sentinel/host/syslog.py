"""What a line of the kernel says in a file of syslog, such as /var/log/kern.log: pure.

Understood are the forms of rsyslog, syslog-ng, journalctl and busybox, each with the kernel's own
prefix or without it. In front of a message the kernel puts its log level where it is asked for it,
its clock, and who called where it was built with CONFIG_PRINTK_CALLER, as SUSE's is
(info_print_prefix in kernel/printk/printk.c); util-linux' dmesg puts a blank between the last two.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from gpu_sentinel.host import stamps
from gpu_sentinel.host.kernelevents import begins
from gpu_sentinel.host.kmsg import XidLine, xids

#: RFC 5424 has the version behind the priority.
_PRIORITY = re.compile(rb"<\d{1,3}>(?:1 )?")
#: Host, facility and priority, and the kernel's name as a tag or as RFC 5424 has it, followed by
#: structured data. What ends in a colon is the tag of another program, and no host.
_KERNEL = re.compile(
    rb" (?:\S{0,254}[^\s:] )?(?:[a-z0-9]{2,10}\.[a-z]{2,10}(?:<\d{1,3}>)? |<\d{1,3}> )?"
    rb"kernel(?::(?: |(?=[\[<]|NVRM:))"
    rb"| - \S{1,32} (?:-|(?:\[(?:[^\]\\\n]|\\[^\n]){1,500}\]){1,8})(?: |$))"
)
#: What `journalctl -o short-monotonic` shows of another program.
_OTHER = re.compile(rb" \S{1,255} [^\s\[:]{1,64}\[\d{1,10}\]: ")
_PREFIX = re.compile(
    rb"(?:\xef\xbb\xbf)? ?(?:<\d{1,3}>)?(?:\[ {0,12}\d{1,12}\.\d{1,9}\] ?)?"
    rb"(?:\[ {0,12}[CT]\d{1,10}[^\]\s]{0,40}\] ?)?"
)
#: rsyslog's ratelimit.c: how often a message came again that stands in the file once already.
_REPEATED = re.compile(rb"message repeated (\d{1,9}) times: \[([^\n]*)\]")
_MOST_REPEATS = 1000
#: In place of bytes that are no UTF-8, unless journalctl is called with `--all`.
_BLOB = re.compile(rb"\[\d[\d.]{0,8}[BKMGTPE]? blob data\]")


@dataclass(frozen=True, slots=True)
class SyslogRecord:
    """One line.

    Attributes:
        kernel: the kernel wrote it, and no other program.
        wall: Unix time of what it reports; None where the line has no time that can be known.
        xids: what it reports; mostly nothing, and always so where another program wrote it.
        odd: it begins like a report of an XID, and is none.
        message: what the kernel said, without its prefix; empty where another program wrote it.
        times: how often it came.
    """

    kernel: bool
    wall: float | None = None
    xids: tuple[XidLine, ...] = ()
    odd: bool = False
    message: bytes = b""
    times: int = 1


def parse(line: bytes, now: float) -> SyslogRecord | None:
    """The record in a line; None where it is none of syslog.

    Args:
        line: without its end.
        now: Unix time, for the year that the line may not have.
    """
    priority = _PRIORITY.match(line)
    rest = line[priority.end() :] if priority else line
    stamp = stamps.find(rest)
    if stamp is None:
        # journalctl says so where a boot begins, where it starts, and where there is nothing.
        return SyslogRecord(kernel=False) if line.startswith(b"-- ") else None
    message = _of_kernel(rest, stamp)
    if message is None:
        return SyslogRecord(kernel=False)
    record = of_kernel(message)
    if not record.xids and not begins(record.message):
        return record  # nobody asks when it was
    return replace(record, wall=stamps.wall(stamp, now))


def of_kernel(message: bytes, wall: float | None = None) -> SyslogRecord:
    """What a message of the kernel says, which may begin with the kernel's prefix."""
    message, times = _without_prefix(message), 1
    repeated = _REPEATED.fullmatch(message)
    if repeated is not None:
        message, times = _without_prefix(repeated[2]), min(int(repeated[1]), _MOST_REPEATS)
    found, odd = xids(message)
    odd = odd or bool(_BLOB.fullmatch(message))
    return SyslogRecord(True, wall, found * times, odd, message, times)


def _of_kernel(rest: bytes, stamp: re.Match[bytes]) -> bytes | None:
    """The message, with the kernel's prefix; None where another program wrote it."""
    kernel = _KERNEL.match(rest, stamp.end())
    if kernel is not None:
        return rest[kernel.end() :]
    # As the kernel itself and dmesg write it, with no name of anybody.
    bare = stamp.re is stamps.MONOTONIC and not _OTHER.match(rest, stamp.end())
    return rest[stamp.end() :] if bare else None


def _without_prefix(message: bytes) -> bytes:
    prefix = _PREFIX.match(message)
    return message[prefix.end() :] if prefix else message
