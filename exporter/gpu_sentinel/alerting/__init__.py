"""Alerts and their acknowledgement, by Alertmanager's HTTP API."""

from gpu_sentinel.alerting.alertmanager import Alert, Alertmanager, AlertmanagerError, Silence

__all__ = ["Alert", "Alertmanager", "AlertmanagerError", "Silence"]
