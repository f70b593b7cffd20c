"""What happened, as marks on every line, such as XIDs, alerts, and an exporter that came back."""

from __future__ import annotations

from core import DATASOURCE, Json
from promql import HOSTS, Scope, selector


def _mark(
    name: str,
    colour: str,
    expr: str,
    title: str,
    text: str,
    *,
    at_value: bool = False,
) -> Json:
    return {
        "name": name,
        "enable": True,
        "hide": False,
        "iconColor": colour,
        "datasource": dict(DATASOURCE),
        "expr": expr,
        "step": "15s",
        "titleFormat": title,
        "textFormat": text,
        "tagKeys": "host,gpu",
        # The value is the time at which it happened, in milliseconds.
        "useValueForTime": at_value,
    }


#: Maintenance is a silence; whose it is, only Alertmanager knows.
SILENCED = _mark(
    "Silences",
    "light-blue",
    'alertmanager_silences{state="active"} > 0',
    "Alerts silenced",
    "Silences were active, such as maintenance",
)


def on_page(scope: Scope) -> tuple[Json, ...]:
    """All of them, of what is chosen; silences are of everything."""
    # `gpu` is not on alerts about hosts, which concern every GPU of theirs.
    gpu = ('gpu=~"$gpu|"',) if scope.one else ()
    return (
        _mark(
            "XIDs",
            "red",
            f"1000 * {scope.gpu('gpu_xid_last_timestamp_seconds')}",
            "XID {{xid}}",
            "GPU {{gpu}} of {{host}} reported XID {{xid}}",
            at_value=True,
        ),
        _mark(
            "Alerts",
            "orange",
            selector("ALERTS", *HOSTS, *gpu, 'alertstate="firing"', 'alertname!="Watchdog"'),
            "{{alertname}}",
            "{{severity}} on {{host}}",
        ),
        _mark(
            "Driver away",
            "purple",
            f"{selector('gpu_sentinel_nvml_up', *HOSTS)} == 0",
            "Driver does not answer",
            "On {{host}}",
        ),
        _mark(
            "Exporter started",
            "blue",
            f"1000 * {selector('process_start_time_seconds', *HOSTS)}"
            " and on (instance) gpu_sentinel_build_info",
            "Exporter started",
            "On {{host}}",
            at_value=True,
        ),
        SILENCED,
    )


def on_fleet() -> tuple[Json, ...]:
    """What many GPUs do not make too many of."""
    return tuple(
        mark for mark in on_page(Scope(one=False)) if mark["name"] in {"Alerts", "Silences"}
    )
