"""What is counted, given to GPUs, published and logged of the kernel's events, at set times."""

from __future__ import annotations

import logging

import pytest

from gpu_sentinel.host import KernelEvent
from gpu_sentinel.model import NOBODY, DeviceId, DeviceSnapshot, ProcessUse, Usage, XidReports
from gpu_sentinel.sampling import SnapshotStore
from gpu_sentinel.sampling.kernelbook import KernelBook
from gpu_sentinel.sampling.xidbook import LOG_SECONDS, STRANGE_SECONDS

GPU, OTHER = DeviceId(0, "GPU-0"), DeviceId(1, "GPU-1")
LOST = DeviceId(7, "pci-0000:99:00.0")
BUS, BRIDGE, ELSEWHERE = "0:3b:0", "0:3a:0", "0:99:0"
SHOWN = ("0", "GPU-0", "0000:3b:00.0")


class Desk:
    """A book with its surroundings."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.store = SnapshotStore()
        self.behind: dict[str, str] | None = {BUS: BUS, BRIDGE: BUS}
        self.known = [(GPU, "00000000:3B:00.0"), (OTHER, "00000000:86:00.0")]
        self.book = KernelBook(
            self.store,
            lambda: self.known,
            behind=lambda bus: self.behind and self.behind.get(bus, ""),
            stranger={ELSEWHERE: LOST}.get,
            clock=lambda: self.now,
        )

    def take(self, *events: KernelEvent, new: bool = True, wall: float = 5.0) -> None:
        for event in events:
            self.book.take(event, wall, new=new)

    def shown(self) -> dict[tuple[str, ...], XidReports]:
        self.now += 1
        self.book.settle()
        return {
            (s.gpu, s.uuid, s.pci_bus_id, s.event, s.code): reports
            for s, reports in self.store.current.kernel_events.items()
        }

    def uses(self, gpu: DeviceId, *pids: int) -> None:
        self.store.put_device(DeviceSnapshot(gpu))
        processes = tuple(ProcessUse(pid, None, "x", NOBODY) for pid in pids)
        self.store.put_usage(Usage(gpu, self.now, 5.0, processes), self.store.session)


@pytest.fixture
def desk() -> Desk:
    return Desk()


def test_counts_and_times(desk: Desk):
    assert desk.shown() == {}
    desk.take(KernelEvent("init_failed", BUS), new=False, wall=4.0)
    assert desk.shown() == {(*SHOWN, "init_failed", ""): XidReports(0, 4.0)}
    desk.take(KernelEvent("init_failed", BUS), KernelEvent("init_failed", BUS), wall=6.0)
    assert desk.shown() == {(*SHOWN, "init_failed", ""): XidReports(2, 6.0)}


def test_the_bus_of_a_gpu_and_that_of_others(desk: Desk):
    """An error of the port above a GPU is the GPU's; one of a network card is nobody's."""
    desk.take(KernelEvent("pcie_fatal", BUS), KernelEvent("pcie_fatal", BRIDGE))
    desk.take(KernelEvent("pcie_fatal", "0:1:0"), KernelEvent("link_down", "0:1:0"))
    assert desk.shown() == {(*SHOWN, "pcie_fatal", ""): XidReports(2, 5.0)}


def test_events_of_the_bus_wait_until_somebody_has_looked_at_it(desk: Desk):
    """What the log held before is read at once, and the bus is listed a moment later."""
    behind, desk.behind = desk.behind, None
    desk.take(KernelEvent("pcie_fatal", BRIDGE), KernelEvent("pcie_fatal", "0:1:0"), new=False)
    desk.take(*[KernelEvent("link_down", BRIDGE)] * 1000)
    assert desk.shown() == {}
    desk.behind = behind
    assert set(desk.shown()) == {(*SHOWN, "pcie_fatal", ""), (*SHOWN, "link_down", "")}
    assert desk.shown()[(*SHOWN, "pcie_fatal", "")] == XidReports(0, 5.0)


def test_switches_and_the_host(desk: Desk):
    desk.take(KernelEvent("sxid_fatal", "0:84:0", "20034"), KernelEvent("mce"))
    assert set(desk.shown()) == {
        ("", "", "0000:84:00.0", "sxid_fatal", "20034"),
        ("", "", "", "mce", ""),
    }


def test_a_gpu_that_is_known_later_or_never(desk: Desk):
    desk.take(KernelEvent("off_bus", ELSEWHERE), KernelEvent("off_bus", "0:77:0"))
    assert desk.shown() == {}, "it may tell its address yet"
    desk.now += STRANGE_SECONDS
    lost = (LOST.name, LOST.uuid, "0000:99:00.0", "off_bus", "")
    assert set(desk.shown()) == {lost}, "what is at the other address is another driver's"
    desk.known.append((DeviceId(2, "GPU-2"), "00000000:99:00.0"))
    assert set(desk.shown()) == {("2", "GPU-2", "0000:99:00.0", "off_bus", "")}


def test_processes(desk: Desk):
    """A victim counts for each GPU that it used; one that used none is nobody's business."""
    desk.uses(GPU, 42, 43)
    desk.uses(OTHER, 42)
    desk.take(KernelEvent("oom_kill", pid=99), KernelEvent("hung_task", pid=99))
    desk.take(KernelEvent("oom_kill", pid=43), new=False)
    assert set(desk.shown()) == {("", "", "", "hung_task", "")}
    desk.take(KernelEvent("oom_kill", pid=42), KernelEvent("hung_task", pid=43))
    assert set(desk.shown()) == {
        ("", "", "", "hung_task", ""),
        (*SHOWN, "oom_kill", ""),
        ("1", "GPU-1", "0000:86:00.0", "oom_kill", ""),
        (*SHOWN, "hung_task", ""),
    }


def test_many_codes_of_one_device_leave_room_for_those_of_others(desk: Desk):
    """A board whose links all fail tells of each; what is too much has no code, and is counted."""
    for number in range(200):
        desk.take(KernelEvent("nvlink_fatal", BUS, f"145 RLW_REMAP link {number}"))
    desk.take(KernelEvent("nvlink_fatal", "0:86:0", "145 RLW_REMAP link 1"))
    shown = desk.shown()
    assert ("1", "GPU-1", "0000:86:00.0", "nvlink_fatal", "145 RLW_REMAP link 1") in shown
    assert shown[(*SHOWN, "nvlink_fatal", "")].count == 200 - 64
    assert sum(reports.count for reports in shown.values()) == 201


def test_a_flood_is_bounded_and_told_once_a_minute(desk: Desk, caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.DEBUG, "gpu_sentinel.sampling.kernelbook")
    for number in range(1000):
        desk.take(KernelEvent("sxid_nonfatal", "0:84:0", str(number)))
        desk.take(KernelEvent("init_failed", f"0:{number:x}:0"))
        desk.take(KernelEvent("nvlink_fatal", f"0:{number % 256:x}:0", str(number)))
    assert len(desk.shown()) <= 512
    desk.take(KernelEvent("mce", detail="CPU 1"))
    assert ("", "", "", "mce", "") in desk.shown(), "others are told still"
    caplog.clear()
    desk.take(*[KernelEvent("mce", detail="CPU 1")] * 500)
    assert not caplog.records
    desk.now += LOG_SECONDS
    desk.take(KernelEvent("mce", detail="CPU 1"))
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert record.fields == {"event": "mce", "severity": "warning", "detail": "CPU 1", "more": 500}
