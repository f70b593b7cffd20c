"""What is asked of processes; signatures as in nvml.h."""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Sequence
from ctypes import c_uint

import pynvml

from gpu_sentinel.simulator.gpu import SimulatedGpu
from gpu_sentinel.simulator.library import (
    Call,
    NvmlFailure,
    function,
    mig_function,
    put,
    structure,
)
from gpu_sentinel.simulator.mig import MigDevice
from gpu_sentinel.simulator.workers import Worker

_STEMS = {
    "compute": "nvmlDeviceGetComputeRunningProcesses",
    "graphics": "nvmlDeviceGetGraphicsRunningProcesses",
    "mps": "nvmlDeviceGetMPSComputeRunningProcesses",
}
_LISTS = tuple(stem + version for stem in _STEMS.values() for version in ("", "_v2", "_v3"))
_TYPES = {stem + v: kind for kind, stem in _STEMS.items() for v in ("", "_v2", "_v3")}
_ENTRY, _OLD_ENTRY = struct.Struct("<I4xQII"), struct.Struct("<I4xQ")
#: As drivers 535.43 to 535.86 have it, with protected memory.
_WIDE_ENTRY = struct.Struct("<I4xQIIQ")
_USE, _USE_OF_ALL = struct.Struct("<I4xQ4I"), struct.Struct("<Q7I4x")
_NO_MEMORY, _NO_INSTANCE = 2**64 - 1, 2**32 - 1
#: A driver says at least that many where it is asked how many samples there are.
_LEAST_SAMPLES = 100
#: What users have seen beside zombies (Syllo/nvtop#110): nothing of it is a process.
_GARBAGE = (3_735_928_559, 1, (4_294_967_295, 1_073_741_824, 77_777, 12_345, 0, 0))


@function("dpp", *_LISTS)
def _processes(call: Call, gpu: SimulatedGpu, count: int, out: int) -> None:
    if gpu.mig.enabled and not call.library.simulation.privileged:
        raise NvmlFailure(pynvml.NVML_ERROR_NO_PERMISSION)
    gpu.state(call.t)
    _list(call, gpu, gpu.workers(), count, out)


@mig_function("dpp", *_LISTS)
def _mig_processes(call: Call, gpu: SimulatedGpu, device: MigDevice, count: int, out: int) -> None:
    gpu.state(call.t)
    place = device.instance.id, device.compute_instance
    there = [w for w in gpu.workers() if _place(w) == place]
    _list(call, gpu, there, count, out)


def _place(worker: Worker) -> tuple[int | None, int]:
    return worker.process.gpu_instance, worker.process.compute_instance or 0


def _list(call: Call, gpu: SimulatedGpu, workers: Sequence[Worker], count: int, out: int) -> None:
    entry = _ENTRY if call.name[-3:-1] == "_v" else _OLD_ENTRY
    if gpu.process_fault == "wide" and call.name.endswith("_v3"):
        entry = _WIDE_ENTRY
    there = [w for w in workers if _TYPES[call.name] in w.process.types]
    rows = [_row(gpu, worker) for worker in there]
    values = len(entry.unpack(bytes(entry.size)))
    data = b"".join(entry.pack(*(*row, 0)[:values]) for row in rows)
    room = structure(c_uint, count).value
    if gpu.process_fault == "hungry":
        # However much room there is, it wants some more.
        put(c_uint, count, room + 1)
        raise NvmlFailure(pynvml.NVML_ERROR_INSUFFICIENT_SIZE)
    put(c_uint, count, len(rows) + 100 if gpu.process_fault == "boasting" else len(rows))
    if len(rows) > room:
        raise NvmlFailure(pynvml.NVML_ERROR_INSUFFICIENT_SIZE)
    if rows:
        _write(out, data)


def _row(gpu: SimulatedGpu, worker: Worker) -> tuple[int, int, int, int]:
    process = worker.process
    memory = gpu.memory_of(worker) if gpu.model.process_memory else _NO_MEMORY
    if process.gpu_instance is None:
        return process.pid, memory, _NO_INSTANCE, _NO_INSTANCE
    return process.pid, memory, process.gpu_instance, process.compute_instance or 0


def _write(out: int | None, data: bytes) -> None:
    if not out:
        raise NvmlFailure(pynvml.NVML_ERROR_INVALID_ARGUMENT)
    ctypes.memmove(out, data, len(data))


def _used(call: Call, gpu: SimulatedGpu, since: int) -> list[tuple[int, int, tuple[int, ...]]]:
    """Number, time and means of who used something since then."""
    gpu.state(call.t)
    simulation = call.library.simulation
    newer = [(at, s) for s in gpu.use_samples() if (at := simulation.micros(s.at)) > since]
    sums: dict[int, tuple[int, list[float]]] = {}
    for at, sample in newer:
        for pid, shares in sample.used.items():
            _, before = sums.get(pid, (0, [0.0] * len(shares)))
            sums[pid] = at, [a + b for a, b in zip(before, shares, strict=True)]
    rows = [
        (pid, at, (*(round(s / len(newer)) for s in shares), 0))
        for pid, (at, shares) in sums.items()
    ]
    if gpu.process_fault == "garbage":
        rows += [_GARBAGE] * (_LEAST_SAMPLES - len(rows))
    if not rows:
        raise NvmlFailure(pynvml.NVML_ERROR_NOT_FOUND)
    return rows


@function("dppq", "nvmlDeviceGetProcessUtilization")
def _utilization(call: Call, gpu: SimulatedGpu, out: int, count: int, since: int) -> None:
    room = structure(c_uint, count).value
    if not out:
        put(c_uint, count, _LEAST_SAMPLES)
        raise NvmlFailure(pynvml.NVML_ERROR_INSUFFICIENT_SIZE)
    rows = _used(call, gpu, since)
    put(c_uint, count, max(len(rows), _LEAST_SAMPLES) if len(rows) > room else len(rows))
    if len(rows) > room:
        raise NvmlFailure(pynvml.NVML_ERROR_INSUFFICIENT_SIZE)
    _write(out, b"".join(_USE.pack(pid, at, *shares[:4]) for pid, at, shares in rows))


@function("dp", "nvmlDeviceGetProcessesUtilizationInfo")
def _utilization_of_all(call: Call, gpu: SimulatedGpu, out: int) -> None:
    kind, version = pynvml.c_nvmlProcessesUtilizationInfo_v1_t, pynvml.ProcessesUtilizationInfo_v1
    request = structure(kind, out, version)
    rows = _used(call, gpu, request.lastSeenTimeStamp)
    room = request.processSamplesCount
    array = request.procUtilArray
    if len(rows) > room or not array:
        request.processSamplesCount = max(len(rows), _LEAST_SAMPLES)
        raise NvmlFailure(pynvml.NVML_ERROR_INSUFFICIENT_SIZE)
    request.processSamplesCount = len(rows)
    data = b"".join(_USE_OF_ALL.pack(at, pid, *shares) for pid, at, shares in rows)
    _write(ctypes.addressof(array.contents), data)
