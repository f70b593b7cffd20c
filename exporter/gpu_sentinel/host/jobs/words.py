"""Names that strangers give, as they may stand in a label."""

from __future__ import annotations

from gpu_sentinel import printable

#: Characters that a name may have. A longer one is no name, and half of it would be another.
LONGEST = 128
_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"


def word(raw: bytes) -> str:
    """One name: what is not UTF-8 and what would steer a terminal is replaced.

    Empty where it is too long.
    """
    if len(raw) > 4 * LONGEST:
        return ""
    text = raw.decode("utf-8", "replace")
    clean = "".join(letter if printable.safe(letter) else _REPLACEMENT for letter in text)
    return clean if len(clean) <= LONGEST else ""


def number(text: str, digits: int = 10) -> int | None:
    """A number that is written in the one usual way: without a sign, blanks and leading zeros."""
    if not text.isascii() or not text.isdecimal() or len(text) > digits:
        return None
    return int(text) if text == "0" or text[0] != "0" else None
