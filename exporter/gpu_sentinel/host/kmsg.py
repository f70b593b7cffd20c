"""What a record of the kernel log says, as read from /dev/kmsg: pure, and ready for anything.

The format is that of the kernel's Documentation/ABI/testing/dev-kmsg, the line about an XID that
of kernel_rc.c in NVIDIA's open kernel modules (and older spellings of it, from bug reports).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from gpu_sentinel.catalogue.xids import MOST

#: Of the text behind an XID, for the log.
DETAIL_CHARACTERS = 200

_RECORD = re.compile(rb"(\d{1,10}),(\d{1,20}),(\d{1,20}),[^;\n]{1,200};([^\n]*)")
_ESCAPE = re.compile(rb"\\x([0-9a-fA-F]{2})")
#: The domain may be missing (drivers before 2010), and the function is mostly.
ADDRESS = r"(?:([0-9a-fA-F]{1,8}):)?([0-9a-fA-F]{1,4}):([0-9a-fA-F]{1,2})(?:\.[0-7])?"
_BUS = re.compile(ADDRESS)
#: Behind the address MIG adds the instances, as decimal numbers: `GPU-I:05 GPU-CI:02`.
_XID = re.compile(
    rf"(?:NVRM: )+Xid \((?:PCI:)?{ADDRESS}(?: ([^)]{{0,100}}))?\): ?(\d{{1,10}})\b,? ?(.*)"
)
_GPU_INSTANCE = re.compile(r"GPU-I:(\d{1,4})\b")
#: The process whose channel it is, by its number on the host; `'<unknown>'` where none is known.
_PID = re.compile(r"pid='?(\d{1,10})\b")
_LOOKS_LIKE_XID = re.compile(r"(?:NVRM: )+Xid\b")
UNPRINTABLE = re.compile(r"[^ -~]+")


@dataclass(frozen=True, slots=True)
class XidLine:
    """An XID in the log.

    Attributes:
        bus: the GPU's address as of `bus_address`.
        detail: what the line says more.
        pid: of the process that is named; None where none is.
        gpu_instance: of MIG; None where the line is about the whole GPU.
    """

    bus: str
    xid: int
    detail: str
    pid: int | None = None
    gpu_instance: int | None = None


@dataclass(frozen=True, slots=True)
class Record:
    """One record.

    Attributes:
        sequence: grows by one with every record.
        seconds: since the start of the machine, by a clock that stands still in suspend.
        xids: what it reports; mostly nothing.
        odd: it begins like a report of an XID, and is none.
        message: what the kernel said, as it is escaped in the record.
    """

    sequence: int
    seconds: float
    xids: tuple[XidLine, ...] = ()
    odd: bool = False
    message: bytes = b""


@lru_cache(maxsize=256)
def bus_address(text: str) -> str | None:
    """A PCI address in one spelling: `00000000:3B:00.0` and `0000:3b:00` are `0:3b:0`."""
    match = _BUS.fullmatch(text.strip())
    return joined(*match.groups()) if match else None


def pci_address(bus: str) -> str:
    """What `bus_address` has made of an address, as sysfs spells it: `0000:3b:00.0`."""
    domain, number, device = (int(part, 16) for part in bus.split(":"))
    return f"{domain:04x}:{number:02x}:{device:02x}.0"


def parse(line: bytes) -> Record | None:
    """The record in a line; None where it is none."""
    match = _RECORD.match(line)
    if match is None:
        return None
    sequence, seconds = int(match[2]), int(match[3]) / 1e6
    return Record(sequence, seconds, *xids(match[4]), match[4])


def xids(message: bytes) -> tuple[tuple[XidLine, ...], bool]:
    """What a message of the kernel reports; and whether it only begins like such a report."""
    # Looked for first in the bytes: nearly all records are about something else. Whatever another
    # device calls itself stands behind the name of its driver, so it cannot pass for a report.
    if not message.startswith(b"NVRM:"):
        return (), False
    # A text of several lines is one record, with the ends of lines escaped. Those behind the first
    # may be from the name of a program or a file, which its user has chosen: "NAME[PID]: segfault".
    line = unescaped(message).partition("\n")[0]
    xid = _xid(line)
    return ((), bool(_LOOKS_LIKE_XID.match(line))) if xid is None else ((xid,), False)


def _xid(text: str) -> XidLine | None:
    match = _XID.match(text)
    if match is None or not 1 <= int(match[5]) <= MOST:
        return None
    pid, instance = _PID.match(match[6]), _GPU_INSTANCE.search(match[4] or "")
    return XidLine(
        joined(match[1], match[2], match[3]),
        int(match[5]),
        UNPRINTABLE.sub("?", match[6])[:DETAIL_CHARACTERS],
        pid=(int(pid[1]) or None) if pid else None,
        gpu_instance=int(instance[1]) if instance else None,
    )


def joined(domain: str | None, bus: str, device: str) -> str:
    """What `ADDRESS` has found, in the spelling of `bus_address`."""
    return f"{int(domain or '0', 16):x}:{int(bus, 16):x}:{int(device, 16):x}"


def unescaped(message: bytes) -> str:
    r"""The kernel writes what is not printable, and backslashes, as `\xNN`."""
    plain = _ESCAPE.sub(lambda match: bytes([int(match[1], 16)]), message)
    return plain.decode("utf-8", "replace")
