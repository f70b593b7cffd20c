"""What the kernel tells of GPUs beside XIDs: what each event means, and what to do about it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from gpu_sentinel.catalogue.xids import URGENT_SECONDS, Severity


class Scope(Enum):
    """What an event is about, which its labels name as far as they can."""

    GPU = "the GPU at the address of the line"
    BUS = "the GPU at the address, or behind the bridge that has it; nothing of other devices"
    SWITCH = "the NVSwitch at the address, which no GPU's labels name"
    PROCESS = "each GPU that the process of the line used"
    HOST = "the whole host"


@dataclass(frozen=True, slots=True)
class Event:
    """One kind of event.

    Attributes:
        line: of a log, as an example, without what stands before the message.
        meaning, action: sentences.
    """

    name: str
    severity: Severity
    scope: Scope
    line: str
    meaning: str
    action: str


_RESTART = (
    "Take the work off the host, switch it off and on again; if it comes back, have board and slot "
    "checked."
)

KERNEL_EVENTS: Mapping[str, Event] = {
    event.name: event
    for event in (
        Event(
            "off_bus",
            Severity.FATAL,
            Scope.GPU,
            "NVRM: The NVIDIA GPU 0000:b3:00.0\n"
            "NVRM: (PCI ID: 10de:26b5) installed in this system has\n"
            "NVRM: fallen off the bus and is not responding to commands.",
            "The GPU does not answer on the bus; where that is found when the driver is loaded, "
            "there is no XID.",
            _RESTART,
        ),
        Event(
            "init_failed",
            Severity.FATAL,
            Scope.GPU,
            "NVRM: GPU 0000:01:00.0: RmInitAdapter failed! (0x22:0x56:894)",
            "The driver could not start the GPU, so nobody can use it.",
            "Reset the GPU, or restart the host; if it comes back, read the lines before it in "
            "`dmesg`, and have the board checked.",
        ),
        Event(
            "firmware_failed",
            Severity.FATAL,
            Scope.GPU,
            "NVRM: GPU 0000:01:00.0: RmInitAdapter failed! (0x62:0x65:1860)",
            "The firmware of the GPU's system processor (GSP) was not found or did not start, so "
            "nobody can use the GPU.",
            "Check that /lib/firmware/nvidia has the version of the driver, then restart the host.",
        ),
        Event(
            "probe_failed",
            Severity.WARNING,
            Scope.HOST,
            "NVRM: The NVIDIA probe routine failed for 1 device(s).",
            "The driver was loaded and could not take up a GPU; the lines before it say which, and "
            "why.",
            "Read `dmesg | grep NVRM`: the driver may be too new or too old for the GPU, or the "
            "GPU does not answer.",
        ),
        Event(
            "removed_in_use",
            Severity.WARNING,
            Scope.GPU,
            "NVRM: Attempting to remove device 0000:3b:00.0 with non-zero usage count!",
            "The GPU was unbound from the driver while a process held it; who unbinds it waits.",
            "End what uses the GPU: `fuser -v /dev/nvidia*`.",
        ),
        Event(
            "link_down",
            Severity.FATAL,
            Scope.BUS,
            "pcieport 0000:3a:00.0: pciehp: Slot(12): Link Down",
            "The PCIe link to the GPU went down, or its slot is empty.",
            _RESTART,
        ),
        Event(
            "pcie_corrected",
            Severity.INFO,
            Scope.BUS,
            "pcieport 0000:3a:00.0: PCIe Bus Error: severity=Correctable, type=Data Link Layer, "
            "(Transmitter ID)",
            "The PCIe link corrected an error (AER).",
            "Nothing; many in an hour point at the slot, a riser or a cable.",
        ),
        Event(
            "pcie_nonfatal",
            Severity.WARNING,
            Scope.BUS,
            "nvidia 0000:3b:00.0: PCIe Bus Error: severity=Uncorrectable (Non-Fatal), "
            "type=Transaction Layer, (Requester ID)",
            "A transfer over PCIe failed (AER); the link goes on.",
            "Check slot, riser and cable if it comes back.",
        ),
        Event(
            "pcie_fatal",
            Severity.RESET,
            Scope.BUS,
            "pcieport 0000:3a:00.0: AER: PCIe Bus Error: severity=Uncorrected (Fatal), "
            "type=Transaction Layer, (Requester ID)",
            "The PCIe link failed (AER), and the kernel has reset it: what the GPU did is lost.",
            "Reset the GPU, or restart the host; check slot, riser and cable if it comes back.",
        ),
        Event(
            "sxid_fatal",
            Severity.RESET,
            Scope.SWITCH,
            "nvidia-nvswitch3: SXid (PCI:0000:84:00.0): 20034, Fatal, Link 30 LTSSM Fault Up",
            "An NVSwitch reported an error that ends the NVLink traffic of its GPUs; `code` is the "
            "number of the SXid.",
            "Take the work off the host; reset its GPUs and switches together, or restart it; look "
            "the number up in NVIDIA's Fabric Manager user guide.",
        ),
        Event(
            "sxid_nonfatal",
            Severity.INFO,
            Scope.SWITCH,
            "nvidia-nvswitch3: SXid (PCI:0000:04:00.0): 22013, Non-fatal, Link 44 Minion Link "
            "DLREQ interrupt",
            "An NVSwitch reported an error and goes on; `code` is the number of the SXid.",
            "Nothing, unless NVLink errors rise as well.",
        ),
        Event(
            "nvlink_fatal",
            Severity.RESET,
            Scope.GPU,
            "NVRM: Xid (PCI:0009:01:00): 149, NETIR_LINK_EVT  Fatal   XC0 i0 Link 01 (0x021425c6 "
            "0x00000000 0x00000000 0x00000000 0x00000000 0x00000000)",
            "An XID of 144 to 150 that says so: a part of the GPU's NVLink failed; `code` has XID, "
            "unit and link.",
            "Take the work off the GPUs at both ends and reset them; do what XID 154 asks for.",
        ),
        Event(
            "nvlink_nonfatal",
            Severity.INFO,
            Scope.GPU,
            "NVRM: Xid (PCI:0000:5f:00): 145, RLW_REMAP Nonfatal XC0 i0 Link 02 (0x00000004 "
            "0x00000001 0x00000000 0x00000000)",
            "An XID of 144 to 150 that says so: a part of the GPU's NVLink met an error and goes "
            "on.",
            "Nothing; if there are many of one link, check its connector.",
        ),
        Event(
            "nvlink_injected",
            Severity.INFO,
            Scope.GPU,
            "NVRM: Xid (PCI:0000:5f:00): 145, RLW_REMAP Fatal XC0 i1 Link 02 (0x00000004 "
            "0x00000001 0x00000000 0x00000000)",
            "An XID of 144 to 150 of a fault that a test has injected.",
            "Nothing.",
        ),
        Event(
            "recovery_action",
            Severity.INFO,
            Scope.GPU,
            "NVRM: Xid (PCI:0009:01:00): 154, GPU recovery action changed from 0x0 (None) to 0x4 "
            "(Drain and Reset)",
            "XID 154: the driver asks for something to be done, `code` says what. "
            "`gpu_recovery_action` says what it asks for now, and its alert speaks for both.",
            "Do what is asked for.",
        ),
        Event(
            "oom_kill",
            Severity.APPLICATION,
            Scope.PROCESS,
            "Memory cgroup out of memory: Killed process 4242 (python3) total-vm:104857600kB, "
            "anon-rss:8388608kB, file-rss:0kB, shmem-rss:0kB, UID:1000 pgtables:20000kB "
            "oom_score_adj:0",
            "The kernel ended a process that used the GPU because the host's memory, or that of "
            "its container, was full.",
            "Give the job more memory of the host, or have it use less.",
        ),
        Event(
            "hung_task",
            Severity.WARNING,
            Scope.PROCESS,
            "INFO: task python3:4242 blocked for more than 122 seconds.",
            "A process has been waiting inside the driver for minutes: the stack behind the line "
            "has functions of `nvidia`. Without the labels of a GPU where nobody knows which it "
            "used.",
            "Look for an XID and a hung GPU; the process can only be ended when the driver lets go "
            "of it.",
        ),
        Event(
            "mce",
            Severity.WARNING,
            Scope.HOST,
            "mce: [Hardware Error]: CPU 4: Machine Check Exception: 5 Bank 3: be00000000800400",
            "The processor or the host's memory reported an error that was not corrected "
            "(bit 61 of the status, or an exception).",
            "Read `ras-mc-ctl --errors` or the lines behind it in `dmesg`; have the host checked.",
        ),
        Event(
            "mce_logged",
            Severity.INFO,
            Scope.HOST,
            "mce: [Hardware Error]: Machine check events logged",
            "The processor or the host's memory reported an error, mostly one that was corrected.",
            "Nothing; `ras-mc-ctl --errors` shows which; have the host checked if there are many.",
        ),
    )
}


def names(*severities: Severity) -> str:
    """The events of these severities, as a regular expression."""
    return "|".join(e.name for e in KERNEL_EVENTS.values() if e.severity in severities)


def urgent(event: str, age: float) -> bool:
    """Whether somebody has to act now on an event of so many seconds ago."""
    about = KERNEL_EVENTS.get(event)
    return about is not None and about.severity.pages and age <= URGENT_SECONDS


def complaint(event: str, *, gpu: str, pci_bus_id: str, code: str) -> str:
    """What is wrong, as a sentence; of an event that the labels describe so."""
    what = f"{event} {code}".strip()
    device = f"GPU {gpu}" if gpu else f"the NVSwitch at {pci_bus_id}" if pci_bus_id else "the host"
    return f"the kernel has reported {what} of {device}: {KERNEL_EVENTS[event].action}"
