"""Is everything there, and does it answer?"""

from __future__ import annotations

from gpu_sentinel.rules.declare import (
    COUNT,
    EXPORTER_PAGE,
    GPU,
    HOST_PAGE,
    PERCENT,
    SHORT,
    STACK_PAGE,
    TARGET,
    WHO,
    Alert,
    Group,
)
from gpu_sentinel.rules.limits import Limits

ABOUT = "Is everything there, and does it answer? docs/runbooks/ has a page for each alert."
_ON = "On {{ $labels.host }}: "


def groups(limits: Limits) -> tuple[Group, ...]:
    """At Prometheus' own interval; what needs minutes anyway, every minute."""
    return (
        Group(name="gpu-hosts", page=HOST_PAGE, rules=_hosts()),
        Group(name="gpu-lost", rules=(_lost(),)),
        Group(name="gpu-silence", interval="15s", rules=(_stalled(),)),
        Group(name="gpu-sampler", page=EXPORTER_PAGE, interval="1m", rules=_sampler(limits)),
        Group(name="gpu-exporter", page=EXPORTER_PAGE, interval="1m", rules=_exporter(limits)),
        Group(name="gpu-exporters", page=STACK_PAGE, rules=(_absent(),)),
    )


def _hosts() -> tuple[Alert, ...]:
    return (
        Alert(
            name="GpuExporterDown",
            severity="critical",
            expr='up{job="gpu-sentinel"} == 0',
            wait="30s",
            summary="The GPU exporter on {{ $labels.host }} does not answer",
            description="Prometheus cannot scrape {{ $labels.instance }}; nothing is known of the GPUs "
            "of {{ $labels.host }}.",
            value="down",
            threshold="down for 30 s",
            first_step=_ON + "is the host up? Is gpu-sentinel running, and what does its log say?",
        ),
        Alert(
            name="GpuDriverGone",
            severity="critical",
            why="Not while somebody has asked the exporter to let go of it.",
            expr="gpu_sentinel_nvml_up == 0 "
            "unless on (job, instance) gpu_sentinel_nvml_released == 1",
            wait="15s",
            keep="1m",
            summary="The NVIDIA driver on {{ $labels.host }} does not answer",
            description="The exporter on {{ $labels.host }} runs, but NVML is not there or has been "
            "silent for more than 5 seconds. No GPU of the host can be seen.",
            value="no answer",
            threshold="no answer for 15 s",
            first_step=_ON + "`gpu-sentinel check`, then `dmesg` for NVRM and Xid lines.",
        ),
        Alert(
            name="GpuMissing",
            severity="critical",
            why="One that is listed and lost has its own alert.",
            expr="(gpu_expected_devices - gpu_devices) > 0 "
            "unless on (job, instance) gpu_sentinel_nvml_released == 1",
            wait="30s",
            keep="1m",
            summary="{{ $value }} GPUs are missing on {{ $labels.host }}",
            description="The driver on {{ $labels.host }} lists {{ $value }} GPUs fewer than are "
            "expected (by the setting inventory.expected-gpus, else by the PCI bus).",
            value="{{ $value }} missing",
            threshold="more than 0 for 30 s",
            first_step=_ON + "compare `lspci -d 10de:` with `nvidia-smi -L`, then `dmesg` for NVRM "
            "lines.",
        ),
    )


def _absent() -> Alert:
    return Alert(
        name="GpuExportersAbsent",
        severity="critical",
        expr='absent(up{job="gpu-sentinel"})',
        wait="5m",
        summary="Prometheus scrapes no GPU exporter at all",
        description="There is no target of the job gpu-sentinel: discovery has lost them, or the "
        "job has another name. No other alert about GPUs can fire.",
        value="no target",
        threshold="none for 5 min",
        first_step="Look at Prometheus' page of targets and at the files in prometheus/targets/.",
    )


def _lost() -> Alert:
    return Alert(
        name="GpuLost",
        severity="critical",
        subject="availability",
        expr="gpu_lost == 1",
        why="The driver itself said so, and a GPU that fell off the bus does not come back by "
        "itself.",
        keep="1m",
        summary=f"{SHORT} is lost",
        description="The driver reports GPU {{ $labels.gpu }} ({{ $labels.uuid }}) on "
        "{{ $labels.host }} as fallen off the bus, or lists it no more. Work on it has failed.",
        value="lost",
        threshold="lost",
        first_step=_ON + "`dmesg` for Xid lines; drain the host, then reset the GPU or restart the "
        "host.",
    )


