"""Reading an answer's JSON: each part says what it has to be, and where it is not."""

from __future__ import annotations

import json
import math
import re
import reprlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

_DATE = re.compile(
    r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.\d{1,12})?(?:(Z)|([+-]\d\d:\d\d))", re.ASCII
)
#: The last second that a date can have.
_LAST_SECOND = 253_402_300_799.0


class ApiError(Exception):
    """One line: who was asked for what, and why it was not done."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A part of an answer.

    Attributes:
        source: who answered, to which path.
        where: the way to this part, as `[0].status`; empty for all of it.
        value: as the JSON has it.
    """

    source: str
    where: str
    value: Any

    @classmethod
    def read(cls, source: str, body: bytes) -> Answer:
        """The whole answer; nothing at all is null.

        Raises:
            ApiError: it is no JSON.
        """
        if not body:
            return cls(source, "", None)
        try:
            return cls(source, "", json.loads(body, parse_constant=_no_number))
        except RecursionError:
            raise ApiError(f"{source}: expected JSON, not lists without an end") from None
        except ValueError:
            start = reprlib.repr(body[:40].decode("utf-8", "replace"))
            raise ApiError(f"{source}: expected JSON, not {start}") from None

    def wrong(self, expected: str) -> ApiError:
        """The error that this part is something else."""
        where = f" at {self.where}" if self.where else ""
        return ApiError(f"{self.source}: expected {expected}{where}, not {_kind(self.value)}")

    def __getitem__(self, key: str) -> Answer:
        """A part that must be there.

        Raises:
            ApiError: it is not.
        """
        part = self.get(key)
        if part is None:
            raise self.wrong(f"an object with {key!r}")
        return part

    def get(self, key: str) -> Answer | None:
        """A part that may be there; null is the same as nothing.

        Raises:
            ApiError: this is no object.
        """
        if not isinstance(self.value, dict):
            raise self.wrong(f"an object with {key!r}")
        value = self.value.get(key)
        if value is None:
            return None
        return Answer(self.source, f"{self.where}.{key}".lstrip("."), value)

    def parts(self) -> Iterator[Answer]:
        """The parts of a list.

        Raises:
            ApiError: this is no list.
        """
        if not isinstance(self.value, list):
            raise self.wrong("a list")
        for number, value in enumerate(self.value):
            yield Answer(self.source, f"{self.where}[{number}]", value)

    def text(self) -> str:
        """A text.

        Raises:
            ApiError: it is something else.
        """
        if not isinstance(self.value, str):
            raise self.wrong("a text")
        return self.value

    def texts(self) -> dict[str, str]:
        """An object of texts, as labels are.

        Raises:
            ApiError: it is something else.
        """
        if not isinstance(self.value, dict):
            raise self.wrong("an object of texts")
        return {
            key: Answer(self.source, f"{self.where}.{key}", value).text()
            for key, value in self.value.items()
        }

    def flag(self) -> bool:
        """True or false.

        Raises:
            ApiError: it is something else.
        """
        if not isinstance(self.value, bool):
            raise self.wrong("true or false")
        return self.value

    def number(self) -> float:
        """A finite number.

        Raises:
            ApiError: it is something else.
        """
        if isinstance(self.value, bool) or not isinstance(self.value, int | float):
            raise self.wrong("a number")
        try:
            number = float(self.value)
        except OverflowError:
            number = math.inf
        if not math.isfinite(number):
            raise self.wrong("a number that is not without end")
        return number

    def sample(self) -> float:
        """A value as Prometheus writes it: a text, which may say `NaN` or `+Inf`.

        Raises:
            ApiError: it is something else.
        """
        try:
            return float(self.text())
        except ValueError:
            raise self.wrong("a number as a text") from None

    def seconds(self) -> float:
        """A Unix time of which there is a date.

        Raises:
            ApiError: it is something else.
        """
        number = self.number()
        if not 0 <= number <= _LAST_SECOND:
            raise self.wrong("a Unix time")
        return number

    def date(self) -> datetime:
        """A date and time of day, in UTC, of whole seconds.

        Raises:
            ApiError: it is something else.
        """
        found = _DATE.fullmatch(self.text())
        if found is not None:
            try:
                # Python before 3.11 reads neither `Z` nor nanoseconds.
                moment = datetime.fromisoformat(found[1] + (found[3] or "+00:00"))
                return moment.astimezone(timezone.utc)
            except (ValueError, OverflowError):
                pass  # there is no such day
        raise self.wrong("a date as 2026-01-31T12:00:00Z")


def _no_number(_text: str) -> Any:
    raise ValueError("JSON knows neither NaN nor Infinity")


def _kind(value: object) -> str:
    """What came, so short that a line stays one."""
    if value is None:
        return "null"
    if isinstance(value, dict):
        keys = ", ".join(reprlib.repr(key) for key in list(value)[:3])
        return f"an object with {keys}" if keys else "an empty object"
    if isinstance(value, list):
        return f"a list of {len(value)}" if value else "an empty list"
    if isinstance(value, bool):
        return "true" if value else "false"
    try:
        return reprlib.repr(value)
    except ValueError:
        return "a number of thousands of digits"
