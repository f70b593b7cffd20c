"""The stack itself: Prometheus, Alertmanager, Grafana."""

from __future__ import annotations

from gpu_sentinel.rules.alerts import delivery, samples
from gpu_sentinel.rules.declare import COUNT, PERCENT, STACK_PAGE, TARGET, Alert, Group
from gpu_sentinel.rules.limits import Limits

ABOUT = "What watches the GPUs: Prometheus, Alertmanager, Grafana, and whether alerts arrive."
_P = "Prometheus on {{ $labels.host }} ({{ $labels.instance }})"


def groups(limits: Limits) -> tuple[Group, ...]:
    """The watchdog at Prometheus' own interval, the rest every 15 s."""
    return (
        Group(name="gpu-sentinel-meta", page=STACK_PAGE, rules=(samples.watchdog(),)),
        Group(
            name="gpu-sentinel-stack",
            page=STACK_PAGE,
            interval="15s",
            rules=(
                *_prometheus(),
                *samples.alerts(),
                *_storage(limits),
                *delivery.alerts(limits),
                *_grafana(limits),
            ),
        ),
    )


def _counted(
    name: str, severity: str, metrics: str, *, window: str, wait: str, what: str, so: str, do: str
) -> Alert:
    """Counters of Prometheus' that must stand still."""
    return Alert(
        name=name,
        severity=severity,
        # One by one: without their names they would be equal.
        expr="\nor\n".join(
            f"sum by ({TARGET}) (increase({metric}[{window}])) > 0" for metric in metrics.split()
        ),
        wait=wait,
        summary=f"{_P}: {what}",
        description=f"{_P}: {what} ({COUNT} times in {window}). {so}",
        value=f"{COUNT} in {window}",
        threshold=f"more than 0 in {window}, for {wait}",
        first_step=do,
    )


def _prometheus() -> tuple[Alert, ...]:
    return (
        Alert(
            name="PrometheusDown",
            severity="critical",
            why="Seen by another Prometheus; that this one is down the watchdog tells by its silence.",
            expr='up{job="prometheus"} == 0',
            wait="1m",
            summary=f"{_P} does not answer",
            description=f"{_P} cannot be scraped: rules may not be evaluated, and alerts not be sent.",
            value="down",
            threshold="down for 1 min",
            first_step="On {{ $labels.host }}: is Prometheus running, and what does its log say?",
        ),
        Alert(
            name="PrometheusConfigReloadFailed",
            severity="warning",
            expr="prometheus_config_last_reload_successful == 0",
            wait="5m",
            summary=f"{_P} refuses its new configuration",
            description=f"{_P} goes on with its old configuration; at its next start it will not start.",
            value="refused",
            threshold="refused for 5 min",
            first_step="`promtool check config prometheus.yml` says in which line.",
        ),
        _counted(
            "PrometheusRuleEvaluationFailures",
            "critical",
            "prometheus_rule_evaluation_failures_total",
            window="5m",
            wait="5m",
            what="rules fail",
            so="Alerts that depend on them do not fire.",
            do="Prometheus' page of rules shows the error beside the rule; two targets with the same "
            "labels are the usual cause.",
        ),
        _counted(
            "PrometheusRuleIterationsMissed",
            "warning",
            "prometheus_rule_group_iterations_missed_total",
            window="10m",
            wait="10m",
            what="rules take longer than their interval",
            so="Alerts come late.",
            do="Prometheus' page of rules shows how long each group takes; give Prometheus more CPU, or "
            "the group a longer interval.",
        ),
        _counted(
            "PrometheusDiscoveryFailed",
            "warning",
            "prometheus_sd_file_read_errors_total",
            window="10m",
            wait="5m",
            what="a discovery file cannot be read",
            so="Its targets stay as they were, or are not scraped at all.",
            do="Check the files in targets/, alertmanagers/ and stack/: Prometheus' log names the one.",
        ),
        _counted(
            "PrometheusSamplesRejected",
            "warning",
            "prometheus_target_scrapes_sample_duplicate_timestamp_total "
            "prometheus_target_scrapes_sample_out_of_order_total "
            "prometheus_target_scrapes_sample_out_of_bounds_total",
            window="10m",
            wait="10m",
            what="samples are rejected",
            so="Two targets have the same labels, or a clock is wrong.",
            do="Is a host listed twice in targets/? Are the clocks of the hosts in step?",
        ),
    )


