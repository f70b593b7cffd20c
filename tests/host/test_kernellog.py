"""The reader of the kernel log: what is new, what is lost, and nothing that stops it."""

from __future__ import annotations

import errno
import os
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gpu_sentinel.host import KernelLog, Report
from gpu_sentinel.host import kernellog as module

BOOT, NOW = 1_000_000.0, 1_000_500.0
XID = "NVRM: Xid (PCI:0000:3b:00): 79, pid=1, name=x, GPU has fallen off the bus."

Open = Callable[[Path], KernelLog]


@pytest.fixture
def open_log() -> Iterator[Open]:
    opened: list[KernelLog] = []

    def start(path: Path) -> KernelLog:
        opened.append(KernelLog(path, clock=lambda: NOW - BOOT, wall=lambda: NOW))
        return opened[-1]

    yield start
    for log in opened:
        log.close()


def line(text: str = XID, sequence: int = 1, microseconds: int = 100_000_000) -> str:
    return f"3,{sequence},{microseconds},-;{text}\n"


def everything(log: KernelLog) -> list[Report]:
    found: list[Report] = []
    more = True
    while more:
        reports, more = log.take()
        found += reports
    return found


def test_what_was_there_is_old_and_has_the_kernels_time(tmp_path: Path, open_log: Open):
    path = tmp_path / "kmsg"
    path.write_text(line("Linux version 6.1") + line() + " SUBSYSTEM=pci\n DEVICE=+pci:0000\n")
    log = open_log(path)
    (report,) = everything(log)
    assert not report.new
    assert report.wall == BOOT + 100.0
    assert log.records == {"xid": 1, "event": 0, "other": 1, "malformed": 0, "lost": 0}


def test_what_comes_is_new_and_has_the_time_of_now(tmp_path: Path, open_log: Open):
    path = tmp_path / "kmsg"
    path.write_text("")
    log = open_log(path)
    assert everything(log) == []
    with path.open("a") as file:
        file.write(line())
    (report,) = everything(log)
    assert report.new
    assert report.wall == NOW


def test_a_time_to_come_is_not_believed(tmp_path: Path, open_log: Open):
    path = tmp_path / "kmsg"
    path.write_text(line(microseconds=2**63))
    (report,) = everything(open_log(path))
    assert report.wall == NOW


def test_a_line_in_pieces(tmp_path: Path, open_log: Open):
    path = tmp_path / "kmsg"
    path.write_text("")
    log = open_log(path)
    everything(log)
    for piece in (line()[:20], line()[20:50], line()[50:]):
        with path.open("a") as file:
            file.write(piece)
        found = everything(log)
    assert len(found) == 1


def test_half_a_line_of_a_writer_that_has_gone(tmp_path: Path, open_log: Open):
    path = tmp_path / "kmsg"
    os.mkfifo(path)
    log = open_log(path)
    for text, found in (("3,1,2,-;half of", 0), (line(), 1)):
        with path.open("w") as file:
            file.write(text)
        assert len(everything(log)) == found
    assert log.records["malformed"] == 1


@pytest.mark.parametrize("rest", ["", "3,1,2,-;half of"])
def test_a_file_that_is_cut_off(tmp_path: Path, open_log: Open, rest: str):
    path = tmp_path / "kmsg"
    path.write_text(line("x" * 200) + rest)
    log = open_log(path)
    assert everything(log) == []
    path.write_text(line())  # the same file, begun anew
    (report,) = everything(log)
    assert report.new
    assert log.records["malformed"] == bool(rest)


def test_a_file_that_is_rotated(tmp_path: Path, open_log: Open):
    path = tmp_path / "kmsg"
    path.write_text("")
    log = open_log(path)
    assert everything(log) == []
    with path.open("a") as old:
        path.rename(tmp_path / "kmsg.1")
        assert everything(log) == [], "there is no other yet"
        path.touch()
        old.write(line(sequence=1))
        old.flush()
        assert len(everything(log)) == 1, "what writes it does not know of the new one yet"
        old.write(line(sequence=2))
        old.flush()
        path.write_text(line(sequence=3))
        assert len(everything(log)) == 2, "the end of the old one, and the new one"
    with path.open("a") as new:
        new.write(line(sequence=4))
    assert [r.new for r in everything(log)] == [True]
    assert log.records == {"xid": 4, "event": 0, "other": 0, "malformed": 0, "lost": 0}


