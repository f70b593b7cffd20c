"""Protobuf's wire format, of which nothing is believed."""

from __future__ import annotations

import contextlib

import hypothesis
import pytest
import wire
from hypothesis import strategies as st

from gpu_sentinel.host.podresources.errors import GarbageError, PodResourcesError, TooLargeError
from gpu_sentinel.host.podresources.protobuf import Reader, message, text


def fields(raw: bytes) -> list[tuple[int, int | bytes]]:
    return [
        (number, value if isinstance(value, int) else bytes(value))
        for number, value in Reader().fields(raw)
    ]


NUMBERS = st.integers(1, 2**29 - 1)
VALUES = st.integers(0, 2**64 - 1) | st.binary()


@hypothesis.given(st.lists(st.tuples(NUMBERS, VALUES)))
def test_what_is_written_is_read(written: list[tuple[int, int | bytes]]):
    assert fields(b"".join(wire.field(*one) for one in written)) == written


def test_fixed_sizes_and_groups():
    fixed = wire.varint(1 << 3 | 1) + bytes(8) + wire.varint(2 << 3 | 5) + b"abcd"
    group = wire.varint(3 << 3 | 3) + wire.field(1, "hidden") + wire.varint(3 << 3 | 4)
    assert fields(fixed + group + wire.field(4, 7)) == [(1, bytes(8)), (2, b"abcd"), (4, 7)]


@pytest.mark.parametrize(
    ("raw", "line"),
    {
        b"\x00\x00": "the number of a field",
        b"\x80": "expected a number of 64 bits",
        b"\x08": "expected a number of 64 bits",
        b"\x08" + b"\xff" * 10: "expected a number of 64 bits",
        b"\x08" + b"\xff" * 9 + b"\x02": "expected a number of 64 bits",
        b"\x0a\x05abc": "a field of 5 bytes, got 3 until the end",
        b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01": "18446744073709551615 bytes, got 0",
        b"\x09abc": "a field of 8 bytes, got 3",
        b"\x0dabc": "a field of 4 bytes, got 3",
        b"\x0e": "protobuf's wire format, got 6",
        b"\x0f": "protobuf's wire format, got 7",
        b"\x0b": "the end of a group, got the end of the message",
        b"\x0c": "the end of a group that began",
        b"\x0b\x14": "the end of a group that began",
        b"\x0b" * 17: "16 groups in each other at most",
        b"\xf8\xff\xff\xff\xff\x00\x00": "the number of a field",
    }.items(),
)
def test_garbage(raw: bytes, line: str):
    with pytest.raises(GarbageError, match=line):
        fields(raw)


def test_the_largest_numbers():
    assert fields(b"\x08" + b"\xff" * 9 + b"\x01") == [(1, 2**64 - 1)]
    assert fields(wire.field(2**29 - 1, 0)) == [(2**29 - 1, 0)]


def test_fields_are_counted_over_all_messages():
    reader = Reader(5)
    outer = wire.field(1, wire.field(2, 0) * 2) * 2
    inner = [message(value) for _, value in reader.fields(outer)]
    assert len(list(reader.fields(inner[0]))) == 2
    with pytest.raises(TooLargeError, match="more than 5 fields"):
        list(reader.fields(inner[1]))


def test_texts():
    assert text(memoryview("pod-ü".encode())) == "pod-ü"
    assert text(memoryview(b'a"b\\\n\xff\x1b[0m')) == 'a"b\\\\n\ufffd\\x1b[0m'
    assert text(memoryview(b"x" * 253)) == "x" * 253
    with pytest.raises(GarbageError, match="at most 253 bytes, got one of 254"):
        text(memoryview(b"x" * 254))
    with pytest.raises(GarbageError, match="a message or a string, got the number 7"):
        text(7)


@hypothesis.given(st.binary(max_size=300))
def test_anything(raw: bytes):
    with contextlib.suppress(PodResourcesError):
        fields(raw)
