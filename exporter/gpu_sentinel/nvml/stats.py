"""What the calls to the driver cost and how they failed.

Every thread that calls the driver writes to a recorder of its own, without a lock; a reader
adds the recorders up.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

#: A call that takes longer does not cost: it hangs.
STUCK_SECONDS = 1.0


@dataclass(slots=True)
class Cost:
    """How often something was called, and the seconds that it took in all.

    Attributes:
        stuck: seconds of the calls that took longer than `STUCK_SECONDS`, which hung.
    """

    calls: int = 0
    seconds: float = 0.0
    stuck: float = 0.0

    def add(self, seconds: float) -> None:
        """Count one call."""
        self.calls += 1
        self.seconds += seconds
        if seconds > STUCK_SECONDS:
            self.stuck += seconds


@dataclass(slots=True)
class Recorder:
    """The counts of one thread: costs by query, errors, rejected readings."""

    costs: dict[str, Cost] = field(default_factory=dict)
    errors: Counter[tuple[str, str]] = field(default_factory=Counter)
    rejected: Counter[str] = field(default_factory=Counter)

    def cost(self, query: str) -> Cost:
        """Where the calls of a query are counted."""
        return self.costs.setdefault(query, Cost())


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
            for query, cost in recorder.costs.copy().items():
                if cost.calls:
                    sum_ = total.cost(query)
                    sum_.calls += cost.calls
                    sum_.seconds += cost.seconds
                    sum_.stuck += cost.stuck
            for key, count in recorder.errors.copy().items():
                total.errors[key] += count
            for name, count in recorder.rejected.copy().items():
                total.rejected[name] += count
        return total
