"""A client of Alertmanager's API v2.

https://github.com/prometheus/alertmanager/blob/main/api/v2/openapi.yaml
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any

import requests


class AlertmanagerError(Exception):
    """One line: what was asked, and why it was not done."""


@dataclass(frozen=True, slots=True)
class Silence:
    """Who acknowledged something until when, and why."""

    id: str
    author: str
    comment: str
    ends: datetime


@dataclass(frozen=True, slots=True)
class Alert:
    """An alert that fires.

    Attributes:
        id: Alertmanager's fingerprint of the labels.
        state: `active`, `acknowledged`, or `inhibited` by another alert.
        silences: those that acknowledge it; empty unless it is acknowledged.
    """

    id: str
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    starts: datetime
    state: str
    silences: tuple[Silence, ...] = ()


class Alertmanager:
    """Alertmanager at a URL such as `http://127.0.0.1:9093`; user and password may be in it."""

    def __init__(self, url: str, timeout: float = 5.0) -> None:
        self._url = url.rstrip("/")
        self._timeout = timeout

    def alerts(self) -> list[Alert]:
        """All alerts that fire, the most severe and the oldest first.

        Raises:
            AlertmanagerError: no proper answer.
        """
        silences = {s.id: s for s in self.silences()}
        found = [_alert(item, silences) for item in self._ask("GET", "alerts")]
        order = {"critical": 0, "warning": 1}
        return sorted(found, key=lambda a: (order.get(a.labels.get("severity", ""), 2), a.starts))

    def silences(self) -> list[Silence]:
        """All silences that hold now.

        Raises:
            AlertmanagerError: no proper answer.
        """
        found = self._ask("GET", "silences")
        return [_silence(item) for item in found if item["status"]["state"] == "active"]

    def acknowledge(self, alert: Alert, author: str, comment: str, seconds: float) -> str:
        """Silence exactly this alert, by all of its labels; returns the silence's id.

        Raises:
            AlertmanagerError: it was not taken.
        """
        now = datetime.now(timezone.utc)
        answer = self._ask(
            "POST",
            "silences",
            {
                "matchers": [
                    {"name": name, "value": value, "isRegex": False, "isEqual": True}
                    for name, value in alert.labels.items()
                ],
                "startsAt": now.isoformat(),
                "endsAt": (now + timedelta(seconds=seconds)).isoformat(),
                "createdBy": author,
                "comment": comment,
            },
        )
        return str(answer["silenceID"])

    def expire(self, silence: Silence) -> None:
        """End a silence; what it silenced is told again.

        Raises:
            AlertmanagerError: it was not ended.
        """
        self._ask("DELETE", f"silence/{silence.id}")

    def _ask(self, method: str, path: str, body: object = None) -> Any:
        try:
            answer = requests.request(
                method, f"{self._url}/api/v2/{path}", json=body, timeout=self._timeout
            )
            answer.raise_for_status()
            return answer.json() if answer.content else None
        except requests.HTTPError as error:
            said = " ".join(error.response.text.split())[:200]
            raise AlertmanagerError(
                f"Alertmanager answers {error.response.status_code} to {path}: {said}"
            ) from None
        except requests.Timeout:
            raise AlertmanagerError(
                f"no answer from Alertmanager within {self._timeout:g} s"
            ) from None
        except (requests.RequestException, ValueError):
            raise AlertmanagerError(
                "no Alertmanager answers there: start one with `gpu-sentinel up`, "
                "or name another with --url"
            ) from None


def _alert(item: Mapping[str, Any], silences: Mapping[str, Silence]) -> Alert:
    status = item["status"]
    by = tuple(silences[i] for i in status["silencedBy"] if i in silences)
    state = "acknowledged" if by else "inhibited" if status["inhibitedBy"] else "active"
    return Alert(
        id=item["fingerprint"],
        labels=item["labels"],
        annotations=item["annotations"],
        starts=_time(item["startsAt"]),
        state=state,
        silences=by,
    )


def _silence(item: Mapping[str, Any]) -> Silence:
    return Silence(item["id"], item["createdBy"], item["comment"], _time(item["endsAt"]))


def _time(text: str) -> datetime:
    # Whole seconds: Python before 3.11 reads neither `Z` nor nanoseconds.
    return datetime.strptime(text[:19], "%Y-%m-%dT%H:%M:%S").replace(tzinfo=timezone.utc)
