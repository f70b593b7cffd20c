"""What can go wrong with a copy, told in one line."""

from __future__ import annotations


class BackupError(Exception):
    """One line: what is wrong, where, and what would be right."""
