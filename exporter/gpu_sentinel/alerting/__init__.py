"""Alerts, their history and their silences, by the HTTP APIs of Alertmanager and Prometheus."""

from gpu_sentinel.alerting.alertmanager import Alert, Alertmanager, Matcher, Silence
from gpu_sentinel.alerting.history import Firing, history
from gpu_sentinel.alerting.maintenance import Work
from gpu_sentinel.alerting.prometheus import Prometheus
from gpu_sentinel.alerting.selection import SelectionError
from gpu_sentinel.alerting.shape import ApiError

__all__ = [
    "Alert",
    "Alertmanager",
    "ApiError",
    "Firing",
    "Matcher",
    "Prometheus",
    "SelectionError",
    "Silence",
    "Work",
    "history",
]
