"""GPU Sentinel itself: does the watcher see, is it cheap, and do its messages arrive?"""

from __future__ import annotations

import links
import variables
from colours import NONE_IS_BEST, NONE_IS_GOOD
from core import Dashboard, Panel, Row
from facts import fact
from panels import lines, stat
from promql import on_host, selector, worst
from tables import Column, table


def _host(metric: str, *matchers: str) -> str:
    return on_host(metric, *matchers)


def numbers() -> list[Panel]:
    """Does everything work?"""
    last = _host("gpu_sentinel_last_sample_timestamp_seconds", 'tier="fast"')
    up = _host("up", 'job="gpu-sentinel"')
    return [
        stat(
            "Exporters silent",
            "Exporters that do not answer Prometheus.",
            f"count({up} == 0) or vector(0)",
            steps=NONE_IS_GOOD,
        ),
        stat(
            "Drivers away",
            "Hosts whose driver does not answer.",
            f"count({_host('gpu_sentinel_nvml_up')} == 0) or vector(0)",
            steps=NONE_IS_GOOD,
        ),
        stat(
            "Oldest reading",
            "Age of the oldest reading of the fast tier.",
            f"max(time() - {last})",
            unit="s",
            steps=((0, "green"), (5, "orange"), (15, "red")),
            decimals=1,
        ),
        stat(
            "Slowed samplers",
            "GPUs that are sampled less often than the fastest of their host: the governor keeps "
            "its budget.",
            f"count({_host('gpu_sentinel_sample_interval_seconds')} > on (instance) group_left () "
            f"1.5 * min by (instance) ({_host('gpu_sentinel_sample_interval_seconds')}))"
            " or vector(0)",
            steps=NONE_IS_BEST,
        ),
        stat(
            "Configuration",
            "Exporters whose last configuration was refused.",
            f"count({_host('gpu_sentinel_config_last_reload_successful')} == 0) or vector(0)",
            steps=NONE_IS_GOOD,
        ),
        stat(
            "Rules that fail",
            "Evaluations of rules that failed in the last ten minutes.",
            "sum(increase(prometheus_rule_evaluation_failures_total[10m]))",
            steps=NONE_IS_GOOD,
            decimals=0,
        ),
        stat(
            "Notifications lost",
            "Alerts that Prometheus could not hand to Alertmanager in the shown range.",
            "sum(increase(prometheus_notifications_dropped_total[$__range]))",
            steps=NONE_IS_GOOD,
            decimals=0,
        ),
        stat(
            "Notifications failed",
            "Mails and webhooks that Alertmanager could not deliver in the shown range.",
            "sum(increase(alertmanager_notifications_failed_total[$__range]))",
            steps=NONE_IS_GOOD,
            decimals=0,
        ),
    ]


def _worst(metric: str) -> dict[str, str]:
    return {"{{host}}": worst("max by (host)", _host(metric))}


def exporters() -> list[Panel]:
    """Exporters: do they see everything, and what does that cost?"""
    age = _host("host_tier:gpu_sentinel_sample_age_seconds:max")
    to_host = links.LINE_TO_HOST
    return [
        lines(
            "Age of readings",
            "Age of the oldest reading of each tier, of all chosen hosts.",
            {"{{tier}}": f"max by (tier) ({age})"},
            unit="s",
            width=8,
        ),
        lines(
            "Late passes",
            "Lateness of passes that one in a hundred exceeds; the ten worst hosts.",
            _worst("host:gpu_sentinel_lateness_seconds:p99_5m"),
            unit="s",
            width=8,
            links=to_host,
        ),
        lines(
            "Passes left out",
            fact("gpu_sentinel_overruns_total").description + " In a second; the ten worst hosts.",
            _worst("host:gpu_sentinel_overruns:rate5m"),
            unit="none",
            width=8,
            links=to_host,
        ),
        lines(
            "Processor time of samplers",
            "Share of one core; the ten hosts with the highest.",
            _worst("host:gpu_sentinel_sampler_cpu_seconds:rate5m"),
            unit="percentunit",
            width=8,
            links=to_host,
        ),
        lines(
            "Time inside the driver",
            "Share of the time for which calls to the driver ran, all GPUs of a host together; the "
            "ten hosts with the highest.",
            _worst("host:gpu_sentinel_nvml_call_seconds:rate5m"),
            unit="percentunit",
            width=8,
            links=to_host,
        ),
        lines(
            "Scrapes",
            "Longest scrape of five minutes; the ten slowest hosts.",
            _worst("host:scrape_duration_seconds:max5m"),
            unit="s",
            width=8,
            links=to_host,
        ),
    ]


