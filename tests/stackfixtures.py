"""The stack's own components, a real mail server and a real webhook."""

from __future__ import annotations

import email
import email.policy
import time
from collections.abc import Callable, Iterator
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest
import requests
from aiosmtpd.controller import Controller

from gpu_sentinel.stack import programs
from gpu_sentinel.stack.plan import Notifications, Plan
from gpu_sentinel.stack.process import Component
from webhooks import WebhookReceiver


class Inbox:
    """What arrived, with the time at which it did; can be told to refuse."""

    def __init__(self, smtp_port: int) -> None:
        self.mails: list[tuple[float, EmailMessage]] = []
        self._smtp = Controller(self, hostname="127.0.0.1", port=smtp_port, ready_timeout=60.0)
        self._smtp.start()
        self.smarthost = f"127.0.0.1:{smtp_port}"
        self._webhook = WebhookReceiver()
        self.url = self._webhook.url

    async def handle_MAIL(self, _server, _session, envelope, address, options) -> str:  # noqa: N802
        if self.refuse:
            return "451 come back later"
        envelope.mail_from = address
        envelope.mail_options.extend(options)
        return "250 OK"

    async def handle_DATA(self, _server, _session, envelope) -> str:  # noqa: N802 - aiosmtpd's name
        message = email.message_from_bytes(envelope.content, policy=email.policy.default)
        self.mails.append((time.time(), message))
        return "250 OK"

    @property
    def refuse(self) -> bool:
        return self._webhook.refuse

    @refuse.setter
    def refuse(self, refuse: bool) -> None:
        self._webhook.refuse = refuse

    @property
    def hooks(self) -> list[tuple[float, dict[str, Any]]]:
        return [(posted.time, posted.content) for posted in self._webhook.got]

    def mail(self, subject: str) -> EmailMessage | None:
        return next((m for _, m in self.mails if subject in m["Subject"]), None)

    def hook(self, status: str, alertname: str) -> dict[str, Any] | None:
        for _, hook in self.hooks:
            if hook["status"] == status and hook["groupLabels"]["alertname"] == alertname:
                return hook
        return None

    def close(self) -> None:
        self._smtp.stop()
        self._webhook.close()


class Stack:
    """Exporter, Alertmanager and Prometheus with the settings that are delivered."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.parts: dict[str, Component] = {}

    def start(self, *names: str) -> None:
        plan = self.plan
        builders: dict[str, Callable[[], Component | None]] = {
            "exporter": lambda: programs.exporter(plan),
            "alertmanager": lambda: programs.alertmanager(plan, ("", "")),
            "prometheus": lambda: programs.prometheus(plan),
        }
        for name in names:
            part = builders[name]()
            assert part is not None
            self.parts[name] = part
            part.start()
            part.wait_ready(_answers, 120)

    def kill(self, name: str) -> None:
        """As with `kill -9`."""
        process = self.parts.pop(name)._process
        assert process is not None
        process.kill()
        process.wait()

    def url(self, name: str) -> str:
        return f"http://127.0.0.1:{getattr(self.plan, f'{name}_port')}"

    def alerts(self, state: str) -> set[str]:
        found = requests.get(self.url("prometheus") + "/api/v1/alerts", timeout=60).json()
        return {a["labels"]["alertname"] for a in found["data"]["alerts"] if a["state"] == state}

    def query(self, expression: str) -> list[dict[str, Any]]:
        url = self.url("prometheus") + "/api/v1/query"
        answer = requests.get(url, params={"query": expression}, timeout=60).json()
        return list(answer["data"]["result"])

    def stop(self) -> None:
        for part in reversed(self.parts.values()):
            part.stop()


def _answers(url: str) -> bool:
    try:
        return requests.get(url, timeout=10).ok
    except requests.RequestException:
        return False


@pytest.fixture
def webhook() -> Iterator[WebhookReceiver]:
    receiver = WebhookReceiver()
    yield receiver
    receiver.close()


@pytest.fixture
def inbox(free_port) -> Iterator[Inbox]:
    box = Inbox(free_port())
    yield box
    box.close()


@pytest.fixture
def stack(tool, free_port, tmp_path: Path, inbox: Inbox) -> Iterator[Callable[[str], Stack]]:
    tool("prometheus")
    tool("alertmanager", "prometheus-alertmanager")
    started: list[Stack] = []

    def make(scenario: str) -> Stack:
        path = tmp_path / "scenario.yml"
        path.write_text(scenario)
        receivers = Notifications(
            email_to="ops@example.org",
            smtp_smarthost=inbox.smarthost,
            smtp_from="gpu@example.org",
            webhook_url=inbox.url,
        )
        ports = [free_port() for _ in range(3)]
        plan = Plan(tmp_path / "data", str(path), "", *ports, notifications=receivers)
        plan.data.mkdir()
        started.append(Stack(plan))
        return started[-1]

    yield make
    for running in started:
        running.stop()
