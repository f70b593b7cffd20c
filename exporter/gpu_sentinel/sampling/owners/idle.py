"""What a GPU draws at rest."""

from __future__ import annotations

#: The mean over so many seconds counts, because a single reading can be anything.
SPAN_SECONDS = 10.0
#: Before a GPU was seen at rest, it is not believed to draw more than this share of its limit then:
#: 70 of 700 W on an H100, 35 of 350 W on an L40S, 15 of 320 W on an RTX 4080 SUPER (nvidia-smi,
#: without processes).
MOST_OF_LIMIT = 0.1


class IdleDraw:
    """Learns from the energy of steps in which nothing ran.

    The exporter may have been started while the GPU worked: then the smallest draw so far is no
    draw at rest.
    """

    def __init__(self) -> None:
        self._learnt: float | None = None
        self._least = float("inf")
        self._joules = self._seconds = 0.0
        self._resting = True

    def step(self, elapsed: float, joules: float, *, resting: bool) -> None:
        """Take in the joules of so many seconds; `resting`: no process, no engine worked."""
        self._joules += joules
        self._seconds += elapsed
        self._resting &= resting
        if self._seconds < SPAN_SECONDS:
            return
        mean = self._joules / self._seconds
        self._least = min(self._least, mean)
        if self._resting:
            # The newest one: it depends on how warm the GPU is.
            self._learnt = mean
        self._joules = self._seconds = 0.0
        self._resting = True

    def watts(self, limit: float | None) -> float:
        """What it draws at rest; `limit`: of its power, in watts, where that is known."""
        if self._learnt is not None:
            return self._learnt
        at_most = float("inf") if limit is None else MOST_OF_LIMIT * limit
        found = min(self._least, at_most)
        return 0.0 if found == float("inf") else found
