"""The lists of processes that the driver has, and one list of them all."""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import pynvml

from gpu_sentinel.nvml.errors import UNSUPPORTED, DriverGoneError, NvmlError, typed, worst
from gpu_sentinel.nvml.mig import MigDevice
from gpu_sentinel.nvml.raw import Handle, function
from gpu_sentinel.nvml.room import Room, is_pid
from gpu_sentinel.nvml.stats import Recorder

#: By type, the newest function first, with the bytes of an entry. Libraries of before R450 U1 have
#: the first alone; 535.98 to 535.104 lack the newest (XuehaiPan/nvitop#88).
LISTS: Mapping[str, tuple[tuple[str, int], ...]] = {
    "compute": (
        ("nvmlDeviceGetComputeRunningProcesses_v3", 24),
        ("nvmlDeviceGetComputeRunningProcesses_v2", 24),
        ("nvmlDeviceGetComputeRunningProcesses", 16),
    ),
    "graphics": (
        ("nvmlDeviceGetGraphicsRunningProcesses_v3", 24),
        ("nvmlDeviceGetGraphicsRunningProcesses_v2", 24),
        ("nvmlDeviceGetGraphicsRunningProcesses", 16),
    ),
    "mps": (
        ("nvmlDeviceGetMPSComputeRunningProcesses_v3", 24),
        ("nvmlDeviceGetMPSComputeRunningProcesses_v2", 24),
        ("nvmlDeviceGetMPSComputeRunningProcesses", 16),
    ),
}
#: Number, memory and instances, by the bytes of an entry. Drivers 535.43 to 535.86 have 32 in the
#: newest version (XuehaiPan/nvitop#79, NVIDIA/go-nvml#75), others have 16 there (nvitop#226).
_LAYOUTS: Mapping[int, struct.Struct] = {
    24: struct.Struct("<I4xQII"),
    32: struct.Struct("<I4xQII8x"),
    16: struct.Struct("<I4xQ"),
}
_CAPACITY = 64
#: A list beside that of compute that was empty so often is asked only each so manieth time: most
#: servers have neither graphics nor MPS, and a call to the driver costs more than all that we do.
_QUIET, _SELDOM = 3, 4
#: NVML_VALUE_NOT_AVAILABLE of 64 and of 32 bits.
_NO_MEMORY, _NO_INSTANCE = 2**64 - 1, 2**32 - 1
#: Numbers of instances are smaller; memory of a process too, in bytes.
_MOST_INSTANCES, _MOST_MEMORY = 256, 2**50
#: Codes that an older version of a function need not have.
_OLDER = frozenset(
    {
        pynvml.NVML_ERROR_FUNCTION_NOT_FOUND,
        pynvml.NVML_ERROR_ARGUMENT_VERSION_MISMATCH,
        pynvml.NVML_ERROR_DEPRECATED,
    }
)

_NO_PERMISSION = pynvml.NVML_ERROR_NO_PERMISSION

#: As in the driver's entries: number, memory, GPU instance, compute instance.
_Row = tuple[int, int, int, int]


@dataclass(frozen=True, slots=True)
class GpuProcess:
    """A process with a context on a GPU, or on one MIG device of it.

    Attributes:
        memory: bytes of the GPU's memory that it holds; None where the driver does not know.
        gpu_instance, compute_instance: None where MIG is off.
        types: some of `LISTS`. What uses MPS is `mps`, and on most drivers `compute` besides.
    """

    pid: int
    memory: float | None
    gpu_instance: int | None
    compute_instance: int | None
    types: frozenset[str]


