"""What the whole stack has lived through, as `alerts history` tells it; receivers from files."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from datetime import datetime
from pathlib import Path

HOST = socket.gethostname()
HEAT = """
description: One of two H100 gets hot for a while.
gpus:
  - {model: h100-sxm, count: 2, load: {kind: steady, utilization: 0.9, memory: 0.5}}
events:
  - {at: 4s, gpu: 1, do: set, reading: temperature, value: 88}
"""


def sentinel(*arguments: str) -> str:
    result = subprocess.run(
        [sys.executable, "-m", "gpu_sentinel", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_history_tells_what_was_in_the_mail(stack, inbox, eventually):
    running = stack(HEAT)
    begin = time.time()
    running.start("exporter", "alertmanager", "prometheus")
    eventually(lambda: inbox.hook("firing", "GpuOverheating"), 60, "the webhook is called")
    (alert,) = inbox.hook("firing", "GpuOverheating")["alerts"]
    # Prometheus stores no ALERTS of the first evaluation after its start.
    eventually(lambda: running.query('ALERTS{alertname="GpuOverheating"}'), 10, "it is stored")
    servers = ("--url", running.url("alertmanager"), "--prometheus", running.url("prometheus"))
    work = ("--host", HOST, "--for", "1h", "--comment", "new fans", "--author", "ann")
    assert f"maintenance of {HOST}" in sentinel("maintenance", *servers, "start", *work)
    every = json.loads(sentinel("alerts", *servers, "history", "--since", "10m", "--json"))
    (firing,) = [f for f in every if f["alert"] == "GpuOverheating"]
    assert firing["labels"] == alert["labels"]
    assert firing["summary"] == alert["annotations"]["summary"]
    assert firing["threshold"] == alert["annotations"]["threshold"]
    assert f"{firing['values']['start']:g}" == alert["annotations"]["value"].split()[0]
    assert firing["end"] is None
    assert begin < datetime.fromisoformat(firing["start"]).timestamp() < time.time()
    assert [(s["author"], s["comment"]) for s in firing["silenced"]] == [
        ("ann", "Maintenance: new fans")
    ]


def test_up_sends_to_a_receiver_from_a_file(
    *, tool, free_port, eventually, webhook, repository: Path, tmp_path: Path
):
    tool("prometheus")
    tool("alertmanager", "prometheus-alertmanager")
    (tmp_path / "slack-url").write_text(webhook.url)
    mine = tmp_path / "slack.yml"
    shipped = (repository / "alertmanager" / "receivers" / "slack.yml").read_text()
    mine.write_text(shipped.replace("/etc/gpu-sentinel/", ""))
    (tmp_path / "heat.yml").write_text(HEAT)
    ports = [f"--{n}-port={free_port()}" for n in ("exporter", "prometheus", "alertmanager")]
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "gpu_sentinel", "up", *ports),
            *("--simulate", str(tmp_path / "heat.yml"), "--data-dir", str(tmp_path / "data")),
            *("--receiver", str(mine)),
        ],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        eventually(lambda: webhook.got, 60, "Slack gets it")
        assert (
            webhook.got[0].content["attachments"][0]["title"]
            == f"[CRITICAL] GPU 1 on {HOST} overheats"
        )
        config = tmp_path / "data" / "config" / "alertmanager" / "alertmanager.yml"
        assert config.stat().st_mode & 0o077 == 0, "others cannot read it"
    finally:
        process.terminate()
        out, _ = process.communicate(timeout=60)
    assert "alerts go to slack" in out
