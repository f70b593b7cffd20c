"""One GPU behind the door: who it is, what it supports, what it reads now."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Mapping

import pynvml

from gpu_sentinel.catalogue import query_keys
from gpu_sentinel.model import DeviceId, Tier, Value
from gpu_sentinel.nvml.errors import (
    UNSUPPORTED,
    DriverGoneError,
    GpuLostError,
    NvmlError,
    typed,
)
from gpu_sentinel.nvml.queries import QUERIES
from gpu_sentinel.nvml.query import Answer, Handle, Query, Reader
from gpu_sentinel.nvml.stats import Recorder

log = logging.getLogger(__name__)

# nvml.h, NVML_DEVICE_ARCH_*; a number that is not here is shown as it is.
_ARCHITECTURES = {
    getattr(pynvml, name): name.removeprefix("NVML_DEVICE_ARCH_").capitalize()
    for name in dir(pynvml)
    if name.startswith("NVML_DEVICE_ARCH_") and not name.endswith("UNKNOWN")
}

_VALID: Mapping[str, tuple[float, float]] = {
    key: metric.valid for key, metric in query_keys().items() if metric.valid is not None
}


def _compute_capability(handle: Handle) -> str:
    major, minor = pynvml.nvmlDeviceGetCudaComputeCapability(handle)
    return f"{major}.{minor}"


def _architecture(handle: Handle) -> str:
    number = pynvml.nvmlDeviceGetArchitecture(handle)
    return _ARCHITECTURES.get(number, str(number))


_IDENTITY: Mapping[str, Callable[[Handle], str]] = {
    "name": pynvml.nvmlDeviceGetName,
    "pci_bus_id": lambda h: pynvml.nvmlDeviceGetPciInfo(h).busId,
    "serial": pynvml.nvmlDeviceGetSerial,
    "vbios_version": pynvml.nvmlDeviceGetVbiosVersion,
    "architecture": _architecture,
    "compute_capability": _compute_capability,
    "minor_number": lambda h: str(pynvml.nvmlDeviceGetMinorNumber(h)),
}


def plausible(key: str, answer: float) -> bool:
    """Whether the catalogue believes a reading; what is not a number is not plausible."""
    low, high = _VALID[key]
    return low <= answer <= high


class Device:
    """A GPU for as long as NVML stays initialised.

    Every method calls the driver and may block for as long as the driver does. One thread at a
    time uses a device.
    """

    def __init__(
        self, index: int, recorder: Recorder, queries: tuple[Query, ...] = QUERIES
    ) -> None:
        """Look the GPU up.

        Raises:
            NvmlError: there is no such GPU, it is lost, or the driver is gone.
        """
        self._recorder = recorder
        self._queries = queries
        self._plan: dict[Tier, list[Reader]] = {tier: [] for tier in Tier}
        self.incomplete = True
        #: The query that was asked last; where a call hangs, the one that hangs.
        self.asked = "handle"
        try:
            self._handle = pynvml.nvmlDeviceGetHandleByIndex(index)
            self.id = DeviceId(index, str(pynvml.nvmlDeviceGetUUID(self._handle)))
        except Exception as error:
            raise typed(error) from error

    def identity(self) -> dict[str, str]:
        """The descriptive labels of `gpu_info`; empty strings where the GPU has none.

        Raises:
            GpuLostError, DriverGoneError: as the names say.
        """
        found = {}
        for label, get in _IDENTITY.items():
            try:
                found[label] = str(get(self._handle))
            except Exception as error:  # noqa: BLE001 - garbage in one string costs that string
                failure = typed(error)
                if failure.code not in UNSUPPORTED:
                    self._note(f"identity.{label}", failure)
                found[label] = ""
        return found

    def probe(self) -> None:
        """Find out which queries this GPU supports; `read` then asks nothing else.

        Sets `incomplete` where a query failed for a reason that may pass: probe again later.

        Raises:
            GpuLostError, DriverGoneError: as the names say.
        """
        plan: dict[Tier, list[Reader]] = {tier: [] for tier in Tier}
        self.incomplete = False
        missing = {key for query in self._queries for key in query.keys}
        for query in self._queries:
            wanted = frozenset(missing.intersection(query.keys))
            if not wanted:
                continue
            try:
                reader = query.bind(self._handle, wanted)
            except Exception as error:  # noqa: BLE001 - one query that fails costs its own keys
                failure = typed(error)
                if failure.code not in UNSUPPORTED:
                    self._note(query.name, failure)
                    self.incomplete = True
                continue
            missing.difference_update(reader.keys)
            plan[reader.tier].append(reader)
        self._plan = plan

    def keys(self, tier: Tier) -> tuple[str, ...]:
        """What the probe found for this tier."""
        return tuple(key for reader in self._plan[tier] for key in reader.keys)

    def read(self, tier: Tier) -> dict[str, Value]:
        """One pass over a tier: plausible readings in base units by key.

        A query that fails, or answers what cannot be, costs its own keys and is counted.

        Raises:
            GpuLostError, DriverGoneError: as the names say.
            NvmlError: every query of the tier failed.
        """
        values: dict[str, Value] = {}
        failure: NvmlError | None = None
        for reader in self._plan[tier]:
            self.asked = reader.query
            start = time.perf_counter()
            try:
                answers = reader.read()
            except Exception as error:  # noqa: BLE001 - typed at this door, counted, gone on
                failure = typed(error)
                self._note(reader.query, failure)
                continue
            finally:
                self._recorder.call(reader.query, time.perf_counter() - start)
            for key, answer in zip(reader.keys, answers, strict=True):
                self._take(values, reader.query, key, answer)
        if failure is not None and not values:
            raise failure
        return values

    def _take(self, values: dict[str, Value], query: str, key: str, answer: Answer) -> None:
        if isinstance(answer, float):
            if plausible(key, answer):
                values[key] = answer
            else:
                self._recorder.rejected[key] += 1
        elif isinstance(answer, tuple):
            believed = [plausible(key, a) for a in answer]
            self._recorder.rejected[key] += believed.count(False)
            values[key] = tuple(
                a if ok else math.nan for a, ok in zip(answer, believed, strict=True)
            )
        elif answer is not None:
            self._note(query, typed(answer))

    def _note(self, query: str, error: NvmlError) -> None:
        """Count an error; those that concern more than one query go up."""
        self._recorder.errors[query, error.name] += 1
        if isinstance(error, GpuLostError | DriverGoneError):
            raise error
