"""GPM on simulated GPUs: samples of counters that only grow; signatures as in nvml.h.

A buffer belongs to the library, whatever the driver does, and is lost with the library unless
it was freed: `Library.samples` and `Simulation.allocations` let a test see that.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from ctypes import addressof, c_void_p
from dataclasses import dataclass
from typing import Any

import pynvml

from gpu_sentinel.simulator.gpu import SimulatedGpu
from gpu_sentinel.simulator.library import (
    Call,
    NvmlFailure,
    function,
    not_supported,
    put,
    structure,
)
from gpu_sentinel.simulator.physics import Done

#: The counters are brought up to date this often.
_REFRESH_SECONDS = 0.1
_SLACK_SECONDS = 1e-6
_FIRST, _STEP = 0x6E0000, 0x100
_MIB_PER_SECOND = {"pcie": 9_000.0, "nvlink": 60_000.0}


def _share(**weights: float) -> Callable[[Done], float]:
    """Percent of the time, as so much of each kind of work."""
    return lambda mean: 100.0 * sum(getattr(mean, name) * w for name, w in weights.items())


#: Metric -> what it is of the mean work of a second: a training run in mixed precision.
_METRICS: Mapping[int, Callable[[Done], float]] = {
    pynvml.NVML_GPM_METRIC_GRAPHICS_UTIL: _share(busy=1.0),
    pynvml.NVML_GPM_METRIC_SM_UTIL: _share(busy=0.94),
    pynvml.NVML_GPM_METRIC_SM_OCCUPANCY: _share(busy=0.42),
    pynvml.NVML_GPM_METRIC_INTEGER_UTIL: _share(effort=0.17),
    pynvml.NVML_GPM_METRIC_ANY_TENSOR_UTIL: _share(effort=0.6),
    pynvml.NVML_GPM_METRIC_DFMA_TENSOR_UTIL: _share(effort=0.0),
    pynvml.NVML_GPM_METRIC_HMMA_TENSOR_UTIL: _share(effort=0.57),
    pynvml.NVML_GPM_METRIC_DMMA_TENSOR_UTIL: _share(effort=0.0),
    pynvml.NVML_GPM_METRIC_IMMA_TENSOR_UTIL: _share(effort=0.03),
    pynvml.NVML_GPM_METRIC_DRAM_BW_UTIL: _share(memory=1.0),
    pynvml.NVML_GPM_METRIC_FP64_UTIL: _share(effort=0.0),
    pynvml.NVML_GPM_METRIC_FP32_UTIL: _share(effort=0.13),
    pynvml.NVML_GPM_METRIC_FP16_UTIL: _share(effort=0.04),
    pynvml.NVML_GPM_METRIC_PCIE_TX_PER_SEC: lambda d: _MIB_PER_SECOND["pcie"] * d.busy,
    pynvml.NVML_GPM_METRIC_PCIE_RX_PER_SEC: lambda d: 2 * _MIB_PER_SECOND["pcie"] * d.busy,
    pynvml.NVML_GPM_METRIC_NVLINK_TOTAL_TX_PER_SEC: lambda d: _MIB_PER_SECOND["nvlink"] * d.busy,
    pynvml.NVML_GPM_METRIC_NVLINK_TOTAL_RX_PER_SEC: lambda d: _MIB_PER_SECOND["nvlink"] * d.busy,
}
#: An instance of MIG has no link of its own.
_LINKS = frozenset(
    {
        pynvml.NVML_GPM_METRIC_PCIE_TX_PER_SEC,
        pynvml.NVML_GPM_METRIC_PCIE_RX_PER_SEC,
        pynvml.NVML_GPM_METRIC_NVLINK_TOTAL_TX_PER_SEC,
        pynvml.NVML_GPM_METRIC_NVLINK_TOTAL_RX_PER_SEC,
    }
)


@dataclass(frozen=True, slots=True)
class _Sample:
    """The counters of one GPU, or of one GPU instance, at one time."""

    gpu: SimulatedGpu
    instance: int | None
    t: float
    done: Done


@function("dp", "nvmlGpmQueryDeviceSupport")
def _support(_call: Call, gpu: SimulatedGpu, out: int) -> None:
    found = structure(pynvml.c_nvmlGpmSupport_t, out, pynvml.NVML_GPM_SUPPORT_VERSION)
    found.isSupportedDevice = int(gpu.model.gpm)


@function("p", "nvmlGpmSampleAlloc", needs_init=False)
def _allocate(call: Call, out: int) -> None:
    simulation = call.library.simulation
    address = _FIRST + simulation.allocations["gpm"] * _STEP
    put(c_void_p, out, address)
    simulation.allocations["gpm"] += 1
    call.library.samples[address] = None


# Neither nvml.h nor reason makes freeing memory depend on the driver.
@function("p", "nvmlGpmSampleFree", needs_init=False, needs_driver=False)
def _free(call: Call, sample: int | None) -> None:
    if call.library.samples.pop(sample or 0, call) is call:
        raise NvmlFailure(pynvml.NVML_ERROR_INVALID_ARGUMENT)
    call.library.simulation.allocations["gpm freed"] += 1


@function("dp", "nvmlGpmSampleGet")
def _sample(call: Call, gpu: SimulatedGpu, sample: int | None) -> None:
    _fill(call, sample, gpu, None)


@function("dup", "nvmlGpmMigSampleGet")
def _mig_sample(call: Call, gpu: SimulatedGpu, instance: int, sample: int | None) -> None:
    found = gpu.mig.instance(instance)
    if found is None:
        raise NvmlFailure(pynvml.NVML_ERROR_INVALID_ARGUMENT)
    call.library.reach_instance(found, "nvmlGpmMigSampleGet")
    _fill(call, sample, gpu, instance)


def _fill(call: Call, sample: int | None, gpu: SimulatedGpu, instance: int | None) -> None:
    if not gpu.model.gpm:
        raise not_supported()
    if sample not in call.library.samples:
        raise NvmlFailure(pynvml.NVML_ERROR_INVALID_ARGUMENT)
    found = gpu.mig.instance(instance) if instance is not None else None
    board = gpu.done(call.t)
    done = found.done(board) if found else gpu.mig.done(board)
    call.library.samples[sample] = _Sample(gpu, instance, call.t, done)


@function("p", "nvmlGpmMetricsGet")
def _metrics(call: Call, request: int) -> None:
    found = structure(pynvml.c_nvmlGpmMetricsGet_t, request, pynvml.NVML_GPM_METRICS_GET_VERSION)
    first, second = (_filled(call, s) for s in (found.sample1, found.sample2))
    elapsed = second.t - first.t
    if (
        (first.gpu, first.instance) != (second.gpu, second.instance)
        or found.numMetrics > pynvml.NVML_GPM_METRIC_MAX
        # The counters did not move: a quotient of nothing and nothing. Nobody documents the
        # code; a caller that comes too early must not get numbers.
        or elapsed < _REFRESH_SECONDS - _SLACK_SECONDS
    ):
        raise NvmlFailure(pynvml.NVML_ERROR_INVALID_ARGUMENT)
    # What is 0 is not to become less by rounding.
    mean = Done(*(max(b - a, 0.0) / elapsed for a, b in zip(first.done, second.done, strict=True)))
    for metric in found.metrics[: found.numMetrics]:
        number = metric.metricId
        get = _METRICS.get(number)
        failure = first.gpu.metric_errors.get(number)
        if failure is not None:
            metric.nvmlReturn = failure
        elif get is None or (first.instance is not None and number in _LINKS):
            metric.nvmlReturn = pynvml.NVML_ERROR_NOT_SUPPORTED
        else:
            metric.nvmlReturn = pynvml.NVML_SUCCESS
            metric.value = get(mean)


def _filled(call: Call, pointer: Any) -> _Sample:
    # Not ctypes.cast, which leaves a cycle behind for the collector.
    sample = call.library.samples.get(addressof(pointer.contents) if pointer else 0)
    if not isinstance(sample, _Sample):
        raise NvmlFailure(pynvml.NVML_ERROR_INVALID_ARGUMENT)
    return sample
