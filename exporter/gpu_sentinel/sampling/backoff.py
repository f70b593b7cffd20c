"""Waits between attempts that fail."""

from __future__ import annotations


class BackOff:
    """Each wait is twice as long as the one before, up to a bound, until an attempt succeeds.

    Attributes:
        wait: the next one, in seconds.
    """

    __slots__ = ("_first", "_most", "wait")

    def __init__(self, first: float, most: float) -> None:
        self._first, self._most = first, most
        self.wait = first

    def failed(self) -> float:
        """The seconds to wait now."""
        wait = self.wait
        self.wait = min(2 * wait, self._most)
        return wait

    def succeeded(self) -> None:
        """The next failure is a first one again."""
        self.wait = self._first
