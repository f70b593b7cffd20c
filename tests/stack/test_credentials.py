"""Who gets in where: every user's password at every part of one started stack, with TLS."""

from __future__ import annotations

import json
import stat
import subprocess
import sys
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
import requests

from gpu_sentinel.stack.credentials import PEOPLE, SERVICES, USERS, of_data

HOOK_SECRET, MAIL_SECRET = "hook-7d1f0c2ab9e4", "mail-5be0d3a9c477"
PAGES = {
    "exporter": "/metrics",
    "prometheus": "/api/v1/query?query=up",
    "alertmanager": "/api/v2/alerts",
}


class Running:
    """`gpu-sentinel up --tls`, with its output in a file."""

    def __init__(self, start, folder: Path) -> None:
        self.data = folder / "data"
        self.credentials = of_data(self.data, tls=True)
        self.output = folder / "output"
        mail = folder / "mail-password"
        mail.write_text(MAIL_SECRET)
        notifications = folder / "notifications.yml"
        notifications.write_text(
            "email-to: ops@example.org\nsmtp-smarthost: 127.0.0.1:9\nsmtp-username: ops\n"
            f"smtp-password-file: {mail}\nwebhook-url: http://127.0.0.1:9/{HOOK_SECRET}\n"
        )
        arguments = ("--tls", "--notifications", str(notifications))
        self._up = start(self.data, *arguments, output=self.output)
        self.ports = self._up.ports

    def ask(self, part: str, path: str = "", method: str = "GET", **more) -> requests.Response:
        url = f"{self._up.shown(part)}{path or PAGES[part]}"
        trust = str(self.credentials.ca_file)
        return requests.request(method, url, verify=trust, timeout=30, **more)

    def started(self) -> bool:
        assert self._up.process.poll() is None, self.output.read_text()
        return "Data and logs are in" in self.output.read_text()

    def processes(self) -> list[Path]:
        """It and its children, under /proc."""
        pid = self._up.process.pid
        found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return [Path(f"/proc/{child}") for child in (str(pid), *found)]


@pytest.fixture(scope="module")
def running(shared_up, tmp_path_factory, eventually) -> Running:
    stack = Running(shared_up, tmp_path_factory.mktemp("secured"))
    eventually(stack.started, 120, "it has started")
    return stack


@pytest.mark.parametrize("part", PAGES)
@pytest.mark.parametrize("user", [*PEOPLE, *SERVICES])
def test_each_password_at_each_part(running, user: str, part: str):
    answer = running.ask(part, auth=running.credentials.login(user))
    assert answer.status_code == (200 if user in USERS[part] else 401)


@pytest.mark.parametrize("part", PAGES)
def test_nobody_and_a_wrong_password(running, part: str):
    assert running.ask(part).status_code == 401
    assert running.ask(part, auth=("admin", "admin")).status_code == 401


def test_token_reads_at_the_exporter_alone(running):
    headers = {"Authorization": f"Bearer {running.credentials.login('api')[1]}"}
    assert running.ask("exporter", headers=headers).status_code == 200
    for part in ("prometheus", "alertmanager"):
        assert running.ask(part, headers=headers).status_code == 401


def test_prometheus_changes_nothing_even_for_an_admin(running):
    login = running.credentials.login("admin")
    for path in ("/-/reload", "/-/quit"):
        assert running.ask("prometheus", path, "POST", auth=login).status_code == 403
    path = "/api/v1/admin/tsdb/delete_series?match[]=up"
    assert "disabled" in running.ask("prometheus", path, "POST", auth=login).text


def _silence() -> dict[str, object]:
    now = datetime.now(timezone.utc)
    return {
        "matchers": [{"name": "alertname", "value": ".+", "isRegex": True}],
        "startsAt": now.isoformat(),
        "endsAt": (now + timedelta(days=3650)).isoformat(),
        "createdBy": "page",
        "comment": "from another site",
    }


@pytest.mark.parametrize("kind", ["application/json", "text/plain"])
def test_page_of_another_site_silences_nothing(running, kind: str):
    """A `text/plain` POST needs no preflight: only the password is in its way."""
    headers = {"Origin": "https://evil.example", "Content-Type": kind}
    body = json.dumps(_silence())
    answer = running.ask("alertmanager", "/api/v2/silences", "POST", data=body, headers=headers)
    assert answer.status_code == 401
    login = running.credentials.login("user")
    if kind == "text/plain":
        # A browser that knows the password sends it along.
        more = {"data": body, "headers": headers, "auth": login}
        answer = running.ask("alertmanager", "/api/v2/silences", "POST", **more)
        assert answer.status_code == 415
    assert running.ask("alertmanager", "/api/v2/silences", auth=login).json() == []


