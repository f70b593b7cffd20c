"""What the kernel says of GPUs, their switches and their bus beside XIDs.

The lines are those of NVIDIA's open kernel modules 595 (osapi.c, osinit.c, nv.c, nv-pci.c,
common_nvswitch.h) and of Linux (drivers/pci/pcie/aer.c, drivers/pci/hotplug/pciehp_ctrl.c,
mm/oom_kill.c, kernel/hung_task.c, arch/x86/kernel/cpu/mce).

Users choose the names of their programs and files, with line breaks too, and the kernel prints
them: "NAME[PID]: segfault ... in FILE". So only the first line of a record is the kernel's own for
certain, and of a name nothing is believed but that it is one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from gpu_sentinel.host.kmsg import ADDRESS, DETAIL_CHARACTERS, UNPRINTABLE, joined, unescaped

#: Of one record, so many lines are looked at, and so many characters of each.
_MOST_LINES, _MOST_CHARACTERS = 16, 1024
#: A stack that tells whether a task hangs in the driver follows within so many records.
_STACK_RECORDS = 80
#: The lines of one message about a GPU that fell off the bus, after its first.
_PROBE_LINES = 2
#: Other records begin otherwise. What another device calls itself stands behind its driver's name.
_BEGINNINGS = (
    b"NVRM: ",
    b"nvidia-nvswitch",
    b"pcieport ",
    b"nvidia ",
    b"Out of memory",
    b"Memory cgroup out of memory",
    b"Killed process ",
    b"INFO: task ",
    b"mce: [Hardware Error]: ",
)
_PROBED = re.compile(rf"NVRM: The NVIDIA GPU {ADDRESS}\b")
_PROBED_OFF_BUS = re.compile(r"NVRM: {1,4}(?:installed in this system has )?fallen off the bus\b")
_OFF_BUS = re.compile(rf"NVRM: GPU (?:at )?{ADDRESS}:? (?:GPU )?has fallen off the bus")
_INIT = re.compile(rf"NVRM: GPU (?:at )?{ADDRESS}:? ?RmInitAdapter failed!? ?(.*)")
_REMOVED = re.compile(
    rf"NVRM: Attempting to remove (?:minor )?device (?:\d+ )?{ADDRESS} with non-zero"
)
#: The driver's number for what failed: 0x60 to 0x62 are the firmware of the GPU's system processor,
#: not allowed, not found, not started (osinit.c, RM_INIT_STATUS).
_FIRMWARE = re.compile(r"\(0x6[012]:")
_PROBE_FAILED = "NVRM: The NVIDIA probe routine failed for "
_SXID = re.compile(
    rf"nvidia-nvswitch\d{{1,4}}: SXid \(PCI:{ADDRESS}\): (\d{{1,6}}), (Fatal|Non-fatal), ?(.*)"
)
_OF_XID = (
    rf"NVRM: Xid \((?:PCI:)?{ADDRESS}[^)]{{0,100}}\): ?(\d{{1,3}}), "
    r"(?:pid=[^,]{1,40}, name=.{0,64}?, )?"
)
#: As in NVIDIA's catalogue of XIDs; `i` is a fault that was injected.
_NVLINK = re.compile(
    _OF_XID
    + r"([A-Z][A-Z0-9_/]{0,31}) {1,8}(Fatal|Nonfatal) {1,8}XC ?\d{1,2} {1,4}i ?(\d{1,2}) {1,4}"
    r"Link (-?\d{1,3})\b"
)
_RECOVERY = re.compile(
    _OF_XID + r"GPU recovery action changed from 0x[0-9a-f]{1,8} \([^)]{1,40}\) "
    r"to 0x[0-9a-f]{1,8} \(([^)]{1,40})\)"
)
#: "Correctable" and "Uncorrectable" since Linux 6.9.
_AER = re.compile(
    rf"(?:pcieport|nvidia) {ADDRESS}: (?:AER: )?PCIe Bus Error: severity="
    r"(Correct(?:ed|able)|Uncorrect(?:ed|able) \((?:Non-)?Fatal\))(?:, ?(.*))?"
)
_LINK = re.compile(
    rf"pcieport {ADDRESS}: pciehp: Slot\([^)\s]{{1,20}}\): "
    r"(?:Link Down|Card not present)\s*$"
)
#: The kernel cuts the name of a task behind 15 bytes.
_KILLED = re.compile(
    r"(?:Out of memory(?: \([a-z_]{1,40}\))?: |Memory cgroup out of memory: )?"
    r"Killed process (\d{1,10}) \((.{1,15}?)\)",
    re.DOTALL,
)
_HUNG = re.compile(
    r"INFO: task (.{1,15}):(\d{1,10}) blocked for more than \d{1,9} seconds", re.DOTALL
)
#: Behind the name of a function stands the module it belongs to, with the number of its build where
#: the kernel has CONFIG_STACKTRACE_BUILD_ID.
_IN_DRIVER = re.compile(rb"\[nvidia(?:_\w{1,20})?(?: [0-9a-f]{1,40})?\]\s{0,8}$")
_MCE_LOGGED = "mce: [Hardware Error]: Machine check events logged"
_MCE = re.compile(
    r"mce: \[Hardware Error\]: (CPU \d{1,6}: Machine Check(?: Exception)?: "
    r"[0-9a-f]{1,16} Bank \d{1,3}: ([0-9a-f]{1,16}))\b"
)
#: Bit 61 of a bank's status (MCi_STATUS.UC in Intel's and AMD's manuals).
_UNCORRECTED = 1 << 61


@dataclass(frozen=True, slots=True)
class KernelEvent:
    """Something that the kernel has said.

    Attributes:
        event: its name in the catalogue.
        bus: the address that the line names, as of `bus_address`; empty where it names none.
        code: of an SXid, its number; of an NVLink, XID, unit and link; of XID 154, what it asks
            for.
        pid: of the process that it is about; None where it is about none.
        detail: what the line says more.
    """

    event: str
    bus: str = ""
    code: str = ""
    pid: int | None = None
    detail: str = ""


def begins(message: bytes) -> bool:
    """Whether a message may be one of those that tell an event."""
    return message.startswith(_BEGINNINGS)


class EventLines:
    """Reads the messages of one log, in their order."""

    def __init__(self) -> None:
        """Nothing was read yet."""
        #: The address of the message about the bus, and how many of its lines may come yet.
        self._probed: tuple[str, int] = "", 0
        self._hung: KernelEvent | None = None
        self._stack = _Stack()

    def read(self, message: bytes) -> Iterator[KernelEvent]:
        """The events that a message tells, or completes."""
        if self._hung is not None:
            if self._stack.in_driver(message):
                yield self._hung
            if self._stack.ended:
                self._hung = None
        if not begins(message):
            return
        text = unescaped(message[: _MOST_LINES * _MOST_CHARACTERS])
        # "#012" is rsyslog's, and lines that a journal keeps together are that already.
        first, *more = text.replace("#012", "\n").split("\n")[:_MOST_LINES]
        event = self._line(first[:_MOST_CHARACTERS]) or self._of_task(text[:_MOST_CHARACTERS])
        if event is not None:
            yield event
        if not _PROBED.match(first):
            return
        for line in more:
            event = self._of_driver(line[:_MOST_CHARACTERS])
            if event is not None:
                yield event

    def _line(self, line: str) -> KernelEvent | None:
        if line.startswith("NVRM: "):
            return self._of_driver(line)
        if line.startswith("nvidia-nvswitch"):
            return _sxid(line)
        if line.startswith(("pcieport ", "nvidia ")):
            return _of_bus(line)
        if line.startswith("mce: "):
            return _machine_check(line)
        return None

    def _of_driver(self, line: str) -> KernelEvent | None:
        address, lines = self._probed
        self._probed = address, max(lines - 1, 0)
        if found := _PROBED.match(line):
            self._probed = joined(*found.groups()), _PROBE_LINES
        elif lines and _PROBED_OFF_BUS.match(line):
            self._probed = "", 0
            return KernelEvent("off_bus", address, detail="at probe")
        return _xid(line) or _of_gpu(line)

    def _of_task(self, text: str) -> KernelEvent | None:
        """What is about a process, whose name may have several lines."""
        if found := _HUNG.match(text):
            self._hung = KernelEvent("hung_task", pid=int(found[2]), detail=_printable(found[1]))
            self._stack = _Stack()
        elif found := _KILLED.match(text):
            return KernelEvent("oom_kill", pid=int(found[1]), detail=_printable(found[2]))
        return None


class _Stack:
    """The records behind that of a hung task, which show where it waits.

    Attributes:
        ended: no record that comes belongs to it.
    """

    def __init__(self) -> None:
        self.ended = False
        self._records = _STACK_RECORDS
        self._begun = False

    def in_driver(self, message: bytes) -> bool:
        """Whether a record is a function of the driver; then no more is needed."""
        self._records -= 1
        line = message[:_MOST_CHARACTERS].strip()
        begins_another = line.lower().startswith(b"call trace:")
        # Other reports with a stack may follow at once; only new kernels mark the end.
        self.ended = not self._records or line == b"</TASK>" or (self._begun and begins_another)
        self._begun |= begins_another
        # What the kernel found on the stack and does not trust has a question mark.
        if self.ended or line.startswith(b"? ") or not _IN_DRIVER.search(line[-128:]):
            return False
        self.ended = True
        return True


def _xid(line: str) -> KernelEvent | None:
    """What an XID says of itself that its number does not tell."""
    if found := _NVLINK.match(line):
        event = "nvlink_fatal" if found[6] == "Fatal" else "nvlink_nonfatal"
        event = "nvlink_injected" if int(found[7]) else event
        code = f"{found[4]} {found[5]} link {int(found[8])}"
    elif found := _RECOVERY.match(line):
        event, code = "recovery_action", _printable(found[5]).lower()
    else:
        return None
    return KernelEvent(event, joined(found[1], found[2], found[3]), code)


def _of_gpu(line: str) -> KernelEvent | None:
    if line.startswith(_PROBE_FAILED):
        return KernelEvent("probe_failed", detail=_printable(line[len(_PROBE_FAILED) :]))
    detail = ""
    if found := _OFF_BUS.match(line):
        event = "off_bus"
    elif found := _REMOVED.match(line):
        event = "removed_in_use"
    elif found := _INIT.match(line):
        event = "firmware_failed" if _FIRMWARE.match(found[4]) else "init_failed"
        detail = _printable(found[4])
    else:
        return None
    return KernelEvent(event, joined(found[1], found[2], found[3]), detail=detail)


def _sxid(line: str) -> KernelEvent | None:
    # Two more lines of the same event have its severity as a number, and its registers.
    found = _SXID.match(line)
    if found is None:
        return None
    event = "sxid_fatal" if found[5] == "Fatal" else "sxid_nonfatal"
    address = joined(found[1], found[2], found[3])
    return KernelEvent(event, address, str(int(found[4])), detail=_printable(found[6]))


def _of_bus(line: str) -> KernelEvent | None:
    if found := _AER.match(line):
        kind = found[4]
        event = "pcie_corrected" if kind.startswith("Correct") else "pcie_nonfatal"
        event = "pcie_fatal" if kind.endswith("(Fatal)") else event
    elif found := _LINK.match(line):
        event = "link_down"
    else:
        return None
    address = joined(found[1], found[2], found[3])
    detail = found[5] if found.re is _AER else ""
    return KernelEvent(event, address, detail=_printable(detail or ""))


def _machine_check(line: str) -> KernelEvent | None:
    if line.startswith(_MCE_LOGGED):
        return KernelEvent("mce_logged")
    found = _MCE.match(line)
    if found is None:
        return None
    lost = "Exception" in found[1] or int(found[2], 16) & _UNCORRECTED
    return KernelEvent("mce" if lost else "mce_logged", detail=found[1])


def _printable(text: str) -> str:
    return UNPRINTABLE.sub("?", text)[:DETAIL_CHARACTERS]
