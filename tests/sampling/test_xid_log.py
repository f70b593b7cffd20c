"""XIDs from a kernel log that is a file, and from NVML beside it, with the real threads."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pynvml
import pytest
from xidtools import (
    ALL,
    MOUSE,
    SCENARIO,
    add,
    address,
    both,
    count,
    line,
    reports,
    told,
    watching,
    with_log,
)

from gpu_sentinel.host import kernellog
from gpu_sentinel.sampling import xidtrust


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
    assert state.records == {"xid": 4, "event": 0, "other": 1, "malformed": 1, "lost": 0}
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
