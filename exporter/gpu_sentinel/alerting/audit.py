"""Silences that hide too much or last too long, as alerts of Alertmanager's own."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone

from gpu_sentinel.alerting.alertmanager import Alertmanager, Silence

#: What is silenced for longer is mostly forgotten.
LONGEST = timedelta(days=30)
#: An alert ends by itself when the audit no longer runs, or the silence is gone.
_LASTS = timedelta(minutes=5)
#: An alert that there is not: what silences it, and every other, silences everything. The
#: labels are those that alerts of this product and of most others have.
_ANY = (
    {"alertname": "Watchdog", "severity": "none"},
    {"alertname": "gpu-sentinel-audit-7f3a", "severity": "critical", "host": "-", "uuid": "-"},
)


@dataclass(frozen=True, slots=True)
class Offence:
    """A silence, and the alert about it.

    Attributes:
        name: `SilenceTooBroad` or `SilenceTooLong`.
        why: what is wrong, after the silence's id.
    """

    name: str
    silence: Silence
    why: str


def offences(silences: Iterable[Silence]) -> list[Offence]:
    """What is wrong with these; a silence may be there twice."""
    found = []
    for silence in silences:
        if all(map(silence.covers, _ANY)):
            found.append(Offence("SilenceTooBroad", silence, "matches everything"))
        if silence.ends - silence.starts > LONGEST:
            days = (silence.ends - silence.starts) / timedelta(days=1)
            found.append(Offence("SilenceTooLong", silence, f"lasts {days:.0f} days, more than 30"))
    return found


def audit(alertmanager: Alertmanager) -> list[Offence]:
    """Those of the silences that hold or will.

    Raises:
        ApiError: no proper answer.
    """
    return offences(alertmanager.silences("active", "pending"))


def tell(alertmanager: Alertmanager, found: Iterable[Offence]) -> None:
    """Let Alertmanager tell of them; to be repeated every minute while they last.

    A silence that matches everything silences this alert, too: then the Watchdog does not arrive.

    Raises:
        ApiError: they were not taken.
    """
    now = datetime.now(timezone.utc)
    alerts = [
        {
            "labels": {
                "alertname": offence.name,
                "severity": "warning",
                "silence": offence.silence.id,
            },
            "annotations": {
                "summary": f"Silence {offence.silence.id[:8]} by {offence.silence.author} "
                f"{offence.why}",
                "description": f"{offence.silence.comment} (until {offence.silence.ends:%Y-%m-%d})",
                "runbook_url": f"docs/runbooks/{offence.name}.md",
                "first_step": "Is it meant? Else end it in Alertmanager, under Silences.",
            },
            "startsAt": offence.silence.starts.isoformat()
            if offence.silence.starts < now
            else now.isoformat(),
            "endsAt": max(now, min(now + _LASTS, offence.silence.ends)).isoformat(),
        }
        for offence in found
    ]
    if alerts:
        alertmanager.ask("POST", "/api/v2/alerts", body=alerts)
