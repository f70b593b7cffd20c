"""What can go wrong with a copy, told in one line."""

from __future__ import annotations

import json


class BackupError(Exception):
    """One line: what is wrong, where, and what would be right."""


def shown(path: object) -> str:
    """A path for a line of text: control characters in it must not reach a terminal."""
    text = str(path)
    return text if text.isprintable() else json.dumps(text)
