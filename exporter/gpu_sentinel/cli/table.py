"""Tables for a terminal."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence


def lines(rows: Sequence[Sequence[str]], left: Collection[int]) -> Iterator[str]:
    """The rows in columns as wide as they need; those in `left` start at the left."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for row in rows:
        cells = (
            cell.ljust(width) if i in left else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        yield "  ".join(cells).rstrip()