def test_a_file_of_syslog(tmp_path: Path, open_log: Open):
    path = tmp_path / "kern.log"
    path.write_text(
        f"1970-01-12T13:50:00.5+00:00 node-7 kernel: [  100.5] {XID}\n"
        f"1970-01-12T13:50:00+00:00 node-7 logger: kernel: {XID}\n"
        f"1970-13-12T13:50:00+00:00 node-7 kernel: {XID}\n"
        "1970-01-12T13:50:00+00:00 node-7 kernel: usb 1-1: a mouse\n"
    )
    log = open_log(path)
    (report,) = everything(log)
    assert (report.new, report.wall) == (False, 1_000_200.5)
    assert log.records == {"xid": 2, "event": 0, "other": 2, "malformed": 0, "lost": 0}
    with path.open("a") as file:
        file.write(f"Jan 12 13:55:00 node-7 kernel: {XID}\n")
    (report,) = everything(log)
    assert (report.new, report.wall) == (True, NOW)


def test_a_file_with_every_form(tmp_path: Path, open_log: Open):
    path = tmp_path / "log"
    entry = f"__REALTIME_TIMESTAMP=1000200500000\n_TRANSPORT=kernel\nMESSAGE={XID}\n\n"
    path.write_text(
        entry
        + f'{{"__REALTIME_TIMESTAMP":"1000200500000","_TRANSPORT":"kernel","MESSAGE":"{XID}"}}\n'
        + f"1970-01-12T13:50:00.5+00:00 node-7 kernel: [  100.5][  T123] {XID}\n"
        + f"[  100.5] node-7 kernel: {XID}\n"
        + line()
        + "-- Boot 1 --\n\n"
    )
    log = open_log(path)
    # Nobody knows when the one was that has only the time since a start of the machine.
    assert [report.wall for report in everything(log)] == [1_000_200.5] * 3 + [1_000_100.0]
    assert log.records == {"xid": 5, "event": 0, "other": 1, "malformed": 0, "lost": 0}
    assert log.understood.kernel == 5
    with path.open("a") as file:
        file.write(f"[  600.5] node-7 kernel: {XID}\n{entry[:60]}")
    assert [(r.new, r.wall) for r in everything(log)] == [(True, NOW)]
    path.write_text(entry)
    (report,) = everything(log)
    assert (report.new, report.wall) == (True, NOW)


#: The forms that docs/kernel-log.md lists.
PAGE = re.findall(
    r"^\| ([^|]+) \| `([^`]+)` \|$",
    (Path(__file__).parents[2] / "docs/kernel-log.md").read_text(),
    re.MULTILINE,
)


def test_the_page_lists_forms():
    assert len(PAGE) > 20


@pytest.mark.parametrize(("name", "example"), PAGE)
def test_forms_on_the_page(tmp_path: Path, open_log: Open, name: str, example: str):
    path = tmp_path / "log"
    path.write_text("")
    log = open_log(path)
    everything(log)
    path.write_text(example + "\n")
    reports = everything(log)
    assert {(r.line.bus, r.line.xid, r.new) for r in reports} == {("0:3b:0", 79, True)}
    assert len(reports) == (3 if "again and again" in name else 1)
    assert log.understood.kernel == 1


def test_lines_of_syslog_in_a_fifo(tmp_path: Path, open_log: Open):
    path = tmp_path / "log"
    os.mkfifo(path)
    log = open_log(path)
    with path.open("w") as file:
        file.write(f"<4>Jan  2 10:00:00 node-7 kernel: {XID}\n")
        file.flush()
        assert len(everything(log)) == 1


