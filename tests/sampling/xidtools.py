"""What tests of XIDs with the real threads share: a kernel log, and what is shown."""

from __future__ import annotations

from pathlib import Path

import pynvml
import pytest

from gpu_sentinel.model import XidReports
from gpu_sentinel.sampling import Inventory

ALL = (0, 1)
SCENARIO = "driver-reload"


def reports(running, gpu: int = 0) -> dict[int, XidReports]:
    """By XID, of the GPU of this index."""
    return {
        xid: report
        for id_, found in running.current.xids.items()
        if id_.index == gpu
        for xid, report in found.items()
    }


def count(running, xid: int, gpu: int = 0) -> int:
    found = reports(running, gpu).get(xid)
    return found.count if found else 0


def watching(running) -> bool:
    return running.inventory.xids.source == "nvml" and all(
        gpu.index in events[0]
        for events in pynvml.nvmlLib.event_sets.values()
        for gpu in running.simulation.gpus
    )


def with_log(path: Path):
    """For `run`: the inventory reads this kernel log."""

    def change(running) -> None:
        inventory = running.inventory
        running.inventory = Inventory(
            inventory._watched._driver,
            running.store,
            pace=lambda: running.pace,
            stats=running.stats,
            expected_gpus=lambda: None,
            pci_gpus=running.simulation.pci_gpus,
            kernel_log=path,
        )

    return change


def line(bus: str, xid: int, sequence: int = 1) -> str:
    return f"3,{sequence},1000000,-;NVRM: Xid (PCI:{bus}): {xid}, pid=1, name=x, y\n"


MOUSE = "6,2,3,-;usb 1-1: a mouse\n"


def add(path: Path, text: str) -> None:
    with path.open("a") as file:
        file.write(text)


def both(running) -> bool:
    """Whether the log is read and NVML asked, for every GPU."""
    return running.inventory.xids.source == "both" and all(
        gpu.index in events[0]
        for events in pynvml.nvmlLib.event_sets.values()
        for gpu in running.simulation.gpus
    )


def told(caplog: pytest.LogCaptureFixture) -> list[str | None]:
    """Why NVML is asked too, or None where the log is enough, by line of our own log."""
    return [
        record.fields.get("reason")
        for record in caplog.records
        if record.message.startswith("XIDs are read")
    ]


def address(running, gpu: int) -> str:
    """As the driver writes it into the log."""
    identity = running.gpu(gpu).identity
    return identity["pci_bus_id"].lower()[4:].partition(".")[0]
