"""The exporter's metrics about itself."""

from __future__ import annotations

from gpu_sentinel.catalogue.metric import Kind, Metric, Op

_GPU = ("gpu", "uuid")


def _own(name: str, kind: Kind, help_: str, *labels: str, source: str = "sampler") -> Metric:
    return Metric(
        name=name,
        kind=kind,
        help=help_,
        group="the exporter itself",
        op=Op.EXPORTER,
        labels=labels,
        source=source,
    )


def _process(name: str, kind: Kind, help_: str) -> Metric:
    return _own(name, kind, help_, source="/proc")


OWN: tuple[Metric, ...] = (
    _own(
        "gpu_sentinel_build_info",
        Kind.INFO,
        "Version of the exporter and of the Python it runs on. Always 1.",
        "version",
        "python_version",
        source="exporter",
    ),
    _own(
        "gpu_sentinel_nvml_up",
        Kind.GAUGE,
        "1 while NVML is initialised and has answered within the last 5 seconds.",
    ),
    _own(
        "gpu_sentinel_nvml_released",
        Kind.GAUGE,
        "1 while the driver is let go of on request.",
    ),
    _own(
        "gpu_sentinel_config_last_reload_successful",
        Kind.GAUGE,
        "Whether the last loading of the configuration succeeded.",
        source="exporter",
    ),
    _own(
        "gpu_sentinel_config_last_reload_success_timestamp_seconds",
        Kind.GAUGE,
        "Unix time of the last loading of the configuration that succeeded.",
        source="exporter",
    ),
    _own(
        "gpu_sentinel_last_sample_timestamp_seconds",
        Kind.GAUGE,
        "Unix time of the last pass that brought readings.",
        *_GPU,
        "tier",
    ),
    _own(
        "gpu_sentinel_samples_total",
        Kind.COUNTER,
        "Passes of the fast tier that brought readings.",
        *_GPU,
    ),
    _own(
        "gpu_sentinel_sample_interval_seconds",
        Kind.GAUGE,
        "Time between two readings of what has peaks, as they are made now: of power, utilisation, "
        "memory and clock events, the one that is read least often.",
        *_GPU,
    ),
    _own(
        "gpu_sentinel_overruns_total",
        Kind.COUNTER,
        "Passes of the fast tier that were left out because an earlier one took too long.",
        *_GPU,
    ),
    _own(
        "gpu_sentinel_driver_samples_lost_total",
        Kind.COUNTER,
        "The driver's own samples of a signal that it overwrote before they were read.",
        *_GPU,
        "signal",
    ),
    _own(
        "gpu_sentinel_stalls_total",
        Kind.COUNTER,
        "How often the exporter itself stood still for more than a second: stopped, suspended with "
        "the machine, or without processor time.",
    ),
    _own(
        "gpu_sentinel_stalled_seconds_total",
        Kind.COUNTER,
        "How long the exporter itself stood still.",
    ),
    _own(
        "gpu_sentinel_lateness_seconds",
        Kind.HISTOGRAM,
        "How much later than planned passes began, all GPUs together.",
    ),
    _own(
        "gpu_sentinel_sampler_cpu_seconds_total",
        Kind.COUNTER,
        "Processor time of the threads that sample.",
    ),
    _own(
        "gpu_sentinel_budget_used_ratio",
        Kind.GAUGE,
        "What sampling used in the last 10 seconds, of one second: processor time of one core, "
        "and time inside the driver for each GPU; calls that are rarer count evenly over the time "
        "between them. See --sampler.budget.",
        "resource",
    ),
    _own(
        "gpu_sentinel_query_interval_factor",
        Kind.GAUGE,
        "By how much the interval of this query is stretched to stay within the budget. "
        "Not there while it is not.",
        "query",
    ),
    _own(
        "gpu_sentinel_interval_changes_total",
        Kind.COUNTER,
        "How often an interval was stretched or shortened to make use of the budget.",
        "direction",
    ),
    _own(
        "gpu_sentinel_nvml_calls_total",
        Kind.COUNTER,
        "Calls to the driver; one that answers several queries counts for each.",
        "query",
    ),
    _own(
        "gpu_sentinel_nvml_call_seconds_total",
        Kind.COUNTER,
        "Time spent in calls to the driver.",
        "query",
    ),
    _own(
        "gpu_sentinel_nvml_errors_total",
        Kind.COUNTER,
        "Calls to the driver that failed; what a GPU does not support is not asked for.",
        "query",
        "error",
    ),
    _own(
        "gpu_sentinel_rejected_readings_total",
        Kind.COUNTER,
        "Readings that were dropped because they cannot be true.",
        "query",
    ),
    _own(
        "gpu_sentinel_xid_source_info",
        Kind.INFO,
        "Where XIDs come from: kernel_log, nvml (which does not tell all of them), both while the "
        "kernel log has brought nothing that is understood, or none while there is neither. "
        "Always 1.",
        "source",
    ),
    _own(
        "gpu_sentinel_kernel_log_records_total",
        Kind.COUNTER,
        "Records of the kernel log by what was in them: an XID, an event of another kind, "
        "something other, nothing that makes sense (malformed), or overwritten before it was read "
        "(lost).",
        "result",
    ),
    _own(
        "gpu_sentinel_owner_source_up",
        Kind.GAUGE,
        "1 while what owners of GPUs are found by can be read: proc, environ, container_links, "
        "kubelet, slurm, mapping, docker. Not there for what is not asked.",
        "source",
    ),
    _process("process_cpu_seconds_total", Kind.COUNTER, "Processor time of the exporter."),
    _process("process_resident_memory_bytes", Kind.GAUGE, "Memory that the exporter occupies."),
    _process("process_virtual_memory_bytes", Kind.GAUGE, "Memory that the exporter has mapped."),
    _process("process_start_time_seconds", Kind.GAUGE, "Unix time of the exporter's start."),
    _process("process_open_fds", Kind.GAUGE, "Open files and connections of the exporter."),
    _process("process_max_fds", Kind.GAUGE, "Most files and connections that it may open."),
)
