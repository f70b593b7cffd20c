"""Integrals of what GPM tells of a GPU, or of a GPU instance."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from gpu_sentinel.catalogue import GPM_BYTES, PROFILING_SECONDS, Op, value_key
from gpu_sentinel.catalogue.dcgm import rate_key
from gpu_sentinel.model import Value
from gpu_sentinel.nvml import NvmlError, Profile, Profiler


class Activities:
    """Shares as they are now, and their integrals since the exporter started.

    A profile is the exact mean between two samples, so the integral is the sum of the profiles;
    what no profile covers is a gap, and adds nothing.
    """

    def __init__(self, key: Callable[[str], str] = str) -> None:
        """`key` gives the name under which a reading is shown."""
        self.observed = 0.0
        self._totals: dict[str, float] = {}
        self._key = key

    def add(self, profile: Profile, values: dict[str, Value]) -> None:
        """Take a profile in, and leave in `values` what is to be shown, and nothing else."""
        values.clear()
        if not profile.values:
            return
        self.observed += profile.seconds
        for key, mean in profile.values.items():
            total = self._totals.get(key, 0.0) + mean * profile.seconds
            self._totals[key] = total
            shown = self._key(key)
            if key in GPM_BYTES:
                values[shown] = total
                values[rate_key(shown)] = mean
            else:
                values[shown] = mean
                values[value_key(Op.INTEGRAL, shown)] = total
        values[self._key(PROFILING_SECONDS)] = self.observed

    @property
    def totals(self) -> Mapping[str, float]:
        """The integrals by key."""
        return self._totals


def take(
    profiler: Profiler,
    clock: Callable[[], float],
    max_gap: float,
    activities: Activities,
    values: dict[str, Value],
) -> bool:
    """Read the counters; True where `values` are others now.

    Where the call fails, `profiler.failure` tells why.
    """
    try:
        profile = profiler.take(clock, max_gap)
    except NvmlError:
        values.clear()
        return True
    if profile is None:
        return False
    activities.add(profile, values)
    return True
