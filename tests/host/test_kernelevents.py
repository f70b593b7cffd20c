"""Events of the kernel log that are no XIDs: real lines, cut short, mixed, and of a flood."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpu_sentinel.catalogue.kernel import KERNEL_EVENTS
from gpu_sentinel.host.kernelevents import EventLines, KernelEvent
from gpu_sentinel.host.records import Records

#: A stack as Linux 6.8 prints it, of a process that waits for a lock of the driver.
STACK = [
    b"      Tainted: P           OE      6.8.0-45-generic #45-Ubuntu",
    b'"echo 0 > /proc/sys/kernel/hung_task_timeout_secs" disables this message.',
    b"task:python3         state:D stack:0     pid:4242  tgid:4242  ppid:1      flags:0x00000002",
    b"Call Trace:",
    b" <TASK>",
    b" __schedule+0x27c/0x6b0",
    b" rwsem_down_read_slowpath+0x25b/0x4d0",
    b" nvidia_ioctl+0x5f/0x840 [nvidia]",
]


def read(*messages: bytes) -> list[KernelEvent]:
    lines = EventLines()
    return [event for message in messages for event in lines.read(message)]


def named(*messages: bytes) -> list[tuple[str, str, str]]:
    return [(event.event, event.bus, event.code) for event in read(*messages)]


@pytest.mark.parametrize("event", KERNEL_EVENTS.values(), ids=KERNEL_EVENTS)
def test_the_line_of_the_catalogue(event):
    """What the page shows as a line that tells an event is one that is understood so."""
    messages = [event.line.encode()]
    if event.name == "hung_task":
        messages += STACK
    assert [found.event for found in read(*messages)] == [event.name]


@pytest.mark.parametrize(
    ("line", "event", "bus", "code"),
    [
        # NVIDIA/NVSentinel#155 is the one of the catalogue; with XID 79:
        ("NVRM: GPU 0000:01:00.0: GPU has fallen off the bus.", "off_bus", "0:1:0", ""),
        ("NVRM: GPU at 0000:01:00.0 has fallen off the bus.", "off_bus", "0:1:0", ""),
        # open-gpu-kernel-modules, osinit.c: RM_INIT_FIRMWARE_FETCH_FAILED is 0x61
        (
            "NVRM: GPU 0000:4e:00.0: RmInitAdapter failed! (0x61:0x56:1697)",
            "firmware_failed",
            "0:4e:0",
            "",
        ),
        (
            "NVRM: GPU 0000:4e:00.0: RmInitAdapter failed! (0x26:0x56:1474)",
            "init_failed",
            "0:4e:0",
            "",
        ),
        # NVIDIA/nvtrust#124
        (
            (
                "nvidia-nvswitch3: SXid (PCI:0000:04:00.0): 22013, Non-fatal, Link 44 "
                "Minion Link DLREQ interrupt"
            ),
            "sxid_nonfatal",
            "0:4:0",
            "22013",
        ),
        (
            "nvidia-nvswitch0: SXid (PCI:0000:05:00.0): 10001, Fatal, Unexpected PRI error",
            "sxid_fatal",
            "0:5:0",
            "10001",
        ),
        # pop-os/pop#3363 and #751, hirschmann/nbfc#181, ellyq/coreboot#4, rwth-i6/returnn#1500
        (
            (
                "pcieport 0000:00:03.1: PCIe Bus Error: severity=Correctable, "
                "type=Data Link Layer, (Transmitter ID)"
            ),
            "pcie_corrected",
            "0:0:3",
            "",
        ),
        (
            (
                "pcieport 0000:00:1c.5: PCIe Bus Error: severity=Corrected, "
                "type=Physical Layer, id=00e5(Receiver ID)"
            ),
            "pcie_corrected",
            "0:0:1c",
            "",
        ),
        (
            (
                "pcieport 0000:00:1d.0: AER: PCIe Bus Error: severity=Corrected, "
                "type=Physical Layer, (Receiver ID)"
            ),
            "pcie_corrected",
            "0:0:1d",
            "",
        ),
        (
            (
                "pcieport 0000:00:03.0: PCIe Bus Error: severity=Uncorrected (Fatal), "
                "type=Transaction Layer, (Requester ID)"
            ),
            "pcie_fatal",
            "0:0:3",
            "",
        ),
        (
            "nvidia 0000:03:00.0: AER: PCIe Bus Error: severity=Uncorrectable (Non-Fatal), type=x",
            "pcie_nonfatal",
            "0:3:0",
            "",
        ),
        (
            "NVRM: Xid (PCI:0000:00:1e): 149, NETIR_LINK_EVT Fatal XC 1 i 2 Link 01 [0x0000000a]",
            "nvlink_injected",
            "0:0:1e",
            "149 NETIR_LINK_EVT link 1",
        ),
        (
            "NVRM: Xid (PCI:0019:01:00): 149, pid=12, name=x y, NETIR Fatal XC0 i0 Link -1 (0x0)",
            "nvlink_fatal",
            "19:1:0",
            "149 NETIR link -1",
        ),
        ("pcieport 0000:00:01.0: pciehp: Slot(1): Card not present", "link_down", "0:0:1", ""),
        # the status' bit 61 (UC); canonical bug reports, and rasdaemon's of corrected errors
        (
            "mce: [Hardware Error]: CPU 1: Machine Check Exception: 5 Bank 0: b200000000800400",
            "mce",
            "",
            "",
        ),
        ("mce: [Hardware Error]: CPU 0: Machine Check: 0 Bank 6: ee0000000040110a", "mce", "", ""),
        (
            "mce: [Hardware Error]: CPU 3: Machine Check: 0 Bank 7: 8c00004000010091",
            "mce_logged",
            "",
            "",
        ),
        (
            "NVRM: Xid (PCI:0000:5f:00): 145, pid=1, name=a, b, RLW_REMAP Fatal XC0 i0 Link 2 (0)",
            "nvlink_fatal",
            "0:5f:0",
            "145 RLW_REMAP link 2",
        ),
    ],
)
def test_lines_from_reports(line: str, event: str, bus: str, code: str):
    assert named(line.encode()) == [(event, bus, code)]


@pytest.mark.parametrize(
    "line",
    [
        "NVRM: loading NVIDIA UNIX Open Kernel Module for x86_64  570.158.01  Release Build",
        "NVRM: Xid (PCI:0000:44:00): 79, GPU has fallen off the bus.",
        "NVRM: The NVIDIA GPU 0000:b3:00.0 (PCI ID: 10de:1180)",
        "NVRM: fallen off the bus and is not responding to commands.",
        # The same event as the line before it, see nvtrust#124.
        "nvidia-nvswitch3: SXid (PCI:0000:04:00.0): 22013, Data {0x0000002b, 0x0000002b}",
        (
            "nvidia-nvswitch3: SXid (PCI:0000:04:00.0): 22013, Severity 0 Engine "
            "instance 44 Sub-engine instance 00"
        ),
        "pcieport 0000:00:01.0: AER: Corrected error message received from 0000:01:00.0",
        "pcieport 0000:00:03.0:   device [8086:6f08] error status/mask=00004020/00000000",
        (
            "nvme 0000:03:00.0: AER: PCIe Bus Error: severity=Corrected, "
            "type=Physical Layer, (Receiver ID)"
        ),
        "pcieport 0000:00:01.0: pciehp: Slot(1): Link Up",
        "pcieport 0000:00:01.0: pciehp: Slot(1): Link Down/Up ignored (recovered by DPC)",
        "pcieport 0000:00:01.0: pciehp: Slot(1): Card not present ignored",
        # The driver may go on with a file of another name, or without.
        "nvidia 0000:01:00.0: Direct firmware load for nvidia/x.bin failed with error -2",
        "mce: [Hardware Error]: TSC 0 ADDR 1234 MISC 5678",
        "oom_reaper: reaped process 4242 (python3), now anon-rss:0kB",
        "usb 1-1: Product: nvidia-nvswitch3: SXid (PCI:0000:04:00.0): 22013, Fatal, x",
        "systemd[1]: Out of memory: Killed process 1 (x)",
    ],
)
def test_lines_that_tell_nothing(line: str):
    assert not read(line.encode())


def test_the_three_lines_of_one_event_come_in_any_form():
    lines = KERNEL_EVENTS["off_bus"].line.encode().split(b"\n")
    expected = [("off_bus", "0:b3:0", "")]
    assert named(*lines) == expected, "a record each"
    assert named(rb"\x0a".join(lines)) == expected, "as /dev/kmsg has it"
    assert named(b"#012".join(lines)) == expected, "as rsyslog has it"
    between = [lines[0], b"usb 1-1: a mouse", lines[1], lines[2]]
    assert named(*between) == expected, "another driver in between"
    assert not named(lines[0], b"NVRM: a", b"NVRM: b", lines[2]), "too far apart"
    other = b"NVRM: The NVIDIA GPU 0000:b4:00.0"
    assert named(lines[0], other, lines[1], lines[2]) == [("off_bus", "0:b4:0", "")]
    xid = b"NVRM: Xid (PCI:0000:44:00): 79, GPU has fallen off the bus."
    assert not named(lines[0], xid), "another GPU's"
    third = b"NVRM: GPU 0000:44:00.0: GPU has fallen off the bus."
    assert named(lines[0], third) == [("off_bus", "0:44:0", "")]
    old = b"NVRM: installed in this system has fallen off the bus and is not responding"
    assert named(lines[0], old) == expected


@pytest.mark.parametrize(
    "name", [b"NVRM: ", b"nvidia ", b"pcieport ", b"INFO: task ", b"mce: ", b"x"]
)
@pytest.mark.parametrize("event", KERNEL_EVENTS.values(), ids=KERNEL_EVENTS)
def test_names_of_programs_and_files_tell_nothing(name: bytes, event):
    """A user may call a program or a file as he likes, also with line breaks."""
    for end in (rb"\x0a", b"#012", b"\n"):
        line = end.join(event.line.encode().split(b"\n"))
        printed = b"[4242]: segfault at 0 ip 0000 sp 0000 error 4 in x" + end + line
        assert not read(name + printed, *STACK)
        # Of a name, 15 bytes are printed.
        assert not read((name + end)[:15] + printed, *STACK)
        assert not read((end + name)[:15] + printed, *STACK)


def test_a_task_that_hangs_elsewhere():
    """Only a stack with functions of the driver tells that it hangs there."""
    first = KERNEL_EVENTS["hung_task"].line.encode()
    elsewhere = [*STACK[:-1], b" nfs_wait_bit_killable+0x12/0x60 [nfs]"]
    assert not read(first, *elsewhere)
    found = read(first, *elsewhere, first, *STACK, STACK[-1])
    assert [(event.event, event.pid) for event in found] == [("hung_task", 4242)]
    assert not read(first, *[b" x"] * 100, STACK[-1]), "a stack that comes much later is another's"
    stray = [*STACK[:-1], b" ? nvidia_ioctl+0x5f/0x840 [nvidia]", b" nfs_wait+0x12/0x60 [nfs]"]
    assert not read(first, *stray), "of an earlier call"
    assert not read(first, *elsewhere, b" </TASK>", STACK[-1]), "behind the end"
    assert not read(first, *elsewhere, b"WARNING: CPU: 1 PID: 7", b"Call trace:", STACK[-1])
    build = STACK[-1][:-1] + b" 8c00f1b1a3c5d7e90123456789abcdef01234567]"
    assert [event.event for event in read(first, *STACK[:-1], build)] == ["hung_task"]


def test_a_hung_task_of_several_lines():
    for end in (rb"\x0a", b"#012", b"\n"):
        first = b"INFO: task a" + end + b"b:4242 blocked for more than 122 seconds."
        assert [(e.event, e.pid) for e in read(first, *STACK)] == [("hung_task", 4242)]


def test_victims():
    for line in (
        b"Out of memory: Killed process 4242 (python3) total-vm:1kB, anon-rss:2kB",
        b"Memory cgroup out of memory: Killed process 4242 (a (b) c) total-vm:1kB",
        b"Killed process 4242 (python3), UID 1000, total-vm:1kB",
        rb"Out of memory: Killed process 4242 (a\x0ab) total-vm:1kB",
    ):
        assert [(e.event, e.pid) for e in read(line)] == [("oom_kill", 4242)]


@given(st.binary(max_size=300), st.sampled_from(sorted(KERNEL_EVENTS)), st.integers(0, 200))
def test_what_is_cut_or_torn_is_no_crash(rubbish: bytes, name: str, cut: int):
    line = KERNEL_EVENTS[name].line.encode()
    for message in (line[:cut] + rubbish, rubbish + line, line + rubbish):
        for event in read(message, rubbish, *STACK):
            assert event.event in KERNEL_EVENTS
            assert event.detail.isprintable()


def test_records_of_every_form():
    """As the kernel's device, syslog and a journal have them; other programs tell nothing."""
    line = b"nvidia-nvswitch3: SXid (PCI:0000:84:00.0): 20034, Fatal, Link 30 LTSSM Fault Up"
    records = Records(1e9, lambda: 1.7e9, text=True)
    lines = (
        b"3,1,1000000,-;" + line,
        b"Nov 14 22:00:00 node kernel: [   12.345678] " + line,
        b"Nov 14 22:00:01 node evil[1]: " + line,
        b'{"_TRANSPORT":"kernel","__REALTIME_TIMESTAMP":"1600000000000000","MESSAGE":"%s"}' % line,
    )
    found = [report for text in lines for report in records.read(text, new=False)]
    assert [report.line.event for report in found] == ["sxid_fatal"] * 3
    assert found[0].wall == 1e9 + 1
    assert found[2].wall == 1.6e9
    assert records.counts["event"] == 3
    assert records.counts["other"] == 1


def test_the_stack_of_an_old_log_has_the_time_of_its_first_line():
    records = Records(1e9, lambda: 1.7e9, text=True)
    lines = [KERNEL_EVENTS["hung_task"].line.encode(), *STACK]
    found = [
        report
        for line in lines
        for report in records.read(b"2023-01-02T03:04:05.0+00:00 node kernel: " + line, new=False)
    ]
    assert [(r.line.event, r.wall) for r in found] == [("hung_task", 1672628645.0)]
