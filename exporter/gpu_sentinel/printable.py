r"""Text of others made safe for a terminal and for a log.

Labels, annotations, names of GPUs and what a server answers may hold control characters: escape
sequences that steer the terminal, ends of lines that forge other lines, and marks that reverse
the order of what is shown. They are written out instead: ESC as `\x1b`.
"""

from __future__ import annotations

import json
import re
from typing import Any

# C0, DEL and C1; marks of direction, invisible ones and ends of lines of Unicode; halves of
# surrogate pairs, which cannot be written at all; tags, which nobody sees.
_UNSAFE = (
    "\x00-\x1f\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f"
    "\ud800-\udfff\ufeff\ufff9-\ufffb\U000e0000-\U000e007f"
)
_IN_LINE = re.compile(f"[{_UNSAFE}]")
_IN_TEXT = re.compile(f"(?!\n)[{_UNSAFE}]")


def line(text: object) -> str:
    """A text that stays on one line."""
    return _IN_LINE.sub(_escaped, str(text))


def text(lines: object) -> str:
    """A text of several lines: their ends stay."""
    return _IN_TEXT.sub(_escaped, str(lines))


def safe(character: str) -> bool:
    """Whether a character may be shown as it is."""
    return _IN_LINE.match(character) is None


def as_json(value: Any, *, indent: int | None = None, ascii_only: bool = True) -> str:
    """JSON in which what is not safe is escaped, so that it is the same value to a program."""
    dumped = json.dumps(value, indent=indent, default=str, ensure_ascii=ascii_only)
    return _IN_TEXT.sub(_escaped_in_json, dumped)


def _escaped(found: re.Match[str]) -> str:
    number = ord(found[0])
    if short := {"\n": r"\n", "\r": r"\r", "\t": r"\t"}.get(found[0]):
        return short
    if number < 0x100:
        return f"\\x{number:02x}"
    return f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"


def _escaped_in_json(found: re.Match[str]) -> str:
    number = ord(found[0])
    if number < 0x10000:
        return f"\\u{number:04x}"
    number -= 0x10000
    return f"\\u{0xD800 + (number >> 10):04x}\\u{0xDC00 + (number & 0x3FF):04x}"
