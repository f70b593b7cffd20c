"""Fields of a message in protobuf's wire format, of which nothing is believed.

https://protobuf.dev/programming-guides/encoding/
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeAlias

from gpu_sentinel import printable
from gpu_sentinel.host.podresources.errors import GarbageError, TooLargeError

#: A number, or the bytes of a string, of a message, or of a number of fixed size.
Value: TypeAlias = int | memoryview

_VARINT, _FIXED64, _BYTES, _START_GROUP, _END_GROUP, _FIXED32 = range(6)
_LONGEST_VARINT = 10
#: Groups within groups; nobody has used one for twenty years.
_DEEPEST = 16
_HIGHEST_FIELD = 2**29 - 1
#: Bytes of a name in Kubernetes.
LONGEST_NAME = 253


class Reader:
    """Reads messages of one answer, and messages in them.

    Every field costs time, however small it is: of an answer only so many are read.
    """

    def __init__(self, most: int = 200_000) -> None:
        """Take so many fields at most."""
        self._most = most
        self._left = most

    def fields(self, message: bytes | memoryview) -> Iterator[tuple[int, Value]]:
        """Number and value of each field; groups are skipped.

        Raises:
            GarbageError: this is no message.
            TooLargeError: there are too many fields.
        """
        view = memoryview(message)
        at = 0
        groups: list[int] = []
        while at < len(view):
            self._left -= 1
            if self._left < 0:
                raise TooLargeError(f"the answer has more than {self._most} fields")
            tag, at = _varint(view, at)
            number, wire = tag >> 3, tag & 7
            if not 1 <= number <= _HIGHEST_FIELD:
                raise GarbageError("the number of a field", number)
            if wire == _START_GROUP:
                groups.append(number)
                if len(groups) > _DEEPEST:
                    raise GarbageError(f"{_DEEPEST} groups in each other at most", "more")
            elif wire == _END_GROUP:
                if not groups or groups.pop() != number:
                    raise GarbageError("the end of a group that began", f"that of {number}")
            else:
                value, at = _value(view, at, wire)
                if not groups:
                    yield number, value
        if groups:
            raise GarbageError("the end of a group", "the end of the message")


def _value(view: memoryview, at: int, wire: int) -> tuple[Value, int]:
    if wire == _VARINT:
        return _varint(view, at)
    if wire == _BYTES:
        size, at = _varint(view, at)
    elif wire in (_FIXED64, _FIXED32):
        size = 8 if wire == _FIXED64 else 4
    else:
        raise GarbageError("a type of protobuf's wire format", wire)
    if size > len(view) - at:
        raise GarbageError(f"a field of {size} bytes", f"{len(view) - at} until the end")
    return view[at : at + size], at + size


def _varint(view: memoryview, at: int) -> tuple[int, int]:
    """The number, and where what follows begins."""
    if at < len(view) and (number := view[at]) < 0x80:
        return number, at + 1  # nearly all of them
    number = 0
    for count, byte in enumerate(view[at : at + _LONGEST_VARINT]):
        number |= (byte & 0x7F) << 7 * count
        if byte < 0x80:
            if number >= 2**64:
                break
            return number, at + count + 1
    raise GarbageError("a number of 64 bits", bytes(view[at : at + _LONGEST_VARINT]))


def message(value: Value) -> memoryview:
    """The bytes of a field that is a message.

    Raises:
        GarbageError: it is a number.
    """
    if isinstance(value, int):
        raise GarbageError("a message or a string", f"the number {value}")
    return value


def text(value: Value, longest: int = LONGEST_NAME) -> str:
    """A string that may be shown and be a label.

    Args:
        value: of the field.
        longest: bytes.

    Raises:
        GarbageError: it is a number, or longer.
    """
    raw = message(value)
    if len(raw) > longest:
        raise GarbageError(f"a name of at most {longest} bytes", f"one of {len(raw)}")
    return printable.line(bytes(raw).decode("utf-8", "replace"))