class ProcessLists:
    """The lists of one GPU; see `Processes`.

    Attributes:
        failures: why lists were not answered in the last reading, by type.
    """

    def __init__(self, handle: Handle, recorder: Recorder) -> None:
        self._handle = handle
        self._recorder = recorder
        room = Room(max(_LAYOUTS), _CAPACITY)
        self._lists = {kind: _List(versions, room) for kind, versions in LISTS.items()}
        self._readings = 0
        self.failures: dict[str, NvmlError] = {}

    def look_again(self) -> None:
        """Ask again for what was not supported."""
        for one in self._lists.values():
            one.supported, one.empty = True, 0

    @property
    def supported(self) -> frozenset[str]:
        """The types of processes that are listed."""
        return frozenset(kind for kind, one in self._lists.items() if one.supported)

    def read(self, devices: Sequence[MigDevice]) -> tuple[GpuProcess, ...]:
        """All processes; see `Processes.list`.

        Raises:
            NvmlError: nothing could be listed.
        """
        self.failures = {}
        found: dict[tuple[int, int, int], tuple[int, set[str]]] = {}
        answered = False
        self._readings += 1
        seldom = not devices and bool(self._readings % _SELDOM)
        for kind, one in self._lists.items():
            if answered and seldom and one.empty >= _QUIET:
                continue
            rows = self._rows(kind, one, self._handle)
            answered |= rows is not None
            if devices and not _placed(rows or ()):
                rows, told = self._by_device(kind, one, devices, rows or [])
                answered |= told
            for pid, memory, gpu, compute in rows or ():
                before, kinds = found.setdefault((pid, gpu, compute), (_NO_MEMORY, set()))
                kinds.add(kind)
                found[pid, gpu, compute] = (_greater(before, memory), kinds)
            one.empty = one.empty + 1 if rows == [] else 0
        if not answered and (failure := worst(self.failures.values())):
            raise failure
        return tuple(self._process(*key, *value) for key, value in found.items())

    def _rows(self, kind: str, one: _List, handle: Handle) -> list[_Row] | None:
        """What one list tells; None where it tells nothing."""
        if not one.supported:
            return None
        try:
            rows, rejected = one.read(handle)
        except Exception as error:  # one list that fails costs itself alone
            failure = typed(error)
            if handle is self._handle and failure.code == _NO_PERMISSION:
                self.failures[kind] = failure  # MIG devices may answer
                return None
            if failure.code in UNSUPPORTED:
                one.supported = handle is not self._handle  # a MIG device that is gone
                return None
            self._recorder.errors["processes.list", failure.name] += 1
            self.failures[kind] = failure
            if isinstance(failure, DriverGoneError):
                raise failure from error
            return None
        if rejected:
            self._recorder.rejected["processes.list"] += rejected
        return rows

    def _by_device(
        self, kind: str, one: _List, devices: Sequence[MigDevice], whole: list[_Row]
    ) -> tuple[list[_Row], bool]:
        """The rows of each MIG device, and those of the whole GPU that none of them has."""
        found: list[_Row] = []
        answered = False
        for device in devices:
            rows = self._rows(kind, one, device.handle)
            answered |= rows is not None
            found += [
                (pid, memory, device.gpu_instance, device.compute_instance)
                for pid, memory, _, _ in rows or ()
            ]
        if answered:
            self.failures.pop(kind, None)
        placed = {row[0] for row in found}
        return found + [row for row in whole if row[0] not in placed], answered

    def _process(
        self, pid: int, gpu: int, compute: int, memory: int, kinds: set[str]
    ) -> GpuProcess:
        # Whoever has a context holds memory: 0 is what a driver says that does not know.
        known = 0 < memory <= _MOST_MEMORY
        if not known and memory not in (0, _NO_MEMORY):
            self._recorder.rejected["processes.list"] += 1
        return GpuProcess(
            pid,
            float(memory) if known else None,
            None if gpu == _NO_INSTANCE else gpu,
            None if compute == _NO_INSTANCE else compute,
            frozenset(kinds),
        )


class _List:
    """One of the driver's lists.

    Attributes:
        supported: it may be asked.
        empty: how often it was so, the last times.
    """

    def __init__(self, versions: Sequence[tuple[str, int]], room: Room) -> None:
        self._versions = list(versions)
        self._room = room
        self._call: Callable[..., int] | None = None
        self.supported = True
        self.empty = 0

    def read(self, handle: Handle) -> tuple[list[_Row], int]:
        """Its entries, and how many of them cannot be.

        Raises:
            pynvml.NVMLError: it is not supported, or failed.
        """
        room = self._room
        while True:
            try:
                name, size = self._versions[0]
                call = self._call = self._call or function(name)
                view = room.ask(partial(call, handle))
            except pynvml.NVMLError as error:
                if error.value not in _OLDER or len(self._versions) == 1:
                    raise
                del self._versions[0]
                self._call = None
            else:
                return _decoded(view, room.filled, size)


def _decoded(view: memoryview, count: int, usual: int) -> tuple[list[_Row], int]:
    """The entries by the layout that makes most of them possible, and how many are not."""
    best: list[_Row] = []
    for size in sorted(_LAYOUTS, key=lambda size: size != usual):
        entries = _LAYOUTS[size].iter_unpack(view[: count * size])
        # The shortest ones have no instances.
        rows = [(*entry, _NO_INSTANCE, _NO_INSTANCE)[:4] for entry in entries]
        good = [row for row in rows if _possible(row)]
        if len(good) > len(best):
            best = good
        if len(best) == count:
            break
    return best, count - len(best)


def _placed(rows: Sequence[_Row]) -> bool:
    """Whether the driver tells the MIG device of every process, of which there are some."""
    return bool(rows) and all(row[2] != _NO_INSTANCE for row in rows)


def _possible(row: tuple[int, ...]) -> bool:
    return is_pid(row[0]) and all(n < _MOST_INSTANCES or n == _NO_INSTANCE for n in row[2:])


def _greater(first: int, second: int) -> int:
    """The greater of two numbers of bytes, of which each may be none."""
    known = [memory for memory in (first, second) if memory != _NO_MEMORY]
    return max(known, default=_NO_MEMORY)
