"""The metrics about the exporter itself, served by prometheus_client."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.registry import Collector

from gpu_sentinel import __version__
from gpu_sentinel.model import DeviceSnapshot, Snapshot
from gpu_sentinel.nvml import CallStats
from gpu_sentinel.sampling.health import driver_due

_GPU = ("gpu", "uuid")
_Kind = type[GaugeMetricFamily] | type[CounterMetricFamily] | type[InfoMetricFamily]

#: The families: type, help, labels.
_OWN: Mapping[str, tuple[_Kind, str, tuple[str, ...]]] = {
    "gpu_sentinel_build": (
        InfoMetricFamily,
        "Version of the exporter and of the Python it runs on. Always 1.",
        ("version", "python_version"),
    ),
    "gpu_sentinel_nvml_up": (
        GaugeMetricFamily,
        "1 while NVML is initialised and has answered within the last 5 seconds.",
        (),
    ),
    "gpu_sentinel_config_last_reload_successful": (
        GaugeMetricFamily,
        "Whether the last loading of the configuration succeeded.",
        (),
    ),
    "gpu_sentinel_config_last_reload_success_timestamp_seconds": (
        GaugeMetricFamily,
        "Unix time of the last loading of the configuration that succeeded.",
        (),
    ),
    "gpu_sentinel_last_sample_timestamp_seconds": (
        GaugeMetricFamily,
        "Unix time of the last pass that brought readings.",
        (*_GPU, "tier"),
    ),
    "gpu_sentinel_samples": (
        CounterMetricFamily,
        "Passes of the fast tier that brought readings.",
        _GPU,
    ),
    "gpu_sentinel_sample_interval_seconds": (
        GaugeMetricFamily,
        "Time between two passes of the fast tier, as set.",
        _GPU,
    ),
    "gpu_sentinel_overruns": (
        CounterMetricFamily,
        "Passes of the fast tier that were left out because an earlier one took too long.",
        _GPU,
    ),
    "gpu_sentinel_nvml_calls": (CounterMetricFamily, "Calls to the driver.", ("query",)),
    "gpu_sentinel_nvml_call_seconds": (
        CounterMetricFamily,
        "Time spent in calls to the driver.",
        ("query",),
    ),
    "gpu_sentinel_nvml_errors": (
        CounterMetricFamily,
        "Calls to the driver that failed; what a GPU does not support is not asked for.",
        ("query", "error"),
    ),
    "gpu_sentinel_rejected_readings": (
        CounterMetricFamily,
        "Readings that were dropped because they cannot be true.",
        ("query",),
    ),
}
_SUFFIX = {CounterMetricFamily: "_total", InfoMetricFamily: "_info"}


def _family(name: str) -> Any:
    kind, help_, labels = _OWN[name]
    return kind(name, help_, labels=labels)


def own_markdown() -> str:
    """The exporter's own metrics as a section of the reference page."""
    parts = ["\n## The exporter itself\n"]
    for name, (kind, help_, labels) in _OWN.items():
        shown = ", ".join(f"`{label}`" for label in labels) or "none"
        word = _SUFFIX.get(kind, "_gauge").split("_")[1].replace("total", "counter")
        parts.append(
            f"### `{name}{_SUFFIX.get(kind, '')}`\n\n{help_}\n\n- type: {word}\n- labels: {shown}\n"
        )
    parts.append("Beside these there are `process_*`: CPU time, memory, open files, start time.\n")
    return "\n".join(parts)


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
        build = _family("gpu_sentinel_build")
        build.add_metric((__version__, platform.python_version()), {})
        yield build
        for name, value in (
            ("gpu_sentinel_nvml_up", float(self._clock() <= driver_due(snapshot))),
            ("gpu_sentinel_config_last_reload_successful", float(self._reload.error is None)),
            (
                "gpu_sentinel_config_last_reload_success_timestamp_seconds",
                self._reload.timestamp,
            ),
        ):
            family = _family(name)
            family.add_metric((), value)
            yield family
        yield from _sampler_families(snapshot.devices)
        yield from _driver_families(self._stats)


def _sampler_families(devices: Iterable[DeviceSnapshot]) -> Iterable[Family]:
    taken = _family("gpu_sentinel_last_sample_timestamp_seconds")
    samples = _family("gpu_sentinel_samples")
    interval = _family("gpu_sentinel_sample_interval_seconds")
    overruns = _family("gpu_sentinel_overruns")
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
    calls = _family("gpu_sentinel_nvml_calls")
    seconds = _family("gpu_sentinel_nvml_call_seconds")
    errors = _family("gpu_sentinel_nvml_errors")
    rejected = _family("gpu_sentinel_rejected_readings")
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