def _storage(limits: Limits) -> tuple[Alert, ...]:
    free = limits.number("disk_free_ratio")
    files = '{fstype!~"tmpfs|ramfs|overlay|squashfs|fuse.*"}'
    by = "instance, device, mountpoint"
    return (
        Alert(
            name="PrometheusWalCorrupted",
            severity="critical",
            why="It is counted at the start, before the first scrape, so that it stands still afterwards.",
            expr="prometheus_tsdb_wal_corruptions_total > 0",
            summary=f"{_P} has lost data: its write-ahead log was corrupt",
            description=f"{_P} found its write-ahead log corrupt and dropped what came after. Hours of "
            "data may be missing.",
            value="{{ $value }} corruptions",
            threshold="more than 0 since its start",
            first_step="Check the disk of {{ $labels.host }} (`dmesg`, SMART), then restart Prometheus.",
        ),
        _counted(
            "PrometheusStorageFailing",
            "critical",
            "prometheus_tsdb_wal_writes_failed_total prometheus_tsdb_compactions_failed_total "
            "prometheus_tsdb_checkpoint_creations_failed_total",
            window="15m",
            wait="1m",
            what="data cannot be written",
            so="The disk is full or broken: what is measured now is lost.",
            do="On {{ $labels.host }}: `df` and `dmesg`; free space, or lower "
            "--storage.tsdb.retention.size.",
        ),
        Alert(
            name="DiskFullPredicted",
            severity="warning",
            why="Needs a node exporter; without one nothing is known of disks.",
            expr=f"predict_linear(node_filesystem_avail_bytes{files}[6h], 86400) < 0\n"
            f"and on ({by}) node_filesystem_avail_bytes / node_filesystem_size_bytes < {free}\n"
            f"and on ({by}) node_filesystem_readonly == 0",
            wait="30m",
            summary="A disk of {{ $labels.instance }} will be full within a day",
            description="As it fills now, {{ $labels.mountpoint }} of {{ $labels.instance }} is full "
            "within 24 hours.",
            value="{{ $value | humanize1024 }}B in 24 h",
            threshold=f"less than 0 B in 24 h, with less than {limits.text('disk_free_ratio', 'humanizePercentage')} free now, for 30 min",
            first_step="Free space, or lower --storage.tsdb.retention.size if it is Prometheus' disk.",
        ),
    )


def _grafana(limits: Limits) -> tuple[Alert, ...]:
    key = "grafana_error_ratio"
    answers = "grafana_http_request_duration_seconds_count"
    by = f"sum by ({TARGET})"
    failed = f'{by} (rate({answers}{{status_code=~"5.."}}[5m]))'
    return (
        Alert(
            name="GrafanaDown",
            severity="warning",
            expr='up{job="grafana"} == 0',
            wait="2m",
            summary="Grafana on {{ $labels.host }} does not answer",
            description="Grafana ({{ $labels.instance }}) cannot be scraped: no dashboards. Alerts are "
            "sent all the same.",
            value="down",
            threshold="down for 2 min",
            first_step="On {{ $labels.host }}: is Grafana running, and what does its log say?",
        ),
        Alert(
            name="GrafanaFailing",
            severity="warning",
            expr=limits.beyond(f"{failed} / ({by} (rate({answers}[5m])) > 0)", ">", key),
            wait="10m",
            summary="Grafana on {{ $labels.host }} fails",
            description=f"{PERCENT} of the answers of Grafana ({{{{ $labels.instance }}}}) are errors of "
            "its own.",
            value=f"{PERCENT} of the answers",
            threshold=f"more than {limits.text(key, 'humanizePercentage')} for 10 min",
            first_step="Its log says why. Does it reach Prometheus (Connections, Data sources, Test)?",
        ),
    )
