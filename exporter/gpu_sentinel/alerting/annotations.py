"""An alert's annotations filled in again, for a moment that has passed."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

_FIELD = re.compile(r"\{\{-?\s*(.*?)\s*-?\}\}", re.DOTALL)
_LABEL = re.compile(r"\$labels\.(\w+)")
_PRINTF = re.compile(r'printf "(%(?:\.\d+)?[fg])(%%)?"')
_COMPARISON = re.compile(r"[<>]=?")


def fill(template: str, labels: Mapping[str, str], value: float | None) -> str | None:
    """The text, or None where it holds more than values, labels and the common functions."""
    try:
        return _FIELD.sub(lambda found: _field(found[1], labels, value), template)
    except LookupError:
        return None


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
    text = re.sub(r'"(?:\\.|[^"\\])*"|\{[^}]*\}|\[[^\]]*\]', "", expression)
    depth, found = 0, []
    for position, sign in enumerate(text):
        depth += {"(": 1, ")": -1}.get(sign, 0)
        if _COMPARISON.match(sign):
            found.append((depth, position, sign))
    return bool(found) and min(found)[2] == "<"
