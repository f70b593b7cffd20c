"""The metrics about the exporter itself: what the sampler did, and what the driver cost."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import accumulate
from typing import TypeAlias

from gpu_sentinel import __version__
from gpu_sentinel.catalogue import OWN, Metric
from gpu_sentinel.exposition.formats import Format, label, number
from gpu_sentinel.host import process_facts
from gpu_sentinel.model import Snapshot, Tier
from gpu_sentinel.nvml import CallStats
from gpu_sentinel.sampling import Governor, Lateness, Stalls, XidState
from gpu_sentinel.sampling.health import driver_due

#: Label values and value of one series.
_Row: TypeAlias = tuple[tuple[str, ...], float]


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


@dataclass(frozen=True, slots=True)
class Workings:
    """The parts of the exporter that tell about themselves.

    Attributes:
        sampler_cpu: processor seconds of the sampling threads.
        xids: where XIDs come from.
        stalls: when the exporter stood still.
    """

    stats: CallStats
    reload: ReloadState
    governor: Governor
    lateness: Lateness
    sampler_cpu: Callable[[], float]
    xids: XidState = field(default_factory=XidState)
    stalls: Stalls = field(default_factory=Stalls)


class OwnRenderer:
    """Renders the exporter's own families."""

    def __init__(self, workings: Workings) -> None:
        self._workings = workings
        self._prefixes: dict[str, dict[tuple[str, ...], str]] = {m.name: {} for m in OWN}

    def render(self, snapshot: Snapshot, now: float, fmt: Format) -> str:
        """The families as of `now` (monotonic seconds)."""
        rows = _rows(self._workings, snapshot, now)
        out: list[str] = []
        for metric in OWN:
            if metric.name == _LATENESS:
                lines = list(_histogram(self._workings.lateness))
            else:
                prefixes = self._prefixes[metric.name]
                lines = [
                    (prefixes.get(values) or self._prefix(metric, values)) + number(value) + "\n"
                    for values, value in rows.get(metric.name, ())
                ]
            if lines:
                out.append(fmt.header(metric))
                out += lines
        return "".join(out)

    def driver_due(self, snapshot: Snapshot) -> float:
        """Monotonic seconds until which the driver counts as up."""
        return driver_due(snapshot, self._workings.stalls.since)

    def _prefix(self, metric: Metric, values: tuple[str, ...]) -> str:
        labels = zip(metric.labels or (), values, strict=True)
        inside = ",".join(label(name, value) for name, value in labels)
        prefix = f"{metric.name}{{{inside}}} " if inside else f"{metric.name} "
        self._prefixes[metric.name][values] = prefix
        return prefix


_LATENESS = "gpu_sentinel_lateness_seconds"


def _histogram(lateness: Lateness) -> Iterator[str]:
    counts = list(accumulate(lateness.counts))
    for bound, count in zip((*map(str, lateness.BOUNDS), "+Inf"), counts, strict=True):
        yield f'{_LATENESS}_bucket{{le="{bound}"}} {count}\n'
    yield f"{_LATENESS}_sum {number(lateness.seconds)}\n"
    yield f"{_LATENESS}_count {counts[-1]}\n"


def _rows(workings: Workings, snapshot: Snapshot, now: float) -> Mapping[str, Iterable[_Row]]:
    reload, governor = workings.reload, workings.governor
    total = workings.stats.total()
    # A GPU that only the PCI bus knows is not sampled.
    gpus = [((d.id.name, d.id.uuid), d) for d in snapshot.devices if d.interval]
    rows: dict[str, Iterable[_Row]] = {
        "gpu_sentinel_build_info": [((__version__, platform.python_version()), 1.0)],
        "gpu_sentinel_nvml_up": _one(now <= driver_due(snapshot, workings.stalls.since)),
        "gpu_sentinel_nvml_released": _one(snapshot.driver.released),
        "gpu_sentinel_config_last_reload_successful": _one(reload.error is None),
        "gpu_sentinel_config_last_reload_success_timestamp_seconds": _one(reload.timestamp),
        "gpu_sentinel_last_sample_timestamp_seconds": [
            ((*gpu, tier.value), sample.wall)
            for gpu, device in gpus
            for tier, sample in device.tiers.items()
            if tier is not Tier.STATIC  # which is never too old
        ],
        "gpu_sentinel_samples_total": [(gpu, d.samples) for gpu, d in gpus],
        "gpu_sentinel_sample_interval_seconds": [(gpu, d.interval) for gpu, d in gpus],
        "gpu_sentinel_overruns_total": [(gpu, d.overruns) for gpu, d in gpus],
        "gpu_sentinel_driver_samples_lost_total": [
            ((*gpu, signal), lost) for gpu, d in gpus for signal, lost in d.lost_samples.items()
        ],
        "gpu_sentinel_stalls_total": _one(workings.stalls.count),
        "gpu_sentinel_stalled_seconds_total": _one(workings.stalls.seconds),
        "gpu_sentinel_sampler_cpu_seconds_total": _one(workings.sampler_cpu()),
        "gpu_sentinel_budget_used_ratio": _by_name(governor.usage),
        "gpu_sentinel_query_interval_factor": _by_name(governor.factors),
        "gpu_sentinel_interval_changes_total": _by_name(governor.changes),
        "gpu_sentinel_nvml_calls_total": [((q,), c.calls) for q, c in total.costs.items()],
        "gpu_sentinel_nvml_call_seconds_total": [((q,), c.seconds) for q, c in total.costs.items()],
        "gpu_sentinel_nvml_errors_total": total.errors.items(),
        "gpu_sentinel_rejected_readings_total": _by_name(total.rejected),
        "gpu_sentinel_xid_source_info": [((workings.xids.source,), 1.0)],
        "gpu_sentinel_kernel_log_records_total": _by_name(workings.xids.records),
    }
    for name, value in process_facts().items():
        rows[name] = _one(value)
    return rows


def _one(value: float) -> Iterable[_Row]:
    return (((), float(value)),)


def _by_name(values: Mapping[str, float]) -> Iterable[_Row]:
    return [((name,), value) for name, value in values.items()]
