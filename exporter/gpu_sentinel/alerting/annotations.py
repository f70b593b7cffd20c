"""An alert's annotations filled in again, for a moment that has passed."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping

_LABEL = re.compile(r"\$labels\.(\w+)")
_PRINTF = re.compile(r'printf "(%(?:\.\d{1,2})?[fg])(%%)?"')


def fill(template: str, labels: Mapping[str, str], value: float | None) -> str | None:
    """The text, or None where it holds more than values, labels and the common functions."""
    first, *pieces = template.split("{{")
    text = [first]
    try:
        for piece in pieces:
            field, end, rest = piece.partition("}}")
            if not end:
                return None
            text += _field(_trimmed(field), labels, value), rest
    except (ArithmeticError, LookupError, ValueError):
        return None  # of what is not finite there are no minutes
    return "".join(text)


def _trimmed(field: str) -> str:
    """Without the hyphens that take away blanks around it."""
    return field.removeprefix("-").removesuffix("-").strip()


def _field(text: str, labels: Mapping[str, str], value: float | None) -> str:
    first, *functions = (part.strip() for part in text.split("|"))
    if label := _LABEL.fullmatch(first):
        if functions:
            raise LookupError(text)
        return labels.get(label[1], "")
    if first.endswith(" $value"):
        first, functions = "$value", [first.removesuffix(" $value"), *functions]
    if first != "$value" or value is None or len(functions) > 1:
        raise LookupError(text)
    if not functions:
        return plain(value)
    if found := _PRINTF.fullmatch(functions[0]):
        return found[1] % value + ("%" if found[2] else "")
    return _FUNCTIONS[functions[0]](value)


def plain(value: float) -> str:
    """A number as short as it is exact: `2`, `0.25`."""
    return repr(value).removesuffix(".0")


def _humanize(value: float) -> str:
    for prefix in ("", "k", "M", "G", "T", "P"):
        if abs(value) < 1000 or prefix == "P":
            return f"{value:.4g}{prefix}"
        value /= 1000
    raise AssertionError


def _humanize1024(value: float) -> str:
    for prefix in ("", "ki", "Mi", "Gi", "Ti", "Pi"):
        if abs(value) < 1024 or prefix == "Pi":
            return f"{value:.4g}{prefix}"
        value /= 1024
    raise AssertionError


def _duration(value: float) -> str:
    if abs(value) < 1:
        return f"{value * 1000:.4g}ms"
    if abs(value) < 60:
        return f"{value:.4g}s"
    minutes, seconds = divmod(int(value), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    parts = [(days, "d"), (hours, "h"), (minutes, "m"), (seconds, "s")]
    while not parts[0][0]:
        parts.pop(0)
    return " ".join(f"{count}{unit}" for count, unit in parts)


_FUNCTIONS: dict[str, Callable[[float], str]] = {
    "humanize": _humanize,
    "humanize1024": _humanize1024,
    "humanizePercentage": lambda value: f"{value * 100:.4g}%",
    "humanizeDuration": _duration,
}


def lowest_is_worst(expression: str) -> bool:
    """Whether a rule fires below its threshold: by its outermost comparison."""
    depth, found = 0, []
    for position, sign in _outside(expression):
        depth += {"(": 1, ")": -1}.get(sign, 0)
        if sign in "<>":
            found.append((depth, position, sign))
    return bool(found) and min(found)[2] == "<"


#: What ends each part of an expression in which a sign compares nothing.
_CLOSING = {'"': '"', "{": "}", "[": "]"}


def _outside(expression: str) -> Iterator[tuple[int, str]]:
    """The signs outside of texts, selectors and ranges, with their places."""
    closing, escaped = "", False
    for position, sign in enumerate(expression):
        if not closing:
            closing = _CLOSING.get(sign, "")
            if not closing:
                yield position, sign
        elif escaped:
            escaped = False
        elif sign == "\\" and closing == '"':
            escaped = True
        elif sign == closing:
            closing = ""
