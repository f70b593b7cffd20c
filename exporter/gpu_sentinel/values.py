"""Parsers of settings: from what a flag, the environment or a file says to a value.

Each raises ValueError with what is wrong and what would be right.
"""

from __future__ import annotations

import re
import reprlib
from collections.abc import Callable
from pathlib import Path

from gpu_sentinel import durations, yamlfile
from gpu_sentinel.catalogue import GROUPS
from gpu_sentinel.expressions import Expression, ExpressionError, expression


def text(value: object) -> str:
    """A text."""
    if not isinstance(value, str):
        raise ValueError(f"{value!r} is no text")  # noqa: TRY004 - one kind of error for all
    return value


def optional_path(value: object) -> Path | None:
    """A path; None for an empty text."""
    path = text(value)
    try:
        return Path(path).expanduser() if path else None
    except RuntimeError:
        raise ValueError(f"{path!r} begins with a user who is not known here") from None


def path_or_off(value: object) -> Path | None:
    """A path; None for `off`, which in YAML is false."""
    if value is False or value == "off":
        return None
    path = optional_path(value)
    if path is None:
        raise ValueError("'' is neither off nor a path: write as '/dev/kmsg'")
    return path


def addresses(value: object) -> tuple[str, ...]:
    """One address or several, each with a port."""
    items = value.split(",") if isinstance(value, str) else value
    if not isinstance(items, list | tuple) or not items:
        raise ValueError(f"{value!r} is no list of addresses: write as ':9836' or '127.0.0.1:9836'")
    for item in items:
        port = str(item).rpartition(":")
        if not port[1] or not port[2].isdecimal() or int(port[2]) > 65535:
            raise ValueError(f"{item!r} has no port from 0 to 65535: write as ':9836'")
    return tuple(str(item).strip() for item in items)


def url_path(value: object) -> str:
    """Where the metrics are: the path of a URL."""
    path = text(value)
    if not re.fullmatch(r"/[\w./~-]*\w", path) or path.startswith("/-/"):
        raise ValueError(f"{path!r} is no path for metrics: write as '/metrics'")
    return path


def switch(value: object) -> bool:
    """On or off."""
    if isinstance(value, bool):
        return value
    words = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
    try:
        return words[str(value).lower()]
    except KeyError:
        raise ValueError(f"{value!r} is neither true nor false") from None


def duration(low: float, high: float) -> Callable[[object], float]:
    """Seconds between two limits, from a number with its unit."""

    def parse(value: object) -> float:
        seconds = durations.seconds(value)
        if not low <= seconds <= high:
            raise ValueError(
                f"{value} is out of range: from {durations.pretty(low)} to {durations.pretty(high)}"
            )
        return seconds

    return parse


def duration_or_off(low: float, high: float) -> Callable[[object], float | None]:
    """As `duration`, or None for `off`."""
    parse_on = duration(low, high)
    # A bare `off` in YAML is false.
    return lambda value: None if value is False or value == "off" else parse_on(value)


def share_or_off(value: object) -> float | None:
    """`1%` -> 0.01."""
    if value is False or value == "off":
        return None
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*%", value) if isinstance(value, str) else None
    if match is None or not 0.01 <= float(match[1]) <= 100:
        raise ValueError(f"{value!r} is neither off nor a share from 0.01% to 100%: write as '1%'")
    return float(match[1]) / 100


def budget(value: object) -> float | str | None:
    """As `share_or_off`, or `auto`."""
    return "auto" if value == "auto" else share_or_off(value)


def whole(low: int, high: int) -> Callable[[object], int]:
    """A whole number between two limits."""

    def parse(value: object) -> int:
        digits = str(value)
        if not digits.isdecimal() or not low <= int(digits) <= high:
            raise ValueError(f"{value!r} is no whole number from {low} to {high}")
        return int(digits)

    return parse


def groups(value: object) -> tuple[str, ...]:
    """Names of groups of metrics, or `all`."""
    items = value.split(",") if isinstance(value, str) else value
    if not isinstance(items, list | tuple):
        raise ValueError(f"{value!r} is no list of groups: write as 'media,limits', or 'all'")  # noqa: TRY004
    names = tuple(str(item).strip() for item in items)
    if value == "":
        return ()  # a variable that is set to nothing
    if "" in names:
        raise ValueError(f"{value!r} has a name that is empty: write as 'media,limits', or 'all'")
    if names == ("all",):
        return tuple(GROUPS)
    for name in names:
        if name not in GROUPS:
            raise ValueError(f"{name!r} is no group: {yamlfile.suggestion(name, list(GROUPS))}")
    return names


def pattern(value: object) -> Expression | None:
    """A regular expression; None for an empty text."""
    given = text(value)
    try:
        return expression(given) if given else None
    except ExpressionError as error:
        shown = reprlib.repr(given)
        raise ValueError(f"{shown} is no regular expression: {error}") from None


def choice(*known: str) -> Callable[[object], str]:
    """One of some words."""

    def parse(value: object) -> str:
        if value not in known:
            raise ValueError(f"{value!r} is none of {', '.join(known)}")
        return str(value)

    return parse
