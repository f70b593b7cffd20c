"""The screen of `gpu-sentinel top`: what is on it, without a terminal."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from enum import Enum

from gpu_sentinel import printable
from gpu_sentinel.cli.table import cut
from gpu_sentinel.cli.usage import gpu_lines, headline, usage_lines
from gpu_sentinel.cli.usagetable import OWNER_HEADER, PROCESS_HEADER
from gpu_sentinel.exposition.reader import Status


class Style(Enum):
    """How a line is shown; without colours `BAD` is bold."""

    PLAIN = "plain"
    HEAD = "head"
    BAD = "bad"
    BAR = "bar"


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the screen, without control characters."""

    text: str
    style: Style = Style.PLAIN


#: The keys that choose what to sort by.
KEYS = {"g": "gpu", "m": "memory", "s": "sm", "p": "power", "o": "owner"}
_BAR = "q quit  sort: " + "  ".join(f"{key} {name}" for key, name in KEYS.items())
#: Lines that a message or the problems may take each.
_MOST_LINES = 3
#: Headers of tables, by their first and last columns.
_HEADERS = tuple((header[1], header[-1]) for header in (OWNER_HEADER, PROCESS_HEADER))


@dataclass(slots=True)
class View:
    """What a person has chosen, and what the page said last.

    Attributes:
        sort: one of `KEYS`' values.
        top: the first line of owners and processes that is shown.
        page: the last reading that came; None before the first.
        read: Unix time of it.
        trouble: why there was no newer one; empty while there is.
    """

    sort: str = "gpu"
    top: int = 0
    page: Status | None = None
    read: float = 0.0
    trouble: str = ""
    _below: int = field(default=0, init=False)

    def press(self, key: str, height: int) -> bool:
        """Take a key in: a character, `up`, `down`, `page-up`, `page-down`. False: leave."""
        if key in ("q", "Q"):
            return False
        if key in KEYS:
            self.sort, self.top = KEYS[key], 0
        step = {"up": -1, "down": 1, "page-up": -(height // 2), "page-down": height // 2}
        self.top = min(max(self.top + step.get(key, 0), 0), self._below)
        return True

    def draw(self, height: int, width: int) -> list[Line]:
        """The lines of a screen of this size: never more, none longer."""
        if height < 1 or width < 1:
            return []
        fixed, moving = self._lines(width)
        room = max(height - 1 - len(fixed), 0)
        self._below = max(len(moving) - room, 0)
        self.top = min(self.top, self._below)
        shown = moving[self.top : self.top + room]
        left = len(moving) - self.top - len(shown)
        bar = _BAR.replace(f" {self.sort}", f" [{self.sort}]")
        if left or self.top:
            bar = bar.replace("q quit", f"q quit  up/down: {left} more", 1)
        body = [*fixed, *shown][: height - 1]
        body += [Line("")] * (height - 1 - len(body))
        return [Line(cut(line.text, width), line.style) for line in (*body, Line(bar, Style.BAR))]

    def _lines(self, width: int) -> tuple[list[Line], list[Line]]:
        """What stays, and what moves up and down."""
        fixed = [Line(text, Style.BAD) for text in _wrapped([self.trouble], width)]
        if self.page is None:
            return fixed or [Line("waiting for the exporter")], []
        at = datetime.fromtimestamp(self.read, timezone.utc).strftime("%H:%M:%S UTC")
        fixed.insert(0, Line(f"{printable.line(headline(self.page))}   {at}"))
        fixed += [Line(text, Style.BAD) for text in _wrapped(self.page.problems, width)]
        head, *gpus = gpu_lines(self.page, width)
        fixed.append(Line(head, Style.HEAD))
        # Many GPUs and their MIG devices move with the rest.
        moving = [Line(text) for text in gpus]
        moving += (
            Line(text, Style.HEAD if _is_header(text) else Style.PLAIN)
            for text in usage_lines(self.page, self.sort, width)
        )
        return fixed, moving


def _is_header(text: str) -> bool:
    words = text.split()
    return words[:1] == ["GPU"] and any(a in words and text.endswith(z) for a, z in _HEADERS)


def _wrapped(messages: Sequence[str], width: int) -> list[str]:
    found = [
        part
        for message in messages
        if message
        for part in textwrap.wrap(f"! {printable.line(message[:2000])}", max(width, 2))
    ]
    if len(found) <= _MOST_LINES:
        return found
    return [*found[: _MOST_LINES - 1], cut(f"{found[_MOST_LINES - 1]} ...", width)]