def driver() -> list[Panel]:
    """Calls to the driver, by what they ask for."""
    seconds = f"sum by (query) (rate({_host('gpu_sentinel_nvml_call_seconds_total')}[2m]))"
    calls = f"sum by (query) (rate({_host('gpu_sentinel_nvml_calls_total')}[2m]))"
    errors = f"sum by (query, error) (increase({_host('gpu_sentinel_nvml_errors_total')}[10m]))"
    rejected = f"sum by (query) (increase({_host('gpu_sentinel_rejected_readings_total')}[10m]))"
    dearest = f"topk(20, {seconds})"
    return [
        table(
            "Dearest queries",
            "What the sampler asks the driver, by the time that it takes; of all chosen hosts.",
            [
                Column("Of the time", dearest, "percentunit", decimals=2),
                Column("A call", f"{seconds} / {calls} and {dearest}", "s"),
                Column("Calls a second", f"{calls} and {dearest}", decimals=1),
            ],
            labels=(),
            more={"query": "Query"},
            sort="Of the time",
            row_links=links.to_page("gpu-fleet"),
            width=12,
        ),
        table(
            "Calls that failed",
            fact("gpu_sentinel_nvml_errors_total").description + " In the last ten minutes.",
            [Column("Times", f"topk(20, {errors} > 0)", decimals=0)],
            labels=(),
            more={"query": "Query", "error": "Error"},
            sort="Times",
            row_links=links.to_page("gpu-health"),
            width=6,
        ),
        table(
            "Readings that were dropped",
            fact("gpu_sentinel_rejected_readings_total").description + " In the last ten minutes.",
            [Column("Times", f"topk(20, {rejected} > 0)", decimals=0)],
            labels=(),
            more={"query": "Query"},
            sort="Times",
            row_links=links.to_page("gpu-health"),
            width=6,
        ),
    ]


def _rate(metric: str) -> str:
    return f"rate({metric}[$__rate_interval])"


def storage() -> list[Panel]:
    """Prometheus: does it keep up, and will it last?"""
    behind = "prometheus_rule_group_last_duration_seconds / prometheus_rule_group_interval_seconds"
    disk = {
        "blocks": "prometheus_tsdb_storage_blocks_bytes",
        "write-ahead log": "prometheus_tsdb_wal_storage_size_bytes",
        "head": "prometheus_tsdb_head_chunks_storage_size_bytes",
    }
    return [
        lines(
            "Series and samples",
            "Series in memory, and samples a second.",
            {
                "series": "sum(prometheus_tsdb_head_series)",
                "samples a second": f"sum({_rate('prometheus_tsdb_head_samples_appended_total')})",
            },
            unit="short",
            width=8,
        ),
        lines(
            "Rules",
            "Time that the evaluation of a group of rules takes, as a share of its interval; at 1 "
            "evaluations are missed.",
            {"{{rule_group}}": f"max by (rule_group) ({behind})"},
            unit="percentunit",
            width=8,
            legend=False,
        ),
        lines(
            "Disk",
            "What Prometheus stores.",
            {name: f"sum({metric})" for name, metric in disk.items()},
            unit="bytes",
            stacked=True,
            width=8,
        ),
    ]


def notifications() -> list[Panel]:
    """Do messages arrive?"""
    bucket = _rate("alertmanager_notification_latency_seconds_bucket")
    failed = _rate("alertmanager_notification_requests_failed_total")
    sent = _rate("alertmanager_notifications_total")
    handed = selector("prometheus_notifications_latency_seconds", 'quantile="0.99"')
    return [
        lines(
            "Delivery",
            "Notifications a minute, and requests for them that failed, by receiver.",
            {
                "{{integration}}": f"60 * sum by (integration) ({sent})",
                "{{integration}} failed": f"60 * (sum by (integration) ({failed}) > 0)",
            },
            unit="none",
            width=8,
        ),
        lines(
            "Time to deliver",
            "Time that 99 of 100 notifications took at most, by receiver; and from Prometheus to "
            "Alertmanager.",
            {
                "{{integration}}": "histogram_quantile(0.99, "
                f"sum by (integration, le) ({bucket})) > 0",
                "to Alertmanager": f"max({handed})",
            },
            unit="s",
            width=8,
        ),
        lines(
            "Alerts that wait",
            "Alerts in the queue from Prometheus to Alertmanager.",
            {"waiting": "sum(prometheus_notifications_queue_length)"},
            unit="none",
            width=8,
        ),
    ]


def dashboard() -> Dashboard:
    """The page."""
    return Dashboard(
        uid="gpu-sentinel",
        title=links.PAGES["gpu-sentinel"],
        description="The exporters, Prometheus and Alertmanager: do they see, keep up and tell?",
        variables=variables.STACK,
        links=links.menu("gpu-sentinel"),
        refresh="30s",
        rows=[
            Row("", numbers()),
            Row("Do the exporters see everything, and at what cost?", exporters()),
            Row("What do they ask the driver?", driver()),
            Row("Does Prometheus keep up?", storage()),
            Row("Do notifications arrive?", notifications()),
        ],
    )
