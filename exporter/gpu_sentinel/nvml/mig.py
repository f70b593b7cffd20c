"""The MIG instances of one GPU, as NVML tells them.

A handle of a MIG device is valid until its instance is destroyed, and may stand for another one
then (nvml.h): who lists the devices again has to compare them.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable, Iterable, Sequence
from ctypes import addressof
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TypeVar

import pynvml

from gpu_sentinel.catalogue import ACTIVITIES, METRICS, Op, instance_activity_key
from gpu_sentinel.model import DeviceId, Tier, Value
from gpu_sentinel.nvml import raw
from gpu_sentinel.nvml.errors import UNSUPPORTED, DriverGoneError, NvmlError, typed
from gpu_sentinel.nvml.fastqueries import memory_v2
from gpu_sentinel.nvml.gpm import Profiler
from gpu_sentinel.nvml.migplaces import Placements
from gpu_sentinel.nvml.query import Query, Reader, call, raw_call
from gpu_sentinel.nvml.raw import Answer, Handle
from gpu_sentinel.nvml.stats import Recorder

T = TypeVar("T")

#: No instance of this GPU has the counters.
_NEVER = (pynvml.NVML_ERROR_NOT_SUPPORTED, pynvml.NVML_ERROR_FUNCTION_NOT_FOUND)

_VALID = {
    key: metric.valid
    for metric in METRICS
    if metric.op is Op.INSTANCE and metric.valid is not None
    for key in metric.series.values()
}
#: `NVIDIA H100 80GB HBM3 MIG 1c.3g.40gb`; attributes such as `+me` may follow.
_PROFILE = re.compile(r"\bMIG ((?:\d+c\.)?\d+g\.\d+gb\S*)$")

_MIB, _GIB = 2**20, 2**30
#: More MIG devices are no answer; there are 7 of a GPU.
_MOST_DEVICES = 64


def _bar1(handle: Handle) -> Sequence[Answer]:
    found = pynvml.nvmlDeviceGetBAR1MemoryInfo(handle)
    return float(found.bar1Total), float(found.bar1Used)


def _ecc(handle: Handle) -> Sequence[Answer]:
    """What nvidia-smi calls SRAM Uncorrectable; of a MIG device there is nothing else."""
    count = pynvml.nvmlDeviceGetMemoryErrorCounter(
        handle,
        pynvml.NVML_MEMORY_ERROR_TYPE_UNCORRECTED,
        pynvml.NVML_VOLATILE_ECC,
        pynvml.NVML_MEMORY_LOCATION_SRAM,
    )
    return (float(count),)


def _multiprocessors(handle: Handle) -> Sequence[Answer]:
    return (float(pynvml.nvmlDeviceGetAttributes_v2(handle).multiprocessorCount),)


#: What is read of MIG devices, and through them of their GPU instances; as `queries.QUERIES`.
MIG_QUERIES: tuple[Query, ...] = (
    raw_call(
        "mig.memory",
        Tier.PROFILING,
        ["mig.memory.total", "mig.memory.reserved", "mig.memory.free", "mig.memory.used"],
        raw.members(
            "nvmlDeviceGetMemoryInfo_v2", memory_v2, float, "total", "reserved", "free", "used"
        ),
    ),
    raw_call(
        "mig.memory",
        Tier.PROFILING,
        ["mig.memory.total", "mig.memory.free", "mig.memory.used"],
        raw.members(
            "nvmlDeviceGetMemoryInfo", pynvml.c_nvmlMemory_t, float, "total", "free", "used"
        ),
    ),
    call("mig.bar1", Tier.SLOW, ["mig.bar1.total", "mig.bar1.used"], _bar1),
    call("mig.ecc", Tier.SLOW, ["mig.ecc.volatile.uncorrected"], _ecc),
    call("mig.attributes", Tier.SLOW, ["mig.multiprocessors"], _multiprocessors),
)
#: Of these, what belongs to the MIG device; the rest belongs to its GPU instance.
MIG_DEVICE_KEYS = frozenset({"mig.ecc.volatile.uncorrected", "mig.multiprocessors"})
MIG_INSTANCE_KEYS = frozenset(k for q in MIG_QUERIES for k in q.keys) - MIG_DEVICE_KEYS


@dataclass(frozen=True, slots=True)
class MigDevice:
    """A compute instance; equal to another one that has the same UUID and place.

    Attributes:
        profile_id: of its GPU instance, as `Placement` has it.
        start: of its GPU instance.
    """

    uuid: str
    gpu_instance: int
    compute_instance: int
    profile: str
    handle: Handle = field(compare=False, repr=False)
    profile_id: int | None = None
    start: int | None = None

    @property
    def address(self) -> int:
        """What the handle points to."""
        return addressof(self.handle.contents)


class MigReader:
    """What is asked of one MIG handle; found out once, as by `Device.probe`.

    Attributes:
        complete: no query failed for a reason that may pass while that was found out.
    """

    def __init__(self, handle: Handle, keys: frozenset[str], recorder: Recorder) -> None:
        """Find out which of `keys` it answers.

        Raises:
            DriverGoneError: as the name says.
        """
        self._recorder = recorder
        self.complete = True
        self._readers: list[Reader] = []
        missing = set(keys)
        for query in MIG_QUERIES:
            wanted = frozenset(missing.intersection(query.keys))
            if not wanted:
                continue
            try:
                reader = query.bind(handle, wanted)
            except Exception as error:  # noqa: BLE001 - one query that fails costs its own keys
                failure = typed(error)
                if failure.code not in UNSUPPORTED:
                    self._note(query.name, failure)
                    self.complete = False
                continue
            missing.difference_update(reader.keys)
            self._readers.append(reader)

    def read(self, tier: Tier, values: dict[str, Value]) -> bool:
        """Put plausible readings in base units into `values`, and take the others out of it.

        Returns:
            False where a call failed: the instance may be gone.

        Raises:
            DriverGoneError: as the name says.
        """
        good = True
        for reader in self._readers:
            if reader.tier is not tier:
                continue
            start = time.perf_counter()
            try:
                answers = reader.read()
            except Exception as error:  # noqa: BLE001 - typed here, counted, gone on
                self._note(reader.query, typed(error))
                answers, good = [None] * len(reader.keys), False
            finally:
                self._recorder.cost(reader.query).add(time.perf_counter() - start)
            for key, answer in zip(reader.keys, answers, strict=True):
                self._accept(key, answer, values)
        return good

    def reject(self, keys: Iterable[str]) -> None:
        """Count readings that were plausible by themselves, but not after those before them."""
        self._recorder.rejected.update(keys)

    def _accept(self, key: str, answer: Answer, values: dict[str, Value]) -> None:
        low, high = _VALID[key]
        if isinstance(answer, float) and low <= answer <= high:
            values[key] = answer
            return
        values.pop(key, None)
        if answer is not None:
            self._recorder.rejected[key] += 1

    def _note(self, query: str, error: NvmlError) -> None:
        """Count an error; a lost instance is not a lost GPU."""
        self._recorder.errors[query, error.name] += 1
        if isinstance(error, DriverGoneError):
            raise error


class Mig:
    """MIG of a GPU for as long as NVML stays initialised.

    Every method calls the driver and may block for as long as the driver does. One thread at a
    time uses it.
    """

    def __init__(
        self, id_: DeviceId, recorder: Recorder, wanted: frozenset[str] | None = None
    ) -> None:
        """Look the GPU up.

        Args:
            id_: of the GPU.
            recorder: counts the calls.
            wanted: the keys that are read where there are instances; None for all.

        Raises:
            NvmlError: there is no such GPU, it is lost, or the driver is gone.
        """
        self.id = id_
        self.recorder = recorder
        self._wanted = wanted
        self._profiles = True
        try:
            self.handle = pynvml.nvmlDeviceGetHandleByIndex(id_.index)
        except Exception as error:
            raise typed(error) from error
        self._placements = Placements(self.handle, self._list_failed)

    def wanted(self, keys: frozenset[str]) -> frozenset[str]:
        """Those of `keys` that are to be read."""
        return keys if self._wanted is None else keys & self._wanted

    def mode(self) -> bool | None:
        """Whether MIG is on; None where the GPU does not have it.

        Raises:
            NvmlError: the call failed.
        """
        try:
            return self._ask("mig.mode", self._mode)
        except NvmlError as error:
            if error.code in UNSUPPORTED:
                return None
            raise

    def devices(self) -> tuple[MigDevice, ...]:
        """The MIG devices that there are now, in NVML's order.

        Raises:
            NvmlError: they cannot be listed.
        """
        return self._ask("mig.list", self._list)

    def profiler(self, instance: int) -> Profiler | None:
        """The counters of a GPU instance; None where they cannot be had.

        Raises:
            DriverGoneError: as the name says.
        """
        keys = [a.key for a in ACTIVITIES if self.wanted(frozenset({instance_activity_key(a)}))]
        if not keys or not self._profiles:
            return None
        try:
            return Profiler(self.handle, keys, self.recorder, instance)
        except Exception as error:
            failure = typed(error)
            if failure.code in _NEVER:
                self._profiles = False
                return None
            self.recorder.errors["gpm.instance", failure.name] += 1
            if isinstance(failure, DriverGoneError):
                raise failure from error
            return None

    def _mode(self) -> bool:
        current, _ = pynvml.nvmlDeviceGetMigMode(self.handle)
        return bool(current == pynvml.NVML_DEVICE_MIG_ENABLE)

    def _list(self) -> tuple[MigDevice, ...]:
        found = []
        most = min(int(pynvml.nvmlDeviceGetMaxMigDeviceCount(self.handle)), _MOST_DEVICES)
        for index in range(most):
            try:
                handle = pynvml.nvmlDeviceGetMigDeviceHandleByIndex(self.handle, index)
            except pynvml.NVMLError as error:
                if error.value != pynvml.NVML_ERROR_NOT_FOUND:
                    raise
                continue
            try:
                found.append(_described(handle, self.handle))
            except Exception as error:  # one that was destroyed a moment ago
                failure = typed(error)
                if isinstance(failure, DriverGoneError):
                    raise
                self._list_failed(failure)
        return self._placed(found)

    def _placed(self, devices: Sequence[MigDevice]) -> tuple[MigDevice, ...]:
        """The same, with where their GPU instances lie."""
        places = self._placements.of(
            (d.gpu_instance for d in devices),
            ((d.uuid, d.gpu_instance, d.compute_instance, d.profile) for d in devices),
        )
        return tuple(replace(d, **places[d.gpu_instance]._asdict()) for d in devices)

    def _list_failed(self, error: NvmlError) -> None:
        self.recorder.errors["mig.list", error.name] += 1

    def _ask(self, query: str, ask: Callable[[], T]) -> T:
        start = time.perf_counter()
        try:
            return ask()
        except Exception as error:
            failure = typed(error)
            if failure.code not in UNSUPPORTED:
                self.recorder.errors[query, failure.name] += 1
            raise failure from error
        finally:
            self.recorder.cost(query).add(time.perf_counter() - start)


def _described(handle: Handle, board: Handle) -> MigDevice:
    return MigDevice(
        uuid=str(pynvml.nvmlDeviceGetUUID(handle)),
        gpu_instance=int(pynvml.nvmlDeviceGetGpuInstanceId(handle)),
        compute_instance=int(pynvml.nvmlDeviceGetComputeInstanceId(handle)),
        profile=_profile(handle, board),
        handle=handle,
    )


def _profile(handle: Handle, board: Handle) -> str:
    """`3g.40gb`, or `1c.3g.40gb` for a part of it; empty where that cannot be known."""
    attempts = (partial(_named_profile, handle), partial(_sized_profile, handle, board))
    for attempt in attempts:
        try:
            if profile := attempt():
                return profile
        except pynvml.NVMLError as error:
            if isinstance(typed(error), DriverGoneError):
                raise
    return ""


def _named_profile(handle: Handle) -> str:
    match = _PROFILE.search(str(pynvml.nvmlDeviceGetName(handle)))
    return match[1] if match else ""


def _sized_profile(handle: Handle, board: Handle) -> str:
    """As the name would be: NVIDIA names memory by how many eighths of the board's it is."""
    found = pynvml.nvmlDeviceGetAttributes_v2(handle)
    whole, part = int(found.gpuInstanceSliceCount), int(found.computeInstanceSliceCount)
    total = int(pynvml.nvmlDeviceGetMemoryInfo(board, pynvml.nvmlMemory_v2).total)
    if not whole or not total:
        return ""
    eighths = round(found.memorySizeMB * _MIB / (total / 8))
    # A board of 80 GB has 79.6 GiB; a half is rounded up, as in 3g.71gb of 141.
    size = math.floor(math.ceil(total / _GIB) * eighths / 8 + 0.5)
    name = f"{whole}g.{size}gb"
    return name if part in (0, whole) else f"{part}c.{name}"
