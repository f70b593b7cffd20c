"""What owners draw and use at the moment, from the counters of two readings of a page."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from gpu_sentinel.exposition.ownersreader import OwnerStatus, ProcessStatus
from gpu_sentinel.exposition.reader import Status

#: Seconds between the two readings, at most, where there are more of them: the counters grow once
#: a second, so that readings which are close together would see them jump.
WINDOW_SECONDS = 5.0

_Key = tuple[str, str, str]


class Rates:
    """Remembers the readings of the last seconds."""

    def __init__(self, window: float = WINDOW_SECONDS) -> None:
        """Nothing is remembered yet."""
        self._window = window
        self._readings: deque[tuple[float, Sequence[OwnerStatus]]] = deque()

    def add(self, status: Status, now: float) -> None:
        """Take a reading at `now` (monotonic seconds), and fill in what its owners draw and use."""
        self._readings.append((now, status.owners))
        while len(self._readings) > 2 and now - self._readings[1][0] >= self._window:
            self._readings.popleft()
        at, before = self._readings[0]
        if now > at:
            fill(status, before, now - at)


def fill(status: Status, before: Sequence[OwnerStatus], elapsed: float) -> None:
    """Fill in `power_watts` and `sm_ratio` of the owners of a reading.

    Args:
        status: the reading.
        before: the owners as they were earlier.
        elapsed: seconds between the two.
    """
    earlier = {_key(owner): owner for owner in before}
    for gpu in {owner.uuid for owner in status.owners}:
        here = [owner for owner in status.owners if owner.uuid == gpu]
        if any(_fell(owner, earlier.get(_key(owner))) for owner in here):
            continue  # the exporter was restarted, and counts from the beginning
        power = next((g.power_watts for g in status.gpus if g.uuid == gpu), None)
        _powers(here, earlier, power, elapsed)
        _shares(here, earlier, status, elapsed)


def _powers(
    here: Sequence[OwnerStatus],
    earlier: dict[_Key, OwnerStatus],
    power: float | None,
    elapsed: float,
) -> None:
    """Each owner's part of what the counters have grown by, of what the GPU draws.

    The counters do not tell when they grew, so their growth says who draws which share, and the
    GPU's own reading how much that is.
    """
    grown = [
        (owner, owner.joules - ((before.joules or 0.0) if before else 0.0))
        for owner in here
        for before in (earlier.get(_key(owner)),)
        if owner.joules is not None
    ]
    total = sum(joules for _, joules in grown)
    if total <= 0.0:
        return
    for owner, joules in grown:
        owner.power_watts = joules / elapsed if power is None else power * joules / total


def _shares(
    here: Sequence[OwnerStatus],
    earlier: dict[_Key, OwnerStatus],
    status: Status,
    elapsed: float,
) -> None:
    """SM time: as the driver's last samples of the processes say, else by the counter."""
    for owner in here:
        before = earlier.get(_key(owner))
        own = [p for p in status.processes if _key(p) == _key(owner)]
        told = [p.sm_ratio for p in own if p.sm_ratio is not None]
        if told and len(own) == owner.processes:
            owner.sm_ratio = sum(told)
        elif owner.busy_seconds is not None and before is not None:
            owner.sm_ratio = _grown(owner, before, "busy_seconds") / _between(
                owner, before, elapsed
            )


def _between(owner: OwnerStatus, before: OwnerStatus, elapsed: float) -> float:
    """Seconds between two states of the counters of one owner: a holder's own counter knows."""
    held = _grown(owner, before, "allocated_seconds")
    return held if owner.holds and before.holds and held > 0.0 else elapsed


def _grown(owner: OwnerStatus, before: OwnerStatus, counter: str) -> float:
    return (getattr(owner, counter) or 0.0) - (getattr(before, counter) or 0.0)


def _fell(owner: OwnerStatus, before: OwnerStatus | None) -> bool:
    return before is not None and any(
        _grown(owner, before, counter) < 0.0
        for counter in ("busy_seconds", "idle_joules", "active_joules", "allocated_seconds")
    )


def _key(of: OwnerStatus | ProcessStatus) -> _Key:
    return of.uuid, of.owner_kind, of.owner
