"""Whether acknowledgements survive what happens to Alertmanager."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone

import requests
from soakstack import Stack, eventually


@dataclass(slots=True)
class Silences:
    """A silence that is made before a fault, and looked for afterwards."""

    stack: Stack
    _made: str = field(default="", init=False)

    def make(self) -> None:
        """Silence an alert that there is not; nothing where Alertmanager does not answer."""
        now = datetime.now(timezone.utc)
        body = {
            "matchers": [
                {"name": "alertname", "value": "SoakTest", "isRegex": False, "isEqual": True}
            ],
            "startsAt": now.isoformat(),
            "endsAt": (now + timedelta(hours=2)).isoformat(),
            "createdBy": "soak",
            "comment": "made before a fault",
        }
        try:
            answer = self.stack.ask("alertmanager", "/api/v2/silences", json=body)
        except requests.RequestException:
            return
        self._made = str(answer.json()["silenceID"])

    def lost(self) -> list[str]:
        """What is wrong: no silence could be made, or it is no longer there."""
        if not self._made:
            return ["no silence could be made before"]
        return [] if eventually(self._active, 5) else ["a silence was lost"]

    def _active(self) -> bool:
        try:
            found = self.stack.ask("alertmanager", f"/api/v2/silence/{self._made}").json()
        except requests.RequestException:
            return False
        return bool(found["status"]["state"] == "active")

    def end(self) -> None:
        """Take it away again; the next one is new."""
        if self._made:
            known = {"auth": self.stack.access.auth, "verify": self.stack.access.verify}
            url = f"{self.stack.url('alertmanager')}/api/v2/silence/{self._made}"
            try:
                requests.delete(url, timeout=3, **known)
            except requests.RequestException:
                return
