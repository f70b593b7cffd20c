"""What is remembered of one GPU across passes, losses and driver reloads."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from gpu_sentinel.catalogue import WINDOW_SECONDS, Op, keys_of, value_key
from gpu_sentinel.model import Value
from gpu_sentinel.windows import Integral, SlidingExtremes

_POWER, _ENERGY = "power.draw.instant", "energy.total"
_INTEGRATED = tuple(dict.fromkeys((*keys_of(Op.INTEGRAL), *keys_of(Op.OBSERVED), _POWER)))
_OBSERVED = frozenset(keys_of(Op.OBSERVED))
_SHOWN = frozenset(keys_of(Op.INTEGRAL))
_MINIMA = frozenset(keys_of(Op.MIN))
_MAXIMA = frozenset(keys_of(Op.MAX))


class History:
    """Integrals and extremes of one GPU's signals, and the counts of its passes.

    Written by the GPU's sampler thread alone.
    """

    def __init__(self) -> None:
        self.samples = 0
        self.overruns = 0
        self._integrals = {key: Integral() for key in _INTEGRATED}
        self._extremes = {
            key: SlidingExtremes(WINDOW_SECONDS) for key in dict.fromkeys((*_MINIMA, *_MAXIMA))
        }

    def add(
        self, t: float, values: Mapping[str, Value], supported: Collection[str], interval: float
    ) -> dict[str, Value]:
        """Take one pass of the fast tier in.

        Args:
            t: monotonic seconds at which the pass began.
            values: what it read.
            supported: keys that this GPU answers in principle.
            interval: seconds between two passes; a gap is more than two of them.

        Returns:
            What is made of the signals, by value key. A signal without a sample in this pass
            has no integral in it.
        """
        made: dict[str, Value] = {}
        signals = {key: v for key, v in values.items() if isinstance(v, float)}
        self._integrate(t, signals, 2 * interval, made)
        self._slide(t, signals, made)
        if _ENERGY in supported:
            made["energy.source.hardware"] = 1.0
        elif _POWER in values:
            made[_ENERGY] = self._integrals[_POWER].total
            made["energy.source.integrated"] = 1.0
        return made

    def _integrate(
        self, t: float, signals: Mapping[str, float], max_gap: float, made: dict[str, Value]
    ) -> None:
        for key, integral in self._integrals.items():
            if key not in signals:
                continue
            integral.add(t, signals[key], max_gap)
            if key in _SHOWN:
                made[value_key(Op.INTEGRAL, key)] = integral.total
            if key in _OBSERVED:
                made[value_key(Op.OBSERVED, key)] = integral.observed

    def _slide(self, t: float, signals: Mapping[str, float], made: dict[str, Value]) -> None:
        for key, extremes in self._extremes.items():
            if key in signals:
                extremes.add(t, signals[key])
            found = extremes.at(t)
            if found is None:
                continue
            if key in _MINIMA:
                made[value_key(Op.MIN, key)] = found[0]
            if key in _MAXIMA:
                made[value_key(Op.MAX, key)] = found[1]
