"""Tables for a terminal."""

from __future__ import annotations

import unicodedata
from collections.abc import Collection, Iterator, Sequence

from gpu_sentinel import printable

#: Every row is as wide as the widest: one endless cell would make all of them so.
_WIDEST = 300
#: The flexible column keeps so many places.
_NARROWEST = 8
_GAP = 2


def lines(
    rows: Sequence[Sequence[str]],
    left: Collection[int],
    *,
    flexible: int | None = None,
    width: int | None = None,
) -> Iterator[str]:
    """The rows in columns as wide as they need; those in `left` start at the left.

    Args:
        rows: the header first.
        left: numbers of columns.
        flexible: the column that is cut where the lines were longer than `width`.
        width: places of a line; as many as it needs without.
    """
    cells = [[_cell(text) for text in row] for row in rows]
    widths = [max(places(row[i]) for row in cells) for i in range(len(cells[0]))]
    if width is not None and flexible is not None:
        over = sum(widths) + _GAP * (len(widths) - 1) - width
        least = min(widths[flexible], _NARROWEST)
        widths[flexible] = max(widths[flexible] - max(over, 0), least)
        for row in cells:
            row[flexible] = cut(row[flexible], widths[flexible])
    for row in cells:
        padded = (
            cell + " " * (columns - places(cell))
            if i in left
            else " " * (columns - places(cell)) + cell
            for i, (cell, columns) in enumerate(zip(row, widths, strict=True))
        )
        line = (" " * _GAP).join(padded).rstrip()
        yield line if width is None else cut(line, width)


def places(text: str) -> int:
    """How many places of a terminal a text takes."""
    return len(text) if text.isascii() else sum(map(_places, text))


def cut(text: str, width: int) -> str:
    """A text that takes so many places at most; a `~` at its end where it was longer."""
    if places(text) <= width:
        return text
    kept, used = [], 1
    for character in text:
        used += _places(character)
        if used > width:
            break
        kept.append(character)
    return "".join(kept) + "~" if width > 0 else ""


def _places(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def _cell(text: str) -> str:
    # Cut before and after: what is written out is longer.
    cell = printable.line(text[: _WIDEST + 1])
    return cell if len(cell) <= _WIDEST else f"{cell[: _WIDEST - 3]}..."
