"""Files that Prometheus or Alertmanager cannot read any more are moved aside, never deleted."""

from __future__ import annotations

import re
from datetime import datetime, timezone
from pathlib import Path

#: Wire types of protobuf: how long a value is.
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
#: What Prometheus says when it does not start for one of its files.
_BLOCK = re.compile(r"corrupted block ([0-9A-Z]{26}):")
_HEAD_CHUNKS = re.compile(r"(chunks_head/\d{6}): ")


def alertmanager(storage: Path) -> list[str]:
    """Move aside the files that Alertmanager does not start with: it does not name them.

    Returns:
        A line for each file.
    """
    return [
        _aside("Alertmanager", storage / name, lost)
        for name, lost in (
            ("nflog", "what was told already may be told again"),
            ("silences", "acknowledgements and maintenance are lost"),
        )
        if (storage / name).is_file() and not readable((storage / name).read_bytes())
    ]


def prometheus(storage: Path, words: str) -> list[str]:
    """Move aside what Prometheus named when it did not start.

    Its write-ahead log is repaired by Prometheus itself.

    Args:
        storage: its folder.
        words: the line that it ended with.

    Returns:
        A line for each file.
    """
    if found := _BLOCK.search(words):
        lost = "the hours that it holds are missing"
    elif found := _HEAD_CHUNKS.search(words):
        lost = "samples of the last hours may be missing"
    else:
        return []
    path = storage / found[1]
    return [_aside("Prometheus", path, lost)] if path.exists() else []


def _aside(program: str, path: Path, lost: str) -> str:
    date = datetime.now(timezone.utc).strftime("%Y%m%dT%H%M%SZ")
    # Outside of folders in which each file is read.
    folder = path.parent.parent if path.parent.name == "chunks_head" else path.parent
    new = folder / f"{path.name}.corrupt-{date}"
    path.rename(new)
    return f"{program}: {path} is corrupt and was moved to {new.name}: {lost}."


def readable(content: bytes) -> bool:
    """Whether these are messages of protobuf as Alertmanager stores them, one after the other.

    Each has its length before it, and as field 1 what it is about.
    """
    at = 0
    try:
        while at < len(content):
            length, at = _varint(content, at)
            if length > len(content) - at:
                return False
            fields = _fields(content, at, at + length)
            if 1 not in fields:
                return False
            _fields(content, *fields[1])
            at += length
    except ValueError:
        return False
    return True


def _fields(content: bytes, at: int, end: int) -> dict[int, tuple[int, int]]:
    """Where the values of a message's fields are.

    Raises:
        ValueError: this is no message.
    """
    found = {}
    while at < end:
        key, at = _varint(content, at)
        number, kind = key >> 3, key & 7
        begin = at
        if kind == _VARINT:
            _, at = _varint(content, at)
        elif kind == _BYTES:
            length, begin = _varint(content, at)
            at = begin + length
        elif kind in (_FIXED64, _FIXED32):
            at += 8 if kind == _FIXED64 else 4
        else:
            raise ValueError(kind)
        if at > end or number == 0:
            raise ValueError(number)
        found[number] = (begin, at)
    return found


def _varint(content: bytes, at: int) -> tuple[int, int]:
    """A number, and where it ends.

    Raises:
        ValueError: there is none.
    """
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(content):
            raise ValueError(at)
        byte = content[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise ValueError(at)
