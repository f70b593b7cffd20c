"""What can go wrong with a copy, told in one line."""

from __future__ import annotations

from gpu_sentinel import printable


class BackupError(Exception):
    """One line: what is wrong, where, and what would be right."""


def shown(path: object) -> str:
    """A path for a line of text: control characters in it must not reach a terminal."""
    return printable.line(path)