def test_preflight_of_another_site(running):
    """Answered with 401, which no browser takes for a permission; and without an origin."""
    asked = {"Origin": "https://evil.example", "Access-Control-Request-Method": "POST"}
    for part, path in (("alertmanager", "/api/v2/silences"), ("prometheus", "/api/v1/query")):
        assert running.ask(part, path, "OPTIONS", headers=asked).status_code == 401


def test_prometheus_lets_no_other_site_read(running):
    login = running.credentials.login("reader")
    for origin, allowed in (
        ("https://evil.example", None),
        (f"https://127.0.0.1:{running.ports['prometheus']}",) * 2,
    ):
        answer = running.ask("prometheus", auth=login, headers={"Origin": origin})
        assert answer.headers.get("Access-Control-Allow-Origin") == allowed


def test_prometheus_scrapes_and_reaches_alertmanager(running, eventually):
    login = running.credentials.login("reader")

    def up() -> set[str]:
        found = running.ask("prometheus", "/api/v1/query?query=up==1", auth=login).json()
        return {series["metric"]["job"] for series in found["data"]["result"]}

    eventually(lambda: up() >= {"gpu-sentinel", "prometheus", "alertmanager"}, 60, "all are up")
    alerts = running.credentials.login("user")
    eventually(lambda: running.ask("alertmanager", auth=alerts).json(), 60, "the Watchdog came")


def test_files_are_for_their_owner_alone(running):
    for path in (running.credentials.folder, *running.credentials.folder.rglob("*")):
        mode = stat.S_IMODE(path.stat().st_mode)
        assert mode == (0o700 if path.is_dir() else 0o600), path


def _secrets(stack: Running) -> list[str]:
    logins = (stack.credentials.login(user)[1] for user in (*PEOPLE, *SERVICES))
    return [*logins, HOOK_SECRET, MAIL_SECRET]


def _command(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "gpu_sentinel", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def test_no_secret_is_told(running, eventually):
    """Not in command lines, environments, logs, nor what commands print, also those that fail."""
    known = ("--credentials-file", str(running.credentials.file))
    urls = {part: f"https://127.0.0.1:{port}" for part, port in running.ports.items()}
    password = running.credentials.login("user")[1]
    in_url = urls["alertmanager"].replace("://", f"://user:{password}@")
    ca = ("--ca-file", str(running.credentials.ca_file))
    printed = ""
    for code, *arguments in (
        (0, "alerts", "--url", urls["alertmanager"], *known, "list"),
        (0, "alerts", "--url", in_url, *ca, "list"),
        (0, "maintenance", "--url", urls["alertmanager"], *known, "list"),
        (0, "status", "--url", urls["exporter"] + "/metrics", *known),
        (1, "alerts", "--url", in_url, "list"),
        (1, "alerts", "--url", in_url.replace("https", "http"), "list"),
        (1, "alerts", "--url", in_url + "/nowhere", *ca, "list"),
        (1, "alerts", "--url", urls["alertmanager"], *ca, "list"),
        (1, "status", "--url", urls["exporter"] + "/none", *known),
    ):
        result = _command(*arguments)
        assert result.returncode == code, result.stderr
        printed += result.stdout + result.stderr
    alert = {"labels": {"alertname": "Told", "severity": "critical", "host": "here"}}
    login = running.credentials.login("user")
    assert running.ask("alertmanager", "/api/v2/alerts", "POST", json=[alert], auth=login).ok
    log = running.data / "logs" / "alertmanager.log"
    eventually(lambda: "err=" in log.read_text(), 90, "Alertmanager has failed to notify")
    told = {"the commands": printed, "up": running.output.read_text()}
    for process in running.processes():
        for name in ("cmdline", "environ"):
            told[str(process / name)] = (process / name).read_text(errors="replace")
    for path in (running.data / "logs").iterdir():
        told[path.name] = path.read_text()
    # What Alertmanager 0.25 says of a webhook that fails holds its whole address, and cannot be
    # made to hold less: nobody else may read that log.
    assert stat.S_IMODE((running.data / "logs").stat().st_mode) == 0o700
    for secret in _secrets(running):
        for where, text in told.items():
            if (where, secret) != (log.name, HOOK_SECRET):
                assert secret not in text, where