def _stalled() -> Alert:
    return Alert(
        name="GpuSamplesStalled",
        severity="critical",
        subject="availability",
        why="Compared with the newest reading of the same host, so that clocks that differ do not "
        "matter; where all are silent at once, or there is one GPU only, passes are counted. A "
        "host whose driver is gone has its own alert. Of a GPU that vanished while Prometheus was "
        "restarted, the old series are still found for five minutes: what the last scrape brought "
        "counts alone.",
        expr=f"""
        (
          (
            max by (job, instance) (gpu_sentinel_last_sample_timestamp_seconds{{tier="fast"}})
              - on (job, instance) group_right ()
            max by ({GPU}) (gpu_sentinel_last_sample_timestamp_seconds{{tier="fast"}})
          )
          > on ({GPU})
          (15 + 3 * max by ({GPU}) (gpu_sentinel_sample_interval_seconds))
        or
          60 + (
            max by ({GPU}) (increase(gpu_sentinel_samples_total[1m])) == 0
              and on ({GPU}) max by ({GPU}) (gpu_sentinel_sample_interval_seconds) < 20
          )
        )
        and on (job, instance) gpu_sentinel_nvml_up == 1
        and on ({GPU}) (
          timestamp(gpu_sentinel_sample_interval_seconds)
            >= on (job, instance) group_left ()
          max by (job, instance) (timestamp(gpu_sentinel_nvml_up))
        )""",
        wait="10s",
        summary=f"{SHORT} does not answer",
        description=f"Calls about {WHO} do not come back: there have been no new readings of it for "
        f"{COUNT} s.",
        value=f"{COUNT} s old",
        keep="1m",
        threshold="older than 15 s, and three intervals of the sampler",
        first_step=_ON
        + "`dmesg` for Xid lines of this GPU; drain the host, stop gpu-sentinel, reset the GPU; "
        "restart the host if that hangs, too.",
    )


def _sampler(limits: Limits) -> tuple[Alert, ...]:
    key = "sampler_overrun_ratio"
    missed = "rate(gpu_sentinel_overruns_total[5m])"
    return (
        Alert(
            name="GpuSamplerBehind",
            severity="warning",
            subject="availability",
            expr=limits.beyond(
                f"{missed} / ({missed} + rate(gpu_sentinel_samples_total[5m]))", ">", key
            ),
            wait="5m",
            summary=f"The sampler cannot keep up with {SHORT}",
            description=f"{PERCENT} of the passes over {WHO} were left out, because earlier ones took "
            "too long: short peaks may be missed.",
            value=f"{PERCENT} left out",
            threshold=f"more than {limits.text(key, 'humanizePercentage')} in 5 min, for 5 min",
            first_step=_ON + "did the GPU hang a moment ago? Is the CPU busy? Which query is slow "
            "(`gpu_sentinel_nvml_call_seconds_total`)? Lengthen sampler.interval if need be.",
        ),
    )


def _exporter(limits: Limits) -> tuple[Alert, ...]:
    calls = f"sum by ({TARGET}, query)"
    return (
        Alert(
            name="GpuDriverCallsFailing",
            severity="warning",
            why="Where the driver is gone as a whole there is an alert already.",
            expr=limits.beyond(
                f"{calls} (rate(gpu_sentinel_nvml_errors_total[5m])) "
                f"/ ({calls} (rate(gpu_sentinel_nvml_calls_total[5m])) > 0)",
                ">",
                "driver_error_ratio",
            )
            + "\nand on (job, instance) gpu_sentinel_nvml_up == 1",
            wait="10m",
            summary="The driver on {{ $labels.host }} refuses {{ $labels.query }}",
            description=f"{PERCENT} of the calls for {{{{ $labels.query }}}} on {{{{ $labels.host }}}} "
            "fail, so that what they should tell is missing.",
            value=f"{PERCENT} of the calls",
            threshold=f"more than {limits.text('driver_error_ratio', 'humanizePercentage')} for 10 min",
            first_step=_ON + "look at `gpu_sentinel_nvml_errors_total` for the error, then at the "
            "exporter's log.",
        ),
        Alert(
            name="GpuReadingsRejected",
            severity="info",
            expr=limits.beyond(
                f"{calls} (increase(gpu_sentinel_rejected_readings_total[1h]))",
                ">",
                "rejected_readings_per_hour",
            ),
            summary="Impossible readings of {{ $labels.query }} on {{ $labels.host }}",
            description="The driver on {{ $labels.host }} answered {{ $labels.query }} "
            f"{COUNT} times in an hour with what cannot be true; these were dropped.",
            value=f"{COUNT} in an hour",
            threshold=f"more than {limits.text('rejected_readings_per_hour')} in an hour",
            first_step="Note the driver's version (`gpu_driver_info`); update it if a newer one is out.",
        ),
        Alert(
            name="GpuExporterRestarting",
            severity="warning",
            expr=limits.beyond(
                'changes(process_start_time_seconds{job="gpu-sentinel"}[30m])',
                ">=",
                "exporter_restarts_per_half_hour",
            ),
            summary="The GPU exporter on {{ $labels.host }} starts again and again",
            description="The exporter on {{ $labels.host }} was started {{ $value }} times in half an "
            "hour; between two starts nothing is seen.",
            value="{{ $value }} starts",
            threshold=f"{limits.text('exporter_restarts_per_half_hour')} in 30 min",
            first_step=_ON + "the last lines of its log before each start; was it killed for its "
            "memory (`dmesg`)?",
        ),
        Alert(
            name="GpuExporterConfigReloadFailed",
            severity="warning",
            expr="gpu_sentinel_config_last_reload_successful == 0",
            wait="5m",
            summary="The GPU exporter on {{ $labels.host }} refuses its new configuration",
            description="The exporter on {{ $labels.host }} goes on with its old configuration, because "
            "the new one is wrong. At its next start it will refuse to start.",
            value="refused",
            threshold="refused for 5 min",
            first_step=_ON
            + "its log says in one line which key is wrong, and what would be right.",
        ),
    )
