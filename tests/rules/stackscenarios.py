"""For every alert about Prometheus, Alertmanager, Grafana and disks: as scenarios.py."""

from __future__ import annotations

from timelines import (
    Scenario,
    counter,
    gauge,
    ramp,
    rate,
    simple,
)

ALERTS = 'alertmanager_alerts{state="%s"}'
UP = "up"
GIB = 2.0**30


def moving(metric: str, level: str, fires: int, quiet: int, clears: int, **more) -> Scenario:
    """A counter that must stand still."""
    return rate(metric, 0.1, 0.0, fires, quiet, clears=clears, level=level, step=15, **more)


DISK = 'node_filesystem_avail_bytes{fstype="ext4",device="d",mountpoint="/"}'
ANSWERS = 'grafana_http_request_duration_seconds_count{status_code="%s"}'
SENT = 'alertmanager_notifications_total{integration="email"}'
FAILED = 'alertmanager_notifications_failed_total{integration="email"}'
STACK = {
    "PrometheusDown": simple(UP, 1, 0, 1, 75, 55, level="prometheus"),
    "PrometheusConfigReloadFailed": simple(
        "prometheus_config_last_reload_successful", 1, 0, 1, 315, 295, level="prometheus"
    ),
    "PrometheusRuleEvaluationFailures": moving(
        "prometheus_rule_evaluation_failures_total", "prometheus", 360, 285, 330
    ),
    "PrometheusRuleIterationsMissed": moving(
        "prometheus_rule_group_iterations_missed_total", "prometheus", 660, 585, 630
    ),
    "PrometheusDiscoveryFailed": moving(
        "prometheus_sd_file_read_errors_total", "prometheus", 360, 285, 630
    ),
    "PrometheusSamplesRejected": moving(
        "prometheus_target_scrapes_sample_out_of_order_total", "prometheus", 660, 585, 630
    ),
    "PrometheusWalCorrupted": simple(
        "prometheus_tsdb_wal_corruptions_total", 0, 1, 0, 15, level="prometheus"
    ),
    "PrometheusStorageFailing": moving(
        "prometheus_tsdb_compactions_failed_total", "prometheus", 120, 45, 930
    ),
    "DiskFullPredicted": Scenario(
        {
            DISK: gauge(30e9),
            DISK.replace("avail", "size"): gauge(100e9),
            DISK.replace("avail_bytes", "readonly"): gauge(0),
        },
        {DISK: ramp(-1e6)},
        {DISK: ramp(-1e5)},
        fires=5400,
        quiet=1800,
        clears=21600,
        level="node",
        step=60,
        restarts=False,
    ),
    "PrometheusNotConnectedToAlertmanager": simple(
        "prometheus_notifications_alertmanagers_discovered", 1, 0, 1, 75, 55, level="prometheus"
    ),
    "PrometheusNotificationErrors": Scenario(
        {
            "prometheus_notifications_sent_total": counter(1),
            "prometheus_notifications_errors_total": counter(0),
        },
        {"prometheus_notifications_errors_total": counter(0.5)},
        {"prometheus_notifications_errors_total": counter(0.009)},
        fires=400,
        quiet=290,
        clears=330,
        level="prometheus",
        step=15,
    ),
    "AlertmanagerDown": simple(UP, 1, 0, 1, 75, 55, level="alertmanager"),
    "AlertmanagerConfigReloadFailed": simple(
        "alertmanager_config_last_reload_successful", 1, 0, 1, 315, 295, level="alertmanager"
    ),
    "AlertmanagerNotificationsFailing": Scenario(
        {SENT: counter(1), FAILED: counter(0)},
        {FAILED: counter(1)},
        {FAILED: counter(0.009)},
        fires=400,
        quiet=290,
        clears=330,
        level="alertmanager",
        step=15,
    ),
    "AlertmanagerAllSilenced": Scenario(
        {ALERTS % "active": gauge(3), ALERTS % "suppressed": gauge(0)},
        {ALERTS % "active": gauge(0), ALERTS % "suppressed": gauge(3)},
        {ALERTS % "active": gauge(1), ALERTS % "suppressed": gauge(2)},
        fires=330,
        quiet=290,
        level="alertmanager",
        step=15,
    ),
    "AlertmanagerClusterIncomplete": Scenario(
        {UP: gauge(1), "alertmanager_cluster_members": gauge(2)},
        {"alertmanager_cluster_members": gauge(1)},
        {"alertmanager_cluster_members": gauge(2)},
        fires=630,
        quiet=570,
        level="alertmanager",
        step=15,
    ),
    "GrafanaDown": simple(UP, 1, 0, 1, 135, 115, level="grafana"),
    "GrafanaFailing": Scenario(
        {ANSWERS % 200: counter(9), ANSWERS % 500: counter(0)},
        {ANSWERS % 500: counter(4)},
        {ANSWERS % 500: counter(0.9)},
        fires=700,
        quiet=590,
        clears=330,
        level="grafana",
        step=15,
    ),
}
