"""XIDs with the real threads: from NVML's events, and from a kernel log that is a file."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pynvml
import pytest

from gpu_sentinel.host import kernellog
from gpu_sentinel.model import XidReports
from gpu_sentinel.sampling import Inventory, xidtrust
from gpu_sentinel.sampling.xidevents import WAIT_SECONDS

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


def test_events_are_counted(run, eventually):
    running = run(SCENARIO)
    eventually(lambda: watching(running), 3, "events are waited for")
    before = time.time()
    for _ in range(3):
        running.simulation.xid(1, 31)
    running.simulation.xid(0, 79)
    eventually(lambda: count(running, 31, 1) == 3, 2, "all are counted")
    eventually(lambda: count(running, 79) == 1, 2, "the other GPU's too")
    assert before <= reports(running)[79].last <= time.time()


def test_driver_that_is_let_go_of_holds_no_event_set(run, eventually):
    running = run(SCENARIO)
    eventually(lambda: watching(running), 3, "events are waited for")
    library = pynvml.nvmlLib
    start = time.monotonic()
    running.inventory.release(600.0)
    assert running.inventory.lending.wait(60.0) is None
    assert time.monotonic() - start < 20 + WAIT_SECONDS
    assert not library.event_sets
    assert running.inventory.xids.source == "none"
    assert running.inventory.acquire()
    eventually(lambda: watching(running), 5, "events are waited for again")
    running.simulation.xid(0, 31)
    eventually(lambda: count(running, 31) == 1, 2, "it is counted")


def test_counts_outlive_another_driver(run, eventually):
    running = run(SCENARIO)
    eventually(lambda: watching(running), 3, "events are waited for")
    running.simulation.xid(0, 31)
    eventually(lambda: count(running, 31) == 1, 2, "it is counted")
    running.simulation.unload_driver()
    eventually(lambda: not running.current.driver.info, 10, "the driver is gone")
    assert count(running, 31) == 1, "it is shown still"
    running.simulation.load_driver("595.80")
    eventually(lambda: pynvml.nvmlLib is not None and watching(running), 10, "another driver")
    running.simulation.xid(0, 31)
    eventually(lambda: count(running, 31) == 2, 2, "it goes on")


def test_one_lost_gpu_does_not_spoil_the_rest(run, eventually):
    running = run(SCENARIO, before=lambda r: r.simulation.lose(0))
    eventually(lambda: running.inventory.xids.source == "nvml", 5, "the other one is watched")
    running.simulation.xid(1, 31)
    eventually(lambda: count(running, 31, 1) == 1, 2, "it is counted")


def test_xids_of_a_lost_gpu_stay(run, eventually):
    running = run(SCENARIO)
    eventually(lambda: watching(running), 3, "events are waited for")
    running.simulation.xid(0, 79)
    running.simulation.lose(0)
    eventually(lambda: running.gpu(0).lost, 5, "the loss is seen")
    eventually(lambda: count(running, 79) == 1, 2, "it is counted")


@pytest.mark.parametrize("function", ["nvmlEventSetWait_v2", "nvmlEventSetCreate"])
def test_driver_without_events(run, eventually, function: str, monkeypatch):
    def failing(*_: object) -> None:
        raise pynvml.NVMLError(pynvml.NVML_ERROR_FUNCTION_NOT_FOUND)

    monkeypatch.setattr(pynvml, function, failing)
    running = run(SCENARIO)
    eventually(lambda: running.fresh(*ALL), 3, "all GPUs are fresh")
    time.sleep(0.5)
    assert running.inventory.xids.source == "none"


def test_clock_events_are_no_xids(run, eventually):
    running = run(SCENARIO)
    eventually(lambda: watching(running), 3, "events are waited for")
    running.simulation.xid(0, 0)  # as no scenario may say
    running.simulation.xid(0, 31)
    eventually(lambda: count(running, 31) == 1, 2, "it is counted")
    assert set(reports(running)) == {31}


def test_wait_that_hangs_hangs_alone(run, eventually, monkeypatch):
    hanging = []
    wait = pynvml.nvmlEventSetWait_v2

    def hang(*arguments: object) -> object:
        while hanging:
            time.sleep(0.05)
        return wait(*arguments)

    monkeypatch.setattr(pynvml, "nvmlEventSetWait_v2", hang)
    running = run(SCENARIO)
    eventually(lambda: watching(running), 3, "events are waited for")
    hanging.append(True)
    time.sleep(1.5)
    before = [running.gpu(i).samples for i in ALL]
    eventually(
        lambda: all(running.gpu(i).samples > b for i, b in zip(ALL, before, strict=True)),
        3,
        "the GPUs are read as ever",
    )
    running.inventory.release(60.0)
    reason = running.inventory.lending.wait(5.0)
    assert reason is not None
    assert "(events)" in reason
    hanging.clear()
    eventually(lambda: running.inventory.lending.free, 5, "free at last")


def test_kernel_log_before_and_after_the_start(run, eventually, tmp_path: Path):
    path = tmp_path / "kmsg"
    other = run(SCENARIO)
    eventually(lambda: other.fresh(*ALL), 3, "all GPUs are fresh")
    buses = [address(other, gpu) for gpu in ALL]
    assert other.inventory.stop(60.0)
    path.write_text(line(buses[0], 63) + "6,2,3,-;usb 1-1: a mouse\nrubbish\n")
    running = run(SCENARIO, before=with_log(path))
    eventually(lambda: 63 in reports(running), 3, "what was there is known")
    assert reports(running)[63].count == 0
    with path.open("a") as file:
        file.write(line(buses[1], 79) * 2 + line("0000:ff:1f", 79))
    eventually(lambda: count(running, 79, 1) == 2, 2, "what is new is counted")
    state = running.inventory.xids
    assert state.source == "kernel_log"
    assert state.records == {"xid": 4, "other": 1, "malformed": 1, "lost": 0}
    running.simulation.xid(0, 31)
    time.sleep(0.5)
    assert 31 not in reports(running), "one source at a time"
    running.simulation.lose(1)
    eventually(lambda: running.gpu(1).lost, 5, "the loss is seen")
    assert count(running, 79, 1) == 2


def test_a_flood(run, eventually, tmp_path: Path, caplog: pytest.LogCaptureFixture):
    path = tmp_path / "kmsg"
    os.mkfifo(path)
    running = run(SCENARIO, before=with_log(path))
    eventually(lambda: running.fresh(*ALL), 3, "all GPUs are fresh")
    bus = address(running, 0)
    caplog.set_level("DEBUG", "gpu_sentinel.sampling.xidbook")
    start = time.monotonic()
    cpu = time.process_time()
    with path.open("w") as file:
        for number in range(10_000):
            file.write(line(bus, 13, number))
    eventually(lambda: count(running, 13) == 10_000, 10, "all are counted")
    print(f"{time.monotonic() - start:.2f} s, {time.process_time() - cpu:.2f} s of the processor")
    eventually(lambda: running.fresh(*ALL), 3, "all GPUs are fresh")
    assert len(caplog.records) <= 2


def test_without_permission_nvml_is_asked(run, eventually, tmp_path: Path, monkeypatch, caplog):
    caplog.set_level("WARNING", "gpu_sentinel.sampling.xidwatch")
    real = os.open

    def refuse(path: object, *arguments: object, **more: object) -> int:
        if str(path).endswith("kmsg"):
            raise PermissionError(1, "Operation not permitted")
        return real(path, *arguments, **more)

    monkeypatch.setattr(kernellog.os, "open", refuse)
    running = run(SCENARIO, before=with_log(tmp_path / "kmsg"))
    eventually(lambda: watching(running), 3, "events are waited for")
    assert [r.fields["reason"] for r in caplog.records] == ["Operation not permitted"]
    running.simulation.xid(0, 31)
    eventually(lambda: count(running, 31) == 1, 2, "it is counted")


def test_kernel_log_that_comes_later(run, eventually, tmp_path: Path):
    path = tmp_path / "kmsg"
    running = run(SCENARIO, before=with_log(path))
    eventually(lambda: watching(running), 3, "events are waited for")
    path.write_text(line(address(running, 0), 63))
    eventually(lambda: running.inventory.xids.source == "kernel_log", 5, "it is read")
    eventually(lambda: 63 in reports(running), 3, "what was there is known")
    assert reports(running)[63].count == 0, "NVML may have told it"
    with path.open("a") as file:
        file.write(line(address(running, 0), 79))
    eventually(lambda: count(running, 79) == 1, 2, "what is new is counted")


def test_kernel_log_that_breaks(run, eventually, tmp_path: Path, monkeypatch):
    path = tmp_path / "kmsg"
    path.write_text(MOUSE)
    running = run(SCENARIO, before=with_log(path))
    eventually(lambda: running.inventory.xids.source == "kernel_log", 2, "it is read")
    real = os.read

    def broken(fd: int, size: int) -> bytes:
        if size > 1000:
            raise OSError(5, "Input/output error")
        return real(fd, size)

    monkeypatch.setattr(kernellog.os, "read", broken)
    eventually(lambda: watching(running), 5, "NVML is asked instead")


@pytest.mark.parametrize(
    "content",
    [
        "",
        "rubbish\n" * 5,
        "Jan  2 10:00:00 node-7 python[7]: NVRM: Xid (PCI:0000:3b:00): 79, a joke\n" * 50,
        "\x00\xff" * 100_000 + "\n",
    ],
)
def test_log_without_the_kernel_does_not_silence_nvml(
    run, eventually, tmp_path: Path, caplog, content: str
):
    caplog.set_level("INFO", "gpu_sentinel.sampling.xidlog")
    path = tmp_path / "messages"
    path.write_bytes(content.encode("latin-1"))
    running = run(SCENARIO, before=with_log(path))
    eventually(lambda: both(running), 4, "both are listened to")
    running.simulation.xid(0, 79)
    eventually(lambda: count(running, 79) == 1, 2, "NVML's report is counted")
    assert told(caplog) == [xidtrust.NOTHING]
    add(path, "Jan  2 10:00:01 node-7 kernel: [    5.1][    T1] usb 1-1: a mouse\n")
    eventually(lambda: running.inventory.xids.source == "kernel_log", 3, "the log is enough")
    eventually(lambda: not pynvml.nvmlLib.event_sets, 3, "NVML is asked no more")
    assert told(caplog) == [xidtrust.NOTHING, None]
    add(path, f"Jan  2 10:00:02 node-7 kernel: NVRM: Xid (PCI:{address(running, 1)}): 31, x\n")
    eventually(lambda: count(running, 31, 1) == 1, 2, "the log's report is counted")


def test_log_that_turns_to_rubbish(run, eventually, tmp_path: Path, caplog, monkeypatch):
    caplog.set_level("INFO", "gpu_sentinel.sampling.xidlog")
    monkeypatch.setattr(xidtrust, "DOUBT_SECONDS", 0.0)
    path = tmp_path / "kmsg"
    path.write_text(MOUSE)
    running = run(SCENARIO, before=with_log(path))
    eventually(lambda: running.inventory.xids.source == "kernel_log", 3, "the log is enough")
    add(path, "a form that nobody knows\n" * xidtrust.MALFORMED_RUN)
    eventually(lambda: both(running), 4, "NVML is asked too")
    running.simulation.xid(0, 79)
    eventually(lambda: count(running, 79) == 1, 2, "its report is counted")
    add(path, MOUSE)
    eventually(lambda: running.inventory.xids.source == "kernel_log", 3, "the log is enough again")
    assert told(caplog) == [None, xidtrust.RUBBISH, None]


def test_xid_that_could_not_be_read(run, eventually, tmp_path: Path, caplog, monkeypatch):
    caplog.set_level("INFO", "gpu_sentinel.sampling.xidlog")
    monkeypatch.setattr(xidtrust, "DOUBT_SECONDS", 0.0)
    path = tmp_path / "kmsg"
    path.write_text(MOUSE)
    running = run(SCENARIO, before=with_log(path))
    eventually(lambda: running.inventory.xids.source == "kernel_log", 3, "the log is enough")
    add(path, "3,3,3,-;NVRM: Xid in a new spelling, 79\n" + MOUSE * 3)
    eventually(lambda: both(running), 4, "NVML is asked too")
    running.simulation.xid(0, 31)
    eventually(lambda: count(running, 31) == 1, 2, "its report is counted")
    add(path, line(address(running, 0), 43))
    eventually(lambda: running.inventory.xids.source == "kernel_log", 3, "the log is enough again")
    assert told(caplog) == [None, xidtrust.UNREAD, None]


def test_what_both_tell_counts_once(run, eventually, tmp_path: Path):
    path = tmp_path / "messages"
    path.write_text("")
    running = run(SCENARIO, before=with_log(path))
    eventually(lambda: both(running), 4, "both are listened to")
    bus = address(running, 0)
    # The line makes the log enough: NVML's report of the same error may come before or after it.
    running.simulation.xid(0, 79)
    add(path, line(bus, 79) + line(bus, 31))
    eventually(lambda: running.inventory.xids.source == "kernel_log", 3, "the log is enough")
    eventually(lambda: count(running, 31) == 1, 2, "what the log alone tells is counted")
    eventually(lambda: not pynvml.nvmlLib.event_sets, 3, "NVML is asked no more")
    assert count(running, 79) == 1


def test_log_is_read_while_a_wait_for_events_hangs(run, eventually, tmp_path: Path, monkeypatch):
    hanging = [True]
    wait = pynvml.nvmlEventSetWait_v2

    def hang(*arguments: object) -> object:
        while hanging:
            time.sleep(0.05)
        return wait(*arguments)

    monkeypatch.setattr(pynvml, "nvmlEventSetWait_v2", hang)
    path = tmp_path / "messages"
    path.write_text("")
    running = run(SCENARIO, before=with_log(path))
    eventually(lambda: running.inventory.xids.source == "both", 4, "NVML is asked too")
    add(path, line(address(running, 0), 79))
    eventually(lambda: count(running, 79) == 1, 2, "the log's report is counted")
    hanging.clear()
    eventually(lambda: running.inventory.xids.source == "kernel_log", 3, "the log is enough")


def test_log_without_the_kernel_and_a_driver_without_events(
    run, eventually, tmp_path: Path, monkeypatch
):
    def failing(*_: object) -> None:
        raise pynvml.NVMLError(pynvml.NVML_ERROR_FUNCTION_NOT_FOUND)

    monkeypatch.setattr(pynvml, "nvmlEventSetCreate", failing)
    path = tmp_path / "messages"
    path.write_text("")
    running = run(SCENARIO, before=with_log(path))
    eventually(lambda: running.fresh(*ALL), 3, "all GPUs are fresh")
    add(path, line(address(running, 0), 79))
    eventually(lambda: count(running, 79) == 1, 3, "the log's report is counted")
    assert running.inventory.xids.source == "kernel_log"
