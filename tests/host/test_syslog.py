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
    ],
)
@pytest.mark.parametrize("clock", ["", "[ 1234.567890] "])
def test_times(written: str, wall: str | None, clock: str):
    record = parse(f"{written} node-7 kernel: {clock}{XID}".encode(), NOW)
    assert record is not None
    assert [(x.bus, x.xid) for x in record.xids] == [("0:3b:0", 79)]
    assert record.wall == (datetime.fromisoformat(wall).timestamp() if wall else None)


@pytest.mark.parametrize("tag", ["python[7]:", "kernel[7]:", "x kernel:", "kernel:x"])
def test_what_other_programs_write(tag: str):
    record = parse(f"Jan  2 10:00:00 node-7 {tag} {XID}".encode(), NOW)
    assert record is not None
    assert not record.xids


@given(st.binary(max_size=300))
def test_any_bytes(line: bytes):
    parse(line, NOW)
    record = parse(b"Jan  2 10:00:00 node-7 kernel: " + line.replace(b"\n", b""), NOW)
    assert record is not None
