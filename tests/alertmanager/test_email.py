"""The mail as people get it: what it says, its links, and that it fits a phone."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from email.message import EmailMessage
from html.parser import HTMLParser
from pathlib import Path

import pytest

WHERE = {"host": "node-7", "gpu": "1", "uuid": "GPU-5fbc0762-b249-5865-9665-edbc0e7b5263"}


@pytest.fixture
def mail(run_alertmanager, delivered, inbox, alert, eventually) -> Callable[..., EmailMessage]:
    def send(
        severity: str = "critical", *, plain: bool = False, owners: str = "", **labels: str
    ) -> EmailMessage:
        config = delivered()
        for route in config["route"]["routes"]:
            route["group_wait"] = "1s"
        fired = alert("GpuOverheating", severity, **WHERE, **labels)
        if owners:
            fired["annotations"]["owners"] = owners
        if plain:
            for name in ("runbook_url", "dashboard_url"):
                del fired["annotations"][name]
        run_alertmanager(config).post(fired)
        eventually(lambda: inbox.mails, 10, "the mail is there")
        return inbox.mails[0][1]

    return send


def part(message: EmailMessage, kind: str) -> str:
    found = message.get_body((kind,))
    assert found is not None
    return found.get_content()


def links(html: str) -> dict[str, str]:
    """Addresses by what is written on them."""
    found: dict[str, str] = {}

    class Reader(HTMLParser):
        href = ""

        def handle_starttag(self, tag, attributes) -> None:
            if tag == "a":
                self.href = dict(attributes)["href"] or ""

        def handle_data(self, data: str) -> None:
            if self.href and data.strip():
                found[data.strip()] = self.href
                self.href = ""

    Reader().feed(html)
    return found


def test_text_has_all_that_is_needed(mail):
    message = mail(name="NVIDIA H100 80GB HBM3")
    assert message["Subject"] == "[CRITICAL] GpuOverheating of GPU 1"
    text = part(message, "plain").replace("\r", "")
    lines = dict(re.findall(r"^([A-Z][a-z ]+): +(\S.*)$", text, re.MULTILINE))
    assert lines["Where"] == f"GPU 1 of node-7 ({WHERE['uuid']})"
    assert lines["Model"] == "NVIDIA H100 80GB HBM3"
    assert lines["Value"] == "2 °C left"
    assert lines["Threshold"] == "less than 8 °C left for 30 s"
    assert lines["First step"] == "Look at the fans of node-7."
    assert lines["Runbook"] == "https://wiki.example.org/runbooks#gpuoverheating"
    assert lines["Dashboard"] == "https://grafana.example.org/d/gpu?var-host=node-7"
    assert lines["Silence"].startswith("https://alerts.example.org/#/silences/new?filter=%7B")
    assert "gpu-sentinel alerts ack " in part(message, "plain")


def test_links_of_the_html_lead_where_they_say(mail):
    found = links(part(mail(), "html"))
    silence = (
        "https://alerts.example.org/#/silences/new?filter=%7Balertname%3D%22GpuOverheating%22"
        f"%2Chost%3D%22node-7%22%2Cuuid%3D%22{WHERE['uuid']}%22%7D"
    )
    assert found == {
        "Runbook": "https://wiki.example.org/runbooks#gpuoverheating",
        "Dashboard": "https://grafana.example.org/d/gpu?var-host=node-7",
        "Silence": silence,
        "Graph": "http://127.0.0.1:9090/graph?g0.expr=x+%3C+8&g0.tab=1",
    }


def test_without_the_addresses_the_runbook_is_named(mail):
    message = mail(plain=True)
    html = part(message, "html")
    assert set(links(html)) == {"Silence", "Graph"}
    for told in (html, part(message, "plain")):
        assert "docs/runbooks/GpuOverheating.md" in told


def test_what_a_label_says_stays_text(mail):
    message = mail(name="<script>alert(1)</script>")
    assert "<script>" not in part(message, "html")
    assert "&lt;script&gt;" in part(message, "html")


def test_owners_of_the_gpu_are_named(mail, inbox, eventually):
    owners = "pod lab/<b>notebook</b>, slurm job 4713"
    message = mail(owners=owners)
    assert re.search(rf"^Owners: +{re.escape(owners)}\r?$", part(message, "plain"), re.MULTILINE)
    assert "pod lab/&lt;b&gt;notebook&lt;/b&gt;, slurm job 4713" in part(message, "html")
    eventually(lambda: inbox.hooks, 10, "the webhook has it, too")
    (told,) = inbox.hooks[0][1]["alerts"]
    assert told["annotations"]["owners"] == owners


def test_without_owners_nothing_is_said_of_them(mail):
    message = mail()
    assert "Owners" not in part(message, "plain")
    assert "Owners" not in part(message, "html")


@pytest.mark.parametrize("width", [320, 390, 1280])
def test_nothing_stands_out_of_the_screen(mail, tool, tmp_path: Path, width: int):
    """A page in a frame as wide as the screen says how wide it wants to be."""
    browser = tool("chromium", "google-chrome")
    (tmp_path / "mail.html").write_text(part(mail(name="NVIDIA H100 80GB HBM3"), "html"))
    (tmp_path / "frame.html").write_text(
        f'<iframe src="mail.html" width="{width}" height="900" frameborder="0" onload="'
        "const d = this.contentDocument.documentElement;"
        "document.title = d.scrollWidth + ' of ' + d.clientWidth\"></iframe>"
    )
    result = subprocess.run(
        [
            *(browser, "--headless", "--no-sandbox", "--disable-gpu"),
            f"--user-data-dir={tmp_path / 'browser'}",
            *("--allow-file-access-from-files", "--virtual-time-budget=2000", "--dump-dom"),
            (tmp_path / "frame.html").as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    found = re.search(r"<title>(\d+) of (\d+)</title>", result.stdout)
    assert found, result.stderr
    assert int(found[1]) == int(found[2]) == width
