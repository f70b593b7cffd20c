"""The metrics about the exporter itself, served by prometheus_client."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Iterable

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.registry import Collector

from gpu_sentinel import __version__
from gpu_sentinel.model import DeviceSnapshot, Snapshot
from gpu_sentinel.nvml import CallStats
from gpu_sentinel.sampling.health import driver_due

_GPU = ("gpu", "uuid")


class ReloadState:
    """How the last loading of the configuration went; a start counts as one."""

    def __init__(self, wall: Callable[[], float] = time.time) -> None:
        self._wall = wall
        self.succeeded(None)

    def succeeded(self, error: str | None) -> None:
        """Note a loading: None where it succeeded, else why it did not."""
        self.error = error
        if error is None:
            self.timestamp = self._wall()


class SelfCollector(Collector):
    """What the sampler did, what the driver cost, and whether it answers."""

    def __init__(
        self,
        snapshot: Callable[[], Snapshot],
        stats: CallStats,
        reload: ReloadState,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._snapshot = snapshot
        self._stats = stats
        self._reload = reload
        self._clock = clock

    def describe(self) -> Iterable[Family]:
        """The families without samples."""
        return [Family(f.name, f.documentation, f.type) for f in self.collect()]

    def collect(self) -> Iterable[Family]:
        """The families as of now."""
        snapshot = self._snapshot()
        yield InfoMetricFamily(
            "gpu_sentinel_build",
            "Version of the exporter and of the Python it runs on. Always 1.",
            value={"version": __version__, "python_version": platform.python_version()},
        )
        yield GaugeMetricFamily(
            "gpu_sentinel_nvml_up",
            "1 while NVML is initialised and has answered within the last 5 seconds.",
            value=float(self._clock() <= driver_due(snapshot)),
        )
        yield GaugeMetricFamily(
            "gpu_sentinel_config_last_reload_successful",
            "Whether the last loading of the configuration succeeded.",
            value=float(self._reload.error is None),
        )
        yield GaugeMetricFamily(
            "gpu_sentinel_config_last_reload_success_timestamp_seconds",
            "Unix time of the last loading of the configuration that succeeded.",
            value=self._reload.timestamp,
        )
        yield from _sampler_families(snapshot.devices)
        yield from _driver_families(self._stats)


def _sampler_families(devices: Iterable[DeviceSnapshot]) -> Iterable[Family]:
    taken = GaugeMetricFamily(
        "gpu_sentinel_last_sample_timestamp_seconds",
        "Unix time of the last pass that brought readings.",
        labels=(*_GPU, "tier"),
    )
    samples = CounterMetricFamily(
        "gpu_sentinel_samples", "Passes of the fast tier that brought readings.", labels=_GPU
    )
    interval = GaugeMetricFamily(
        "gpu_sentinel_sample_interval_seconds",
        "Time between two passes of the fast tier, as set.",
        labels=_GPU,
    )
    overruns = CounterMetricFamily(
        "gpu_sentinel_overruns",
        "Passes of the fast tier that were left out because an earlier one took too long.",
        labels=_GPU,
    )
    for device in devices:
        gpu = (str(device.id.index), device.id.uuid)
        for tier, sample in device.tiers.items():
            taken.add_metric((*gpu, tier.value), sample.wall)
        samples.add_metric(gpu, device.samples)
        interval.add_metric(gpu, device.interval)
        overruns.add_metric(gpu, device.overruns)
    return taken, samples, interval, overruns


def _driver_families(stats: CallStats) -> Iterable[Family]:
    total = stats.total()
    calls = CounterMetricFamily(
        "gpu_sentinel_nvml_calls", "Calls to the driver.", labels=("query",)
    )
    seconds = CounterMetricFamily(
        "gpu_sentinel_nvml_call_seconds",
        "Time spent in calls to the driver.",
        labels=("query",),
    )
    errors = CounterMetricFamily(
        "gpu_sentinel_nvml_errors",
        "Calls to the driver that failed; what a GPU does not support is not asked for.",
        labels=("query", "error"),
    )
    rejected = CounterMetricFamily(
        "gpu_sentinel_rejected_readings",
        "Readings that were dropped because they cannot be true.",
        labels=("query",),
    )
    for query, count in sorted(total.calls.items()):
        calls.add_metric((query,), count)
        seconds.add_metric((query,), total.seconds[query])
    for (query, error), count in sorted(total.errors.items()):
        errors.add_metric((query, error), count)
    for query, count in sorted(total.rejected.items()):
        rejected.add_metric((query,), count)
    return calls, seconds, errors, rejected


def self_registry(collector: SelfCollector) -> CollectorRegistry:
    """A registry with the exporter's own metrics and those of its process."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(collector)
    ProcessCollector(registry=registry)
    return registry
