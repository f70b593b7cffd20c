"""Records of the kernel log: every shape that the driver prints, and whatever else may come."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gpu_sentinel.host.kmsg import DETAIL_CHARACTERS, Record, bus_address, parse

PREFIX = b"3,1234,98765432,-;"

#: As in bug reports and in the driver's source: line, address, XID.
LINES = [
    (
        "NVRM: Xid (PCI:0000:3b:00): 79, pid=1234, name=python, GPU has fallen off the bus.",
        "0:3b:0",
    ),
    ("NVRM: Xid (PCI:0000:01:00): 79, GPU has fallen off the bus.", "0:1:0"),
    ("NVRM: Xid (0000:03:00): 14, Channel 00000001", "0:3:0"),
    ("NVRM: Xid (0000:01:00): 31, Ch 0000000b, engmask 00000120, intr 10000000", "0:1:0"),
    ("NVRM: Xid (0001:00): 16, Head 00000000 Count 00000001", "0:1:0"),
    (
        "NVRM: Xid (PCI:0000:cb:00): 13, pid='<unknown>', name=<unknown>, Graphics Exception: E",
        "0:cb:0",
    ),
    (
        "NVRM: Xid (PCI:0008:01:00): 154, GPU recovery action changed from 0x0 (None) to 0x1 (G)",
        "8:1:0",
    ),
    ("NVRM: Xid (PCI:0008:01:00.0): 149, NETIR_LINK_EVT  Fatal   XC0 i0 Link 01 (0x0)", "8:1:0"),
    (
        "NVRM: Xid (PCI:0000:01:00 GPU-I:05): 94, pid=7194, Contained: CE User Channel (0x9).",
        "0:1:0",
    ),
    ("NVRM: Xid (PCI:0000:01:00 GPU-I:05 GPU-CI:02): 31, pid=9, name=a, Ch 00000008", "0:1:0"),
    (
        "NVRM: Xid (PCI:0000:dc:00): 45, pid=18, name=python3, Ch 1 caused by previous Xid 149",
        "0:dc:0",
    ),
    ("NVRM: Xid (PCI:10000:e1:00): 43, pid=1, name=x, Ch 00000008", "10000:e1:0"),
    ("NVRM: NVRM: Xid (PCI:0001:00:00.0): 79, GPU has fallen off the bus", "1:0:0"),
    ("NVRM: Xid (PCI:0000:10:1c): 63, pid=1896, Row Remapper: New row marked", "0:10:1c"),
]

#: The process and the GPU instance that a line names.
NAMED = [
    (LINES[0][0], 1234, None),
    (LINES[1][0], None, None),
    ("NVRM: Xid (PCI:0000:cb:00): 13, pid='<unknown>', name=<unknown>, Exception", None, None),
    ("NVRM: Xid (PCI:0000:cb:00): 13, pid=0, name=x, Exception", None, None),
    ("NVRM: Xid (PCI:0000:cb:00): 13, pid='77', name=x, Exception", 77, None),
    ("NVRM: Xid (PCI:0000:cb:00): 13, Ch 1, pid=5 is no pid of the driver's", None, None),
    ("NVRM: Xid (PCI:0000:cb:00): 13, pid=99999999999999999999, name=x", None, None),
    ("NVRM: Xid (PCI:0000:01:00 GPU-I:05): 94, pid=7194, Contained", 7194, 5),
    ("NVRM: Xid (PCI:0000:01:00 GPU-I:00): 94, Contained", None, 0),
    ("NVRM: Xid (PCI:0000:01:00 GPU-I:11 GPU-CI:02): 31, pid=9, name=a, Ch 8", 9, 11),
    ("NVRM: Xid (PCI:0000:01:00 GPU-CI:02): 31, pid=9, name=a, Ch 8", 9, None),
    ("NVRM: Xid (PCI:0000:01:00 GPU-I:zz): 31, pid=9, name=a, Ch 8", 9, None),
]

#: Of the driver, or about something like it, and no XID.
OTHER = [
    "NVRM: a\\x0aNVRM: Xid (PCI:0000:01:00): 79, behind another line",
    "NVRM: GPU at PCI:0000:01:00: GPU-c4a80165-86e4-bfbb-ecfa-1d81a70b138a",
    "NVRM: GPU Board Serial Number: 1650423013443",
    "NVRM: GPU at 0000:01:00.0 has fallen off the bus.",
    "nvidia-nvswitch0: SXid (PCI:0000:05:00.0): 12028, Non-fatal, Link 32",
    "usb 1-1: Product: NVRM: Xid (PCI:0000:01:00): 79, I am a mouse",
    "usb 1-1: Product: mouse\\x0aNVRM: Xid (PCI:0000:01:00): 79, I am a mouse",
    "python[12]: segfault at 0 ip 0000 sp 0000 error 4",
    "",
]

#: They begin like an XID, and are none.
ODD = [
    "NVRM: Xid (PCI:0000:01:00): abc, pid=1",
    "NVRM: Xid (PCI:0000:01:00): 0, nothing",
    "NVRM: Xid (PCI:0000:01:00): 1000, too great",
    "NVRM: Xid (PCI:0000:01:00): 99999999999999999999, far too great",
    "NVRM: Xid (PCI:zzzz:01:00): 79",
    "NVRM: Xid (): 79",
    "NVRM: Xid error: xyz",
    "NVRM: Xid (PCI:0000:01:00",
]


def record(text: str) -> Record:
    found = parse(PREFIX + text.encode())
    assert found is not None
    return found


@pytest.mark.parametrize(("line", "pid", "instance"), NAMED)
def test_whom_a_line_names(line: str, pid: int | None, instance: int | None):
    (xid,) = record(line).xids
    assert (xid.pid, xid.gpu_instance) == (pid, instance)


@pytest.mark.parametrize(("text", "bus"), LINES)
def test_every_shape_of_an_xid(text: str, bus: str):
    found = record(text)
    (line,) = found.xids
    assert line.bus == bus
    assert f"): {line.xid}, {line.detail}" in text
    assert found.sequence == 1234
    assert found.seconds == pytest.approx(98.765432)
    assert not found.odd


@pytest.mark.parametrize("text", OTHER)
def test_what_is_no_xid(text: str):
    assert record(text).xids == ()
    assert not record(text).odd


@pytest.mark.parametrize("text", ODD)
def test_what_only_begins_like_one(text: str):
    assert record(text).xids == ()
    assert record(text).odd


def test_escaped_bytes():
    found = record("NVRM: Xid (PCI:0000:01:00): 13, name=\\xff\\x1b[31m")
    assert [(x.bus, x.xid) for x in found.xids] == [("0:1:0", 13)]
    assert found.xids[0].detail.isprintable(), "nothing that a terminal would obey"


#: What the kernel prints of a program that fails, whose user has called it, or a file, so.
FORGED = "{}[4242]: segfault at 0 ip 00005555 sp 00007ffc error 4 in {}[555+1000]"


@pytest.mark.parametrize("name", ["NVRM: ", "NVRM:", "NVRM: Xid (PCI:", "NVRM: GPU at PC", "x"])
@pytest.mark.parametrize("end", ["\\x0a", "#012", "\\x0d\\x0a"])
def test_names_of_programs_and_files_tell_nothing(name: str, end: str):
    xid = "NVRM: Xid (PCI:0000:01:00): 79, GPU has fallen off the bus."
    assert len(record(xid).xids) == 1
    assert not record(FORGED.format(name, f"x{end}{xid}{end}")).xids
    assert not record(FORGED.format(name + end, xid)).xids


def test_what_stands_behind_an_xid_is_no_other():
    found = record("NVRM: Xid (PCI:0000:01:00): 13, name=a\\x0aNVRM: Xid (PCI:0000:01:00): 79, x")
    assert [(x.bus, x.xid) for x in found.xids] == [("0:1:0", 13)]


@pytest.mark.parametrize(
    "prefix", ["6,1,2,c;", "6,1,2,+;", "6,1,2,-,caller=T123;", "6,1,2,c,caller=C12;", "30,1,2,-;"]
)
def test_flags_of_a_record(prefix: str):
    found = parse(f"{prefix}NVRM: Xid (PCI:0000:01:00): 79, x".encode())
    assert found is not None
    assert len(found.xids) == 1


@pytest.mark.parametrize(
    "line",
    [b"", b";", b"no record", b"1,2;x", b"a,b,c,d;e", b"6,1,2,-", b"6,-1,2,-;x", b"\0" * 100],
)
def test_what_is_no_record(line: bytes):
    assert parse(line) is None


def test_detail_is_cut():
    assert len(record(LINES[1][0] + "x" * 5000).xids[0].detail) == DETAIL_CHARACTERS


@pytest.mark.parametrize(
    "spelling",
    ["00000000:3B:00.0", "0000:3b:00.0", "0000:3b:00", "3b:00", "0:3B:0", " 0000:3b:00.0 "],
)
def test_addresses_in_one_spelling(spelling: str):
    assert bus_address(spelling) == "0:3b:0"


@pytest.mark.parametrize("text", ["", "GPU-1", "0000:3b", "zz:zz:zz", "0000:3b:00.0.0"])
def test_what_is_no_address(text: str):
    # "0000:3b" is bus and device without a domain, as the oldest drivers wrote it.
    assert bus_address(text) in (None, "0:0:3b")


@given(st.binary(max_size=3000))
@example(b"3,1,2,-;NVRM: Xid (PCI:" + b"0" * 2000)
@example(b"3," + b"9" * 500 + b",2,-;x")
def test_any_bytes(line: bytes):
    found = parse(line)
    assert found is None or found.seconds >= 0


@given(
    st.sampled_from([text for text, _ in LINES]),
    st.lists(st.tuples(st.integers(0, 200), st.binary(max_size=3)), max_size=5),
)
def test_mangled_lines(text: str, changes: list[tuple[int, bytes]]):
    line = bytearray(PREFIX + text.encode())
    for at, new in changes:
        line[at : at + len(new)] = new
    found = parse(bytes(line))
    for xid in found.xids if found else ():
        assert 1 <= xid.xid <= 999
        assert xid.detail.isprintable()
        assert bus_address(xid.bus) == xid.bus


@given(st.integers(0, 2**64), st.integers(0, 2**64), st.integers(0, 2**31))
def test_any_numbers(sequence: int, microseconds: int, priority: int):
    found = parse(f"{priority},{sequence},{microseconds},-;x".encode())
    assert found is not None
    assert found.sequence == sequence
