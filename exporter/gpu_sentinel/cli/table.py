"""Tables for a terminal."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from gpu_sentinel import printable

#: Every row is as wide as the widest: one endless cell would make all of them so.
_WIDEST = 300


def lines(rows: Sequence[Sequence[str]], left: Collection[int]) -> Iterator[str]:
    """The rows in columns as wide as they need; those in `left` start at the left."""
    rows = [[_cell(text) for text in row] for row in rows]
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for row in rows:
        cells = (
            cell.ljust(width) if i in left else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        yield "  ".join(cells).rstrip()


def _cell(text: str) -> str:
    # Cut before and after: what is written out is longer.
    cell = printable.line(text[: _WIDEST + 1])
    return cell if len(cell) <= _WIDEST else f"{cell[: _WIDEST - 3]}..."
