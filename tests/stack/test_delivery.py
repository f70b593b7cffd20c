"""From the GPU to the inbox: real processes, a real mail server, a real webhook."""

from __future__ import annotations

import socket
import time

ALL = ("exporter", "alertmanager", "prometheus")
HOST = socket.gethostname()

HEAT = """
description: One of two H100 loses its cooling.
gpus:
  - {model: h100-sxm, count: 2, load: {kind: steady, utilization: 0.97, memory: 0.5}}
events:
  - {at: 1s, gpu: 1, do: cooling, factor: 0.2}
  - {at: 45s, gpu: 1, do: cooling, factor: 1.5}
"""
LOST = """
description: One of two H100 is lost.
gpus:
  - {model: h100-sxm, count: 2, load: {kind: steady, utilization: 0.9, memory: 0.5}}
events:
  - {at: 4s, gpu: 1, do: lose}
"""


def test_heat_is_told_by_mail_and_webhook_and_so_is_its_end(stack, inbox, eventually):
    running = stack(HEAT)
    running.start(*ALL)
    eventually(lambda: running.query('up{job="gpu-sentinel"} == 1'), 15, "the target is up")
    eventually(lambda: "GpuOverheating" in running.alerts("firing"), 60, "the alert fires")
    eventually(lambda: inbox.mail("CRITICAL"), 10, "the mail is there")
    eventually(lambda: inbox.hook("firing", "GpuOverheating"), 10, "the webhook is called")

    mail = inbox.mail("CRITICAL")
    assert mail["Subject"] == f"[CRITICAL] GPU 1 on {HOST} overheats"
    assert mail["To"] == "ops@example.org"
    text = mail.get_body(("plain",)).get_content()
    html = mail.get_body(("html",)).get_content()
    hook = inbox.hook("firing", "GpuOverheating")
    assert hook is not None
    (alert,) = hook["alerts"]
    for told in (text, html):
        assert alert["labels"]["uuid"] in told
        assert alert["annotations"]["value"] in told
        assert "2 °C left" in told
        assert alert["annotations"]["first_step"] in told
        assert "docs/runbooks/GpuOverheating.md" in told
    assert alert["annotations"]["runbook_url"] == "docs/runbooks/GpuOverheating.md"
    assert f"GPU 1 of {HOST}" in text
    assert alert["labels"]["gpu"] == "1"
    assert alert["labels"]["host"] == HOST
    assert float(alert["annotations"]["value"].split()[0]) <= 2

    eventually(lambda: inbox.mail("RESOLVED"), 150, "the end is told by mail")
    eventually(lambda: inbox.hook("resolved", "GpuOverheating"), 10, "and by webhook")
    text = inbox.mail("RESOLVED").get_body(("plain",)).get_content()
    assert "Until:" in text
    overheating = [m for _, m in inbox.mails if "overheats" in m["Subject"]]
    assert len(overheating) == 2, "one mail at the start, one at the end"


def test_killed_exporter_is_told(stack, inbox, eventually):
    running = stack(LOST)
    running.start(*ALL)
    eventually(lambda: running.query('up{job="gpu-sentinel"} == 1'), 15, "the target is up")
    running.kill("exporter")
    eventually(lambda: "GpuExporterDown" in running.alerts("pending"), 15, "it is pending")
    eventually(lambda: "GpuExporterDown" in running.alerts("firing"), 45, "it fires")
    subject = f"[CRITICAL] The GPU exporter on {HOST} does not answer"
    eventually(lambda: inbox.mail(subject), 10, "the mail is there")
    eventually(lambda: inbox.hook("firing", "GpuExporterDown"), 10, "the webhook is called")


def test_alertmanager_killed_in_mid_alert_loses_nothing(stack, inbox, eventually):
    running = stack(LOST)
    running.start(*ALL)
    # The receivers refuse while the alert comes up, so that it is on its way when it is hit.
    inbox.refuse = True
    eventually(lambda: "GpuLost" in running.alerts("firing"), 40, "the alert fires")
    time.sleep(3)
    assert not inbox.mails
    running.kill("alertmanager")
    inbox.refuse = False
    running.start("alertmanager")
    # Prometheus sends an alert that goes on again every minute.
    eventually(lambda: inbox.mail(f"GPU 1 on {HOST} is lost"), 90, "the mail is there")
    eventually(lambda: inbox.hook("firing", "GpuLost"), 30, "the webhook is called")


def test_receivers_that_refuse_are_tried_again(stack, inbox, eventually):
    running = stack(LOST)
    running.start(*ALL)
    inbox.refuse = True
    eventually(lambda: "GpuLost" in running.alerts("firing"), 40, "the alert fires")
    time.sleep(4)
    inbox.refuse = False
    eventually(lambda: inbox.mail("is lost"), 60, "the mail is there")
    eventually(lambda: inbox.hook("firing", "GpuLost"), 60, "the webhook is called")
