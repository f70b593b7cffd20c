"""What the calls to the driver cost and how they failed.

Every thread that calls the driver writes to a recorder of its own, without a lock; a reader
adds the recorders up.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field


@dataclass(slots=True)
class Recorder:
    """The counts of one thread: calls and seconds by query, errors, rejected readings."""

    calls: Counter[str] = field(default_factory=Counter)
    seconds: Counter[str] = field(default_factory=Counter)
    errors: Counter[tuple[str, str]] = field(default_factory=Counter)
    rejected: Counter[str] = field(default_factory=Counter)

    def call(self, query: str, seconds: float) -> None:
        """Count one call that took `seconds`."""
        self.calls[query] += 1
        self.seconds[query] += seconds  # type: ignore[assignment]  # a Counter adds floats too


class CallStats:
    """All recorders by name; a name that comes back goes on where it was."""

    def __init__(self) -> None:
        self._recorders: dict[str, Recorder] = {}

    def recorder(self, name: str) -> Recorder:
        """The recorder of this name."""
        return self._recorders.setdefault(name, Recorder())

    def total(self) -> Recorder:
        """The sum over all recorders, as of now."""
        total = Recorder()
        for recorder in self._recorders.copy().values():
            # copy() is one step under the interpreter's lock, iteration is not.
            total.calls.update(recorder.calls.copy())
            total.seconds.update(recorder.seconds.copy())
            total.errors.update(recorder.errors.copy())
            total.rejected.update(recorder.rejected.copy())
        return total
