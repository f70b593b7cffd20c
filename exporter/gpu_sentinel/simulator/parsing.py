"""The values of a scenario file: each parser raises ValueError with what is wrong."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from gpu_sentinel import yamlfile

Parse: TypeAlias = Callable[[object], Any]
#: As many bytes as the driver has for a text of a GPU, less its end mark.
_LONGEST_TEXT = 95


def text(value: object) -> str:
    """A text that is not empty."""
    if not isinstance(value, str) or not value:
        raise ValueError(f"{value!r} is no text")
    return value


def number(low: float, high: float) -> Parse:
    """A number between these, or one of them."""

    def parse(value: object) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ValueError(f"{value!r} is no number")  # noqa: TRY004 - one kind of error
        if not low <= value <= high:
            raise ValueError(f"{value!r} is out of range: from {low:g} to {high:g}")
        return value

    return parse


def whole(low: int, high: int) -> Parse:
    """A whole number between these, or one of them."""
    between = number(low, high)

    def parse(value: object) -> int:
        if not isinstance(value, int):
            raise ValueError(f"{value!r} is no whole number")  # noqa: TRY004 - one kind of error
        return int(between(value))

    return parse


def choice(*known: str) -> Parse:
    """One of these."""

    def parse(value: object) -> str:
        if isinstance(value, float):
            # `595.80` in YAML is 595.8.
            hint = yamlfile.suggestion(str(value), known)
            raise ValueError(f"{value!r} is a number: write a text, in quotes: {hint}")  # noqa: TRY004
        if value not in known:
            raise ValueError(f"{value!r} is not known: {yamlfile.suggestion(str(value), known)}")
        return str(value)

    return parse


def flag(value: object) -> bool:
    """True or false."""
    if not isinstance(value, bool):
        raise ValueError(f"{value!r} is neither true nor false")  # noqa: TRY004 - one kind of error
    return value


def or_number(known: Parse, low: int, high: int) -> Parse:
    """What this takes for a text, or a whole number between these."""
    between = whole(low, high)

    def parse(value: object) -> object:
        return known(value) if isinstance(value, str) else between(value)

    return parse


def short_text(value: object) -> str:
    """A text that the driver has room for; it may be empty."""
    if not isinstance(value, str) or len(value.encode()) > _LONGEST_TEXT:
        raise ValueError(f"{value!r} is no text of at most {_LONGEST_TEXT} bytes")
    return value


def list_of(parse: Parse) -> Parse:
    """A list whose items this takes."""

    def parse_all(value: object) -> list[Any]:
        if not isinstance(value, list):
            raise ValueError(  # noqa: TRY004 - one kind of error
                f"expected a list, not {yamlfile.kind(value)}"
            )
        found = []
        for number, item in enumerate(value):
            try:
                found.append(parse(item))
            except ValueError as error:
                raise ValueError(f"[{number}].{error}") from None
        return found

    return parse_all


def fields(value: object, known: Mapping[str, Parse], required: tuple[str, ...]) -> dict[str, Any]:
    """The values of a mapping, each taken by its own parser.

    Raises:
        ValueError: starts with the name of the key that is wrong.
    """
    if not isinstance(value, Mapping):
        raise ValueError(  # noqa: TRY004 - one kind of error
            f"expected keys with values, not {yamlfile.kind(value)}"
        )
    found = {}
    for key, item in value.items():
        if key not in known:
            raise ValueError(f"{key}: no such key: {yamlfile.suggestion(str(key), list(known))}")
        try:
            found[key] = known[key](item)
        except ValueError as error:
            text = str(error)
            raise ValueError(f"{key}{text}" if text.startswith("[") else f"{key}: {text}") from None
    for key in required:
        if key not in found:
            raise ValueError(f"{key}: is missing")
    return found