def test_what_was_understood(tmp_path: Path, open_log: Open):
    path = tmp_path / "log"
    path.write_text("")
    log = open_log(path)
    seen = log.understood
    for text, expected in (
        ("rubbish\nmore\n", (0, 2, False)),
        ("Jan  2 10:00:00 node-7 python[7]: x\n", (0, 0, False)),
        ("Jan  2 10:00:00 node-7 kernel: x\n", (1, 0, False)),
        ("Jan  2 10:00:00 node-7 kernel: NVRM: Xid what\n", (2, 1, True)),
        ("Jan  2 10:00:00 node-7 kernel: x\n", (3, 0, True)),
        (line(), (4, 0, False)),
        ("z" * 40_000 + "\n", (4, 1, False)),
    ):
        with path.open("a") as file:
            file.write(text)
        everything(log)
        assert (seen.kernel, seen.run, seen.unread) == expected, text[:80]


def test_fifo_without_and_with_a_writer(tmp_path: Path, open_log: Open):
    path = tmp_path / "kmsg"
    os.mkfifo(path)
    log = open_log(path)
    assert everything(log) == []
    woken, waker = os.pipe()
    for number in range(2):
        with path.open("w") as file:
            file.write(line(sequence=number))
            file.flush()
            log.wait(1.0, woken)
            assert len(everything(log)) == 1
            start = time.monotonic()
            log.wait(0.2, woken)
            assert time.monotonic() - start > 0.15, "it waits while nothing comes"
    log.wait(0.1, woken)
    assert everything(log) == []
    start = time.monotonic()
    log.wait(0.1, woken)
    assert time.monotonic() - start > 0.05, "nor does it spin without a writer"
    os.write(waker, b"x")
    start = time.monotonic()
    log.wait(10.0, woken)
    assert time.monotonic() - start < 9.0, "it can be woken"
    os.close(woken)
    os.close(waker)


def test_too_long_lines_are_left_out(tmp_path: Path, open_log: Open):
    path = tmp_path / "kmsg"
    path.write_text(line("x" * 100_000) + line() + "y" * 40_000)
    log = open_log(path)
    assert len(everything(log)) == 1
    assert log.records["malformed"] == 2
    with path.open("a") as file:
        file.write("z" * 40_000 + "\n" + line())
    assert len(everything(log)) == 1
    assert log.records["malformed"] == 2


def test_overrun_and_errors_of_the_device(
    tmp_path: Path, open_log: Open, monkeypatch: pytest.MonkeyPatch
):
    path = tmp_path / "kmsg"
    path.write_text("")
    log = open_log(path)
    answers: list[bytes | OSError] = [
        line("x", sequence=7).encode(),
        OSError(errno.EPIPE, "overrun"),
        OSError(errno.EINVAL, "too long"),
        line(sequence=18).encode(),
        OSError(errno.EAGAIN, "nothing"),
        OSError(errno.EIO, "broken"),
    ]

    def read(_fd: int, _size: int) -> bytes:
        answer = answers.pop(0)
        if isinstance(answer, OSError):
            raise answer
        return answer

    monkeypatch.setattr(module.os, "read", read)
    reports, more = log.take()
    assert len(reports) == 1
    assert not more
    assert log.records == {"xid": 1, "event": 0, "other": 1, "malformed": 1, "lost": 10}
    with pytest.raises(OSError, match="broken"):
        log.take()


@pytest.mark.parametrize("name", ["missing", "folder"])
def test_what_cannot_be_opened(tmp_path: Path, open_log: Open, name: str):
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError, match="directory"):
        open_log(tmp_path / name)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_without_permission(tmp_path: Path, open_log: Open):
    path = tmp_path / "kmsg"
    path.write_text(line())
    path.chmod(0)
    with pytest.raises(PermissionError):
        open_log(path)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(st.binary(max_size=5000))
def test_any_bytes(tmp_path: Path, content: bytes):
    path = tmp_path / "kmsg"
    path.write_bytes(content + b"\n" + line().encode())
    log = KernelLog(path, clock=lambda: NOW - BOOT, wall=lambda: NOW)
    assert [r.line.xid for r in everything(log)][-1:] == [79]
    log.close()
