"""Where the GPU instances of one GPU lie: profile and placement, which drivers of DRA name."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

import pynvml

from gpu_sentinel.nvml.errors import UNSUPPORTED, DriverGoneError, NvmlError, typed
from gpu_sentinel.nvml.raw import Handle


class Placement(NamedTuple):
    """Of a GPU instance; both None where the driver does not tell.

    Attributes:
        profile_id: nvmlGpuInstanceInfo_t.profileId.
        start: the first memory slice that it has.
    """

    profile_id: int | None = None
    start: int | None = None


class Placements:
    """Asks for them when the MIG devices are not what they were, whatever the answer was.

    nvml.h: nvmlDeviceGetGpuInstanceById requires a privileged user, and a GPU instance keeps its
    place for as long as it exists.
    """

    def __init__(self, board: Handle, failed: Callable[[NvmlError], None]) -> None:
        """`failed` is told errors that are neither a refusal nor the lack of the function."""
        self._board = board
        self._failed = failed
        self._devices: frozenset[tuple[object, ...]] | None = None
        self._known: Mapping[int, Placement] = {}

    def of(
        self, instances: Iterable[int], devices: Iterable[tuple[object, ...]]
    ) -> Mapping[int, Placement]:
        """By the id of each GPU instance; `devices` are what tells that they are the same.

        Raises:
            Exception: the driver is gone, as pynvml has it: `Mig` types errors.
        """
        there = frozenset(devices)
        if there != self._devices:
            self._known = {number: self._ask(number) for number in sorted(set(instances))}
            self._devices = there
        return self._known

    def _ask(self, number: int) -> Placement:
        try:
            instance = pynvml.nvmlDeviceGetGpuInstanceById(self._board, number)
            info = pynvml.nvmlGpuInstanceGetInfo(instance)
        except Exception as error:  # costs no MIG device
            failure = typed(error)
            if isinstance(failure, DriverGoneError):
                raise
            if failure.code not in UNSUPPORTED:
                self._failed(failure)
            return Placement()
        if int(info.id) != number:
            return Placement()  # an answer about another one
        return Placement(int(info.profileId), int(info.placement.start))
