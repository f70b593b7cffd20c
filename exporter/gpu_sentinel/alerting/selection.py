"""What a person names, against what Prometheus knows."""

from __future__ import annotations

import difflib
from collections.abc import Collection

_LONGEST_NAME = 253


class SelectionError(ValueError):
    """One line: what was named, and what there is instead."""


def check_known(label: str, value: str, known: Collection[str]) -> None:
    """Refuse a value of a label that Prometheus does not know.

    Raises:
        SelectionError: it does not.
    """
    if value not in known:
        raise SelectionError(f"no {label} {value!r}: {known_are(value, known)}")


def known_are(value: str, known: Collection[str]) -> str:
    """What there is in place of a value that is not known."""
    if not known:
        return "Prometheus knows none"
    # Names of hosts and GPUs are short; what is not would take long to compare.
    short = [name for name in known if len(name) <= _LONGEST_NAME]
    close = difflib.get_close_matches(value[:_LONGEST_NAME], short, n=1)
    if close:
        return f"did you mean {close[0]!r}?"
    shown = sorted(known)[:5]
    more = f" and {len(known) - 5} more" if len(known) > 5 else ""
    return f"Prometheus knows {', '.join(shown)}{more}"
