"""Is everything there, and does it answer?"""

from __future__ import annotations

from gpu_sentinel.rules.declare import (
    COUNT,
    EXPORTER_PAGE,
    GPU,
    HOST_PAGE,
    JOIN,
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
        Group(name="gpu-lost", rules=(_lost(), _failing())),
        Group(name="gpu-unsteady", interval="1m", rules=(_unsteady(limits), _unclaimed())),
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
            why="Also where it comes and goes. Not while somebody has asked the exporter to let go "
            "of it, nor right after that.",
            expr="""
            (
              gpu_sentinel_nvml_up == 0
              or
              avg_over_time(gpu_sentinel_nvml_up[1m]) < 0.7
            )
            unless on (job, instance) max_over_time(gpu_sentinel_nvml_released[2m]) == 1""",
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
            why="One that is known by its UUID or PCI address, and is lost, has its own alert.",
            expr="""
            (
              gpu_expected_devices - gpu_devices
                - on (job, instance) group_left ()
              (
                count by (job, instance) (gpu_down_info{reason="not_listed"})
                  or on (job, instance) 0 * sum by (job, instance) (gpu_devices)
              )
            ) > 0
            unless on (job, instance) gpu_sentinel_nvml_released == 1""",
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


#: The reason, as the exporter tells it: a label would make another alert of it when it changes.
_REASON = (
    '{{ with printf "gpu_down_info{host=%q,uuid=%q}" $labels.host $labels.uuid | query }}'
    ' ({{ . | first | label "reason" }}){{ end }}'
)
#: Other alerts tell of these.
_NOT_FAILING = "hung|driver_gone|not_listed|unclaimed"


def _failing() -> Alert:
    return Alert(
        name="GpuFailing",
        severity="critical",
        subject="availability",
        expr=f"""
        max by ({GPU}) (gpu_up) == 0
        unless on ({JOIN}) gpu_lost == 1
        unless on ({JOIN}) gpu_down_info{{reason=~"{_NOT_FAILING}"}}""",
        wait="15s",
        keep="1m",
        why="One that is lost, hangs or is not listed has its own alert.",
        summary=f"{SHORT} fails in every call",
        description=f"The driver answers every call about {WHO} with an error{_REASON}: nothing is "
        "known of it, and work on it fails or cannot be started.",
        value=f"no answer{_REASON}",
        threshold="no answer for 15 s",
        first_step=_ON + "docs/sick-gpus.md says what the reason means; `dmesg` for Xid and NVRM "
        "lines; drain the host, then reset the GPU.",
    )


def _unsteady(limits: Limits) -> Alert:
    key = "gpu_outages_per_quarter_hour"
    return Alert(
        name="GpuUnsteady",
        severity="critical",
        subject="availability",
        expr=limits.beyond(f"round(max by ({GPU}) (increase(gpu_outages_total[15m])))", ">=", key),
        why="It may answer whenever Prometheus looks.",
        summary=f"{SHORT} comes and goes",
        description=f"{WHO} has stopped answering {COUNT} times in 15 minutes, and answered again.",
        value=f"{COUNT} times in 15 min",
        threshold=f"{limits.text(key)} in 15 min",
        first_step=_ON + "the exporter's log says why each time; `dmesg` for Xid lines; power "
        "cables, riser, heat. Drain the host, then reset the GPU.",
    )


def _unclaimed() -> Alert:
    return Alert(
        name="GpuUnclaimed",
        severity="warning",
        subject="availability",
        expr=f'max by ({GPU}) (gpu_down_info{{reason="unclaimed"}}) == 1',
        wait="10m",
        summary=f"No driver has {SHORT}",
        description="The NVIDIA card at {{ $labels.gpu }} on {{ $labels.host }} has no kernel "
        "driver, while other cards are the NVIDIA driver's: it failed to start, or is too old or "
        "too new for this driver.",
        value="no driver",
        threshold="no driver for 10 min",
        first_step=_ON + "`dmesg` for NVRM lines; `lspci -k -s {{ $labels.gpu }}`. A card that is "
        "not to be used: give it to vfio-pci, or silence this alert.",
    )


def _stalled() -> Alert:
    return Alert(
        name="GpuSamplesStalled",
        severity="critical",
        subject="availability",
        why="Compared with the newest reading of the same host, so that clocks that differ do not "
        "matter; where all are silent at once, or there is one GPU only, passes are counted. One "
        "that has hung since the exporter started has no reading: there the exporter says so. A "
        "host whose driver is gone has its own alert, and so has a GPU that fails. Of a GPU that "
        "vanished while Prometheus was restarted, the old series are still found for five minutes: "
        "what the last scrape brought counts alone.",
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
        or
          60 * max by ({GPU}) (gpu_down_info{{reason="hung"}})
        )
        unless on ({JOIN}) gpu_down_info{{reason!="hung"}}
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
            why="Where the driver is gone as a whole, or a GPU fails in every call, there is an alert "
            "already.",
            expr=limits.beyond(
                f"{calls} (rate(gpu_sentinel_nvml_errors_total[5m])) "
                f"/ ({calls} (rate(gpu_sentinel_nvml_calls_total[5m])) > 0)",
                ">",
                "driver_error_ratio",
            )
            + "\nand on (job, instance) gpu_sentinel_nvml_up == 1"
            + f'\nunless on (job, instance) gpu_down_info{{reason!~"{_NOT_FAILING}"}}',
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
