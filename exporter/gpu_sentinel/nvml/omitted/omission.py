"""What a reason for leaving something out is about."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase


@dataclass(frozen=True, slots=True)
class Omission:
    """A reason, and what is left out for it.

    Attributes:
        reason: as a sentence.
        names: what is left out; `*` stands for anything, where a family belongs together.
    """

    reason: str
    names: tuple[str, ...]

    def covers(self, name: str) -> bool:
        """Whether this is left out for this reason."""
        return any(fnmatchcase(name, pattern) for pattern in self.names)


def omit(reason: str, names: str) -> Omission:
    """An omission; its names with blanks between them."""
    return Omission(reason, tuple(names.split()))
