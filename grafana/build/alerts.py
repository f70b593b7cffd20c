"""Alerts: what fires, what is about to, what did, and who silenced it."""

from __future__ import annotations

import links
import variables
from colours import CRITICAL, MUTED, NONE_IS_GOOD, QUIET, WARNING, values
from core import Dashboard, Json, Panel, Row
from panels import lines, override, stat, states, text
from promql import FLEET, HOSTS, Scope, selector
from tables import Column, table

_REAL = 'alertname!="Watchdog"'
_SHOWN = 100
#: Severities as colours, in the column of that name.
SEVERITIES: list[Json] = [
    {
        "type": "value",
        "options": {
            name: {"text": name, "color": color, "index": index}
            for index, (name, color) in enumerate(
                {"critical": CRITICAL, "warning": WARNING, "info": "blue"}.items()
            )
        },
    }
]
STATES = values({0: ("quiet", QUIET), 1: ("pending", WARNING), 2: ("firing", CRITICAL)})


def _chosen(scope: Scope) -> tuple[str, ...]:
    # Alerts about hosts have no GPU, those about the stack no host.
    return (*HOSTS, *(('gpu=~"$gpu|"',) if scope.one else ()), _REAL)


def alert_table(
    title: str, description: str, state: str, scope: Scope, *, width: int, height: int
) -> Panel:
    """Alerts in one state, the newest first; a row leads to its GPU, or to a silence for it."""
    chosen = _chosen(scope)
    active = selector("ALERTS", *chosen, f'alertstate="{state}"')
    since = f"{selector('ALERTS_FOR_STATE', *chosen)} * 1000 and ignoring (alertstate) {active}"
    return table(
        title,
        description,
        [Column("Since", f"topk({_SHOWN}, {since})", "dateTimeFromNow")],
        labels=("severity", "alertname", "host", "gpu"),
        sort="Since",
        row_links=(*links.to_gpu(), *links.to_host(), links.SILENCE),
        overrides=[
            override(
                "Severity",
                {"id": "mappings", "value": SEVERITIES},
                {"id": "custom.cellOptions", "value": {"type": "color-text"}},
                {"id": "custom.width", "value": 110},
            )
        ],
        width=width,
        height=height,
    )


def firing_table(scope: Scope, *, width: int, height: int) -> Panel:
    """What fires now."""
    return alert_table(
        "Firing alerts",
        "The newest first. A click leads to the GPU, to the host, or to a form for a silence; "
        "alerts that are silenced are shown too.",
        "firing",
        scope,
        width=width,
        height=height,
    )


def _count(state: str, *matchers: str) -> str:
    alerts = selector("ALERTS", *_chosen(FLEET), f'alertstate="{state}"', *matchers)
    return f"count({alerts}) or vector(0)"


def numbers() -> list[Panel]:
    """How many, and whether somebody hears of them."""
    return [
        stat(
            "Critical",
            "Critical alerts that fire.",
            _count("firing", 'severity="critical"'),
            steps=NONE_IS_GOOD,
            width=4,
        ),
        stat(
            "Warning",
            "Warnings that fire.",
            _count("firing", 'severity="warning"'),
            steps=((0, "green"), (1, WARNING)),
            width=4,
        ),
        stat("Pending", "Alerts that fire if they last.", _count("pending"), width=4),
        stat(
            "Silenced or inhibited",
            "Alerts that Alertmanager tells nobody about.",
            'sum(alertmanager_alerts{state="suppressed"})',
            steps=MUTED,
            width=4,
        ),
        stat(
            "Active silences",
            "Silences that hold now: an acknowledgement is one.",
            'sum(alertmanager_silences{state="active"})',
            width=4,
        ),
        stat(
            "Failed notifications",
            "Notifications that could not be delivered in the shown range.",
            "sum(increase(alertmanager_notifications_failed_total[$__range]))",
            steps=NONE_IS_GOOD,
            width=4,
            decimals=0,
        ),
    ]


def history() -> list[Panel]:
    """What fired in the shown range, and how often."""
    chosen = _chosen(FLEET)
    firing = selector("ALERTS", *chosen, 'alertstate="firing"')
    pending = selector("ALERTS", *chosen, 'alertstate="pending"')
    started = selector("ALERTS_FOR_STATE", *chosen)
    return [
        states(
            "Alerts over time",
            "When alerts were pending, and when they fired, all GPUs together.",
            {
                "{{alertname}}": f"max by (alertname) (2 * {firing} or {pending})",
            },
            steps=((0, "transparent"), (1, "yellow"), (2, CRITICAL)),
            mappings=STATES,
            height=10,
        ),
        table(
            "Most frequent alerts",
            "How often each became active in the shown range, and on how many GPUs or hosts.",
            [
                Column(
                    "Times",
                    f"sum by (alertname, severity) (changes({started}[$__range]) + 1)",
                ),
                Column(
                    "Places",
                    f"count by (alertname, severity) (last_over_time({started}[$__range]))",
                ),
            ],
            labels=("severity", "alertname"),
            sort="Times",
            row_links=(links.SILENCE,),
            height=10,
        ),
        lines(
            "Alerts by severity",
            "Alerts that fired, by severity.",
            {"{{severity}}": f"count by (severity) ({firing})"},
            unit="none",
            stacked=True,
            width=24,
            height=6,
        ),
    ]


_WORDS = """[**Silences**](/alerting/silences?alertmanager=Alertmanager): who acknowledged what, \
and until when · [**New silence**](/alerting/silence/new?alertmanager=Alertmanager) · \
[**All rules and their states**](/alerting/list)"""


def dashboard() -> Dashboard:
    """The page."""
    return Dashboard(
        uid="gpu-alerts",
        title=links.PAGES["gpu-alerts"],
        description="Alerts: what fires, what is about to, what did, and what is silenced.",
        variables=variables.STACK,
        links=links.menu("gpu-alerts"),
        span="6h",
        rows=[
            Row("", numbers()),
            Row(
                "",
                [
                    text(
                        "Silences",
                        "Alertmanager's silences, written and read in Grafana.",
                        _WORDS,
                        width=24,
                        height=3,
                    ),
                    firing_table(FLEET, width=14, height=10),
                    alert_table(
                        "Pending alerts",
                        "Conditions that hold, not yet for long enough to fire.",
                        "pending",
                        FLEET,
                        width=10,
                        height=10,
                    ),
                ],
            ),
            Row("What was there?", history()),
        ],
    )
