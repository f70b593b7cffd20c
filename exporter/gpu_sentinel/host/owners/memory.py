"""Which processes were there: those that are known, and those that are gone, for some minutes."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from gpu_sentinel.host.owners.watch import Watch
from gpu_sentinel.model import Owner

#: Processes that are remembered, of both kinds, and seconds for which those that are gone are.
MOST, LIFETIME = 10_000, 300.0
#: Processes with one pid, one after the other, that are remembered.
_GENERATIONS = 4


@dataclass(frozen=True, slots=True)
class Process:
    """A process of the machine.

    Attributes:
        start: ticks from the machine's start to the process': with the pid, what tells it apart.
        started: Unix time.
        name: as it calls itself, safe to be shown.
        uid: the real one; None where it has no number here.
        gpus: indices of GPUs that its batch job was given, as its environment says.
    """

    pid: int
    start: int
    started: float
    name: str
    uid: int | None
    owner: Owner
    gpus: tuple[int, ...] = ()


@dataclass(slots=True)
class Known:
    """A process that was there when it was looked at last.

    Attributes:
        seen: monotonic seconds of the last look.
        again: monotonic seconds at which all that is known of it is read anew.
        watch: tells its end; None where it can only be read of.
    """

    process: Process
    seen: float
    again: float
    watch: Watch | None = None


@dataclass(frozen=True, slots=True)
class Gone:
    """A process that is no more; `noticed` is Unix time, `at` the same by the monotonic clock."""

    process: Process
    noticed: float
    at: float


class Memory:
    """Keyed by pid and start, with a bound and a lifetime."""

    def __init__(self) -> None:
        #: What was looked at last stands at the end.
        self._known: OrderedDict[int, Known] = OrderedDict()
        self._gone: OrderedDict[int, tuple[Gone, ...]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._known) + len(self._gone)

    def known(self, pid: int, start: int | None = None) -> Known | None:
        """The process with a pid that was there last; with this start, where one is given."""
        known = self._known.get(pid)
        if known is None or (start is not None and known.process.start != start):
            return None
        return known

    def keep(self, known: Known) -> None:
        """Remember a process that is there."""
        self._known[known.process.pid] = known
        self._known.move_to_end(known.process.pid)
        while len(self._known) > MOST:
            self._known.popitem(last=False)

    def ended(self, pid: int, noticed: float, now: float) -> None:
        """The process with a pid is no more."""
        known = self._known.pop(pid, None)
        if known is None:
            return
        gone = Gone(known.process, noticed, now)
        self._gone[pid] = (*self._gone.pop(pid, ()), gone)[-_GENERATIONS:]
        while len(self._gone) > MOST:
            self._gone.popitem(last=False)

    def gone(self, pid: int, now: float) -> list[Gone]:
        """Processes with a pid that have ended lately."""
        return [gone for gone in self._gone.get(pid, ()) if now - gone.at <= LIFETIME]

    def sweep(self, now: float) -> None:
        """Forget what nobody has looked at, and what is gone for long; from the oldest."""
        for pid, known in self._known.items():
            if now - known.seen <= LIFETIME:
                break
            self._known.pop(pid)
            return
        for pid, generations in self._gone.items():
            if now - generations[-1].at > LIFETIME:
                self._gone.pop(pid)
            return
