"""Whether alerts leave Prometheus, and Alertmanager."""

from __future__ import annotations

from gpu_sentinel.rules.declare import PERCENT, TARGET, Alert
from gpu_sentinel.rules.limits import Limits

_P = "Prometheus on {{ $labels.host }} ({{ $labels.instance }})"
_A = "Alertmanager on {{ $labels.host }} ({{ $labels.instance }})"
_KEY = "notification_error_ratio"
_STATE = 'max without (state) (alertmanager_alerts{{state="{}"}})'.format
#: Where a silence of the Watchdog alone is told, that alert is the only one that is active. It is
#: left out: else it would end itself, and begin anew.
_OWN = 'scalar(count(ALERTS{alertname="AlertmanagerAllSilenced",alertstate="firing"}) or vector(0))'


def alerts(limits: Limits) -> tuple[Alert, ...]:
    """From Prometheus to the receivers."""
    return (*_sending(limits), *_alertmanager(limits))


def _sending(limits: Limits) -> tuple[Alert, ...]:
    errors, sent = (
        f"sum by ({TARGET}) (rate(prometheus_notifications_{what}_total[5m]))"
        for what in ("errors", "sent")
    )
    return (
        Alert(
            name="PrometheusNotConnectedToAlertmanager",
            severity="critical",
            expr="prometheus_notifications_alertmanagers_discovered < 1",
            wait="1m",
            summary=f"{_P} knows no Alertmanager",
            description=f"{_P} has nowhere to send alerts to: nobody is told of anything.",
            value="none",
            threshold="none for 1 min",
            first_step="Look at the files in prometheus/alertmanagers/ and at Prometheus' page Runtime.",
        ),
        Alert(
            name="PrometheusNotificationErrors",
            severity="critical",
            expr=limits.beyond(f"{errors} / ({sent} > 0)", ">", _KEY),
            wait="5m",
            summary=f"{_P} cannot send alerts",
            description=f"{PERCENT} of the alerts that {_P} sends to an Alertmanager fail.",
            value=f"{PERCENT} of the alerts",
            threshold=f"more than {limits.text(_KEY, 'humanizePercentage')} for 5 min",
            first_step="Is Alertmanager up, and is its address in prometheus/alertmanagers/ right?",
        ),
    )


def _alertmanager(limits: Limits) -> tuple[Alert, ...]:
    failed, told = (
        f"sum by ({TARGET}, integration) (rate(alertmanager_notifications{what}_total[5m]))"
        for what in ("_failed", "")
    )
    return (
        Alert(
            name="AlertmanagerDown",
            severity="critical",
            expr='up{job="alertmanager"} == 0',
            wait="1m",
            summary=f"{_A} does not answer",
            description=f"{_A} cannot be scraped. If it is the only one, nobody is told of any alert.",
            value="down",
            threshold="down for 1 min",
            first_step="On {{ $labels.host }}: is Alertmanager running, and what does its log say?",
        ),
        Alert(
            name="AlertmanagerConfigReloadFailed",
            severity="warning",
            expr="alertmanager_config_last_reload_successful == 0",
            wait="5m",
            summary=f"{_A} refuses its new configuration",
            description=f"{_A} goes on with its old configuration; at its next start it will not start.",
            value="refused",
            threshold="refused for 5 min",
            first_step="`amtool check-config alertmanager.yml` says what is wrong.",
        ),
        Alert(
            name="AlertmanagerNotificationsFailing",
            severity="critical",
            expr=limits.beyond(f"{failed} / ({told} > 0)", ">", _KEY),
            wait="5m",
            summary=f"{_A} cannot deliver by {{{{ $labels.integration }}}}",
            description=f"{PERCENT} of the messages that {_A} sends by {{{{ $labels.integration }}}} "
            "fail.",
            value=f"{PERCENT} of the messages",
            threshold=f"more than {limits.text(_KEY, 'humanizePercentage')} for 5 min",
            first_step="Alertmanager's log says what the receiver answered: address, password, "
            "certificate?",
        ),
        Alert(
            name="AlertmanagerAllSilenced",
            severity="warning",
            # The Watchdog always fires, so one alert is always active: but for a silence.
            expr=f"{_STATE('active')} <= {_OWN}\n  and {_STATE('suppressed')} > 0",
            wait="5m",
            summary=f"{_A} has silenced all alerts",
            description=f"{_A} tells nobody of any alert, not even of the Watchdog: a silence matches "
            "all of them, and this one, too, unless it is of the Watchdog alone.",
            value="no alert is active",
            threshold="none but silenced ones, for 5 min",
            first_step="`gpu-sentinel alerts audit` lists silences that match too much; end them with "
            "`amtool silence expire ID`, or on Alertmanager's page.",
        ),
        Alert(
            name="AlertmanagerClusterIncomplete",
            severity="warning",
            expr="alertmanager_cluster_members\n"
            '  < on (job) group_left () count by (job) (up{job="alertmanager"} == 1)',
            wait="10m",
            summary=f"{_A} does not see its peers",
            description=f"{_A} sees {{{{ $value }}}} members of its cluster; more Alertmanagers are up. "
            "The same alert may be told twice.",
            value="{{ $value }} members",
            threshold="fewer than Alertmanagers are up, for 10 min",
            first_step="Are --cluster.peer and port 9094 (TCP and UDP) right on each of them?",
        ),
    )
