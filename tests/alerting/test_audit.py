"""Silences that hide everything or last too long: found, told, and over when they end."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest
import requests

from gpu_sentinel.alerting import Alertmanager
from gpu_sentinel.alerting.alertmanager import Matcher, Silence
from gpu_sentinel.alerting.audit import offences
from gpu_sentinel.stack.auditor import Auditor

NOW = datetime(2026, 1, 1, tzinfo=timezone.utc)


def _silence(*matchers: Matcher, days: float = 1) -> Silence:
    ends = NOW + timedelta(days=days)
    return Silence("5b1e", "ann", "why", NOW, ends, "active", matchers)


@pytest.mark.parametrize(
    "matchers",
    [
        (Matcher("alertname", ".+", is_regex=True),),
        (Matcher("alertname", ".*", is_regex=True),),
        (Matcher("alertname", "", is_equal=False),),
        (Matcher("alertname", "nothing", is_equal=False),),
        (Matcher("severity", "critical|warning|none", is_regex=True),),
        (Matcher("nothing", ""), Matcher("alertname", ".+", is_regex=True)),
    ],
)
def test_everything(matchers: tuple[Matcher, ...]):
    assert [o.name for o in offences([_silence(*matchers)])] == ["SilenceTooBroad"]


@pytest.mark.parametrize(
    "matchers",
    [
        (Matcher("host", "node-7"),),
        (Matcher("host", ".+", is_regex=True),),
        (Matcher("severity", "critical"),),
        (Matcher("alertname", "Gpu.*", is_regex=True),),
    ],
)
def test_a_part_for_thirty_days(matchers: tuple[Matcher, ...]):
    assert offences([_silence(*matchers, days=30)]) == []


def test_longer_than_thirty_days():
    (found,) = offences([_silence(Matcher("host", "node-7"), days=3650)])
    assert found.name == "SilenceTooLong"
    assert found.why == "lasts 3650 days, more than 30"


def _make(url: str, days: float, name: str, value: str) -> str:
    matcher = Matcher(name, value, is_regex=True)
    now = datetime.now(timezone.utc)
    return Alertmanager(url).silence([matcher], "ann", "work", now, days * 86400)


def _told(url: str) -> dict[str, str]:
    found = requests.get(f"{url}/api/v2/alerts", timeout=60).json()
    return {alert["labels"]["alertname"]: alert["status"]["state"] for alert in found}


def test_told_and_over(alertmanager: str, sentinel, eventually):
    ask = ("alerts", "--url", alertmanager, "audit", "--tell")
    assert sentinel(*ask).returncode == 0
    made = _make(alertmanager, 60, "host", "node-7")
    result = sentinel(*ask)
    assert result.returncode == 1
    assert f"{made[:8]}: lasts 60 days, more than 30: by ann, until " in result.stdout
    eventually(lambda: _told(alertmanager) == {"SilenceTooLong": "active"}, 20, "it is told")
    Alertmanager(alertmanager).ask("DELETE", f"/api/v2/silence/{made}")
    result = sentinel(*ask)
    assert result.returncode == 0, result.stdout


def test_everything_mutes_the_watchdog_too(alertmanager: str, eventually):
    """So that the service outside rings, which waits for it; and `up` says why."""
    watchdog = [{"labels": {"alertname": "Watchdog", "severity": "none"}}]
    assert requests.post(f"{alertmanager}/api/v2/alerts", json=watchdog, timeout=60).ok
    eventually(lambda: _told(alertmanager) == {"Watchdog": "active"}, 20, "it fires")
    _make(alertmanager, 1, "alertname", ".+")
    said: list[str] = []
    auditor = Auditor(lambda: Alertmanager(alertmanager), said.append)
    auditor.tick()
    auditor.tick()
    states = {"Watchdog": "suppressed", "SilenceTooBroad": "suppressed"}
    eventually(lambda: _told(alertmanager) == states, 20, "both are silenced")
    (line,) = said
    assert "by ann matches everything" in line


def test_auditor_survives_an_alertmanager_that_is_away(free_port):
    auditor = Auditor(lambda: Alertmanager(f"http://127.0.0.1:{free_port()}"), pytest.fail)
    auditor.tick()
    auditor.stop()
    auditor.start()
    auditor.stop(60)
    assert not auditor.is_alive()
