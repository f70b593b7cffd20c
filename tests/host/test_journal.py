"""What journald exports: entries of the kernel among others, values that are no text, cut ones."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpu_sentinel.host.journal import Export, parse_json
from gpu_sentinel.host.syslog import SyslogRecord

XID = b"NVRM: Xid (PCI:0000:3b:00): 79, pid=1, name=x, GPU has fallen off the bus."
WALL = 1767344400.25
BEGIN = b"__CURSOR=s=1;i=2\n__REALTIME_TIMESTAMP=1767344400250000\n__MONOTONIC_TIMESTAMP=5\n"


def block(message: bytes = XID, transport: bytes = b"kernel", begin: bytes = BEGIN) -> bytes:
    """An entry as journalctl writes it: what is no text, with its size in front."""
    text = message.isascii() and b"\n" not in message
    value = b"=" + message if text else b"\n" + len(message).to_bytes(8, "little") + message
    return (
        begin + b"_TRANSPORT=" + transport + b"\nMESSAGE" + value + b"\n"
        b"SYSLOG_IDENTIFIER=kernel\nPRIORITY=4\n\n"
    )


def read(content: bytes) -> tuple[list[SyslogRecord], list[bytes]]:
    """The entries, and the lines that belong to none."""
    export, found, left = Export(), [], []
    for line in content.removesuffix(b"\n").split(b"\n"):
        if not export.take(line):
            left.append(line)
        elif export.entry is not None:
            found.append(export.entry)
    return found, left


def xids(record: SyslogRecord) -> list[tuple[str, int]]:
    return [(x.bus, x.xid) for x in record.xids]


@pytest.mark.parametrize("prefix", [b"", b"[ 1844.123456][  T123] ", b"<4>"])
def test_an_entry_of_the_kernel(prefix: bytes):
    (record,), left = read(block(prefix + XID))
    assert not left
    assert record.kernel
    assert record.wall == WALL
    assert xids(record) == [("0:3b:0", 79)]


@pytest.mark.parametrize("transport", [b"syslog", b"stdout", b"journal", b"kernel2", b""])
def test_entries_of_others(transport: bytes):
    (record,), left = read(block(transport=transport))
    assert not left
    assert (record.kernel, record.xids) == (False, ())


@pytest.mark.parametrize(
    "message",
    [
        XID.replace(b"name=x", b"name=\xff\xfe"),
        XID + b"\nwhat comes then\n\nand then",
        # The size itself has the end of a line in it: 10, 2570.
        b"x\n" + b"x" * 8,
        XID + b"\n" + b"x" * (2569 - len(XID)),
        b"\n" * 10,
    ],
)
def test_messages_that_are_no_text_or_have_several_lines(message: bytes):
    found, left = read(block(message) + block())
    assert not left
    assert [record.kernel for record in found] == [True, True]
    assert bool(found[0].xids) == (b"Xid" in message)
    assert xids(found[1]) == [("0:3b:0", 79)]


def test_an_entry_whose_beginning_is_missing():
    found, left = read(block(begin=b"") + block())
    assert not left
    assert [record.wall for record in found] == [None, WALL]
    assert all(record.xids for record in found)


@pytest.mark.parametrize("at", range(0, len(block()), 3))
def test_a_cut_entry_does_not_take_the_next_with_it(at: int):
    found, _ = read(block()[at:] + block())
    assert xids(found[-1]) == [("0:3b:0", 79)]
    found, _ = read(block()[:at] + b"\n\n" + block())
    assert xids(found[-1]) == [("0:3b:0", 79)]


@pytest.mark.parametrize("size", [2**64 - 1, 2**14 + 1, 3])
def test_a_size_that_is_wrong(size: int):
    wrong = BEGIN + b"MESSAGE\n" + size.to_bytes(8, "little") + XID + b"\n\n"
    found, left = read(wrong + block())
    assert left == [size.to_bytes(8, "little") + XID, b""]
    assert [xids(record) for record in found] == [[("0:3b:0", 79)]]


def test_lines_that_are_none_end_an_entry():
    found, left = read(BEGIN + b"rubbish\n" + block())
    assert left == [b"rubbish"]
    assert len(found) == 1


def test_forgotten_where_lines_do_not_follow_on():
    export = Export()
    for line in (BEGIN + b"_TRANSPORT=kernel\nMESSAGE").split(b"\n"):
        assert export.take(line)
    export.reset()
    assert not export.take(XID)


@given(st.binary(max_size=2000))
def test_any_bytes(content: bytes):
    read(content)
    read(BEGIN + b"MESSAGE\n" + content)
    found, _ = read(content.replace(b"\n", b"") + b"\nno field\n\n" + block())
    assert xids(found[-1]) == [("0:3b:0", 79)]


# --- JSON -----------------------------------------------------------------------------------------


def line(**fields: object) -> bytes:
    entry = {
        "__REALTIME_TIMESTAMP": "1767344400250000",
        "_TRANSPORT": "kernel",
        "MESSAGE": XID.decode(),
        **fields,
    }
    return json.dumps(entry).encode()


@pytest.mark.parametrize("lead", [b"", b"\x1e", b"data: "])
@pytest.mark.parametrize("message", [XID.decode(), list(XID.replace(b"name=x", b"name=\xff"))])
def test_an_entry_in_json(lead: bytes, message: object):
    record = parse_json(lead + line(MESSAGE=message))
    assert record is not None
    assert (record.kernel, record.wall) == (True, WALL)
    assert xids(record) == [("0:3b:0", 79)]


@pytest.mark.parametrize(
    "fields", [{"_TRANSPORT": "syslog"}, {"_TRANSPORT": None}, {"MESSAGE": None}, {"MESSAGE": ""}]
)
def test_entries_in_json_without_xids(fields: dict[str, object]):
    record = parse_json(line(**fields))
    assert record is not None
    assert not record.xids


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"[]",
        b"{}",
        b"{",
        b"\x1e",
        b"data: ",
        b'{"MESSAGE": "x"}',
        line()[:-1],
        line(MESSAGE=[256]),
        line(MESSAGE=["x"]),
        line(MESSAGE=5),
        line(MESSAGE={}),
        line(MESSAGE="\ud800"),
        line(__REALTIME_TIMESTAMP=1.5),
        b'{"a":' * 3000,
        b'{"a":' + b"[" * 16_000,
        b'{"a":' + b"9" * 16_000 + b"}",
        b'{"MESSAGE": "\xff"}',
    ],
)
def test_what_is_no_entry_in_json(text: bytes):
    assert parse_json(text) is None


@pytest.mark.parametrize("time", ["", "x", "-1", "9" * 21, "9" * 2000, "\u0663"])
def test_a_time_that_is_none(time: str):
    record = parse_json(line(__REALTIME_TIMESTAMP=time))
    assert record is not None
    assert record.wall is None


@given(st.binary(max_size=300))
def test_any_bytes_as_json(content: bytes):
    parse_json(b"{" + content)
