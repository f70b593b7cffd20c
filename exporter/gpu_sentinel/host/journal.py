"""What journald exports with `journalctl -o export` and `-o json`: pure, but for what goes on.

The formats are those of https://systemd.io/JOURNAL_EXPORT_FORMATS. A field that is no text has its
size before it in the one, and is a list of bytes in the other.
"""

from __future__ import annotations

import json
import re

from gpu_sentinel.host.syslog import SyslogRecord, of_kernel

#: Longer values are of no kernel: it cuts its records before.
_LONGEST = 16 * 1024
_FIELD = re.compile(rb"(_{0,2}[A-Z][A-Z0-9_]{0,63})=([^\n]*)")
_NAME = re.compile(rb"_{0,2}[A-Z][A-Z0-9_]{0,63}")
#: What is before an entry with `-o json-seq` and `-o json-sse`.
_LEADS = (b"{", b"\x1e{", b"data: {")
#: Who wrote an entry is said by journald itself here; every program can choose its name.
_WANTED = (_TRANSPORT, _TIME, _MESSAGE) = (b"_TRANSPORT", b"__REALTIME_TIMESTAMP", b"MESSAGE")
_SIZE = 8


class Export:
    """Takes the lines of an export one by one.

    Attributes:
        entry: what the line before has completed.
    """

    def __init__(self) -> None:
        """Outside of any entry."""
        self.entry: SyslogRecord | None = None
        self._fields: dict[bytes, bytes] | None = None
        self._name = b""
        self._data = bytearray()

    def take(self, line: bytes) -> bool:
        """Whether a line belongs to an entry, which it may complete."""
        self.entry = None
        if self._name:
            return self._take_data(line)
        field = _FIELD.fullmatch(line)
        if field is not None:
            self._put(field[1], field[2])
            return True
        if self._fields is None:
            return False
        if not line:
            self.entry, self._fields = _entry(self._fields), None
            return True
        if _NAME.fullmatch(line):
            self._name = line
            return True
        self._fields = None
        return False

    def reset(self) -> None:
        """The lines that come have nothing to do with those before."""
        self.entry, self._fields, self._name = None, None, b""
        self._data.clear()

    def _put(self, name: bytes, value: bytes) -> None:
        if self._fields is None:
            self._fields = {}
        if name in _WANTED:
            self._fields[name] = value

    def _take_data(self, line: bytes) -> bool:
        """Add a line to a value that may have several, and whose size stands before it."""
        self._data += line + b"\n"
        if len(self._data) <= _SIZE:
            return True
        end = _SIZE + int.from_bytes(self._data[:_SIZE], "little")
        if len(self._data) <= end <= _SIZE + _LONGEST:
            return True
        name, value = self._name, bytes(self._data[_SIZE:end])
        complete = len(self._data) == end + 1
        self._name = b""
        self._data.clear()
        if not complete:
            self._fields = None
            return False
        self._put(name, value)
        return True


def parse_json(line: bytes) -> SyslogRecord | None:
    """The entry in a line; None where there is none."""
    if not line.startswith(_LEADS):
        return None
    try:
        found = json.loads(line[line.index(b"{") :])
        fields = {name: _bytes(found[name.decode()]) for name in _WANTED if name.decode() in found}
    except (ValueError, TypeError, RecursionError):
        return None
    return _entry(fields) if _TIME in fields else None


def _bytes(value: object) -> bytes:
    """Of a text, of a list of bytes, or of null, which stands for what is too long.

    Raises:
        TypeError: it is something other, or a list of other things.
        ValueError: a number in the list is no byte, or the text cannot be encoded.
    """
    if isinstance(value, str):
        return value.encode()
    if value is None or isinstance(value, list):
        return bytes(value or ())
    raise TypeError(value)


def _entry(fields: dict[bytes, bytes]) -> SyslogRecord:
    if fields.get(_TRANSPORT) != b"kernel":
        return SyslogRecord(kernel=False)
    microseconds = fields.get(_TIME, b"")
    known = microseconds.isdigit() and len(microseconds) <= 20
    return of_kernel(fields.get(_MESSAGE, b""), int(microseconds) / 1e6 if known else None)
