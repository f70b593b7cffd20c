"""The processes of one GPU: what each has used, as long as it is there, and a minute longer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from gpu_sentinel.catalogue.metric import WINDOW_SECONDS
from gpu_sentinel.model import NOBODY, Owner, ProcessUse
from gpu_sentinel.sampling.owners.ledger import OTHERS

#: A pid and what tells it from others that had the same: the start, in ticks.
Key = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Seen:
    """A process in one step.

    Attributes:
        started: Unix time; None where it is not known.
        busy: seconds of SM time since the step before.
        utilization: share of the time by engine; empty where the driver does not tell.
        alive: it is there still.
    """

    key: Key
    name: str = ""
    started: float | None = None
    owner: Owner = NOBODY
    gpu_instance: int | None = None
    memory: float | None = None
    busy: float = 0.0
    utilization: Mapping[str, float] = field(default_factory=dict)
    alive: bool = True


@dataclass(slots=True)
class _Entry:
    last: Seen
    busy: float
    at: float


class ProcessBook:
    """Counts; one thread uses it."""

    def __init__(self, most: int = 20) -> None:
        """At most so many processes are told by themselves, the largest; the rest are summed."""
        self._most = most
        self._entries: dict[tuple[Key, int | None], _Entry] = {}
        self._others_busy = 0.0
        self._others = False

    def step(self, now: float, seen: Sequence[Seen]) -> tuple[ProcessUse, ...]:
        """Take in a step at `now` (monotonic seconds); returns what is to be shown."""
        for process in seen:
            place = process.key, process.gpu_instance
            before = self._entries.get(place)
            busy = process.busy + (before.busy if before else 0.0)
            self._entries[place] = _Entry(process, busy, now)
        here = {(process.key, process.gpu_instance) for process in seen}
        pids = {(process.key[0], process.gpu_instance) for process in seen}
        for place, entry in list(self._entries.items()):
            # Of two processes with one pid only the newer is told: their labels have no start.
            replaced = place not in here and (place[0][0], place[1]) in pids
            if replaced or now - entry.at > WINDOW_SECONDS:
                del self._entries[place]
        order = sorted(self._entries.items(), key=lambda item: _size(item[1]), reverse=True)
        shown = [_use(entry, alive=place in here) for place, entry in order[: self._most]]
        rest = [entry for _, entry in order[self._most :]]
        # What they use from now on: one of them may be told by itself later, with all that it used.
        self._others_busy += sum(entry.last.busy for entry in rest if entry.at == now)
        self._others |= bool(rest)
        if self._others:
            memory = [e.last.memory for e in rest if e.at == now and e.last.memory is not None]
            shown.append(
                ProcessUse(
                    pid=None,
                    started=None,
                    name="other",
                    owner=OTHERS,
                    memory=sum(memory),
                    busy=self._others_busy,
                )
            )
        return tuple(shown)


def _size(entry: _Entry) -> tuple[bool, float, float]:
    return entry.last.alive, entry.last.memory or 0.0, entry.busy


def _use(entry: _Entry, *, alive: bool) -> ProcessUse:
    last = entry.last
    alive = alive and last.alive
    return ProcessUse(
        pid=last.key[0],
        started=last.started,
        name=last.name,
        owner=last.owner,
        gpu_instance=last.gpu_instance,
        memory=last.memory if alive else None,
        busy=entry.busy,
        utilization=last.utilization if alive else {},
    )
