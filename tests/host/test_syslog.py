"""Lines of the kernel in a file of syslog: their times, and whose they are."""

from __future__ import annotations

import time
from datetime import datetime, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpu_sentinel.host.syslog import parse

XID = "NVRM: Xid (PCI:0000:3b:00): 79, pid=1, name=x, GPU has fallen off the bus."
NOW = datetime(2026, 1, 2, 12, tzinfo=timezone.utc).timestamp()


@pytest.fixture(autouse=True)
def in_berlin(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize(
    ("written", "wall"),
    [
        ("2026-01-02T10:00:00.250000+00:00", "2026-01-02T10:00:00.250000+00:00"),
        ("2026-01-02T10:00:00Z", "2026-01-02T10:00:00+00:00"),
        ("2026-01-02T10:00:00", "2026-01-02T10:00:00+01:00"),
        ("Jan  2 10:00:00", "2026-01-02T10:00:00+01:00"),
        ("Jan 02 10:00:00", "2026-01-02T10:00:00+01:00"),
        ("Dec 31 10:00:00", "2025-12-31T10:00:00+01:00"),
        ("Jul 31 10:00:00", "2025-07-31T10:00:00+02:00"),
        ("Feb 29 10:00:00", None),
        ("Jam  2 10:00:00", None),
        ("2026-02-30T10:00:00Z", None),
        ("2026-01-02T10:00:60Z", None),
        # rsyslog and syslog-ng, with as many digits as were asked for.
        ("2026-01-02T10:00:00.5+01:00", "2026-01-02T10:00:00.500000+01:00"),
        ("2026-01-02T10:00:00.250000000-05:30", "2026-01-02T10:00:00.250000-05:30"),
        ("2026-01-02 10:00:00", "2026-01-02T10:00:00+01:00"),
        ("2026 Jan  2 10:00:00", "2026-01-02T10:00:00+01:00"),
        ("2025 Jan  2 10:00:00.750", "2025-01-02T10:00:00.750000+01:00"),
        ("1767344400", "2026-01-02T10:00:00+01:00"),
        # journalctl: short, short-precise, short-iso (two spellings), short-unix, short-full.
        ("Jan 02 10:00:00.250000", "2026-01-02T10:00:00.250000+01:00"),
        ("2026-01-02T10:00:00+0100", "2026-01-02T10:00:00+01:00"),
        ("2026-01-02T10:00:00.250000+0100", "2026-01-02T10:00:00.250000+01:00"),
        ("1767344400.250000", "2026-01-02T10:00:00.250000+01:00"),
        ("Fri 2026-01-02 10:00:00 CET", "2026-01-02T10:00:00+01:00"),
        ("Fri 2026-01-02 09:00:00 UTC", "2026-01-02T10:00:00+01:00"),
        ("Fri 2026-01-02 09:00:00.250000 UTC", "2026-01-02T10:00:00.250000+01:00"),
        ("Fri 2026-01-02 10:00:00 +01", "2026-01-02T10:00:00+01:00"),
        ("Sun 2025-10-26 02:30:00 CEST", "2025-10-26T02:30:00+02:00"),
        ("Sun 2025-10-26 02:30:00 CET", "2025-10-26T02:30:00+01:00"),
        ("Fri 2026-01-02 10:00:00 PST", None),
        # In another language; since the start of some machine; with the time between two lines.
        ("M\u00e4r 02 10:00:00", None),
        ("[ 1844.123456]", None),
        ("[    5.123456 <    0.000100 >]", None),
        ("[    5.123456                ]", None),
        # ctime(3), as OpenWrt writes it.
        ("Fri Jan  2 10:00:00 2026", "2026-01-02T10:00:00+01:00"),
    ],
)
@pytest.mark.parametrize("clock", ["", "[ 1234.567890] "])
def test_times(written: str, wall: str | None, clock: str):
    record = parse(f"{written} node-7 kernel: {clock}{XID}".encode(), NOW)
    assert record is not None
    assert [(x.bus, x.xid) for x in record.xids] == [("0:3b:0", 79)]
    assert record.wall == (datetime.fromisoformat(wall).timestamp() if wall else None)


#: What the kernel puts in front: its level, its clock, who called, or nothing.
PREFIXES = [
    "",
    "<4>",
    "[ 1844.123456] ",
    "[12345678.123456] ",
    "<4>[ 1844.123456] ",
    "[ 1844.123456][  T123] ",
    "[    5.123456][    C3] ",
    "[ 1844.1] [ T123] ",
    "[ 1844.123456] [ T1234567] ",
    "<4>[ 1844.123456][ T1234567890] ",
    "[  T123] ",
    "<4>[   C12] ",
    "[ 1844.123456][ T123@C5] ",
]

#: What syslog daemons put in front of that.
HEADERS = [
    # rsyslog: TraditionalFileFormat, FileFormat, TraditionalForwardFormat, ForwardFormat,
    # SyslogProtocol23Format; syslog-ng writes the same, with structured data of its own.
    "Jan  2 10:00:00 node-7 kernel: ",
    "2026-01-02T10:00:00.250000+01:00 node-7 kernel: ",
    "<4>Jan  2 10:00:00 node-7 kernel: ",
    "<4>2026-01-02T10:00:00.250000+01:00 node-7 kernel: ",
    "<4>1 2026-01-02T10:00:00.250000+01:00 node-7 kernel - - - ",
    "<4>1 2026-01-02T10:00:00.250000+01:00 node-7 kernel - - -  ",
    '<4>1 2026-01-02T10:00:00Z node-7 kernel - - [meta sequenceId="1"] ',
    '<4>1 2026-01-02T10:00:00Z node-7 kernel - - [a b="\\]"][c d="e"] \ufeff',
    "2026-01-02T10:00:00.250000+01:00 node-7 kernel - - - ",
    # syslog-ng with chained host names, and what may be a host's name.
    "Jan  2 10:00:00 s_sys@node-7/relay kernel: ",
    "2026 Jan  2 10:00:00 node-7 kernel: ",
    "Jan  2 10:00:00 kernel kernel: ",
    "Jan  2 10:00:00 2001:db8::7 kernel: ",
    # journalctl without the host.
    "Jan 02 10:00:00 kernel: ",
    "[ 1844.123456] node-7 kernel: ",
    "[ 1844.123456] kernel: ",
    "[    5.123456 <    0.000100 >] node-7 kernel: ",
    # busybox, with and without -S; with a priority that it does not know; OpenWrt.
    "Jan  2 10:00:00 node-7 kern.warn kernel: ",
    "Jan  2 10:00:00 kernel: ",
    "Jan  2 10:00:00 node-7 <6> kernel: ",
    "Fri Jan  2 10:00:00 2026 kern.warn kernel: ",
    # rsyslog with %pri-text%.
    "Jan  2 10:00:00 node-7 kern.warning<4> kernel: ",
    # A template of one's own with no blank behind the tag.
    "Jan  2 10:00:00 node-7 kernel:",
]


@pytest.mark.parametrize("header", HEADERS)
@pytest.mark.parametrize("prefix", PREFIXES)
def test_forms(header: str, prefix: str):
    record = parse(f"{header}{prefix}{XID}".encode(), NOW)
    assert record is not None
    assert record.kernel
    assert [(x.bus, x.xid) for x in record.xids] == [("0:3b:0", 79)]
    assert record.xids[0].detail.startswith("pid=1")
    assert not record.odd
    assert (record.wall is None) == header.startswith("[")


@pytest.mark.parametrize("priority", ["", "<4>", "<191>"])
@pytest.mark.parametrize("prefix", ["[ 1844.1] ", "[ 1844.1][ T123] ", "[ 1844.1] [ T123] "])
def test_as_the_kernel_itself_and_dmesg_write(priority: str, prefix: str):
    record = parse(f"{priority}{prefix}{XID}".encode(), NOW)
    assert record is not None
    assert (record.kernel, record.wall) == (True, None)
    assert [x.xid for x in record.xids] == [79]


@pytest.mark.parametrize("prefix", PREFIXES)
@pytest.mark.parametrize(("text", "number"), [("3", 3), ("1", 1), ("999999999", 1000)])
def test_repeated_messages(prefix: str, text: str, number: int):
    line = f"Jan  2 10:00:00 n kernel: message repeated {text} times: [ {prefix}{XID}]"
    record = parse(line.encode(), NOW)
    assert record is not None
    assert [x.xid for x in record.xids] == [79] * number


@pytest.mark.parametrize("size", ["217B", "1.2K", "17B"])
def test_what_journalctl_does_not_show(size: str):
    record = parse(f"Jan 02 10:00:00 node-7 kernel: [{size} blob data]".encode(), NOW)
    assert record is not None
    assert record.odd


@pytest.mark.parametrize(
    "tag",
    [
        *("python[7]:", "kernel[7]:", "x kernel:", "kernel:x", "python[7]: kernel:"),
        *("kern.info python[7]:", "kern.info x: kernel:", "python: kern.info kernel:", "kernel"),
        *("x - - -", "x kernel - - -", "kernel - -", "kernel - - x"),
    ],
)
def test_what_other_programs_write(tag: str):
    record = parse(f"Jan  2 10:00:00 node-7 {tag} {XID}".encode(), NOW)
    assert record is not None
    assert not record.xids
    assert not record.kernel


@pytest.mark.parametrize(
    "line",
    [
        f"Jan  2 10:00:00 python[7]: kernel: {XID}",
        f"Jan  2 10:00:00 python: kern.info kernel: {XID}",
        f"[ 1844.123456] node-7 python[7]: {XID}",
        f"[ 1844.123456] node-7 python[7]: kernel: {XID}",
        f"<14>1 2026-01-02T10:00:00Z node-7 python - - - kernel: {XID}",
        f'<14>1 2026-01-02T10:00:00Z node-7 python - - [a b="] kernel: {XID}"] x',
        "-- Boot 0b5f4a5e8c3c4a5c9f6d2d8f4c1e7a3b --",
        "-- No entries --",
    ],
)
def test_what_other_programs_write_without_a_host(line: str):
    record = parse(line.encode(), NOW)
    assert record is not None
    assert (record.kernel, record.xids) == (False, ())


@pytest.mark.parametrize(
    "line",
    [
        "",
        "rubbish",
        XID,
        f"kernel: {XID}",
        f"<4>{XID}",
        "<4>",
        "Jan  2 10:00:00",
        "[ 1844.1]",
        "--",
    ],
)
def test_what_is_no_line_of_syslog(line: str):
    assert parse(line.encode(), NOW) is None


@pytest.mark.parametrize("header", HEADERS)
def test_cut_and_mangled_lines(header: str):
    line = f"{header}[ 1844.123456][  T123] {XID}".encode()
    for at in range(len(line)):
        parse(line[:at], NOW)
        parse(line[at:], NOW)
        for other in (b"\xff", b"\x00", b"[", b" "):
            record = parse(line[:at] + other + line[at + 1 :], NOW)
            assert record is None or all(x.detail.isprintable() for x in record.xids)


@given(st.binary(max_size=300))
def test_any_bytes(line: bytes):
    parse(line, NOW)
    record = parse(b"Jan  2 10:00:00 node-7 kernel: " + line.replace(b"\n", b""), NOW)
    assert record is not None
