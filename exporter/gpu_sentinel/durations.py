"""Durations as people write them in Prometheus' configuration: `250ms`, `1m30s`."""

from __future__ import annotations

import re
import reprlib

_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
#: Of a text that can be a duration; more digits are no time that anybody means.
_LONGEST_TEXT = 64


def seconds(text: object) -> float:
    """The seconds of a duration.

    Raises:
        ValueError: no unit, or no duration at all; a bare number is refused because people
            have been surprised both by seconds and by milliseconds.
    """
    if isinstance(text, int | float) and not isinstance(text, bool):
        raise ValueError(  # noqa: TRY004 - one kind of error for whatever is no duration
            f"{reprlib.repr(text)} has no unit: write a duration such as 250ms, 1s or 5m"
        )
    if not isinstance(text, str) or not text or len(text) > _LONGEST_TEXT:
        raise _no_duration(text)
    total, position = 0.0, 0
    while position < len(text):
        part = _PART.match(text, position)
        if part is None:
            raise _no_duration(text)
        total += float(part[1]) * _SECONDS[part[2]]
        position = part.end()
    return total


def _no_duration(text: object) -> ValueError:
    return ValueError(
        f"{reprlib.repr(text)} is no duration: write a number with a unit, as 250ms, 1s or 5m"
    )


def pretty(value: float) -> str:
    """Seconds as a duration in the largest unit that keeps them whole."""
    for unit in ("d", "h", "m", "s", "ms"):
        count = value / _SECONDS[unit]
        if count >= 1 and abs(count - round(count)) < 1e-9:
            return f"{round(count)}{unit}"
    return f"{value:g}s"
